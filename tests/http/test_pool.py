"""Connections: kept, shared in order, given back or closed, replayed once, closed at the end."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from asyncstore.errors import StoreError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Request
from asyncstore.testing.bytefake import EMPTY, OK, ByteFake, answers

pytestmark = pytest.mark.anyio


def reply(body):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is awaited is of the other side
        await asyncio.sleep(0.001)


async def test_no_more_connections_are_opened_than_allowed_and_the_queue_is_fair():
    async def script(wire):
        while True:
            received = await wire.request()
            await asyncio.sleep(0.001)
            await wire.send(reply(received.target.encode()))

    async with ByteFake(script) as fake:
        engine = Engine(EngineOptions(connections=3))
        order = []

        async def one(number):
            answer = await engine.send(Request("GET", fake.origin, f"/{number}"))
            assert answer.body == f"/{number}".encode()
            order.append(number)

        await asyncio.gather(*map(one, range(100)))
        assert fake.connections == 3
        arrived = [int(received.target[1:]) for received in fake.requests]
        assert sorted(arrived) == list(range(100))
        assert all(abs(number - place) < 6 for place, number in enumerate(arrived))
        assert all(abs(number - place) < 6 for place, number in enumerate(order))
        await engine.aclose()


def stale(how, served=1):
    """Make a script that serves some requests and closes the connection at the next."""

    async def script(wire):
        for _ in range(served):
            await wire.request()
            await wire.send(OK)
        await wire.request()
        getattr(wire, how)()

    return script


@pytest.mark.parametrize("how", ["cut", "reset"])
@pytest.mark.parametrize("size", [5, 3_000_000])
async def test_a_stale_connection_costs_one_replay_with_the_whole_body(how, size):
    body = random.Random(1).randbytes(size)
    async with ByteFake(stale(how), answers(EMPTY)) as fake:
        engine = Engine()
        await engine.send(Request("GET", fake.origin, "/k"))
        pieces = [body[:2], body[2:]]
        assert (await engine.send(Request("PUT", fake.origin, "/k", body=pieces))).status == 200
        assert fake.requests[-1].body == body
        assert (fake.connections, engine.counters().replays) == (2, 1)
        await engine.aclose()


async def test_a_replay_takes_no_other_connection_that_may_be_dead_too():
    both = asyncio.Event()

    async def script(wire):
        await wire.request()
        if fake.connections == 2:
            both.set()
        await both.wait()
        await wire.send(OK)
        await wire.request()
        wire.cut()

    async with ByteFake(script, script, answers(OK)) as fake:
        engine = Engine()
        request = Request("GET", fake.origin, "/k")
        await asyncio.gather(engine.send(request), engine.send(request))
        assert (await engine.send(request)).body == b"ok"
        assert (fake.connections, engine.counters().replays) == (3, 1)
        await engine.aclose()


async def test_a_request_that_may_not_be_replayed_is_not():
    async with ByteFake(stale("cut"), answers(EMPTY)) as fake:
        engine = Engine()
        await engine.send(Request("GET", fake.origin, "/k"))
        with pytest.raises(UnavailableError) as caught:
            await engine.send(Request("PUT", fake.origin, "/k", body=b"x", replayable=False))
        assert caught.value.outcome == "unknown"
        assert len(fake.requests) == 2
        await engine.aclose()


async def test_a_replay_is_not_replayed():
    async def hangs_up(wire):
        await wire.request()

    async with ByteFake(stale("cut"), hangs_up) as fake:
        engine = Engine()
        await engine.send(Request("GET", fake.origin, "/k"))
        with pytest.raises(UnavailableError):
            await engine.send(Request("PUT", fake.origin, "/k", body=b"x"))
        assert len(fake.requests) == 3
        await engine.aclose()


async def test_a_fresh_connection_that_is_closed_is_not_replayed():
    async def hangs_up(wire):
        await wire.request()

    async with ByteFake(hangs_up) as fake:
        engine = Engine()
        with pytest.raises(UnavailableError):
            await engine.send(Request("PUT", fake.origin, "/k", body=b"x"))
        assert len(fake.requests) == 1
        await engine.aclose()


async def test_an_answer_that_has_begun_is_not_replayed():
    async def script(wire):
        await wire.request()
        await wire.send(OK)
        await wire.request()
        await wire.send(b"H")

    async with ByteFake(script, answers(OK)) as fake:
        engine = Engine()
        await engine.send(Request("GET", fake.origin, "/k"))
        with pytest.raises(UnavailableError):
            await engine.send(Request("GET", fake.origin, "/k"))
        assert len(fake.requests) == 2
        await engine.aclose()


async def test_a_farewell_to_an_idle_connection_is_no_answer():
    """Some servers say 408 when a kept connection was silent for too long."""
    farewell = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    async with ByteFake(answers(OK, farewell, close=True), answers(OK)) as fake:
        engine = Engine()
        for _ in range(2):
            assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        assert engine.counters().replays == 1
        await engine.aclose()


async def test_many_stale_connections_cost_one_replay_each_and_no_deadlock():
    gate = asyncio.Event()

    async def script(wire):
        await wire.request()
        await wire.send(OK)
        await gate.wait()
        await wire.request()
        wire.reset()

    ten = 10
    async with ByteFake(*[script] * ten, answers(OK)) as fake:
        engine = Engine(EngineOptions(connections=ten))

        async def all_at_once():
            return await asyncio.gather(
                *(engine.send(Request("GET", fake.origin, "/k")) for _ in range(ten))
            )

        await all_at_once()
        opened = engine.counters().opened
        gate.set()
        assert [answer.body for answer in await all_at_once()] == [b"ok"] * ten
        assert engine.counters().replays <= ten
        assert fake.connections <= opened + ten
        await engine.aclose()


async def test_a_replay_makes_room_for_itself_where_idle_connections_fill_the_pool():
    async with ByteFake(answers(OK)) as fake:
        engine = Engine(EngineOptions(connections=1))
        await engine.send(Request("GET", fake.origin, "/k"))
        pool = engine._pools[fake.origin]
        async with asyncio.timeout(60):
            connection = await pool.acquire(None, fresh=True)
        assert connection.served == 0
        pool.free(connection)
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        assert fake.connections == 2
        await engine.aclose()


async def test_a_cancelled_request_never_becomes_anothers_answer():
    """Cancel at every moment; each later answer is its own request's."""

    async def script(wire):
        while True:
            received = await wire.request()
            body = received.target.encode() * 1000
            await wire.send(reply(body)[:20])
            await asyncio.sleep(0)
            await wire.send(reply(body)[20:], piece=5000)

    async with ByteFake(script) as fake:
        engine = Engine(EngineOptions(connections=2))
        numbers = itertools.count()

        async def fetch():
            target = f"/{next(numbers)}"
            mine = bytearray(len(target) * 1000)
            answer = await engine.send(Request("GET", fake.origin, target, into=memoryview(mine)))
            assert answer.body == target.encode() * 1000

        for moment in range(60):
            tasks = [asyncio.create_task(fetch()) for _ in range(4)]
            for _ in range(moment):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert results[1] is results[3] is None
            await fetch()
        assert engine.counters().open <= 2
        await engine.aclose()


