"""One request: read strictly from ASGI, its body watched, its answer sent.

What is verified is what is acted upon: the path and the query are decoded once, a header that
comes twice is refused, and so is whatever has two readings.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from asyncstore.hub.storage.faults import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asyncstore.hub.storage.grants import Grant
    from asyncstore.types import Buffer

    Scope: TypeAlias = Mapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
    Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

KEY_MAX = 1024
HEAD_MAX = 24 << 10
"""Longest head of a request, in bytes."""
_PATH_MAX = 12 << 10
_QUERY_PARAMETERS_MAX = 64
_DRAIN_MAX = 4 << 20
_SESSION = secrets.token_hex(4).upper()
_NUMBERS = itertools.count(secrets.randbits(24))
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What may come twice, since nothing here reads it.
_MAY_REPEAT = frozenset(
    {"accept", "accept-encoding", "accept-language", "cookie", "forwarded", "via", "cache-control"}
    | {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
)


class Gone(Exception):  # noqa: N818 - nobody is there to be told
    """The client is not there any more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a client may be.

    Attributes:
        window: seconds in which `least` bytes must come or go.
        least: bytes.
    """

    window: float = 30.0
    least: int = 30 << 10


class Stream(Protocol):
    """A long body on its way out."""

    async def next(self) -> Buffer:
        """Return the next piece; an empty one at the end."""

    def close(self) -> None:
        """Let go of what it holds; twice is as once."""


@dataclass(slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP's.
        headers: values as Latin-1.
        body: all of it, where it is short.
        stream: what gives it otherwise; `headers` then say its length.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Buffer = b""
    stream: Stream | None = None


def document(text: str, *, status: int = 200) -> Reply:
    """Return an answer of XML."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    body = (head + text).encode("utf-8", "surrogatepass")
    return Reply(status, {"content-type": "application/xml"}, body)


