"""Storage services, one module or package each, independent of one another."""
