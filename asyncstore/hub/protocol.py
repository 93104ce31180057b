"""HTTP on a connection, with an end to what a client may send before it has asked anything.

uvicorn bounds neither the size of a request's head nor the time it takes; a few bytes a minute
on many connections would use them all up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from asyncstore.hub.settings import Limits

if TYPE_CHECKING:
    import asyncio

_TOO_SLOW = (408, "Request Timeout", "too_slow", "The request came too slowly.")
_TOO_LARGE = (431, "Request Header Fields Too Large", "too_large", "The headers are too large.")


class Protocol(HttpToolsProtocol):
    """A connection of a hub."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # an address may be signed; the audit log says who did what
        self._head_size = 0
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request, and not for long."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, before it is parsed."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_size += len(data)
            if self._patience is None:
                self._wait()  # the first bytes of a later request
        super().data_received(data)
        if self._in_head and self._head_size > self.limits.head:
            self._refuse(*_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is whole."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._in_head = False
        self._head_size = 0
        self._stop_waiting()
        if size > self.limits.head:
            self._refuse(*_TOO_LARGE)
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that what follows is another head."""
        super().on_message_complete()
        self._in_head = True

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.limits.head_patience, self._refuse, *_TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: int, reason: str, code: str, description: str) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        body = f'{{"description":"{description}","code":"{code}"}}'.encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
