"""What goes in and out of the HTTP engine: requests and responses as plain values, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from asyncstore.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.types import Buffer

_PORTS = {"http": 80, "https": 443}

BUFFERS = (bytes, bytearray, memoryview)
"""What is one buffer, and not a sequence of them."""

Body: TypeAlias = "Buffer | Sequence[Buffer]"


def size_of(body: Body, /) -> int:
    """Return how many bytes a body has."""
    return len(body) if isinstance(body, BUFFERS) else sum(map(len, body))


class Origin(NamedTuple):
    """Where connections go: scheme, host (no brackets) and port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str, /) -> Origin:
        """Read `http[s]://host[:port]`, without path, query, fragment or user.

        Raises:
            ConfigurationError: for anything else.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError("an endpoint is http[s]://host[:port]") from None
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("an endpoint URL carries no user or password")
        if (
            parts.scheme not in _PORTS
            or not parts.hostname
            or parts.path not in ("", "/")
            or parts.query
            or parts.fragment
            or not url.isprintable()
        ):
            raise ConfigurationError(f"an endpoint is http[s]://host[:port], not {url!r}")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """The `Host` header's value: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by name or by number."""
        first, *rest = self.host.split(".")  # `127.evil.example` is a name, of anybody's
        return self.host in ("localhost", "::1") or (
            first == "127" and all(part.isdecimal() for part in rest)
        )

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Request:
    """One HTTP request, complete: the engine adds framing and `Host`, and nothing else.

    Attributes:
        method: upper case.
        origin: where it goes; the engine follows no redirect.
        target: path and query, percent-encoded already, beginning with `/`.
        headers: names in lower case. No `host`, `content-length`, `transfer-encoding`,
            `connection` or `expect`: those are the engine's.
        head: all of the above as it goes out, where whoever signed it wrote it already; from the
            first line to the empty one, for this origin and this body.
        body: bytes in memory, one buffer or several that are sent one after another.
        into: where the body of a 2xx answer goes, instead of a buffer of its own.
        length: the exact size of a 2xx answer's body, where the caller knows it: any other is
            an error, and a body framed by nothing but the connection's end is then accepted.
        limit: most bytes of a 2xx answer's body; `None` is what a `Content-Length` says, and
            1 GiB without one.
        replayable: whether the engine may send it again on a fresh connection when a kept one
            turns out to have been closed before any byte of an answer came.
    """

    __slots__ = (
        "body",
        "head",
        "headers",
        "into",
        "length",
        "limit",
        "method",
        "origin",
        "replayable",
        "target",
    )

    def __init__(
        self,
        method: str,
        origin: Origin,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        head: bytes | None = None,
        body: Body = b"",
        into: memoryview | None = None,
        length: int | None = None,
        limit: int | None = None,
        replayable: bool = True,
    ) -> None:
        self.method = method
        self.head = head
        self.origin = origin
        self.target = target
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.body = body
        self.into = into
        self.length = length
        self.limit = limit
        self.replayable = replayable

    def __repr__(self) -> str:
        # The query may hold a signature, the headers a token.
        return f"Request({self.method} {self.origin}{self.target.partition('?')[0]})"


class TooLongError(IntegrityError):
    """A 2xx answer announced a longer body than `Request.limit`; none of it was read.

    Attributes:
        headers: of the answer; names in lower case.
    """

    def __init__(self, limit: int, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the answer's body is longer than {limit} bytes", status=status)
        self.headers = headers


class Response:
    """A complete answer.

    Attributes:
        status: three digits.
        headers: names in lower case; repeated ones joined by `", "`.
        body: all of it; a view of the beginning of `Request.into` where that was used.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: Buffer) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"
