"""The HTTP engine: one transport beneath everything that speaks HTTP."""
