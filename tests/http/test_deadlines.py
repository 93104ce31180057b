"""Nothing waits for ever: each way in which a server can be slow, and how soon it is given up."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic

import pytest

from asyncstore.errors import ConfigurationError, DeadlineError, UnavailableError
from asyncstore.http import DEADLINE, Engine, EngineOptions, Request
from asyncstore.testing.bytefake import OK, ByteFake, answers, chunked

pytestmark = pytest.mark.anyio

LONG = 30.0


@contextlib.contextmanager
def gives_up(after, match, outcome="not_applied"):
    """Expect a `DeadlineError` not before `after` seconds, and within one second of it."""
    began = monotonic()
    with pytest.raises(DeadlineError, match=match) as caught:
        yield
    assert after * 0.9 <= monotonic() - began < after + 1
    assert caught.value.outcome == outcome
    assert caught.value.retryable


def engine_with(**options):
    slow = {"read_timeout": LONG, "connect_timeout": LONG, "speed_window": LONG}
    return Engine(EngineOptions(**(slow | options)))


async def closes(engine):
    """Check that no connection of the engine is left."""
    await asyncio.sleep(0)
    assert engine.counters().open == 0
    await engine.aclose()


async def silent(wire):
    await wire.request()
    await wire.stall()


async def half_a_head(wire):
    await wire.request()
    await wire.send(OK[:20])
    await wire.stall()


async def a_head_slowly(wire):
    await wire.request()
    await wire.send(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        await wire.send(b"1")
        await asyncio.sleep(0.02)


async def endless_interims(wire):
    await wire.request()
    for _ in range(10):
        await wire.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.08)
    await wire.stall()


@pytest.mark.parametrize("script", [silent, half_a_head, a_head_slowly, endless_interims])
async def test_a_head_that_does_not_come_is_given_up_after_the_read_timeout(script):
    async with ByteFake(script) as fake:
        engine = engine_with(read_timeout=0.4)
        with gives_up(0.4, "no answer within 0.4 s", "unknown"):
            await engine.send(Request("PUT", fake.origin, "/k", body=b"x"))
        await closes(engine)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_slower_than_the_least_speed_is_given_up(framing):
    async def script(wire):
        await wire.request()
        if framing == "length":
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await wire.send(b"x" if framing == "length" else chunked([b"x"], last=False))
            await asyncio.sleep(0.02)

    async with ByteFake(script) as fake:
        engine = engine_with(speed_window=0.4, least_speed=1000)
        with gives_up(0.4, "slower than 1000 bytes per second"):
            await engine.send(Request("GET", fake.origin, "/k"))
        await closes(engine)


async def test_a_body_that_stops_is_given_up():
    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(500_000))
        await wire.stall()

    async with ByteFake(script) as fake:
        engine = engine_with(speed_window=0.4, least_speed=1)
        mine = bytearray(1_000_000)
        with pytest.raises(DeadlineError, match="slower"):
            await engine.send(Request("GET", fake.origin, "/k", into=memoryview(mine)))
        await closes(engine)


async def test_a_slow_body_above_the_least_speed_arrives():
    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(20):
            await wire.send(b"12345")
            await asyncio.sleep(0.05)

    async with ByteFake(script) as fake:
        engine = engine_with(speed_window=0.2, least_speed=20, read_timeout=0.2)
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"12345" * 20
        await engine.aclose()


async def reads_nothing(wire):
    await wire.head()
    await wire.stall()


@pytest.mark.parametrize("size", [3 << 20, 30 << 20])
async def test_an_upload_that_is_not_read_is_given_up(size):
    async with ByteFake(reads_nothing, buffer=16_384) as fake:
        engine = engine_with(speed_window=0.4, least_speed=1000)
        with gives_up(0.4, "slower than 1000 bytes per second", "unknown"):
            await engine.send(Request("PUT", fake.origin, "/k", body=bytes(size)))
        await closes(engine)


async def test_a_slow_upload_above_the_least_speed_is_not_taken_for_a_slow_answer():
    """Much of an upload is on its way in the system's buffers when the last byte is written."""

    async def script(wire):
        received = await wire.head()
        left = int(received.headers["content-length"])
        wire.writer.transport.pause_reading()
        while left:
            wire.writer.transport.resume_reading()
            left -= len(await wire.reader.read(min(left, 30_000)))
            wire.writer.transport.pause_reading()
            await asyncio.sleep(0.01)
        await wire.send(OK)

    async with ByteFake(script, buffer=16_384) as fake:
        engine = engine_with(speed_window=0.5, least_speed=10_000, read_timeout=0.3)
        began = monotonic()
        body = bytes(4_000_000)
        answer = await engine.send(Request("PUT", fake.origin, "/k", body=body))
        assert answer.body == b"ok"
        assert monotonic() - began > 0.6
        await engine.aclose()


