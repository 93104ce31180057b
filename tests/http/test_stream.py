"""Answers that are read as they arrive."""

from __future__ import annotations

import asyncio

import pytest

from asyncstore.errors import IntegrityError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Request
from asyncstore.testing.bytefake import OK, ByteFake, answers, chunked

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = bytes(range(256)) * 20_000


def framed(kind, body=BODY):
    if kind == "length":
        return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked(pieces)


@pytest.mark.parametrize("kind", ["length", "chunked"])
async def test_a_body_comes_in_pieces_and_the_connection_is_kept(kind):
    async with ByteFake(answers(framed(kind))) as fake:
        engine = Engine()
        for _ in range(3):
            async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
                assert reply.status == 200
                assert reply.length == (len(BODY) if kind == "length" else None)
                got = b"".join([bytes(piece) async for piece in reply])
            assert got == BODY
        assert fake.connections == 1
        await engine.aclose()


async def test_a_reader_who_leaves_early_costs_the_connection_and_nothing_else():
    async with ByteFake(answers(framed("length"))) as fake:
        engine = Engine(EngineOptions(connections=1))
        for _ in range(3):
            async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
                async for piece in reply:
                    assert piece
                    break
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            assert await reply.read() == BODY
        assert fake.connections == 4
        await engine.aclose()


async def test_a_connection_serves_others_while_a_reader_still_has_its_last_bytes():
    async with ByteFake(answers(OK)) as fake:
        engine = Engine(EngineOptions(connections=1))
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
            assert await reply.read() == b"ok"
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        assert fake.connections == 1
        await engine.aclose()


async def test_a_slow_reader_holds_the_server_back():
    sent = 0

    async def script(wire):
        nonlocal sent
        await wire.request()
        await wire.send(HEAD + b"content-length: %d\r\n\r\n" % (200 << 20))
        while sent < 200 << 20:
            await wire.send(bytes(65_536))
            sent += 65_536

    async with ByteFake(script) as fake:
        engine = Engine()
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.05)
            # The system's buffers at both ends, and 256 KiB of ours.
            assert sent < 30 << 20
            assert engine.counters().received < 1 << 20
            assert sum([len(piece) async for piece in reply]) == 200 << 20
        await engine.aclose()


async def drain(reply, nearly_done):
    got = 0
    async for piece in reply:
        got += len(piece)
        if got >= len(BODY) - 300_000:
            nearly_done.set()


@pytest.mark.parametrize("how", ["cut", "reset"])
@pytest.mark.parametrize("kind", ["length", "chunked"])
async def test_a_stream_that_is_cut_raises(kind, how):
    async def script(wire):
        await wire.request()
        await wire.send(framed(kind)[:-1])
        await read.wait()
        getattr(wire, how)()

    read = asyncio.Event()
    async with ByteFake(script) as fake:
        engine = Engine()
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            with pytest.raises(UnavailableError, match="closed in the middle"):
                await drain(reply, read)
        assert engine.counters().open == 0
        await engine.aclose()


async def test_a_stream_is_as_strict_about_its_length_as_a_whole_answer():
    async with ByteFake(answers(HEAD + b"\r\nhello", close=True)) as fake:
        engine = Engine()
        with pytest.raises(IntegrityError, match="how long"):
            async with engine.stream(Request("GET", fake.origin, "/k")):
                pass
        async with engine.stream(Request("GET", fake.origin, "/k", length=5)) as reply:
            assert await reply.read() == b"hello"
        async with engine.stream(Request("GET", fake.origin, "/k", length=6)) as reply:
            with pytest.raises(UnavailableError, match="5 bytes, not the expected 6"):
                await reply.read()
        async with engine.stream(Request("GET", fake.origin, "/k", length=4)) as reply:
            with pytest.raises(IntegrityError, match="longer than 4"):
                await reply.read()
        await engine.aclose()


async def test_read_stops_at_its_cap():
    async with ByteFake(answers(framed("length"))) as fake:
        engine = Engine()
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            with pytest.raises(IntegrityError, match="longer than 1000"):
                await reply.read(1000)
        await engine.aclose()


async def test_an_error_may_be_streamed_and_is_cut_at_the_cap():
    raw = b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nno such k"
    async with ByteFake(answers(raw)) as fake:
        engine = Engine()
        async with engine.stream(Request("GET", fake.origin, "/k", length=100)) as reply:
            assert reply.status == 404
            assert await reply.read(7) == b"no such"
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            assert await reply.read(100) == b"no such k"
        await engine.aclose()


async def test_an_empty_body_is_a_stream_without_pieces():
    raw = HEAD + b"content-length: 0\r\n\r\n"
    async with ByteFake(answers(raw)) as fake:
        engine = Engine()
        for _ in range(2):
            async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
                assert [piece async for piece in reply] == []
        assert fake.connections == 1
        await engine.aclose()


async def test_closing_the_engine_ends_a_stream():
    async def script(wire):
        await wire.request()
        await wire.send(HEAD + b"content-length: 100\r\n\r\nabc")
        await wire.stall()

    async with ByteFake(script) as fake:
        engine = Engine()
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            assert bytes(await anext(reply)) == b"abc"
            task = asyncio.create_task(reply.read())
            await asyncio.sleep(0)
            await engine.aclose()
            with pytest.raises(Exception, match="closed"):
                await task
