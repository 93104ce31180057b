"""The plan of a transfer in the making: both sides are read to their end, and steps put aside.

Theory of operation. Both sides and the record of earlier runs are read side by side, and
`Planner` decides what to do with each key. What there is to do or to tell is put aside, so that
nothing is done before the plan is known, and nothing is in memory that grows with the number of
objects. A service that promises no order of its listings is taken to keep one, as most do, until
a key comes that should have come before: then the plan is thrown away, and made again of what
was sorted first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING

import anyio

from asyncstore.transfer.names import accepts, refusal
from asyncstore.transfer.plan import Planner, filtered, folded
from asyncstore.transfer.put_aside import Firsts, Steps
from asyncstore.transfer.report import Plan
from asyncstore.transfer.sides import Chosen, Listed, UnsortedError
from asyncstore.transfer.stretch import Fresh, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.columns import Columns
    from asyncstore.errors import StoreError
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Row, Step, Verb
    from asyncstore.transfer.record import Record
    from asyncstore.transfer.report import Report
    from asyncstore.transfer.run import How
    from asyncstore.transfer.sides import Sides
    from asyncstore.transfer.telling import Telling


class Planning(AbstractContextManager["Planning"]):
    """Makes a plan.

    Args:
        source: read from.
        target: written to.
        record: of earlier runs.
        how: what is asked for.
        report: its plan is filled.
        telling: tells how far it is.
        missing: told of keys that were asked for and are not at the source, and why.

    Attributes:
        work: what is to be copied or compared.
        gone: what is to be deleted from the target.
        there: what is skipped, where that is to be moved.
        told: what is refused or passed over, of which somebody has to be told.
    """

    work: Steps
    gone: Steps
    there: Steps
    told: Steps

    def __init__(
        self,
        source: Store,
        target: Store,
        record: Record,
        how: How,
        *,
        report: Report,
        telling: Telling,
        missing: Callable[[str, StoreError], None],
    ) -> None:
        self._source = source
        self._target = target
        self._record = record
        self._how = how
        self._report = report
        self._telling = telling
        self._missing = missing
        self._kept = ExitStack()

    async def make(self) -> None:
        """Read both sides, and put aside what there is to do.

        Raises:
            StoreError: a side cannot be listed.
        """
        try:
            await self._read(in_order=True)
        except UnsortedError:
            await self._read(in_order=False)

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    async def _read(self, *, in_order: bool) -> None:
        self._begin()
        how = self._how
        local = self._target.url.scheme == "file"
        with Firsts(folded) as firsts:
            planner = Planner(
                delete=how.delete,
                absent=how.if_absent,
                wanted=filtered(how.include, how.exclude),
                first=firsts.first if how.fold else None,
                refusal=partial(_refused, local=local, inside=how.inside),
                accepts=partial(_accepted, local=local, inside=how.inside),
                folders=local,
            )
            sides = self._sides(in_order=in_order)
            try:
                while rows := await sides.some():
                    await self._put_aside(*self._decided(planner, rows))
                await self._put_aside(planner.end())
            finally:
                with anyio.CancelScope(shield=True):
                    await sides.aclose()

    def _begin(self) -> None:
        self._kept.close()
        self._report.plan = Plan()
        self._report.planned.clear()
        steps = [self._kept.enter_context(Steps()) for _ in range(4)]
        self.work, self.gone, self.there, self.told = steps

    def _sides(self, *, in_order: bool) -> Sides:
        how, source, target = self._how, self._source, self._target
        record = None if how.verify else self._record
        if how.keys is None:
            return Listed(source, target, record, whole=how.delete, in_order=in_order)
        return Chosen(source, target, record, how.keys, self._missing)

    def _decided(
        self, planner: Planner, rows: Sequence[Row]
    ) -> tuple[Sequence[Step], Columns | None]:
        """Return what is decided: steps, and what is to be copied besides.

        What is skipped is counted, and a step only where it moves.
        """
        if isinstance(rows, Fresh):
            return planner.take_over(rows)
        if self._how.move or not isinstance(rows, Stretch):
            return planner.feed(rows), None
        steps, skipped = planner.pass_over(rows)
        self._report.plan.skip += len(skipped)
        if self._how.dry_run:
            self._report.planned += [("skip", key) for key in skipped]
        return steps, None

    async def _put_aside(self, steps: Sequence[Step], new: Columns | None = None) -> None:
        """Count steps, and keep those that somebody has to do something about.

        Args:
            steps: that were decided.
            new: what else is to be copied.
        """
        plan, how = self._report.plan, self._how
        by_verb: dict[Verb, list[Step]] = {}
        for step in steps:
            by_verb.setdefault(step.verb, []).append(step)
            if how.dry_run and step.verb != "pass":
                self._report.planned.append((step.verb, step.key))
        copied, compared = by_verb.get("copy", []), by_verb.get("compare", [])
        skipped, deleted = by_verb.get("skip", []), by_verb.get("delete", [])
        refused = by_verb.get("refuse", [])
        plan.copy += len(copied)
        plan.compare += len(compared)
        plan.skip += len(skipped)
        plan.delete += len(deleted)
        plan.refuse += len(refused)
        kept = [step for step in steps if step.verb in ("copy", "compare")]
        plan.bytes += sum(step.meta.size for step in kept)
        if new:
            plan.copy += len(new)
            plan.bytes += sum(new.sizes)
            if how.dry_run:
                self._report.planned += [("copy", key) for key in new.keys]
        self._telling.tell()
        if how.dry_run:
            return
        await self.work.add(kept)
        if new:
            await self.work.add_new(new)
        await self.gone.add(deleted)
        await self.told.add([step for step in steps if step.verb in ("refuse", "pass")])
        if how.move:
            await self.there.add(skipped)


def _refused(key: str, *, local: bool, inside: str) -> str | None:
    if inside and key.startswith(inside):
        return "it would replace what is at the source"
    return refusal(key, local=local)


def _accepted(keys: Sequence[str], *, local: bool, inside: str) -> bool:
    return not inside and accepts(keys, local=local)
