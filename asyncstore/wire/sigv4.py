"""AWS Signature Version 4, as S3 wants it: pure functions of the request and the time.

The source is AWS's "Signature Version 4 signing process" and, for S3, "Authenticating Requests".
S3 differs from other services: the path is encoded once and not normalised, and every request
says the SHA-256 of its payload, or `UNSIGNED-PAYLOAD`.
"""

from __future__ import annotations

import re
import time
from hashlib import sha256
from hmac import digest
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncstore.types import Buffer

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = sha256(b"").hexdigest()
EXPIRES_MAX = 7 * 24 * 3600
"""The longest life of a presigned URL, in seconds."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_is_plain = re.compile(r"[A-Za-z0-9/._~\-]*+").fullmatch
# Headers that whoever stands between may change, so botocore does not sign them either.
_UNSIGNED = frozenset({"authorization", "connection", "expect", "transfer-encoding", "user-agent"})


def encode_path(key: str) -> str:
    """Percent-encode an object's path; slashes stay."""
    return key if _is_plain(key) else quote(key, safe="/-._~")


def encode_query(parameters: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Percent-encode a query in its canonical form, which is also the one to send."""
    pairs = parameters.items() if hasattr(parameters, "items") else parameters
    encoded = sorted((quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def payload_sha256(pieces: Buffer | Iterable[Buffer]) -> str:
    """Return the hash of a payload, in hexadecimal, for `Signer.sign`."""
    if isinstance(pieces, bytes | bytearray | memoryview):
        return sha256(pieces).hexdigest()
    whole = sha256()
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()


class Moment:
    """A key's signatures within one second: all that does not depend on the request.

    Attributes:
        stamp: the time as it is sent.
        scope: day, region and service.
        prefix: how the `Authorization` header begins, up to the list of signed headers.
    """

    __slots__ = ("_inner", "_outer", "prefix", "scope", "stamp")

    def __init__(self, stamp: str, scope: str, prefix: str, inner: Any, outer: Any) -> None:
        self.stamp = stamp
        self.scope = scope
        self.prefix = prefix
        self._inner = inner.copy()
        self._inner.update(f"{_ALGORITHM}\n{stamp}\n{scope}\n".encode())
        self._outer = outer

    def signature(self, canonical: str) -> str:
        """Return the signature of a canonical request, in hexadecimal."""
        # HMAC by its definition, going on from the states behind the padded key.
        inner = self._inner.copy()
        inner.update(sha256(canonical.encode()).hexdigest().encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        signed: str = outer.hexdigest()
        return signed


class Signer:
    """Signs requests with one key for one region.

    The signing key of a day is computed once, and what a second's signatures have in common.

    Args:
        access_key: the key's public name.
        secret_key: its secret part.
        session_token: of temporary credentials.
        region: such as `"eu-central-1"`.
        service: `"s3"`, or another that encodes its path once.
    """

    __slots__ = (
        "_access_key",
        "_day",
        "_inner",
        "_moment",
        "_outer",
        "_region",
        "_scope",
        "_second",
        "_secret",
        "_service",
        "_token",
    )

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        session_token: str | None = None,
        *,
        region: str,
        service: str = "s3",
    ) -> None:
        self._access_key = access_key
        self._secret = secret_key
        self._token = session_token
        self._region = region
        self._service = service
        self._second = -1
        self._day = ""
        self._scope = ""
        self._inner = self._outer = sha256()
        self._moment: Moment | None = None

    def __repr__(self) -> str:
        return f"Signer({self._region}/{self._service})"

    def sign(
        self,
        method: str,
        host: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        now: float,
        payload: str = UNSIGNED_PAYLOAD,
    ) -> dict[str, str]:
        """Return a request's headers with those that sign it; `host` itself is not among them.

        Args:
            method: upper case.
            host: the `Host` header, as it is sent.
            path: encoded, as by `encode_path`, with its leading slash.
            query: encoded and sorted, as by `encode_query`.
            headers: to be sent and signed besides, names in lower case.
            now: epoch seconds.
            payload: the payload's SHA-256 in hexadecimal, or `UNSIGNED_PAYLOAD`.
        """
        moment = self.moment(now)
        out = {**(headers or {}), **self.headers(moment, payload)}
        lines, names = canonical({**out, "host": host})
        signature = moment.signature(f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}")
        out["authorization"] = f"{moment.prefix}{names}, Signature={signature}"
        return out

    def headers(self, moment: Moment, payload: str) -> dict[str, str]:
        """Return the headers that every signed request has, but for the signature itself."""
        out = {"x-amz-content-sha256": payload, "x-amz-date": moment.stamp}
        if self._token is not None:
            out["x-amz-security-token"] = self._token
        return out

    def presign(
        self,
        method: str,
        host: str,
        path: str,
        query: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        *,
        now: float,
        expires: int,
    ) -> str:
        """Return the query of a URL that works without credentials; it is a secret.

        Args:
            method: as in `sign`.
            host: as in `sign`.
            path: as in `sign`.
            query: parameters, not encoded.
            headers: that whoever uses the URL must send exactly so, names in lower case.
            now: epoch seconds.
            expires: how long it holds, in seconds.

        Raises:
            ConfigurationError: `expires` is not between 1 second and 7 days.
        """
        if not 1 <= expires <= EXPIRES_MAX:
            raise ConfigurationError(f"expires={expires}: between 1 second and 7 days")
        moment = self.moment(now)
        lines, names = canonical({**(headers or {}), "host": host})
        pairs = list(query.items() if hasattr(query, "items") else query)
        pairs += [
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self._access_key}/{moment.scope}"),
            ("X-Amz-Date", moment.stamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", names),
        ]
        if self._token is not None:
            pairs.append(("X-Amz-Security-Token", self._token))
        text = encode_query(pairs)
        signature = moment.signature(
            f"{method}\n{path}\n{text}\n{lines}\n{names}\n{UNSIGNED_PAYLOAD}"
        )
        return f"{text}&X-Amz-Signature={signature}"

    def moment(self, now: float) -> Moment:
        """Return what signatures of this second are made from.

        Args:
            now: epoch seconds.
        """
        second = int(now)
        moment = self._moment
        if moment is None or second != self._second:
            moment = self._moment = self._make_moment(second)
            self._second = second
        return moment

    def _make_moment(self, second: int) -> Moment:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = stamp[:8]
        if day != self._day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = digest(key, part.encode(), "sha256")
            self._inner, self._outer = sha256(_padded(key, 0x36)), sha256(_padded(key, 0x5C))
            self._day = day
            self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
        prefix = f"{_ALGORITHM} Credential={self._access_key}/{self._scope}, SignedHeaders="
        return Moment(stamp, self._scope, prefix, self._inner, self._outer)


def canonical(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the canonical form of headers, `host` among them, and the list of their names."""
    names = sorted(name for name in headers if name not in _UNSIGNED)
    return "".join(f"{name}:{_fold(headers[name])}\n" for name in names), ";".join(names)


def _padded(key: bytes, byte: int) -> bytes:
    return bytes(k ^ byte for k in key.ljust(64, b"\0"))


def _fold(value: str) -> str:
    """Fold runs of spaces, as the canonical form wants."""
    return " ".join(value.split())
