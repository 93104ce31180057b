"""An HTTP proxy on loopback that tunnels, and remembers what it was asked and shown.

Every host that is asked for is this machine's own: names are looked up nowhere, so that a test may
use the names of real services.

    async with TunnelProxy({"bucket.example": server.port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE = 64 << 10


class TunnelProxy:
    """The proxy; an async context manager.

    Args:
        hosts: the port of 127.0.0.1 that stands for each host; any other is refused with 502.
        authorization: the value of `Proxy-Authorization` to insist on, or `None`.

    Attributes:
        heads: what was asked for, byte for byte, in order.
        shown: what went through the tunnels to the servers.
    """

    def __init__(self, hosts: Mapping[str, int], *, authorization: str | None = None) -> None:
        self._hosts = hosts
        self._authorization = authorization
        self._tasks: set[asyncio.Task[None]] = set()
        self.heads: list[bytes] = []
        self.shown = bytearray()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """What `HTTPS_PROXY` is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """The first lines of what was asked for."""
        return [head.split(b"\r\n", 1)[0].decode() for head in self.heads]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):  # either end may go when it likes
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                port = self._port(head)
                if isinstance(port, bytes):
                    writer.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % port)
                    await writer.drain()
                    return
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._tunnel(reader, writer, port)
        finally:
            writer.transport.abort()

    def _port(self, head: bytes) -> int | bytes:
        """Return where a tunnel leads, or the status of a refusal."""
        method, target, _ = head.split(b" ", 2)
        host = target.decode().rpartition(":")[0]
        wanted = self._authorization
        if wanted is not None and f"proxy-authorization: {wanted}\r\n".encode() not in head:
            return b"407 Proxy Authentication Required"
        if method != b"CONNECT" or host not in self._hosts:
            return b"502 Bad Gateway"
        return self._hosts[host]

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.create_task(_pass_on(reader, behind_writer, self.shown)),
            asyncio.create_task(_pass_on(behind_reader, writer, bytearray())),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            behind_writer.transport.abort()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
) -> None:
    while data := await reader.read(_PIECE):
        seen += data
        writer.write(data)
        await writer.drain()
