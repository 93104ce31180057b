"""The engine: any pair of stores, every object copied once, verified, and put on record.

Theory of operation. Both sides are listed and the record of earlier runs is loaded; `plan`
decides what to do with each key. What is not skipped goes through a `Batch`, as wide as both
services bear and within a budget of bytes. An object goes on record when it is at the target and
verified; what a kill keeps from the record is compared by content in the next run, never taken
for granted. Deletions come last, and only where nothing failed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from asyncstore.batch import Batch, Budget, Outcome
from asyncstore.errors import (
    IntegrityError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    StoreError,
)
from asyncstore.layers import Limited, Retried
from asyncstore.provider import ability
from asyncstore.transfer import large
from asyncstore.transfer.content import same
from asyncstore.transfer.names import refusal
from asyncstore.transfer.plan import Done, filtered, folded, plan
from asyncstore.transfer.report import Failure, Progress, Report
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from asyncstore.batch import Slot
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Step
    from asyncstore.transfer.record import Record
    from asyncstore.types import ObjectMeta

SMALL = 16 * MiB
"""Objects of up to this are read and written in one piece."""

_COMPARED = 2 * MiB  # bytes that a comparison holds
_EVERY = 0.1  # seconds between two calls about the progress
_SPARE = 10_000  # objects at the target, beyond four for each source, before it is not listed on


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to transfer; see `Store.sync`.

    Attributes:
        include, exclude, delete, dry_run, width, budget: as there.
        keys: these only, relative to both sides; `None` is all that is listed.
        verify: change nothing, and compare the content of everything.
        same_service: objects are copied at the service.
        fold: the target takes some different keys for one.
        tell: called about the progress.
        settled: called about each object that is done with, and why it failed if it did.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    keys: Sequence[str] | None = None
    delete: bool = False
    dry_run: bool = False
    verify: bool = False
    width: int | None = None
    budget: int = 256 * MiB
    same_service: bool = False
    fold: bool = False
    tell: Callable[[Progress], None] | None = None
    settled: Callable[[Step, StoreError | None], None] | None = None


class Transfer:
    """One run between two stores.

    Args:
        source: read from.
        target: written to.
        record: of earlier runs; not loaded yet.
        how: what is asked for.
        flush: brings what was written to the target's disk; `None` where each write did.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        record: Record,
        how: How,
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._record = record
        self._how = how
        self._flush = flush
        self._targets: dict[str, ObjectMeta] = {}
        self._report = Report()
        self._began = time.monotonic()
        self._told = 0.0
        self._bytes = self._files_total = self._bytes_total = self._files = self._under_way = 0

    async def run(self) -> Report:
        """Do it.

        Raises:
            StoreError: a side cannot be listed, or the target not be flushed. What is wrong
                with single objects is in the report.
        """
        layers = {ability(store.provider, Retried) for store in (self._source, self._target)}
        retries = _retries(layers)
        await run_sync(self._record.load)
        try:
            steps = await self._steps()
            if self._how.dry_run:
                self._report.planned = [(step.verb, step.key) for step in steps]
            else:
                await self._carry_out(steps)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self._record.close)
        self._report.seconds = time.monotonic() - self._began
        self._report.retries = _retries(layers) - retries
        return self._report

    # ---- what there is

    async def _steps(self) -> list[Step]:
        how = self._how
        sources = await self._listed()
        self._targets = await self._find_targets(sources)
        there = self._target.url.scheme == "file"
        steps = plan(
            sources,
            self._targets,
            {} if how.verify else self._record.done,
            delete=how.delete,
            wanted=filtered(how.include, how.exclude),
            fold=folded if how.fold else None,
            refusal=partial(refusal, local=there),
            folders=there,
        )
        found: list[Step] = []
        for step in steps:
            found.append(step)
            if len(found) % 1000 == 0:
                await anyio.lowlevel.checkpoint()
        return found

    async def _listed(self) -> list[ObjectMeta]:
        if self._how.keys is None:
            return [meta async for meta in self._source.list()]
        return await self._heads(self._source, self._how.keys, missing=self._fail)

    async def _heads(
        self,
        store: Store,
        keys: Iterable[str],
        *,
        missing: Callable[[str, StoreError], None],
    ) -> list[ObjectMeta]:
        found = []
        async with store.head_many(dict.fromkeys(keys)) as heads:
            async for outcome in heads:
                if outcome.error is None:
                    found.append(outcome.result())
                else:
                    missing(outcome.item, outcome.error)
        return found

    async def _find_targets(self, sources: Sequence[ObjectMeta]) -> dict[str, ObjectMeta]:
        """Return what is at the target; all of it where that decides what is deleted."""
        targets: dict[str, ObjectMeta] = {}
        if self._how.keys is None:
            most = None if self._how.delete else 4 * len(sources) + _SPARE
            listing = self._target.list()
            async for meta in listing:
                targets[meta.key] = meta
                if most is not None and len(targets) >= most:
                    await listing.aclose()
                    break
            else:
                return targets
        rest = [
            meta.key
            for meta in sources
            if meta.key not in targets and refusal(meta.key, local=False) is None
        ]

        def absent(_: str, error: StoreError) -> None:
            if not isinstance(error, NotFoundError | InvalidPathError):
                raise error

        for meta in await self._heads(self._target, rest, missing=absent):
            targets[meta.key] = meta
        return targets

    # ---- doing it

    async def _carry_out(self, steps: Sequence[Step]) -> None:
        work = [step for step in steps if step.verb in ("copy", "compare")]
        gone = [step for step in steps if step.verb == "delete"]
        self._files_total = len(steps)
        self._bytes_total = sum(step.meta.size for step in work)
        for step in steps:
            if step.verb == "refuse":
                self._fail(step.key, InvalidPathError(step.reason), step)
            elif step.verb == "skip":
                self._report.skipped += 1
                self._settle(step)
        if not self._how.verify:
            await self._abandon({step.key: step.meta for step in work})
        await self._each(work)
        if self._how.verify:
            for step in gone:
                self._fail(step.key, NotFoundError("not at the source"), step)
        elif gone and not self._report.failures:
            await self._delete(gone)
        if not self._how.verify:
            if self._flush is not None:
                await self._flush()
            await run_sync(self._record.flushed)
        self._tell(last=True)

    async def _abandon(self, work: Mapping[str, ObjectMeta]) -> None:
        """Give up what earlier runs began and this one does not go on with."""
        for key, begun in list(self._record.begun.items()):
            meta = work.get(key)
            if meta is not None and begun.is_of(meta):
                continue
            if await large.drop(self._target, key, begun):
                await run_sync(self._record.end, key)

    async def _each(self, work: Sequence[Step]) -> None:
        batch: Batch[Step, None] = Batch(
            iter(work),
            self._work,
            cost=self._cost,
            width=_width(self._source, self._target, self._how.width),
            budget=Budget(self._how.budget),
        )
        async with batch:
            while outcomes := await batch.some(256):
                for outcome in outcomes:
                    if outcome.error is None:
                        self._settle(outcome.item)
                    else:
                        self._fail(outcome.item.key, outcome.error, outcome.item)
                if self._record.due:
                    await run_sync(self._record.save)

    def _cost(self, step: Step) -> int:
        if step.verb == "compare":
            return min(step.meta.size, _COMPARED)
        if self._how.same_service:
            return 0
        if step.meta.size <= SMALL:
            return step.meta.size
        return large.held(step.meta.size, self._target)

    async def _work(self, step: Step, slot: Slot) -> Sequence[Outcome[Step, None]]:
        outcome: Outcome[Step, None] = Outcome(step, 0)
        self._under_way += 1
        try:
            await self._do(step, slot)
        except StoreError as error:
            outcome.error = error.at("transfer", self._place(step.key))
        finally:
            self._under_way -= 1
        slot.free()
        return (outcome,)

    async def _do(self, step: Step, slot: Slot) -> None:
        if self._how.verify and step.verb == "copy":
            raise IntegrityError(step.reason)
        if step.verb == "compare":
            if await self._is_same(step):
                self._report.skipped += 1
                self._bytes += step.meta.size
                return
            if self._how.verify:
                raise IntegrityError("the bytes differ")
            await slot.swap(0, self._cost_of_copy(step))
        before, after = await self._copy(step.meta)
        _check(before, after)
        if after.etag is not None:
            self._record.add(step.key, Done(before.etag, before.size, after.etag))
        self._report.copied += 1
        self._report.bytes += before.size

    def _cost_of_copy(self, step: Step) -> int:
        small = step.meta.size <= SMALL
        return step.meta.size if small else large.held(step.meta.size, self._target)

    async def _is_same(self, step: Step) -> bool:
        equal, here, there = await same(
            self._source, step.meta, self._target, self._targets[step.key]
        )
        if equal and there.etag is not None:
            self._record.add(step.key, Done(here.etag, here.size, there.etag))
        return equal

    async def _copy(self, meta: ObjectMeta) -> tuple[ObjectMeta, ObjectMeta]:
        source, target, key = self._source, self._target, meta.key
        if self._how.same_service:
            with suppress(NotSupportedError):  # it ignores conditions: through here, then
                after = await source.copy(key, key, to=target, if_match=meta.etag)
                self._bytes += meta.size
                return meta, after
        if meta.size > SMALL:
            if large.resumes(target):
                return await large.Large(source, target, meta, self._record, self._came).run(
                    resumed=self._resumed
                )
            after = await source.copy(key, key, to=target, if_match=meta.etag)
            self._bytes += meta.size
            return meta, after
        blob = await source.get(key, if_match=meta.etag)
        after = await target.put(key, blob.data, **large.kept(blob.meta, target))
        self._bytes += meta.size
        return blob.meta, after

    def _came(self, count: int) -> None:
        self._bytes += count
        self._tell()

    def _resumed(self) -> None:
        self._report.resumed += 1

    async def _delete(self, gone: Sequence[Step]) -> None:
        steps = {step.key: step for step in gone}
        async with self._target.delete_many(list(steps)) as deleted:
            async for outcome in deleted:
                step = steps[outcome.item]
                if outcome.error is not None:
                    self._fail(outcome.item, outcome.error, step)
                    continue
                self._report.deleted += 1
                self._record.remove(outcome.item)
                self._settle(step)

    # ---- telling

    def _settle(self, step: Step, error: StoreError | None = None) -> None:
        self._files += 1
        if self._how.settled is not None:
            self._how.settled(step, error)
        self._tell()

    def _fail(self, key: str, error: StoreError, step: Step | None = None) -> None:
        error.at("transfer", self._place(key))
        self._report.failures.append(Failure(key, error))
        if step is not None:
            self._settle(step, error)

    def _place(self, key: str) -> str:
        return f"{str(self._source.url).rstrip('/')}/{key}"

    def _tell(self, *, last: bool = False) -> None:
        tell = self._how.tell
        now = time.monotonic()
        if tell is None or (now - self._told < _EVERY and not last):
            return
        self._told = now
        tell(
            Progress(
                files=self._files,
                files_total=self._files_total,
                bytes=self._bytes,
                bytes_total=self._bytes_total,
                failed=len(self._report.failures),
                seconds=now - self._began,
                width=self._under_way,
            )
        )


def _retries(layers: Iterable[Retried | None]) -> int:
    return sum(layer.retries for layer in layers if layer is not None)


def _width(source: Store, target: Store, ceiling: int | None) -> Callable[[], int]:
    """Return what says how many objects may be under way: as many as both sides bear."""
    reads, writes = ability(source.provider, Limited), ability(target.provider, Limited)
    gates = (None if reads is None else reads.reads, None if writes is None else writes.writes)
    widths = [gate.width for gate in gates if gate is not None]
    most = ceiling or 1 << 30
    return lambda: min([most, *(width.allowed for width in widths)])


def _check(before: ObjectMeta, after: ObjectMeta) -> None:
    """Compare what both sides say of the bytes: their number, and checksums of one kind."""
    if before.size != after.size:
        raise IntegrityError(f"{after.size} bytes were stored of {before.size}")
    for kind in before.checksums.keys() & after.checksums.keys():
        if before.checksums[kind] != after.checksums[kind]:
            raise IntegrityError(f"the {kind} of what was stored differs")
