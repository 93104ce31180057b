"""Tracing: what each request was, how long it took and how it ended; never a secret."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One request that ended.

    Attributes:
        op: the call, such as `"get"`, `"put_part"` or `"list_page"`.
        url: the object, or the prefix of a listing; no query, no credentials.
        seconds: from the call to its end, tries and waits included.
        bytes: received or sent, where known.
        error: the error's type name, or `None`.
    """

    op: str
    url: str
    seconds: float
    bytes: int | None
    error: str | None
