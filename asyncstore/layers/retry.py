"""Trying again: the one retry loop of the library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how patiently, a failed request is tried again.

    Attributes:
        attempts: most requests for one call, the first included; 1 is no retry.
        base: seconds; the first wait is a random time up to this, and each further one's bound
            is twice the one before.
        cap: seconds; no wait of the library's own is longer. A service's hint may be.
        budget: retries that may be outstanding over all calls of a store before they are
            refused; every ten successful calls pay one back.
    """

    attempts: int = 6
    base: float = 0.1
    cap: float = 20.0
    budget: int = 500
