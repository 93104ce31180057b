"""One object on its way: compared where that may do, else copied, verified and put on record."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asyncstore.batch import Outcome
from asyncstore.errors import (
    IntegrityError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
)
from asyncstore.provider import Asked, Moves, passes_on
from asyncstore.transfer import large
from asyncstore.transfer.content import same
from asyncstore.types import MiB, ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.batch import Slot
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Step
    from asyncstore.transfer.record import Record
    from asyncstore.transfer.report import Report
    from asyncstore.types import Blob, Buffer

SMALL = 16 * MiB
"""Objects of up to this are read and written in one piece."""

GROUPED = MiB // 2
"""Objects of up to this are written with others, where the target can."""

_COMPARED = 2 * MiB  # bytes that a comparison holds


class Carried:
    """What became of an object.

    Attributes:
        meta: of what was written, `None` where nothing was; while `data` is there, of what was
            read.
        gone: it is at the source no more, as it was renamed.
        data: what was read, and is to be written with others.
    """

    __slots__ = ("data", "gone", "meta")

    def __init__(
        self, meta: ObjectMeta | None, data: Buffer | None = None, *, gone: bool = False
    ) -> None:
        self.meta = meta
        self.data = data
        self.gone = gone

    def landed(self, meta: ObjectMeta) -> None:
        """Take what was written in place of what was read."""
        self.meta = meta
        self.data = None


class Carrier:
    """Carries objects from one store to another.

    Args:
        source: read from.
        target: written to.
        record: told of what arrived.
        report: counts what was done.
        came: told of bytes that arrived, or were found to be there.
        verify: compare alone; what differs is an error.
        same_service: objects are copied at the service.
        if_absent: create only.
        move: rename what can be; the source of all else is to be deleted, and what is at the
            target is compared with it before.
        grouped: small objects are read alone, to be written in groups.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        record: Record,
        report: Report,
        came: Callable[[int], None],
        *,
        verify: bool,
        same_service: bool,
        if_absent: bool,
        move: bool,
        grouped: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._record = record
        self._report = report
        self._came = came
        self._verify = verify
        self._same_service = same_service
        self._if_absent = if_absent
        self._move = move
        self._grouped = grouped and not (same_service or if_absent or move)
        self._small = min(GROUPED, SMALL)
        self._prefix = source.prefix
        self._renames = move and same_service and passes_on(source.provider, Moves)

    def cost(self, step: Step) -> int:
        """Return the bytes that a step holds in memory."""
        if step.verb == "compare":
            return min(step.meta.size, _COMPARED)
        return self._cost_of_copy(step.meta)

    def _cost_of_copy(self, meta: ObjectMeta) -> int:
        if self._same_service:
            return 0
        return meta.size if meta.size <= SMALL else large.held(meta.size, self._target)

    async def carry(self, step: Step, slot: Slot) -> Carried:
        """Do a step that compares or copies.

        Raises:
            StoreError: it could not be done, or, when verifying, the content differs.
        """
        if step.verb == "compare":
            if await self._is_same(step):
                return Carried(None)
            if self._verify:
                raise IntegrityError("the bytes differ")
            await slot.swap(0, self._cost_of_copy(step.meta))
        elif self._verify:
            raise IntegrityError(step.reason)
        if self._renames:
            renamed = await self._renamed(step.meta)
            if renamed is not None:
                return renamed
        if self._grouped and step.meta.size <= self._small:
            blob = await self._source.get(step.key, if_match=step.meta.etag)
            return Carried(blob.meta, blob.data)
        before, after = await self._copy(step.meta)
        self._arrived(before, after)
        return Carried(after)

    def wish(self, step: Step, token: Any) -> Asked | None:
        """Return what to ask for, where a step is to read one small object and no more.

        What comes is for `came`.
        """
        meta = step.meta
        if not self._grouped or self._verify or step.verb != "copy":
            return None
        if meta.etag is None or meta.size > self._small:
            return None
        return Asked(self._prefix + meta.key, meta.etag, SMALL, token)

    def came(self, step: Step, _: Slot, blob: Blob) -> Outcome[Step, Carried]:
        """Take what was read; of a version, the listing has said all that files have of it."""
        meta, data = step.meta, blob.data
        size = len(data)
        meta = meta if size == meta.size else meta.replace(size=size)
        return Outcome(step, 0, Carried(meta, data))

    async def put(self, data: Buffer, meta: ObjectMeta) -> ObjectMeta:
        """Write a small object that was read."""
        return await self._target.put(
            meta.key, data, if_absent=self._if_absent, **large.kept(meta, self._target)
        )

    def landed(self, before: ObjectMeta, after: ObjectMeta) -> None:
        """Check a small object that was written, put it on record, and count it.

        That its bytes came is for whoever wrote it to tell.

        Raises:
            IntegrityError: it is not what was read.
        """
        self._arrived(before, after)

    def all_landed(self, pairs: Sequence[tuple[ObjectMeta, ObjectMeta]]) -> bool:
        """Do as `landed` for files of which nothing is to be said but that they are there.

        Args:
            pairs: of what was read and what was written.

        Returns:
            Whether that is so. Else nothing was done, and each is for `landed`.
        """
        sizes = [before.size for before, _ in pairs]
        if sizes != [after.size for _, after in pairs] or any(a.checksums for _, a in pairs):
            return False
        self._on_record(pairs)
        self._count(sizes)
        return True

    def _arrived(self, before: ObjectMeta, after: ObjectMeta) -> None:
        _check(before, after)
        self._on_record([(before, after)])
        self._count([before.size])

    def _count(self, sizes: Sequence[int]) -> None:
        self._report.copied += len(sizes)
        self._report.bytes += sum(sizes)

    async def _renamed(self, meta: ObjectMeta) -> Carried | None:
        """Rename an object, of whatever version; `None` where the system cannot."""
        source, target = self._source.prefix + meta.key, self._target.prefix + meta.key
        mover: Any = self._target.provider
        with suppress(NotSupportedError):  # as between two file systems
            after: ObjectMeta = await mover.move(source, target, if_absent=self._if_absent)
            self._came(after.size)
            self._count([meta.size])
            self._report.moved += 1
            return Carried(ObjectMeta(meta.key, after.size, etag=after.etag), gone=True)
        return None

    async def _is_same(self, step: Step) -> bool:
        """Whether what is at the target has the source's content."""
        there = step.there
        assert there is not None  # noqa: S101 - else there is nothing to compare with
        try:
            equal, here, there = await same(self._source, step.meta, self._target, there)
        except (ObjectChangedError, NotFoundError) as error:
            # A request of a run that was killed may arrive after the listing of the next.
            place = self._target.provider.locate(self._target.prefix + step.key)
            if self._verify or error.url != place:
                raise
            return False
        if equal:
            self._on_record([(here, there)])
            self._report.skipped += 1
            self._came(step.meta.size)
        return equal

    def _on_record(self, pairs: Sequence[tuple[ObjectMeta, ObjectMeta]]) -> None:
        self._record.add(
            [
                (here.key, here.etag, here.size, there.etag)
                for here, there in pairs
                if there.etag is not None
            ]
        )

    async def _copy(self, meta: ObjectMeta) -> tuple[ObjectMeta, ObjectMeta]:
        if self._same_service:
            with suppress(NotSupportedError):  # it ignores conditions: through here, then
                return await self._at_once(meta)
        before, after = await self._through_here(meta)
        if self._move:
            await self._compare(before, after)
        return before, after

    async def _through_here(self, meta: ObjectMeta) -> tuple[ObjectMeta, ObjectMeta]:
        source, target, key = self._source, self._target, meta.key
        if meta.size <= SMALL:
            blob = await source.get(key, if_match=meta.etag)
            after = await self.put(blob.data, blob.meta)
            self._came(meta.size)
            return blob.meta, after
        if not large.resumes(target):
            return await self._at_once(meta)
        going = large.Large(
            source, target, meta, self._record, self._came, if_absent=self._if_absent
        )
        return await going.run(resumed=self._resumed)

    async def _at_once(self, meta: ObjectMeta) -> tuple[ObjectMeta, ObjectMeta]:
        key = meta.key
        after = await self._source.copy(
            key, key, to=self._target, if_match=meta.etag, if_absent=self._if_absent
        )
        self._came(meta.size)
        return meta, after

    async def _compare(self, before: ObjectMeta, after: ObjectMeta) -> None:
        """Make sure of the content, as the source is to be deleted."""
        equal, _, _ = await same(self._source, before, self._target, after)
        if not equal:
            raise IntegrityError("what was stored is not what was sent")

    def _resumed(self) -> None:
        self._report.resumed += 1


def _check(before: ObjectMeta, after: ObjectMeta) -> None:
    """Compare what both sides say of the bytes: their number, and checksums of one kind."""
    if before.size != after.size:
        raise IntegrityError(f"{after.size} bytes were stored of {before.size}")
    if not after.checksums:
        return  # as of every file
    for kind in before.checksums.keys() & after.checksums.keys():
        if before.checksums[kind] != after.checksums[kind]:
            raise IntegrityError(f"the {kind} of what was stored differs")
