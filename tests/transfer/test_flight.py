"""More bytes are under way only where waiting is what takes the time."""

import anyio
import pytest

from asyncstore.transfer.flight import AT_FIRST, Flight
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
