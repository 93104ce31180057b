"""The engine: any pair of stores, every object copied once, verified, and put on record.

Theory of operation. `Planning` reads both sides and puts aside what is to be done, so that the
plan can be told, and nothing is in memory that grows with the number of objects. Then it goes
through a `Batch`, as wide as both services bear and within a budget of bytes. An object goes on
record when it is at the target and verified; what a kill keeps from the record is compared by
content in the next run, never taken for granted. Deletions come last: at the target only where
nothing failed, and at the source, where objects are moved, of what is verified and on the
target's disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from asyncstore.batch import Batch, Chunked, Outcome, Reads
from asyncstore.errors import AlreadyExistsError, InvalidPathError, NotFoundError, StoreError
from asyncstore.layers import Limited, Retried
from asyncstore.provider import ability
from asyncstore.transfer import large
from asyncstore.transfer.blocking import in_thread, surely_in_thread
from asyncstore.transfer.flight import Flight
from asyncstore.transfer.leaving import Leaving
from asyncstore.transfer.one import Carried, Carrier
from asyncstore.transfer.plan import THERE
from asyncstore.transfer.planning import Planning
from asyncstore.transfer.report import Failure, Report
from asyncstore.transfer.telling import Telling
from asyncstore.transfer.together import LINGER, Together
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from asyncstore.batch import Slot
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Step
    from asyncstore.transfer.put_aside import Steps
    from asyncstore.transfer.record import Record
    from asyncstore.transfer.report import Progress
    from asyncstore.transfer.together import PutGroup
    from asyncstore.types import Blob, ObjectMeta

_SETTLED = 512  # objects, at once


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to transfer; see `Store.sync`.

    Attributes:
        include, exclude, delete, dry_run, width, budget: as there.
        keys: these only, relative to both sides; `None` is all that is listed.
        verify: change nothing, and compare the content of everything.
        if_absent: create only; what is there is a failure.
        move: delete each object from the source once it is at the target and verified.
        inside: where the source lies in the target, its name there, ending in `/`.
        same_service: objects are copied at the service.
        fold: the target takes some different keys for one.
        tell: called about the progress.
        settled: called about each object that is done with, but for those that are skipped: what
            was written, where anything was, and why it failed if it did.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    keys: Iterable[str] | None = None
    delete: bool = False
    dry_run: bool = False
    verify: bool = False
    if_absent: bool = False
    move: bool = False
    inside: str = ""
    width: int | None = None
    budget: int = 256 * MiB
    same_service: bool = False
    fold: bool = False
    tell: Callable[[Progress], None] | None = None
    settled: Callable[[Step, ObjectMeta | None, StoreError | None], None] | None = None


class Transfer:
    """One run between two stores.

    Args:
        source: read from.
        target: written to.
        record: of earlier runs; not loaded yet.
        how: what is asked for.
        flush: brings what was written to the target's disk; `None` where each write is there.
        group: writes many small objects at once, as `PutsGroup.put_group` does; `None` where
            the target cannot.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        record: Record,
        how: How,
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
        group: PutGroup | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._record = record
        self._how = how
        self._flush = flush
        self._report = Report()
        self._op = "verify" if how.verify else "move" if how.move else "transfer"
        self._flight = Flight(how.budget)
        width = _width(source, None if group else target, how.width)
        self._width = self._flight.narrowed(width)
        self._telling = Telling(self._report, how.tell, self._width)
        self._carrier = Carrier(
            source,
            target,
            record,
            self._report,
            self._arrived,
            verify=how.verify,
            same_service=how.same_service,
            if_absent=how.if_absent,
            move=how.move,
            grouped=group is not None,
        )
        self._together = None if group is None else Together(self._carrier, group, self._arrived)
        self._leaving: Leaving | None = None

    async def run(self) -> Report:
        """Do it.

        Raises:
            StoreError: a side cannot be listed, or the target not be flushed. What is wrong
                with single objects is in the report.
        """
        how = self._how
        layers = {ability(store.provider, Retried) for store in (self._source, self._target)}
        retries = _retries(layers)
        try:
            await in_thread(self._record.load)
            with self._planning() as planning:
                await planning.make()
                await self._tell_plan(planning.told)
                if not self._how.dry_run:
                    self._leaving = Leaving(self._source, planning.there) if how.move else None
                    await self._carry_out(planning.work, planning.gone)
            self._report.seconds = self._telling.seconds
            self._report.retries = _retries(layers) - retries
            self._telling.tell(ended=True)
        finally:
            with anyio.CancelScope(shield=True):
                await surely_in_thread(self._record.close)
        return self._report

    # ---- what there is to do

    def _planning(self) -> Planning:
        return Planning(
            self._source,
            self._target,
            self._record,
            self._how,
            report=self._report,
            telling=self._telling,
            missing=self._fail,
        )

    async def _tell_plan(self, told: Steps) -> None:
        """Tell the plan, and of what it leaves undone."""
        skipped = self._report.plan.skip
        self._report.skipped += skipped
        self._telling.planned = True
        self._telling.files += 0 if self._how.move else skipped
        self._telling.tell(always=True)
        async for step in told.all():
            if step.verb == "refuse":
                self._refuse(step)
            else:
                self._settled(step)

    def _refuse(self, step: Step) -> None:
        there = step.reason == THERE
        error = AlreadyExistsError(THERE) if there else InvalidPathError(step.reason)
        self._fail(step.key, error, step)

    # ---- doing it

    async def _carry_out(self, work: Steps, gone: Steps) -> None:
        if self._how.verify:
            await self._each(work)
            async for step in gone.all():
                self._fail(step.key, NotFoundError("not at the source"), step)
            return
        await self._abandon(work)
        await self._each(work)
        if gone.count and not self._report.failures:
            await self._delete(gone)
        await in_thread(self._record.flushing)
        if self._flush is not None:
            await self._flush()
        await in_thread(self._record.flushed)
        if self._leaving is not None:
            await self._leave(self._leaving)

    async def _abandon(self, work: Steps) -> None:
        """Give up what earlier runs began and this one does not go on with."""
        left = dict(self._record.begun)
        if not left:
            return
        async for step in work.all():
            begun = left.get(step.key)
            if begun is not None and begun.is_of(step.meta):
                del left[step.key]
        for key, begun in left.items():
            if await large.drop(self._target, key, begun):
                await in_thread(self._record.end, key)

    async def _each(self, work: Steps) -> None:
        reads = Reads(self._carrier.wish, self._carrier.came, self._finish)
        batch: Batch[Step, Carried] = Batch(
            work.all(),
            self._work,
            cost=self._carrier.cost,
            width=self._width,
            budget=self._flight.budget,
            express=reads.on(self._source.provider),
        )
        self._telling.flying = lambda: reads.under_way
        together = self._together
        linger = 0.0 if together is None else LINGER
        self._flight.begin()
        async with batch:
            while outcomes := await batch.some(_SETTLED, linger=linger):
                self._flight.ended(len(outcomes))
                if together is not None:
                    await together.write(outcomes)
                copied = self._settle_all(outcomes)
                if self._leaving is not None:
                    await self._leaving.add(copied)
                if self._record.due:
                    await in_thread(self._record.save)

    async def _finish(
        self, step: Step, slot: Slot, read: Callable[[], Awaitable[Blob]]
    ) -> Sequence[Outcome[Step, Carried]]:
        try:
            return (self._carrier.came(step, slot, await read()),)
        except StoreError as error:
            return (Outcome(step, 0, error=error.at(self._op, self._place(step.key))),)

    async def _work(self, step: Step, slot: Slot) -> Sequence[Outcome[Step, Carried]]:
        outcome: Outcome[Step, Carried] = Outcome(step, 0)
        self._telling.under_way += 1
        try:
            outcome.value = await self._carrier.carry(step, slot)
        except StoreError as error:
            outcome.error = error.at(self._op, self._place(step.key))
        finally:
            self._telling.under_way -= 1
        if outcome.value is None or outcome.value.data is None:
            slot.free()  # else the bytes are held until they are written
        return (outcome,)

    async def _delete(self, gone: Steps) -> None:
        under_way: dict[str, Step] = {}

        async def keys() -> list[str]:
            steps = [*await chunks.some()]
            under_way.update((step.key, step) for step in steps)
            return [step.key for step in steps]

        chunks = gone.chunks()
        async with self._target.delete_many(Chunked(keys)) as deleted:
            async for outcome in deleted:
                step = under_way.pop(outcome.item)
                if outcome.error is not None:
                    self._fail(outcome.item, outcome.error, step)
                    continue
                self._report.deleted += 1
                self._record.remove(outcome.item)
                self._settle(step)

    async def _leave(self, leaving: Leaving) -> None:
        """Delete from the source what is at the target."""
        async for step, error in leaving.delete():
            if error is not None:
                self._fail(step.key, error, step)
                continue
            self._report.moved += 1
            self._record.remove(step.key)
            self._settle(step, step.there)
            if self._record.due:
                await in_thread(self._record.save)

    # ---- telling

    def _settle_all(self, outcomes: Sequence[Outcome[Step, Carried]]) -> list[Step]:
        """Settle what was carried; return what is to be deleted from the source before."""
        copied: list[Step] = []
        failed = 0
        for outcome in outcomes:
            if outcome.error is not None:
                failed += 1
                self._fail(outcome.item.key, outcome.error, outcome.item)
            elif self._leaving is not None and not outcome.result().gone:
                copied.append(outcome.item._replace(there=outcome.result().meta))
            elif self._how.settled is not None:
                self._settled(outcome.item, outcome.result().meta)
        self._telling.settle(len(outcomes) - failed - len(copied))
        return copied

    def _settle(
        self, step: Step, there: ObjectMeta | None = None, error: StoreError | None = None
    ) -> None:
        self._settled(step, there, error)
        self._telling.settle()

    def _settled(
        self, step: Step, there: ObjectMeta | None = None, error: StoreError | None = None
    ) -> None:
        if self._how.settled is not None and not self._how.dry_run:
            self._how.settled(step, there, error)

    def _arrived(self, count: int) -> None:
        self._telling.came(count)
        self._flight.came(count)

    def _fail(self, key: str, error: StoreError, step: Step | None = None) -> None:
        error.at(self._op, self._place(key))
        error.__traceback__ = error.__context__ = None  # there may be many, each with its frames
        self._report.failures.append(Failure(key, error))
        if step is not None:
            self._settle(step, None, error)

    def _place(self, key: str) -> str:
        return f"{str(self._source.url).rstrip('/')}/{key}"


def _retries(layers: Iterable[Retried | None]) -> int:
    return sum(layer.retries for layer in layers if layer is not None)


def _width(source: Store, target: Store | None, ceiling: int | None) -> Callable[[], int]:
    """Return what says how many objects may be under way: as many as both sides bear.

    A target that is written to in groups bears any number, and is `None`.
    """
    reads = ability(source.provider, Limited)
    writes = None if target is None else ability(target.provider, Limited)
    gates = (None if reads is None else reads.reads, None if writes is None else writes.writes)
    widths = [gate.width for gate in gates if gate is not None]
    most = ceiling or 1 << 30
    if len(widths) == 1:  # the usual case, asked for each object
        [one] = widths
        return lambda: min(most, one.allowed)
    return lambda: min([most, *(width.allowed for width in widths)])
