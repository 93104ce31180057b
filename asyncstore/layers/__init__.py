"""Behaviour around any provider: retry, limits, read-only, tracing."""
