"""Large objects: part by part, and after a kill from the last part that arrived.

Theory of operation. The record is told of an upload before it begins, of its name as soon as it
has one, and of every part that was sent with its checksum. The next run asks the target which of
those parts it holds, and sends the others, if the source is the same version; else it gives the
old upload up. Where the source tells a checksum of the whole, the parts' are joined and compared
with it before the object is completed.

An upload that fails for a passing reason is kept for the next run; one that is cancelled, or that
cannot succeed, is given up at once.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from asyncstore.errors import (
    DeadlineError,
    IntegrityError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    StoreError,
    TransientError,
)
from asyncstore.plan import part_size
from asyncstore.provider import ResumesUploads, passes_on
from asyncstore.transfer import sums
from asyncstore.transfer.blocking import in_thread
from asyncstore.transfer.record import Begun
from asyncstore.types import MiB, ObjectMeta, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncstore.provider import Resumed
    from asyncstore.store import Store
    from asyncstore.transfer.record import Record

PART = 8 * MiB
WIDTH = 4
"""Parts of one object that are under way, and in memory, at once."""

_log = logging.getLogger("asyncstore")
_BEGIN = 60.0  # seconds that beginning an upload, and looking what it has, may take
_TIDY = 5.0  # seconds that giving an upload up may take


def held(size: int, target: Store) -> int:
    """Return the bytes that a large object holds in memory while it is under way."""
    return min(size, WIDTH * part_size(size, target.provider.limits, preferred=PART))


def kept(meta: ObjectMeta, target: Store) -> dict[str, Any]:
    """Return what goes along with the bytes, where the target has a place for it."""
    if not target.provider.limits.metadata:
        return {}
    return {"content_type": meta.content_type, "metadata": dict(meta.metadata) or None}


def resumes(target: Store) -> bool:
    """Whether the target's uploads outlive this process."""
    return passes_on(target.provider, ResumesUploads)


async def drop(target: Store, key: str, begun: Begun) -> bool:
    """Give up what an earlier run began; return whether that is done with.

    Who may write need not be allowed to look for uploads, and no object waits for this.
    """
    if not resumes(target):
        return True
    provider: Any = target.provider
    try:
        await provider.drop_uploads(target.prefix + key, token=begun.token, since=begun.since)
    except StoreError as error:
        _log.warning("an upload that was begun for %s is still there: %s", key, error)
        return False
    return True


