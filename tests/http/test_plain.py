"""The transport of plain TCP: what the system does not take at once, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from asyncstore.http import watching
from asyncstore.http.plain import PlainTransport

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=["at once", "each"], autouse=True)
def watched(request, monkeypatch):
    """Sockets are watched all at once, or each by the loop, as where there is no epoll."""
    if request.param == "each":
        monkeypatch.setattr(watching, "select", SimpleNamespace())


class Seen(asyncio.BufferedProtocol):
    """Keeps what it is told; `bug` is raised in place of taking bytes."""

    def __init__(self):
        self.room = bytearray(1 << 16)
        self.data = bytearray()
        self.told: list[Any] = []
        self.bug: Exception | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.came = asyncio.Event()
        self.resumed = asyncio.Event()

    def connection_made(self, transport):
        self.told.append("made")

    def get_buffer(self, sizehint):
        return memoryview(self.room)

    def buffer_updated(self, nbytes):
        if self.bug is not None:
            raise self.bug
        self.data += self.room[:nbytes]
        self.came.set()

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")
        self.resumed.set()

    def eof_received(self):
        self.told.append("eof")

    def connection_lost(self, exc):
        self.told.append("lost")
        self.lost.set_result(exc)


@asynccontextmanager
async def connected(buffer=1 << 14):
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    seen = Seen()
    transport = PlainTransport(asyncio.get_running_loop(), ours, seen)
    with theirs:
        yield transport, seen, theirs
        transport.abort()
        await seen.lost
    assert ours.fileno() == -1


async def received(theirs, count):
    data = bytearray()
    while len(data) < count:
        data += await asyncio.get_running_loop().sock_recv(theirs, 5000)
    return data


async def test_what_the_system_does_not_take_at_once_comes_whole_and_in_order():
    pieces = [os.urandom(size) for size in (10, 300_000, 1, 70_000, 0, 5)]
    async with connected() as (transport, seen, theirs):
        for piece in pieces:
            transport.write(piece)
        assert transport.get_write_buffer_size() > 200_000
        assert await received(theirs, 370_016) == b"".join(pieces)
        await seen.resumed.wait()
        assert transport.get_write_buffer_size() == 0
        assert seen.told == ["made", "pause", "resume"]


async def test_whoever_writes_is_asked_to_pause_once_and_only_above_the_mark():
    async with connected() as (transport, seen, theirs):
        transport.write(bytes(60_000))
        assert "pause" not in seen.told
        for _ in range(3):
            transport.write(bytes(60_000))
        assert seen.told.count("pause") == 1
        await received(theirs, 240_000)


async def test_what_is_received_goes_where_the_protocol_says_unless_it_pauses():
    async with connected() as (transport, seen, theirs):
        theirs.send(b"hello")
        await seen.came.wait()
        assert seen.data == b"hello"
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        seen.came.clear()
        theirs.send(b" again")
        await received_nothing(seen)
        transport.resume_reading()
        transport.resume_reading()
        await seen.came.wait()
        assert seen.data == b"hello again"


async def received_nothing(seen):
    for _ in range(10):
        await asyncio.sleep(0)
    assert not seen.came.is_set()


async def test_the_other_sides_end_is_told_and_then_the_loss():
    async with connected() as (transport, seen, theirs):
        theirs.close()
        assert await seen.lost is None
        assert seen.told == ["made", "eof", "lost"]
        assert transport.is_closing()


async def test_a_broken_pipe_is_told_as_the_reason():
    async with connected() as (transport, seen, theirs):
        transport.pause_reading()
        theirs.close()
        transport.write(b"x")
        assert isinstance(await seen.lost, BrokenPipeError)
        transport.write(b"y")
        assert seen.told == ["made", "lost"]


async def test_a_bug_in_the_protocol_loses_the_connection_and_is_told_to_the_loop():
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with connected() as (_, seen, theirs):
        seen.bug = ZeroDivisionError()
        theirs.send(b"x")
        assert await seen.lost is seen.bug
    assert [context["exception"] for context in told] == [seen.bug]


async def test_it_ends_once_however_often_it_is_ended_and_drops_what_waits():
    async with connected() as (transport, seen, theirs):
        transport.write(bytes(100_000))
        transport.close()
        transport.abort()
        transport.resume_reading()
        assert transport.get_write_buffer_size() == 0
        await seen.lost
        assert seen.told.count("lost") == 1
        assert len(await everything(theirs)) < 100_000


async def everything(theirs):
    data = bytearray()
    while more := await asyncio.get_running_loop().sock_recv(theirs, 1 << 16):
        data += more
    return data
