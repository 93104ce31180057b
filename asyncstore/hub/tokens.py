"""Bearer tokens: made, read and compared; pure.

They look like JWTs, since existing clients read the claim `id` of one without verifying it. To
the hub they are opaque: the claim `jti` says which row of the database to look at, and the hash
of the whole text must be that row's. No algorithm that a token names is ever used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

ANONYMOUS = "public"
"""The name of nobody, and the `id` and `jti` of the token that anybody is given."""

LONGEST = 2_048
_PUBLIC = "PUBLIC_TOKEN_"
_PART = re.compile(r"[A-Za-z0-9_-]+")
_JTI = re.compile(r"[0-9a-f]{24}")
_HEADER = {"alg": "opaque", "typ": "JWT"}
_PARTS = 3


@dataclass(frozen=True, repr=False)
class Made:
    """A new token; `text` is told once and not kept."""

    id: str
    text: str
    hash: bytes


def make(username: str, expires_at: float) -> Made:
    """Return a token for somebody until a moment, in epoch seconds."""
    jti = secrets.token_hex(12)
    text = _shape({"id": username, "jti": jti, "exp": int(expires_at)})
    return Made(jti, text, digest(text))


def make_anonymous() -> str:
    """Return the token of nobody; it grants what no token grants."""
    return _shape({"id": ANONYMOUS, "jti": ANONYMOUS})


def digest(text: str) -> bytes:
    """Return what is stored of a token or code. It has 256 random bits, so that no salt helps."""
    return hashlib.sha256(text.encode()).digest()


def matches(text: str, stored: bytes) -> bool:
    """Whether a token or code is the one stored, in a time that tells nothing of it."""
    return hmac.compare_digest(digest(text), stored)


def read(text: str) -> str | None:
    """Return the row a token names, `ANONYMOUS` for nobody's token, `None` where it is no token."""
    if text.startswith(_PUBLIC):
        return ANONYMOUS
    claims = _claims(text)
    jti = claims.get("jti")
    if jti == ANONYMOUS and claims.get("id") == ANONYMOUS:
        return ANONYMOUS
    return jti if isinstance(jti, str) and _JTI.fullmatch(jti) else None


def _shape(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (_HEADER, claims)]
    parts.append(secrets.token_bytes(32))
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _claims(text: str) -> dict[str, Any]:
    parts = text.split(".") if len(text) <= LONGEST and text.isascii() else []
    if len(parts) != _PARTS or not all(map(_PART.fullmatch, parts)):
        return {}
    try:
        found = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