@pytest.mark.parametrize("script", [silent, half_a_head, reads_nothing])
@pytest.mark.parametrize("size", [0, 30 << 20])
async def test_the_operations_deadline_is_kept_whatever_is_waited_for(script, size):
    async with ByteFake(script, buffer=16_384) as fake:
        engine = engine_with()
        token = DEADLINE.set(monotonic() + 0.4)
        with gives_up(0.4, "deadline", "unknown"):
            await engine.send(Request("PUT", fake.origin, "/k", body=bytes(size)))
        DEADLINE.reset(token)
        await closes(engine)


async def test_a_deadline_that_has_passed_ends_a_request_soon():
    async with ByteFake(silent) as fake:
        engine = engine_with()
        token = DEADLINE.set(monotonic() - 1)
        with pytest.raises(DeadlineError):
            await engine.send(Request("GET", fake.origin, "/k"))
        DEADLINE.reset(token)
        await engine.aclose()


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_connecting_is_given_up_after_the_connect_timeout(limit, server_tls):
    async def never(wire):
        await wire.stall()

    # A server that takes the connection and never says anything of TLS.
    async with ByteFake(never) as fake:
        engine = engine_with(connect_timeout=0.4 if limit == "timeout" else LONG)
        origin = fake.origin._replace(scheme="https")
        token = DEADLINE.set(monotonic() + (0.4 if limit == "deadline" else LONG))
        with gives_up(0.4, "cannot connect to https://127.0.0.1"):
            await engine.send(Request("PUT", origin, "/k", body=b"x"))
        DEADLINE.reset(token)
        await closes(engine)


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_waiting_for_a_connection_counts(limit):
    """Streams that nobody reads hold every connection, and move no byte."""

    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while True:
            await wire.send(bytes(65_536))

    async with ByteFake(script) as fake:
        engine = engine_with(connections=2, connect_timeout=0.4 if limit == "timeout" else LONG)
        one, two = (engine.stream(Request("GET", fake.origin, "/k")) for _ in range(2))
        async with one, two:
            token = DEADLINE.set(monotonic() + (0.4 if limit == "deadline" else LONG))
            began = monotonic()
            with pytest.raises(DeadlineError) as caught:
                await engine.send(Request("PUT", fake.origin, "/k", body=b"x"))
            DEADLINE.reset(token)
            assert monotonic() - began < 2.5
            assert caught.value.outcome == "not_applied"
        await closes(engine)


async def test_waiting_goes_on_while_the_connections_move_bytes():
    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(20):
            await wire.send(b"12345")
            await asyncio.sleep(0.05)

    async with ByteFake(script, answers(OK)) as fake:
        engine = engine_with(connections=1, connect_timeout=0.3)
        request = Request("GET", fake.origin, "/k")
        answers_given = await asyncio.gather(engine.send(request), engine.send(request))
        assert [len(answer.body) for answer in answers_given] == [100, 2]
        await engine.aclose()


async def test_a_reader_who_takes_his_time_is_not_the_servers_fault():
    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n" + bytes(8_000_000))

    async with ByteFake(script) as fake:
        engine = engine_with(speed_window=0.2, least_speed=1_000_000)
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            await asyncio.sleep(0.6)
            assert sum([len(piece) async for piece in reply]) == 8_000_000
        await engine.aclose()


async def test_a_streams_deadline_passes_also_while_its_reader_sleeps():
    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n" + bytes(8_000_000))

    async with ByteFake(script) as fake:
        engine = engine_with()
        token = DEADLINE.set(monotonic() + 0.2)
        async with engine.stream(Request("GET", fake.origin, "/k")) as reply:
            await asyncio.sleep(0.6)
            with pytest.raises(DeadlineError):
                await reply.read()
        DEADLINE.reset(token)
        await engine.aclose()


async def test_an_idle_connection_is_closed_in_time():
    closed = asyncio.Event()

    async def script(wire):
        await wire.request()
        await wire.send(OK)
        await wire.gone()
        closed.set()

    async with ByteFake(script) as fake:
        engine = engine_with(idle_timeout=0.2)
        await engine.send(Request("GET", fake.origin, "/k"))
        async with asyncio.timeout(LONG):
            await closed.wait()
        await closes(engine)


@pytest.mark.parametrize("wrong", [
    {"connections": 0},
    {"connect_timeout": 0},
    {"read_timeout": -1},
    {"speed_window": float("nan")},
    {"least_speed": -1},
    {"ca_bundle": "/does/not/exist"},
])  # fmt: skip
async def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        async with ByteFake(silent) as fake:
            await Engine(EngineOptions(**wrong)).send(
                Request("GET", fake.origin._replace(scheme="https"), "/k")
            )


async def test_a_refused_connection_is_unavailable_and_nothing_was_applied():
    async with ByteFake(silent) as fake:
        origin = fake.origin
    engine = Engine()
    with pytest.raises(UnavailableError, match="cannot connect") as caught:
        await engine.send(Request("PUT", origin, "/k", body=b"x"))
    assert caught.value.outcome == "not_applied"
    await engine.aclose()
