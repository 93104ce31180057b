"""More is under way only where waiting is what takes the time."""

import asyncio
import time

import anyio
import pytest

from asyncstore import open_store
from asyncstore.providers.memory import MemoryProvider
from asyncstore.transfer.flight import AT_FIRST, WIDTH, Flight, spent_here
from asyncstore.types import MiB

MOST = 256 * MiB


class Clocks:
    """The time, and the processor's: both stand still unless told otherwise."""

    def __init__(self):
        self.time = self.processor = 5.0

    def flight(self, most=MOST):
        return Flight(most, now=lambda: self.time, spent=lambda: self.processor)

    def carry(self, flight, *, busy, size=1 * MiB):
        """Carry as much as may be under way, in a second."""
        self.time += 1
        self.processor += busy
        for _ in range(flight.budget.total // size):
            flight.came(size)


@pytest.fixture
def clocks():
    return Clocks()


def test_a_process_that_waits_gets_all_of_the_budget_and_no_more(clocks):
    flight = clocks.flight()
    assert flight.budget.total == AT_FIRST
    for _ in range(2):
        clocks.carry(flight, busy=0.1)
        assert flight.budget.total == MOST


def test_a_process_that_is_busy_gets_no_more_until_it_waits(clocks):
    flight = clocks.flight()
    for _ in range(10):
        clocks.carry(flight, busy=0.99)
    assert flight.budget.total == AT_FIRST
    clocks.carry(flight, busy=0.5)
    assert flight.budget.total == MOST


def test_a_budget_that_is_smaller_is_kept(clocks):
    flight = clocks.flight(MiB)
    for _ in range(5):
        clocks.carry(flight, busy=0.0, size=1000)
    assert flight.budget.total == MiB


def test_what_comes_again_is_waited_for_again(clocks):
    flight = clocks.flight()
    clocks.time += 1
    for _ in range(10):
        flight.came(AT_FIRST - 1)
        flight.came(1 - AT_FIRST)
    assert flight.budget.total == AT_FIRST


def test_small_objects_are_few_at_first_and_then_as_many_as_the_service_bears(clocks):
    flight = clocks.flight()
    width = flight.narrowed(lambda: 500)
    clocks.time += 1
    clocks.processor += 0.9
    flight.ended(WIDTH)
    assert width() == WIDTH
    clocks.time += 1
    flight.ended(WIDTH - 1)
    assert width() == WIDTH
    flight.ended(1)
    assert width() == 500
    assert flight.budget.total == MOST


def test_computing_is_work():
    before, began = spent_here(), time.thread_time()
    while time.thread_time() < began + 0.02:
        pass
    assert spent_here() >= before + 0.02


def test_fewer_objects_than_at_first_are_fewer(clocks):
    assert clocks.flight().narrowed(lambda: 3)() == 3


@pytest.mark.anyio
async def test_who_waits_for_bytes_gets_them_when_it_opens(clocks):
    flight = clocks.flight()
    await flight.budget.take(AT_FIRST)
    async with anyio.create_task_group() as group:
        group.start_soon(flight.budget.take, 1)
        await anyio.lowlevel.checkpoint()
        assert flight.budget.used == AT_FIRST
        clocks.carry(flight, busy=0.0)
    assert flight.budget.used == AT_FIRST + 1


@pytest.mark.asyncio
async def test_of_a_service_that_is_far_more_objects_are_asked_for_after_a_moment(
    tmp_path, monkeypatch
):
    get = MemoryProvider.get
    under_way = 0
    seen = []

    async def from_afar(self, key, /, **how):
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        return await get(self, key, **how)

    monkeypatch.setattr(MemoryProvider, "get", from_afar)
    async with open_store("mem://afar") as store:
        for number in range(4 * WIDTH):
            await store.put(f"{number}", b"data")
        report = await store.download("", tmp_path)
    assert report.copied == 4 * WIDTH
    assert max(seen[: WIDTH + 1]) <= WIDTH
    assert max(seen) > WIDTH
