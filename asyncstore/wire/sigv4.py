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
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import quote

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    from asyncstore.types import Buffer

    _List: TypeAlias = tuple[str, Callable[[Mapping[str, str]], tuple[Any, ...]], str]

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


class Signer:
    """Signs requests with one key for one region.

    What does not change from one request to the next is computed once: the signing key of a
    day, the time of a second, the list of signed headers' names.

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
        "_lists",
        "_outer",
        "_prefix",
        "_region",
        "_scope",
        "_second",
        "_secret",
        "_service",
        "_stamp",
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
        self._stamp = ""
        self._day = ""
        self._scope = ""
        self._prefix = ""
        self._inner = self._outer = sha256()
        self._lists: dict[tuple[str, ...], _List] = {}

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
        if int(now) != self._second:
            self._set_time(int(now))
        stamp = self._stamp
        out = dict(headers) if headers else {}
        out["host"] = host
        out["x-amz-content-sha256"] = payload
        out["x-amz-date"] = stamp
        if self._token is not None:
            out["x-amz-security-token"] = self._token
        lines, names = self._canonical(out)
        del out["host"]
        signature = self._signature(
            f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}", stamp
        )
        out["authorization"] = f"{self._prefix}{names}, Signature={signature}"
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
        if int(now) != self._second:
            self._set_time(int(now))
        lines, names = self._canonical({**(headers or {}), "host": host})
        pairs = list(query.items() if hasattr(query, "items") else query)
        pairs += [
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self._access_key}/{self._scope}"),
            ("X-Amz-Date", self._stamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", names),
        ]
        if self._token is not None:
            pairs.append(("X-Amz-Security-Token", self._token))
        text = encode_query(pairs)
        signature = self._signature(
            f"{method}\n{path}\n{text}\n{lines}\n{names}\n{UNSIGNED_PAYLOAD}", self._stamp
        )
        return f"{text}&X-Amz-Signature={signature}"

    def _canonical(self, headers: dict[str, str]) -> tuple[str, str]:
        """Return the canonical headers, and the list of their names."""
        key = tuple(headers)
        known = self._lists.get(key)
        if known is None:
            known = _list_of(key)
            if len(self._lists) < 256:  # noqa: PLR2004 - users may invent metadata's names
                self._lists[key] = known
        form, pick, names = known
        lines = form % pick(headers)
        if "  " in lines or ": " in lines or " \n" in lines:  # perhaps what must be folded
            lines = form % tuple(map(_fold, pick(headers)))
        return lines, names

    def _signature(self, canonical: str, stamp: str) -> str:
        hashed = sha256(canonical.encode()).hexdigest()
        # HMAC by its definition: the states after the padded key are kept for the day.
        inner = self._inner.copy()
        inner.update(f"{_ALGORITHM}\n{stamp}\n{self._scope}\n{hashed}".encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def _set_time(self, second: int) -> None:
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = self._stamp[:8]
        if day != self._day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = digest(key, part.encode(), "sha256")
            self._inner, self._outer = sha256(_padded(key, 0x36)), sha256(_padded(key, 0x5C))
            self._day = day
            self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
            self._prefix = (
                f"{_ALGORITHM} Credential={self._access_key}/{self._scope}, SignedHeaders="
            )
        self._second = second


def _list_of(names: tuple[str, ...]) -> _List:
    """Return how headers of these names are written, picked and listed in canonical form."""
    ordered = sorted(name for name in names if name not in _UNSIGNED)
    if len(ordered) == 1:  # `host` alone, of which itemgetter would make no tuple
        return f"{ordered[0]}:%s\n", lambda headers: (headers[ordered[0]],), ordered[0]
    form = "".join(f"{name.replace('%', '%%')}:%s\n" for name in ordered)
    return form, itemgetter(*ordered), ";".join(ordered)


def _padded(key: bytes, byte: int) -> bytes:
    return bytes(k ^ byte for k in key.ljust(64, b"\0"))


def _fold(value: str) -> str:
    """Fold runs of spaces, as the canonical form wants."""
    return " ".join(value.split())
