"""The engine behind a network that cuts, delays and alters, at every byte and at random."""

from __future__ import annotations

import asyncio
import random
from time import monotonic

import pytest

from asyncstore.errors import IntegrityError, StoreError, TransientError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Origin, Request
from asyncstore.testing.bytefake import ByteFake
from asyncstore.testing.faultproxy import FaultProxy

pytestmark = pytest.mark.anyio


async def echo(wire):
    """Answer with what was asked for and sent, so that no answer passes for another's."""
    while True:
        received = await wire.request()
        body = received.target.encode() + b":" + received.body
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def ask(engine, proxy, target, body=b"", **more):
    origin_body = target.encode() + b":" + body
    request = Request("PUT", proxy_origin(proxy), target, body=body, **more)
    answer = await engine.send(request)
    assert answer.body == origin_body
    return answer


def proxy_origin(proxy):
    return Origin("http", "127.0.0.1", proxy.port)


@pytest.mark.parametrize("how", ["reset", "fin"])
@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_cut_at_any_byte_of_either_direction_is_an_error_or_the_whole_answer(way, how):
    async with ByteFake(echo) as fake, FaultProxy("127.0.0.1", fake.port) as proxy:
        engine = Engine()
        body = b"0123456789"
        faults = getattr(proxy, way)
        faults.how = how
        for position in range(1, 110, 3):
            faults.cut_after = position
            try:
                await ask(engine, proxy, f"/{position}", body)
            except UnavailableError as error:
                assert error.outcome == "unknown"  # noqa: PT017 - or it succeeds
        faults.cut_after = None
        await ask(engine, proxy, "/after", body)
        await engine.aclose()


async def test_everything_at_once_and_no_answer_is_anothers():
    """Seeded: cuts, altered bytes, latency and cancelled tasks, over a pool of four."""
    rng = random.Random(7)
    async with ByteFake(echo) as fake, FaultProxy("127.0.0.1", fake.port) as proxy:
        engine = Engine(EngineOptions(connections=4, read_timeout=5))
        done = 0

        async def one(number):
            nonlocal done
            body = rng.randbytes(rng.choice([0, 10, 5_000, 200_000]))
            try:
                await ask(engine, proxy, f"/{number}", body, replayable=number % 2 == 0)
            except TransientError:
                return
            done += 1

        for burst in range(40):
            proxy.down.cut_after = rng.choice([None, None, rng.randrange(1, 400_000)])
            proxy.up.cut_after = rng.choice([None, None, rng.randrange(1, 400_000)])
            proxy.down.latency = rng.choice([0, 0.001])
            proxy.down.piece = rng.choice([7, 1000, 16_384]) if burst % 10 == 0 else 16_384
            tasks = [asyncio.create_task(one(burst * 10 + index)) for index in range(6)]
            await asyncio.sleep(0)
            if burst % 4 == 0:
                tasks[rng.randrange(6)].cancel()
            async with asyncio.timeout(30):
                results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(
                result is None or isinstance(result, asyncio.CancelledError) for result in results
            )
        assert done > 60
        assert engine.counters().open <= 4
        await engine.aclose()


async def test_a_dropped_network_costs_each_request_one_replay_and_no_storm():
    async with ByteFake(echo) as fake, FaultProxy("127.0.0.1", fake.port) as proxy:
        engine = Engine(EngineOptions(connections=50))
        await asyncio.gather(*(ask(engine, proxy, f"/{n}") for n in range(50)))
        opened = proxy.connections
        proxy.drop()
        await asyncio.gather(*(ask(engine, proxy, f"/again/{n}") for n in range(50)))
        assert proxy.connections <= opened + 50
        await engine.aclose()


async def test_a_network_that_refuses_is_an_error_at_once():
    async with ByteFake(echo) as fake, FaultProxy("127.0.0.1", fake.port) as proxy:
        engine = Engine()
        proxy.refusing = True
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await ask(engine, proxy, "/k")
        assert proxy.connections == 3
        proxy.refusing = False
        await ask(engine, proxy, "/k")
        await engine.aclose()


async def test_a_slow_network_slows_nobody_else():
    async with (
        ByteFake(echo) as fake,
        FaultProxy("127.0.0.1", fake.port) as slow,
        FaultProxy("127.0.0.1", fake.port) as quick,
    ):
        slow.down.rate = 10_000
        engine = Engine()
        began = monotonic()
        task = asyncio.create_task(ask(engine, slow, "/slow", bytes(10_000)))
        for number in range(20):
            await ask(engine, quick, f"/{number}")
        assert not task.done()
        await task
        assert monotonic() - began >= 0.9
        await engine.aclose()


@pytest.mark.parametrize("position", range(0, 38, 3))
async def test_an_altered_byte_of_a_head_never_makes_a_wrong_length(position):
    """An altered body is for checksums to find; an altered head must not move the body's end."""
    async with ByteFake(echo) as fake, FaultProxy("127.0.0.1", fake.port) as proxy:
        proxy.down.flip = frozenset({position})
        engine = Engine(EngineOptions(read_timeout=0.3, speed_window=0.3))
        request = Request("GET", proxy_origin(proxy), "/k", length=3)
        try:
            answer = await engine.send(request)
        except (IntegrityError, TransientError):
            pass
        except StoreError as error:
            pytest.fail(f"another kind of error: {error!r}")
        else:
            assert answer.status != 200 or answer.body == b"/k:"
        await engine.aclose()