class Request:
    """What was asked.

    Args:
        scope, receive, send: ASGI's.
        pace: how slow the client may be.

    Attributes:
        method: upper case.
        bucket: the path's first part, `""` where there is none.
        key: the rest, or `""`.
        path: in the canonical encoding.
        pairs, query: the query, decoded; `query` has a name's first value.
        headers: names in lower case.
        id: the request's own name.
        grant: what the asker may do, once that is known.

    Raises:
        Refused: it has no single reading, or is too long; from `parse`.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, pace: Pace) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._pace = pace
        self._due = 0.0
        self._came = 0
        self._over = False
        self.method: str = scope["method"]
        self.bucket = self.key = ""
        self.path = "/"
        self.pairs: list[tuple[str, str]] = []
        self.query: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.id = f"{_SESSION}{next(_NUMBERS):010X}"
        self.grant: Grant

    def parse(self) -> None:
        """Read the head."""
        self._read_headers()
        raw: bytes = self._scope.get("raw_path") or quote(self._scope["path"]).encode()
        if len(raw) > _PATH_MAX:
            raise Refused("KeyTooLongError", "Your key is too long")
        path = _decode(raw.partition(b"?")[0].decode("latin-1"))
        self.path = quote(path, safe="/-._~")
        self.bucket, _, self.key = path[1:].partition("/")
        if len(self.key.encode()) > KEY_MAX:
            raise Refused("KeyTooLongError", "Your key is too long")
        if text := self._scope["query_string"].decode("latin-1"):
            parts = text.split("&")
            if len(parts) > _QUERY_PARAMETERS_MAX:
                raise Refused("InvalidURI", "The query has too many parameters")
            for part in parts:
                if part:
                    name, _, value = part.replace("+", "%20").partition("=")
                    self.pairs.append((_decode(name), _decode(value)))
            self.query = dict(self.pairs)
            if len(self.query) != len(self.pairs):
                raise Refused("InvalidArgument", "A parameter comes twice in the query")

    def _read_headers(self) -> None:
        size = len(self._scope["query_string"])
        headers = self.headers
        for raw, value in self._scope["headers"]:
            size += len(raw) + len(value)
            name = raw.decode("latin-1").lower()
            if name in headers and name not in _MAY_REPEAT:
                raise Refused("InvalidRequest", f"The header {name[:60]} comes twice")
            headers[name] = value.decode("latin-1")
        if size > HEAD_MAX:
            raise Refused("RequestHeaderSectionTooLarge", "The request's head is too large")
        if "transfer-encoding" in headers and "content-length" in headers:
            raise Refused("InvalidRequest", "The request has two lengths")

    @property
    def length(self) -> int | None:
        """The body's length as it travels, in bytes; `None` where it is not told."""
        text = self.headers.get("content-length")
        if text is None:
            return None if "transfer-encoding" in self.headers else 0
        if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004
            raise Refused("InvalidArgument", "Content-Length is no number")
        return int(text)

    async def more(self) -> bytes:
        """Return the next bytes of the body; `b""` at its end.

        Raises:
            Gone: the client went away.
            Refused: it is too slow.
        """
        while not self._over:
            loop = asyncio.get_running_loop()
            if not self._due:
                self._due = loop.time() + self._pace.window
            try:
                async with asyncio.timeout_at(self._due):
                    message = await self._receive()
            except TimeoutError:
                raise Refused(
                    "RequestTimeout", "The body came too slowly", headers={"connection": "close"}
                ) from None
            if message["type"] != "http.request":
                raise Gone
            self._over = not message.get("more_body", False)
            body: bytes = message.get("body", b"")
            self._came += len(body)
            if self._came >= self._pace.least:
                self._due, self._came = 0.0, 0
            if body:
                return body
        return b""

    async def whole(self, limit: int) -> bytes:
        """Return the whole body.

        Args:
            limit: the longest to take, in bytes.

        Raises:
            Gone: the client went away.
            Refused: it is longer, or too slow.
        """
        pieces: list[bytes] = []
        size = 0
        while piece := await self.more():
            size += len(piece)
            if size > limit:
                raise Refused("MaxMessageLengthExceeded", "Your request was too big.")
            pieces.append(piece)
        return b"".join(pieces)

    async def refuse(self, refusal: Refused) -> None:
        """Answer with an error, after what the client is still sending, if that is not much."""
        reply = Reply(refusal.status, refusal.headers)
        reply.headers["content-type"] = "application/xml"
        if self.method != "HEAD" and refusal.status not in (204, 304):
            resource = quote(self._scope["path"], safe="/-._~", errors="replace")
            reply.body = refusal.document(resource, self.id)
        if not await self._drained(refusal):
            reply.headers["connection"] = "close"
        await self.answer(reply)

    async def _drained(self, refusal: Refused) -> bool:
        """Take the rest of the body, so that the client reads the answer; not of a long one."""
        if self._over or refusal.code == "RequestTimeout":
            return self._over
        if "expect" in self.headers:
            return False  # it waits for us before it sends
        try:
            left = self.length
            if left is None or left > _DRAIN_MAX:
                return False
            while await self.more():
                pass
        except Refused:
            return False
        return True

    async def answer(self, reply: Reply) -> None:
        """Send an answer.

        Raises:
            Gone: the client went away, or takes it too slowly.
        """
        try:
            await self._answer(reply)
        except TimeoutError:
            raise Gone from None
        finally:
            if reply.stream is not None:
                reply.stream.close()

    async def _answer(self, reply: Reply) -> None:
        headers = reply.headers
        headers["x-amz-request-id"] = self.id
        if reply.status != 304 and "content-length" not in headers:  # noqa: PLR2004
            headers["content-length"] = str(len(reply.body))
        head = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": head})
        stream = reply.stream
        while stream is not None and (piece := await stream.next()):
            # A piece is taken while the one before it is still on its way.
            async with asyncio.timeout(self._pace.window):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": reply.body})


def _decode(text: str) -> str:
    if "%" not in text and text.isascii():
        return text
    if _ESCAPE.search(text):
        raise Refused("InvalidURI", "The URI has an escape that is none")
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Refused("InvalidURI", "Couldn't parse the specified URI: it is not UTF-8") from None
