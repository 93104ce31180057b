"""`Batch`: jobs from an iterable, run by a few workers, their outcomes handed out.

Theory of operation. Workers share one source and draw a job only when they can begin it, so that
nothing grows with the number of items. Before a job begins, its bytes are taken from the budget,
in the order in which jobs are drawn; they are given back when the consumer has taken the outcome
and asks for the next. So a slow consumer stops the workers, and the job whose turn it is in an
ordered batch always has its bytes already: it cannot wait for those that wait for it.

The number of workers follows `width`, which a limit further down moves with what the service
bears: every worker that finishes a job starts another worker while there are too few, or ends
while there are too many.

Where jobs can be begun without a task for each (`Express`), one worker draws and begins them, and
the others end; a job that turns out to need a task gets a worker then.

A worker never lets an error out, so that a group of errors is never made: an item's error is in
its outcome, and a bug, or an error of the source, is raised to the consumer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import anyio

from asyncstore.batch.budget import Budget, Slot
from asyncstore.batch.chunked import Chunked
from asyncstore.batch.ended import Ended
from asyncstore.batch.flights import Flights
from asyncstore.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from asyncstore.batch.flights import Express
    from asyncstore.batch.outcome import Outcome

J = TypeVar("J")
T = TypeVar("T")
V = TypeVar("V")


class Batch(Generic[T, V]):
    """Outcomes of many calls; an async context manager, and inside it an async iterator.

    Leaving the context cancels what is still under way and waits for its end.

    Args:
        source: yields jobs; one that is `Chunked` is asked without waiting for what is there.
        work: does a job; returns an outcome for each of its items.
        cost: the bytes that a job is expected to hold.
        width: how many jobs may be under way now; asked again and again.
        budget: bounds the bytes.
        ordered: hand outcomes out in the items' order, instead of as they end.
        express: does such jobs as it can, in place of `work`.
    """

    def __init__(
        self,
        source: Iterator[J] | AsyncIterator[J],
        work: Callable[[J, Slot], Awaitable[Sequence[Outcome[T, V]]]],
        *,
        cost: Callable[[J], int],
        width: Callable[[], int],
        budget: Budget,
        ordered: bool = False,
        express: Express | None = None,
    ) -> None:
        self._source: Any = source
        self._asynchronous = isinstance(source, AsyncIterator)
        self._chunked = isinstance(source, Chunked)
        self._work: Any = work
        self._cost: Any = cost
        self._width = width
        self._budget = budget
        self._drawing = False
        self._line: deque[anyio.Event] = deque()  # workers that wait while another one draws
        self._ended: Ended[T, V] = Ended(
            budget, ordered=ordered, comes_more=lambda: self._is_working
        )
        self._express = express
        self._flights = Flights(self._ended.deliver, self._ended.tell)
        self._workers = 0
        self._drawn: Any = None  # a job that waits for its bytes
        self._exhausted = False
        self._broken: BaseException | None = None
        self._group: TaskGroup | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a batch is used once")
        self._entered = True
        group = anyio.create_task_group()
        await group.__aenter__()
        self._group = group
        if self._express is not None:
            group.start_soon(self._attend)
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group, self._group = self._group, None
        try:
            if group is not None:
                group.cancel_scope.cancel()
                # The body's own error is raised by the language, bare; the group need not know it.
                await group.__aexit__(None, None, None)
        finally:
            self._drop()
        close = getattr(self._source, "aclose" if self._asynchronous else "close", None)
        if close is not None:
            result = close()
            if self._asynchronous:
                await result

    def _drop(self) -> None:
        """Give up what no worker waits for, and give back the bytes of all that is left."""
        if self._express is not None:
            self._express.abandon()
        self._flights.drop()
        self._ended.drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T, V]:
        """Return the next outcome.

        Raises:
            Exception: what the items' iterable raised; an item's own error is in its outcome.
        """
        self._ended.release()
        if not self._ended and not await self._wait():
            raise StopAsyncIteration
        return self._ended.one()

    async def some(self, most: int, /, *, linger: float = 0.0) -> list[Outcome[T, V]]:
        """Wait for an outcome, and return it with those that are there too; `[]` at the end.

        Their bytes count until the next call.

        Args:
            most: outcomes to return.
            linger: seconds to wait for as many, while more may come.

        Raises:
            Exception: as in `__anext__`.
        """
        self._ended.release()
        if not self._ended and not await self._wait():
            return []
        if linger:
            await self._ended.gather(most, linger)
        return self._ended.some(most)

    async def _wait(self) -> bool:
        """Wait until an outcome is there; return whether one is, before the end."""
        while not self._ended:
            if self._group is None:
                raise RuntimeError("write `async with` around a batch, and iterate inside it")
            if not self._is_working:
                if self._broken is not None:
                    raise self._broken
                return False
            await self._ended.change()
        return True

    @property
    def _is_working(self) -> bool:
        return bool(self._workers or self._flights.count)

    async def finish(self) -> int:
        """Run to the end; return how many items succeeded, for calls whose values matter less.

        Raises:
            BatchError: some items failed; it holds an error for each.
        """
        done = 0
        errors = []
        async for outcome in self:
            if outcome.error is None:
                done += 1
            else:
                errors.append(outcome.error)
        if errors:
            raise BatchError(f"{len(errors)} of {done + len(errors)} items failed", errors)
        return done

    # ---- workers

    def _start(self, first: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start a worker; `first` is what it does before it draws."""
        group = self._group
        if group is not None:
            self._workers += 1
            group.start_soon(self._run, first)

    async def _run(self, first: Callable[[], Awaitable[None]] | None) -> None:
        try:
            if first is not None:
                await first()
            while self._is_needed():
                drawn = self._draw_now() or await self._draw()
                if drawn is None:
                    break
                width = self._width()
                if self._express is not None:
                    drawn = self._begin(self._express, drawn, width)
                if drawn is not None:
                    if self._workers + self._flights.count < width:
                        self._start()
                    await self._do(drawn)
                elif self._flights.count >= width:
                    await self._flights.next_end()
        except Exception as error:  # noqa: BLE001 - the consumer raises it
            self._broken = self._broken or error
        finally:
            self._workers -= 1
            self._ended.tell()

    def _is_needed(self) -> bool:
        """Whether there may be something for a worker to do; the last one always stays."""
        if self._exhausted or self._broken is not None:
            return False
        return self._workers == 1 or self._workers + self._flights.count <= self._width()

    # ---- jobs that no task waits for

    def _begin(self, express: Express, drawn: Slot, width: int) -> Slot | None:
        """Begin a job, and others that are there; return one that is left for this worker."""
        jobs = [drawn]
        room = width - self._flights.count - (self._workers - 1)
        try:
            self._draw_more(jobs, room - 1)
        except Exception as error:  # noqa: BLE001 - the consumer raises it, after these jobs
            self._broken = self._broken or error
        left = express.start(jobs, self._flights)
        self._flights.count += len(jobs) - len(left)
        for place in left[1:]:
            self._start(partial(self._do, jobs[place]))
        return jobs[left[0]] if left else None

    async def _attend(self) -> None:
        """Start workers for jobs that were begun, and need one after all."""
        while True:
            work, slot = await self._flights.next_unfinished()
            self._start(partial(self._end, work, slot))

    # ---- what there is to do

    def _draw_now(self) -> Slot | None:
        """Draw the next job if nothing has to be waited for."""
        drawn: list[Slot] = []
        self._draw_more(drawn, 1)
        return drawn[0] if drawn else None

    def _draw_more(self, drawn: list[Slot], most: int) -> None:
        """Draw jobs that nothing has to be waited for, and add them to those; the hot path."""
        if (
            most < 1
            or self._drawn is not None
            or self._drawing
            or (self._asynchronous and not self._chunked)
            or self._ended.is_full
        ):
            return
        cost_of, budget, turns = self._cost, self._budget, self._ended.turns
        wanted = len(drawn) + most
        for job in islice(self._source.here if self._chunked else self._source, most):
            cost = cost_of(job)
            if not budget.take_now(cost):
                self._drawn = job
                return
            drawn.append(Slot(job, cost, budget, turns))
        if len(drawn) < wanted:
            self._exhausted = not self._chunked  # else there may be another chunk

    async def _draw(self) -> Slot | None:
        """Draw the next job with its bytes, one worker at a time; `None` at the end."""
        try:
            while self._drawing:
                event = anyio.Event()
                self._line.append(event)
                await event.wait()
                drawn = self._draw_now()
                if drawn is not None:
                    return drawn
            if self._exhausted or self._broken is not None:
                return None
            self._drawing = True
            try:
                return await self._draw_alone()
            finally:
                self._drawing = False
        finally:
            if self._line and not self._drawing:
                self._wake()

    def _wake(self) -> None:
        """Let the next worker draw; of a chunk there may be something for all of them."""
        for _ in range(len(self._line) if self._chunked else 1):
            self._line.popleft().set()

    async def _draw_alone(self) -> Slot | None:
        await self._ended.has_room()
        try:
            if self._drawn is not None:
                job, self._drawn = self._drawn, None
            elif self._asynchronous:
                job = await anext(self._source)
            else:
                job = next(self._source)
        except (StopIteration, StopAsyncIteration):
            self._exhausted = True
            return None
        cost = self._cost(job)
        await self._budget.take(cost)
        return Slot(job, cost, self._budget, self._ended.turns)

    async def _do(self, slot: Slot) -> None:
        await self._end(partial(self._work, slot.job, slot), slot)

    async def _end(
        self, work: Callable[[], Awaitable[Sequence[Outcome[T, V]]]], slot: Slot
    ) -> None:
        try:
            outcomes = await work()
        except BaseException:
            slot.free()
            raise
        # Bytes go back with the last of a job's outcomes.
        last = len(outcomes) - 1
        for place, outcome in enumerate(outcomes):
            self._ended.deliver(outcome, slot if place == last else None)
        if last < 0:
            slot.free()
