r"""An HTTP server that is told byte for byte what to do, and remembers byte for byte what it saw.

Each connection is handled by a script: a coroutine that is given a `Wire`, reads requests from
it and writes whatever it likes. It runs in the test's own event loop, on 127.0.0.1.

    async with ByteFake(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")) as fake:
        ... fake.origin, fake.requests, fake.connections
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Self, TypeAlias

from asyncstore.http.message import Origin

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Received:
    """A request, as it came.

    Attributes:
        raw: its head, byte for byte.
        method, target: of its first line.
        headers: names in lower case, values stripped; a repeated one has its last value.
        body: as long as its `content-length`.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.headers: dict[str, str] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = b""


class Wire:
    """One connection, from the server's side."""

    def __init__(
        self, fake: ByteFake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._fake = fake
        self.reader = reader
        self.writer = writer
        self.number = fake.connections

    async def head(self) -> Received:
        """Read a request's head, and not its body.

        Raises:
            EOFError: the client has closed the connection.
        """
        received = Received(await self.reader.readuntil(b"\r\n\r\n"))
        self._fake.requests.append(received)
        return received

    async def request(self) -> Received:
        """Read a request.

        Raises:
            EOFError: the client has closed the connection.
        """
        received = await self.head()
        received.body = await self.reader.readexactly(
            int(received.headers.get("content-length", "0"))
        )
        return received

    async def send(self, data: bytes, *, piece: int | None = None) -> None:
        """Write bytes; with `piece`, so many at a time, each in a packet of its own."""
        if piece is None:
            self.writer.write(data)
        else:
            for start in range(0, len(data), piece):
                self.writer.write(data[start : start + piece])
                await asyncio.sleep(0)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with a reset, not a FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def cut(self) -> None:
        """Close without a word: under TLS, without its `close_notify`."""
        self.writer.transport.abort()

    def close(self) -> None:
        """Close as one does."""
        self.writer.close()

    async def gone(self) -> None:
        """Wait until the client has closed the connection, reading what it sends."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 20):
                pass

    async def stall(self) -> None:
        """Do nothing, and read nothing, until the test is over."""
        # The reader's limit and the socket's buffer fill; then the client can send no more.
        await self._fake.over.wait()


Script: TypeAlias = "Callable[[Wire], Awaitable[None]]"


def answers(*replies: bytes, close: bool = False) -> Script:
    """Make a script that gives these answers, one to each request.

    Args:
        replies: byte for byte; the last is given again to every later request.
        close: whether the connection is closed behind the last one.
    """

    async def script(wire: Wire) -> None:
        for reply in replies:
            await wire.request()
            await wire.send(reply)
        while not close:
            await wire.request()
            await wire.send(replies[-1])

    return script


class ByteFake:
    """The server; an async context manager.

    Args:
        scripts: one for each connection, in order; the last handles all further ones.
        tls: with a certificate, speak TLS.
        buffer: of each connection's socket, in bytes; small, so that a server that does not
            read is felt soon.

    Attributes:
        requests: what was received, of all connections, in order.
        connections: how many were accepted.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        buffer: int | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._scripts = list(scripts)
        self._tls = tls
        self._buffer = buffer
        self._host = host
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.requests: list[Received] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self.over = asyncio.Event()
        listening = socket.create_server(
            (self._host, 0), family=socket.AF_INET6 if ":" in self._host else socket.AF_INET
        )
        if self._buffer is not None:
            # Accepted connections inherit it.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        self._server = await asyncio.start_server(
            self._accept, sock=listening, ssl=self._tls, limit=1 << 17
        )
        self.port: int = listening.getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over.set()
        for _turn in range(5):
            await asyncio.sleep(0)  # a connection on its way in would leak
        self._server.close()
        tasks = dict(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing = [writer.wait_closed() for writer in tasks.values()]
        await asyncio.gather(*closing, return_exceptions=True)

    @property
    def origin(self) -> Origin:
        """Where it listens; under TLS by name, which the certificate has."""
        if self._tls is not None:
            return Origin("https", "localhost", self.port)
        return Origin("http", self._host, self.port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.over.is_set():
            writer.transport.abort()
            return
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        task = asyncio.create_task(self._serve(script, Wire(self, reader, writer)))
        self._tasks[task] = writer
        task.add_done_callback(self._end)

    async def _serve(self, script: Script, wire: Wire) -> None:
        with contextlib.suppress(EOFError, ConnectionError):  # the client may go when it likes
            await script(wire)

    def _end(self, task: asyncio.Task[None]) -> None:
        writer = self._tasks.pop(task)
        if self.over.is_set():
            writer.transport.abort()
        else:
            writer.close()


def chunked(pieces: Iterable[bytes], *, last: bool = True) -> bytes:
    """Apply the chunked coding; without `last`, as a server does that dies."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return body + (b"0\r\n\r\n" if last else b"")
