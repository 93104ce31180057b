"""The wire formats of services: bytes and texts in, values out; no I/O, no clock."""
