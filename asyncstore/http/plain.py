"""A transport for plain TCP on asyncio's own event loops: what an engine needs, and no more.

asyncio's transports serve any protocol; each answer passes through twice as many calls, and what
a socket does not take at once is copied. Here the connection's window is received into directly,
and what waits to be sent stays where it is. Other loops, and TLS, have transports of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from asyncstore.http.watching import watcher_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from asyncstore.types import Buffer

_HIGH = 64 << 10  # bytes that wait to be sent, above which the protocol is told to pause
_LOW = 16 << 10

_NOT_NOW = (BlockingIOError, InterruptedError)


def fits(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop watches sockets as these transports need it."""
    return isinstance(loop, asyncio.SelectorEventLoop)


class PlainTransport(asyncio.Transport):
    """Moves the bytes of one connected socket; see `asyncio.Transport`.

    Args:
        loop: that it runs on; its callbacks are called by it alone.
        sock: connected, and not blocking. It is closed with the transport.
        protocol: whose the bytes are.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.BufferedProtocol,
    ) -> None:
        super().__init__({"socket": sock})
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._window = protocol.get_buffer
        self._updated = protocol.buffer_updated
        self._recv_into: Callable[[Any], int] = sock.recv_into
        self._send: Callable[[Any], int] = sock.send
        self._waiting: deque[memoryview] = deque()
        self._size = 0  # of what waits to be sent
        self._paused = False  # the protocol is told not to write
        self._reading = False
        self._closing = False
        self._watcher = watcher_of(loop)
        protocol.connection_made(self)
        self.resume_reading()

    # Receiving.

    def _on_readable(self) -> None:
        try:
            count = self._recv_into(self._window(-1))
        except _NOT_NOW:
            return
        except OSError as error:
            self._end(error)
            return
        try:
            if count:
                self._updated(count)
            else:
                self._protocol.eof_received()
                self.close()
        except Exception as error:
            # A bug: whoever waits is told that the connection is lost, and the loop why.
            self._end(error)
            raise

    def pause_reading(self) -> None:
        """Receive nothing for a while."""
        if self._reading:
            self._reading = False
            self._watcher.forget(self._fd)

    def resume_reading(self) -> None:
        """Receive again."""
        if not (self._reading or self._closing):
            self._reading = True
            self._watcher.watch(self._fd, self._on_readable)

    def is_reading(self) -> bool:
        """Whether anything is received now."""
        return self._reading

    # Sending.

    def write(self, data: Buffer) -> None:
        """Send bytes; what the system does not take now is sent later, from where it is."""
        if self._closing:
            return
        if not self._waiting:
            try:
                sent = self._send(data)
            except _NOT_NOW:
                sent = 0
            except OSError as error:
                self._end(error)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._on_writable)
        self._waiting.append(memoryview(data))
        self._size += len(data)
        if self._size > _HIGH and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _on_writable(self) -> None:
        waiting = self._waiting
        try:
            while waiting:
                piece = waiting[0]
                sent = self._send(piece)
                self._size -= sent
                if sent < len(piece):
                    waiting[0] = piece[sent:]
                    break
                waiting.popleft()
        except _NOT_NOW:
            pass
        except OSError as error:
            self._end(error)
            return
        if self._paused and self._size <= _LOW:
            self._paused = False
            self._protocol.resume_writing()
        if not waiting and not self._closing:
            self._loop.remove_writer(self._fd)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._size

    # Ending.

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """Close at once: whoever speaks HTTP has nothing to say after the end."""
        self._end(None)

    def abort(self) -> None:
        """Close at once."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        self._loop.remove_writer(self._fd)
        self._waiting.clear()
        self._size = 0
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._watcher.leave()
            self._sock.close()