async def test_a_cancelled_stream_leaves_no_connection_behind():
    async def script(wire):
        while True:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(10))

    async with ByteFake(script) as fake:
        engine = Engine(EngineOptions(connections=1))

        async def fetch():
            async with engine.stream(Request("GET", fake.origin, "/k")) as answer:
                await answer.read()

        for moment in range(30):
            task = asyncio.create_task(fetch())
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        for _ in range(5):
            await asyncio.sleep(0)
        assert engine.counters().open == 0
        await engine.aclose()


async def test_a_caller_may_reuse_his_buffer_as_soon_as_he_is_cancelled():
    begun, closed = asyncio.Event(), asyncio.Event()

    async def script(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(500_000))
        begun.set()
        try:
            await wire.gone()
        finally:
            closed.set()

    async with ByteFake(script) as fake:
        engine = Engine()
        mine = bytearray(1_000_000)
        task = asyncio.create_task(
            engine.send(Request("GET", fake.origin, "/k", into=memoryview(mine)))
        )
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        before = bytes(mine)
        async with asyncio.timeout(60):
            await closed.wait()
        assert mine == before
        await engine.aclose()
        del task
        mine.clear()  # raises where a view of it is still held


async def test_a_waiter_that_is_cancelled_loses_nobody_a_connection():
    async with ByteFake(answers(OK)) as fake:
        engine = Engine(EngineOptions(connections=1))
        request = Request("GET", fake.origin, "/k")
        for moment in range(40):
            tasks = [asyncio.create_task(engine.send(request)) for _ in range(5)]
            for _ in range(moment):
                await asyncio.sleep(0)
            for task in tasks[1:4]:
                task.cancel()
            async with asyncio.timeout(60):
                await asyncio.wait(tasks)
            assert tasks[0].result().body == tasks[4].result().body == b"ok"
        await engine.aclose()


async def test_closing_ends_requests_under_way_in_the_queue_and_connecting():
    async def silent(wire):
        await wire.request()
        await wire.stall()

    async with ByteFake(silent) as fake:
        engine = Engine(EngineOptions(connections=2))
        request = Request("PUT", fake.origin, "/k", body=b"x")
        tasks = [asyncio.create_task(engine.send(request)) for _ in range(4)]
        await until(lambda: len(fake.requests) == 2)
        tls = fake.origin._replace(scheme="https")
        tasks.append(asyncio.create_task(engine.send(Request("GET", tls, "/k"))))
        await until(lambda: fake.connections == 3)
        async with asyncio.timeout(60):
            await engine.aclose()
            await engine.aclose()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(type(error) is StoreError for error in results)
        outcomes = [error.outcome for error in results if isinstance(error, StoreError)]
        assert outcomes == ["unknown"] * 2 + ["not_applied"] * 3
        with pytest.raises(StoreError, match="closed"):
            await engine.send(request)


def test_an_engine_serves_the_next_event_loop_when_its_own_has_ended():
    engine = Engine()

    async def once():
        async with ByteFake(answers(OK)) as fake:
            answer = await engine.send(Request("GET", fake.origin, "/k"))
            await engine.aclose()
            return answer.body

    assert asyncio.run(once()) == b"ok"
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(once())
