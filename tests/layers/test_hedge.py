"""Slow reads are asked for again: within a budget, the first answer counts, nothing is left."""

import anyio
import pytest

from asyncstore.errors import NotFoundError, UnavailableError
from asyncstore.layers.hedge import Hedged
from asyncstore.providers.memory import MemoryProvider

pytestmark = pytest.mark.anyio


class Sometimes(MemoryProvider):
    """Answers at once, but the n-th request for a key not before it is let."""

    def __init__(self):
        super().__init__(None)
        self.stuck = {}
        self.again = anyio.Event()  # set when `slow` is asked for a second time
        self.asked = {}
        self.under_way = 0
        self.cancelled = 0

    async def get(self, key, /, **options):
        n = self.asked[key] = self.asked.get(key, 0) + 1
        self.under_way += 1
        if key == "slow" and n == 2:
            self.again.set()
        try:
            what = self.stuck.get((key, n))
            if isinstance(what, Exception):
                raise what
            if what is not None:
                await what.wait()
            return await super().get(key, **options)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1


@pytest.fixture
async def provider():
    made = Sometimes()
    for key in ("k", "slow", "other"):
        await made.put(key, key.encode())
    return made


@pytest.fixture
async def hedged(provider):
    """A layer that has seen enough to know what is slow."""
    layer = Hedged(provider)
    for _ in range(64):
        await layer.get("k")
    layer.hedges = layer.won = provider.cancelled = 0
    return layer


async def test_a_slow_read_is_asked_for_again_and_the_loser_is_cancelled(hedged, provider):
    provider.stuck["slow", 1] = anyio.Event()
    assert bytes((await hedged.get("slow")).data) == b"slow"
    assert (hedged.hedges, hedged.won) == (1, 1)
    assert provider.asked["slow"] == 2
    assert (provider.under_way, provider.cancelled) == (0, 1)


async def test_the_first_answer_counts_whoever_gives_it(hedged, provider):
    first, second = anyio.Event(), anyio.Event()
    provider.stuck["slow", 1], provider.stuck["slow", 2] = first, second

    async def let_the_first():
        await provider.again.wait()
        first.set()

    async with anyio.create_task_group() as group:
        group.start_soon(let_the_first)
        assert bytes((await hedged.get("slow")).data) == b"slow"
    assert (hedged.hedges, hedged.won) == (1, 0)
    assert provider.under_way == 0


async def test_fast_reads_are_asked_for_once(hedged, provider):
    before = provider.asked["k"]
    for _ in range(50):
        await hedged.get("k")
    assert provider.asked["k"] - before <= 52  # a busy machine may make one or two look slow


async def test_nothing_is_hedged_before_anything_is_known(provider):
    layer = Hedged(provider)
    provider.stuck["slow", 1] = anyio.Event()
    with anyio.move_on_after(0.05):
        await layer.get("slow")
    assert provider.asked["slow"] == 1
    assert layer.hedges == 0


async def test_the_budget_bounds_what_is_added(hedged, provider):
    for n in range(1, 400):
        provider.stuck["slow", n] = anyio.Event()
    for _ in range(40):
        with anyio.move_on_after(0.01):
            await hedged.get("slow")
    assert hedged.hedges <= 64 * 0.05 + 40 * 0.05 + 1
    assert provider.under_way == 0


async def test_a_lasting_error_ends_the_race_bare(hedged, provider):
    with pytest.raises(NotFoundError):
        await hedged.get("absent")
    assert provider.under_way == 0


async def test_a_passing_error_waits_for_the_other(hedged, provider):
    first = anyio.Event()
    provider.stuck["slow", 1] = first
    provider.stuck["slow", 2] = UnavailableError("busy")

    async def let_the_first():
        await provider.again.wait()
        first.set()

    async with anyio.create_task_group() as group:
        group.start_soon(let_the_first)
        assert bytes((await hedged.get("slow")).data) == b"slow"


async def test_a_read_into_the_callers_memory_is_never_doubled(hedged, provider):
    provider.stuck["slow", 1] = anyio.Event()
    with anyio.move_on_after(0.05):
        await hedged.get("slow", into=memoryview(bytearray(4)))
    assert provider.asked["slow"] == 1


async def test_cancelling_leaves_neither_request(hedged, provider):
    provider.stuck["slow", 1] = provider.stuck["slow", 2] = anyio.Event()
    with anyio.move_on_after(0.1):
        await hedged.get("slow")
    assert provider.asked["slow"] == 2
    assert provider.under_way == 0
