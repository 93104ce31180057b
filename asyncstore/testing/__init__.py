"""What tests need: the contract suite, real servers, stand-ins and faults."""
