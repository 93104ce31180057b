"""A TCP proxy that does to the bytes between client and server what networks do.

It runs in the test's own event loop, on 127.0.0.1. What happens in each direction is a
`Faults`, which may be changed while connections are open.

    async with FaultProxy("127.0.0.1", port) as proxy:
        proxy.down.cut_after = 1000   # the 1,001st byte to the client never comes
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Literal, Self

_PIECE = 16 << 10


@dataclass
class Faults:
    """What happens to the bytes of each connection in one direction.

    Attributes:
        latency: seconds that each piece is held back.
        rate: bytes per second, or `None` for as fast as it goes.
        piece: most bytes passed on at a time.
        cut_after: close the connection, both ways, when so many bytes have passed.
        how: with a reset or with a FIN.
        stall_after: pass nothing on when so many bytes have passed, and read nothing.
        flip: positions of bytes whose lowest bit is turned.
        cuts: how many connections to cut; `None` is all.
    """

    latency: float = 0.0
    rate: float | None = None
    piece: int = _PIECE
    cut_after: int | None = None
    how: Literal["reset", "fin"] = "reset"
    stall_after: int | None = None
    flip: frozenset[int] = frozenset()
    cuts: int | None = None


class FaultProxy:
    """The proxy; an async context manager.

    Args:
        host: of the server behind it.
        port: of the server behind it.

    Attributes:
        up: what happens to bytes from client to server.
        down: what happens to bytes from server to client.
        refusing: close new connections at once.
        connections: how many were accepted.
    """

    def __init__(self, host: str, port: int) -> None:
        self._behind = host, port
        self._tasks: set[asyncio.Task[None]] = set()
        self._ups: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.up = Faults()
        self.down = Faults()
        self.refusing = False
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """How many connections the client holds open now, as far as what it sent was read."""
        return len(self._ups)

    def drop(self) -> None:
        """Reset every connection there is."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if self.refusing:
                _reset(writer)
                return
            behind_reader, behind_writer = await asyncio.open_connection(*self._behind)
            ends = {writer, behind_writer}
            self._writers |= ends
            try:
                await self._relay(reader, behind_writer, behind_reader, writer)
            finally:
                self._writers -= ends
                for end in ends:
                    end.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # one end has gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _relay(
        self,
        client: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
    ) -> None:
        both = (client_writer, server_writer)
        ways = [
            asyncio.create_task(_pass_on(self.up, client, server_writer, both)),
            asyncio.create_task(_pass_on(self.down, server, client_writer, both)),
        ]
        self._ups.add(ways[0])
        ways[0].add_done_callback(self._ups.discard)
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(
    faults: Faults,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
) -> None:
    passed = 0
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(faults.piece):
            if faults.latency:
                await asyncio.sleep(faults.latency)
            if faults.rate is not None:
                await asyncio.sleep(len(data) / faults.rate)
            if faults.stall_after is not None and passed + len(data) > faults.stall_after:
                writer.write(data[: max(0, faults.stall_after - passed)])
                await asyncio.Event().wait()
            if _due(faults, passed + len(data)):
                await _cut(faults, data[: (faults.cut_after or 0) - passed], writer, both)
                return
            writer.write(_flipped(data, passed, faults.flip))
            await writer.drain()
            passed += len(data)
        writer.write_eof()


def _due(faults: Faults, passed: int) -> bool:
    """Whether it is time to cut; if so, one cut fewer is left."""
    if faults.cut_after is None or passed < faults.cut_after or faults.cuts == 0:
        return False
    if faults.cuts is not None:
        faults.cuts -= 1
    return True


async def _cut(
    faults: Faults,
    last: bytes,
    writer: asyncio.StreamWriter,
    both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
) -> None:
    writer.write(last)
    await writer.drain()
    for end in both:
        if faults.how == "reset":
            _reset(end)
        else:
            end.close()


def _flipped(data: bytes, start: int, positions: frozenset[int]) -> bytes:
    inside = [position - start for position in positions if start <= position < start + len(data)]
    if not inside:
        return data
    changed = bytearray(data)
    for position in inside:
        changed[position] ^= 1
    return bytes(changed)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
