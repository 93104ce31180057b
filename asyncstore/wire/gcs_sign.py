"""Google Cloud Storage's V4 signed URLs as text to sign. Pure.

Source: https://cloud.google.com/storage/docs/authentication/signatures and
https://cloud.google.com/storage/docs/authentication/canonical-requests.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from asyncstore.wire.gcs import path_target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

LONGEST = 7 * 24 * 3600
"""Most seconds that a signed URL may hold."""

_ALGORITHM = "GOOG4-RSA-SHA256"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A URL that waits for its signature.

    Attributes:
        text: what the account's key signs, with RSA PKCS #1 v1.5 and SHA-256.
        canonical: the canonical request, of which `text` holds the digest.
    """

    text: bytes
    canonical: str
    _base: str
    _query: str

    def signed(self, signature: bytes, /) -> str:
        """Return the URL. It is a secret."""
        return f"{self._base}?{self._query}&X-Goog-Signature={signature.hex()}"


def unsigned(
    method: str,
    origin: str,
    bucket: str,
    key: str,
    /,
    *,
    account: str,
    at: datetime,
    expires: int,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> Unsigned:
    """Return the text to sign for one method on one object.

    Args:
        method: upper case.
        origin: scheme and authority, such as `"https://storage.googleapis.com"`.
        bucket: its name; the URL is in the path style.
        key: the object's name.
        account: the signing account's e-mail address.
        at: when it was signed, in UTC.
        expires: seconds from then.
        headers: what the user of the URL must send, besides `host`.
        query: further parameters of the URL.
    """
    date, stamp = at.strftime("%Y%m%d"), at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date}/auto/storage/goog4_request"
    # The service leaves the port out of what it verifies, as its own clients do.
    host = urlsplit(origin).hostname or ""
    signed = {name.lower(): " ".join(value.split()) for name, value in (headers or {}).items()}
    signed = dict(sorted((signed | {"host": host}).items()))
    names = ";".join(signed)
    params = {
        "X-Goog-Algorithm": _ALGORITHM,
        "X-Goog-Credential": f"{account}/{scope}",
        "X-Goog-Date": stamp,
        "X-Goog-Expires": str(expires),
        "X-Goog-SignedHeaders": names,
        **(query or {}),
    }
    path = path_target(bucket, key)
    text = "&".join(sorted(f"{_encode(n)}={_encode(v)}" for n, v in params.items()))
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    payload = signed.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    canonical = f"{method}\n{path}\n{text}\n{lines}\n{names}\n{payload}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    return Unsigned(to_sign.encode(), canonical, f"{origin}{path}", text)


def _encode(text: str) -> str:
    return quote(text, safe="")
