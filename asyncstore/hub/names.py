"""What may be called what."""

from __future__ import annotations

import re

from asyncstore.hub.faults import invalid

ACCOUNT = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
"""A user or an organisation; the two share their names."""

PLAIN = r"^[^\x00-\x1f\x7f]{1,128}$"
"""What may be asked for, whether anything can be called so or not."""

DATASET = r"^[A-Za-z0-9_-]{1,128}$"
CREDENTIAL = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
EMAIL = r"^[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}$"
TITLE = r"^[^\x00-\x1f\x7f]{1,100}$"

_RESERVED = frozenset({"public", "api", "healthz", "queries", "admin", "hub"})
_PATTERNS = {
    "account": re.compile(ACCOUNT),
    "data set": re.compile(DATASET),
    "credential": re.compile(CREDENTIAL),
}


def check(kind: str, name: str) -> str:
    """Return a name that a new account or data set may have.

    Raises:
        Refusal: 422, it may not, and what a name is made of.
    """
    if not _PATTERNS[kind].fullmatch(name):
        raise invalid(f"The name of a {kind} is made of letters, digits, '_' and '-'.")
    if kind == "account" and name.lower() in _RESERVED:
        raise invalid(f"The name {name} is the hub's own; take another.")
    return name
