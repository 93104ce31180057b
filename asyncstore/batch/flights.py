"""Jobs of a batch that are under way and that no worker waits for.

They end in callbacks of the event loop, which can start no task: a job that turns out to need one
is kept until somebody asks for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.batch.budget import Slot
    from asyncstore.batch.outcome import Outcome

    Work: TypeAlias = Callable[[], Awaitable[Sequence[Outcome[Any, Any]]]]


class Express(Protocol):
    """Does jobs without a task for each."""

    def start(self, jobs: Sequence[Slot], flights: Flights, /) -> Sequence[int]:
        """Begin jobs, of whose end `Flights.landed` or `Flights.unfinished` is told once each.

        Returns:
            Which ones, by their place, need a task or cannot begin now; they are done as others.
        """
        ...

    def abandon(self) -> None:
        """Give up everything that is under way, and free its slots; nothing more is told."""
        ...


class Flights:
    """What is told of the jobs that an `Express` has begun.

    Args:
        deliver: takes the outcome of a job.
        landed_all: called when none is under way any more.

    Attributes:
        count: how many are under way, those included that wait for a worker.
    """

    __slots__ = ("_deliver", "_end", "_landed_all", "_rest", "_rested", "count")

    def __init__(
        self, deliver: Callable[[Outcome[Any, Any], Slot], None], landed_all: Callable[[], None]
    ) -> None:
        self.count = 0
        self._deliver = deliver
        self._landed_all = landed_all
        self._end: anyio.Event | None = None
        self._rest: deque[tuple[Work, Slot]] = deque()
        self._rested: anyio.Event | None = None

    def landed(self, outcome: Outcome[Any, Any], slot: Slot) -> None:
        """Take the outcome of a job."""
        self._one_less()
        self._deliver(outcome, slot)
        if not self.count:
            self._landed_all()

    def unfinished(self, work: Work, slot: Slot) -> None:
        """Keep a job that needs a worker after all, until one comes for it."""
        self._rest.append((work, slot))
        if self._rested is not None:
            self._rested.set()

    async def next_end(self) -> None:
        """Wait until one of them has ended, or has got a worker."""
        if self._end is None:
            self._end = anyio.Event()
        await self._end.wait()

    async def next_unfinished(self) -> tuple[Work, Slot]:
        """Wait for a job that needs a worker; it is the caller's from here on."""
        while not self._rest:
            self._rested = anyio.Event()
            await self._rested.wait()
        self._one_less()
        return self._rest.popleft()

    def drop(self) -> None:
        """Free the slots of those that no worker came for."""
        while self._rest:
            _, slot = self._rest.popleft()
            slot.free()

    def _one_less(self) -> None:
        self.count -= 1
        if self._end is not None:
            self._end.set()
            self._end = None