class Large:
    """One large object on its way.

    Args:
        source: read from.
        target: written to; it `resumes`.
        meta: of the source.
        record: of the transfer.
        came: told of bytes that arrived.
        if_absent: create only; it holds when the object is completed.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        meta: ObjectMeta,
        record: Record,
        came: Callable[[int], None],
        *,
        if_absent: bool = False,
    ) -> None:
        self._source = source
        self._target = target
        self._meta = meta
        self._record = record
        self._came = came
        self._if_absent = if_absent
        self._key = meta.key
        self._arrived = 0

    async def run(self, *, resumed: Callable[[], None]) -> tuple[ObjectMeta, ObjectMeta]:
        """Copy it; return both sides' metadata.

        Args:
            resumed: called if parts of an earlier run are used.
        """
        meta = self._meta
        if self._source.url.scheme != "file":
            meta = await self._source.head(self._key)
            if (meta.etag, meta.size) != (self._meta.etag, self._meta.size):
                raise ObjectChangedError("it was replaced since it was listed")
        begun = self._record.begun.get(self._key)
        if begun is None or not begun.is_of(meta):
            part = part_size(meta.size, self._target.provider.limits, preferred=PART)
            kind = sums.kind_for(meta.checksums).name
            begun = Begun(meta.etag, meta.size, part, "", kind, {}, time.time())
            await in_thread(self._record.begin, self._key, begun)
        elif not begun.token:
            await drop(self._target, self._key, begun)
        self._kind = sums.named(begun.kind)
        try:
            upload = await self._opened(meta, begun)
        except TimeoutError:
            raise DeadlineError(f"no upload began in {_BEGIN:g} seconds") from None
        if upload.present:
            resumed()
        try:
            await self._send(meta, begun, upload)
            self._compare(meta, begun)
            after = await upload.upload.complete()
        except TransientError:
            # The next run goes on; what it cannot use it gives up.
            self._came(-self._arrived)
            with anyio.CancelScope(shield=True):
                await upload.upload.leave()
            raise
        except BaseException:
            self._came(-self._arrived)
            await self._give_up(upload)
            raise
        return meta, _named(self._key, after)

    async def _opened(self, meta: ObjectMeta, begun: Begun) -> Resumed:
        provider: Any = self._target.provider
        # Whoever cancels it half-way would leave an upload whose name nobody knows.
        with anyio.CancelScope(shield=True), anyio.fail_after(_BEGIN):
            open_it = partial(
                provider.resume_upload,
                self._target.prefix + self._key,
                size=begun.size,
                part=begun.part,
                sums=dict(begun.sums),
                check=self._kind.step,
                if_absent=self._if_absent,
                **kept(meta, self._target),
            )
            upload: Resumed
            try:
                upload = await open_it(begun.token)
            except (PermissionDeniedError, NotSupportedError, IntegrityError):
                if not begun.token:
                    raise
                # Who may write need not be allowed to see what is there, nor the service tell it
                # so that it can be understood.
                await drop(self._target, self._key, begun)
                upload = await open_it("")
            if not upload.present and upload.upload.token != begun.token:
                await in_thread(self._record.name, self._key, upload.upload.token)
        return upload

    async def _send(self, meta: ObjectMeta, begun: Begun, upload: Resumed) -> None:
        have = upload.present & begun.sums.keys()
        for number in begun.sums.keys() - have:
            del begun.sums[number]
        parts = iter(list(_parts(meta.size, begun.part)))
        turns = None if self._target.provider.limits.parallel_parts else _Turns(len(have) + 1)
        failed: list[Exception] = []

        async def work() -> None:
            try:
                for number, start, stop in parts:
                    if number not in have:
                        await self._send_one(upload, number, Span(start, stop), turns)
                    self._arrived += stop - start
                    self._came(stop - start)
            except Exception as error:  # noqa: BLE001 - raised below, outside the group
                failed.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for _ in range(WIDTH):
                group.start_soon(work)
        if failed:
            raise failed[0]

    async def _send_one(
        self, upload: Resumed, number: int, span: Span, turns: _Turns | None
    ) -> None:
        blob = await self._source.get(self._key, span=span, if_match=self._meta.etag)
        start, stop = span.resolve(self._meta.size)
        if blob.meta.size != self._meta.size or len(blob.data) != stop - start:
            raise ObjectChangedError("it was replaced while it was being read")
        value = self._kind.step(blob.data)
        if turns is not None:
            await turns.wait(number)
        await upload.upload.put_part(number, blob.data)
        await in_thread(self._record.part, self._key, number, value, upload.upload.token)
        if turns is not None:
            turns.done(number)

    def _compare(self, meta: ObjectMeta, begun: Begun) -> None:
        """Hold the parts against what the source says of the whole."""
        wanted = meta.checksums.get(begun.kind)
        if wanted is None:
            return
        lengths = {n: stop - start for n, start, stop in _parts(meta.size, begun.part)}
        whole = self._kind.whole([(begun.sums[n], length) for n, length in lengths.items()])
        if whole is not None and whole != wanted:
            raise IntegrityError("the bytes that came do not have the object's checksum")

    async def _give_up(self, upload: Resumed) -> None:
        """Abort, whatever is being cancelled, but not for ever; else the next run does it."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(_TIDY):
            try:
                await upload.upload.abort()
            except StoreError:
                return
            await in_thread(self._record.end, self._key)


class _Turns:
    """Lets parts that are read at once be sent one after another.

    Args:
        first: the number of the first part to be sent.
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._waiting: dict[int, anyio.Event] = {}

    async def wait(self, number: int) -> None:
        """Return when the parts before this one were sent."""
        if number != self._next:
            await self._waiting.setdefault(number, anyio.Event()).wait()

    def done(self, number: int) -> None:
        """Let the next part be sent."""
        self._next = number + 1
        if self._next in self._waiting:
            self._waiting.pop(self._next).set()


def _named(key: str, meta: ObjectMeta) -> ObjectMeta:
    """Return a provider's metadata under a store's key."""
    return ObjectMeta(
        key, meta.size, etag=meta.etag, version=meta.version, checksums=meta.checksums
    )


def _parts(size: int, part: int) -> Iterator[tuple[int, int, int]]:
    for number, start in enumerate(range(0, size, part), 1):
        yield number, start, min(start + part, size)
