"""What can be called: the calls of existing clients, and `/api/v1/` for what is ours."""
