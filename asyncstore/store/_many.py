"""Many objects at once: what the jobs of a batch are, and how each is done.

Everything here takes keys that are whole in their bucket. A job is one request, or as many parts
as a large object is cut into; neighbouring spans of one object share a job.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from asyncstore.batch import Batch, Budget, Outcome, Reads
from asyncstore.errors import StoreError
from asyncstore.layers import Limited
from asyncstore.provider import Asked, ability
from asyncstore.store import _reading, _writing
from asyncstore.types import WHOLE, Blob, MiB, ObjectMeta, Span, change_meta

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from asyncstore.batch import Slot
    from asyncstore.provider import Provider

V = TypeVar("V")

BUDGET = 256 * MiB

_GUESS = 256 * 1024
_LOOK_AHEAD = 64
_MERGED_MAX = 8 * MiB


@dataclass(slots=True)
class Wanted:
    """One item of a reading batch.

    Attributes:
        item: as the user gave it.
        index: its place among the items.
        key: whole in the bucket; not used where `error` says what is wrong with the item.
        span: which bytes.
        etag: of the version to read, or `None`.
        size: bytes that come, or `None` where nobody knows yet.
        error: why the item means nothing.
    """

    item: Any
    index: int
    key: str
    span: Span = WHOLE
    etag: str | None = None
    size: int | None = None
    error: StoreError | None = None


Job: TypeAlias = "list[Wanted]"


def width_of(provider: Provider, ceiling: int | None) -> Callable[[], int]:
    """Return what says how many reads may be under way now."""
    return _width(provider, ceiling, writes=False)


def _width(provider: Provider, ceiling: int | None, *, writes: bool) -> Callable[[], int]:
    limited = ability(provider, Limited)
    most = ceiling or 1 << 30
    if limited is None:
        return lambda: min(_reading.WIDTH * 8, most)
    width = (limited.writes if writes else limited.reads).width
    return lambda: min(width.allowed, most)


def get_many(
    provider: Provider,
    items: Iterable[Any] | AsyncIterable[Any],
    read: Callable[[Any, int], Wanted],
    mine: Callable[[ObjectMeta], ObjectMeta],
    *,
    ordered: bool,
    width: int | None,
    budget: int,
    gap: int,
    most: int | None,
) -> Batch[Any, Blob]:
    """Read many objects or spans; `read` makes sense of an item."""
    reader = _Reader(provider, mine, most)
    source: Iterator[Job] | AsyncIterator[Job]
    if isinstance(items, AsyncIterable):
        source = _singly(items, read)
    else:
        source = _merged(iter(items), read, gap)
    return Batch(
        source,
        reader.work,
        cost=reader.cost,
        width=_width(provider, width, writes=False),
        budget=Budget(budget),
        ordered=ordered,
        express=Reads(reader.wish, reader.came, reader.finish).on(provider),
    )


async def _singly(
    items: AsyncIterable[Any], read: Callable[[Any, int], Wanted]
) -> AsyncIterator[Job]:
    # Waiting for a neighbour that may never come would hold back the item that is there.
    index = 0
    async for item in items:
        yield [read(item, index)]
        index += 1


def _merged(items: Iterator[Any], read: Callable[[Any, int], Wanted], gap: int) -> Iterator[Job]:
    """Put spans of one object that follow one another in the items, and lie close, together."""
    job: Job = []
    low = high = 0
    for index, item in enumerate(items):
        wanted = read(item, index)
        alone = wanted.span is WHOLE or wanted.error is not None
        ends = None if alone else _reading.closed(wanted.span)
        if job and ends is not None:
            first = job[0]
            near = ends[0] <= high + gap and ends[1] >= low - gap
            small = max(high, ends[1]) - min(low, ends[0]) <= _MERGED_MAX
            same = first.key == wanted.key and first.etag == wanted.etag
            if same and near and small and len(job) < _LOOK_AHEAD:
                job.append(wanted)
                low, high = min(low, ends[0]), max(high, ends[1])
                continue
        if job:
            yield job
            job = []
        if ends is None:
            yield [wanted]
        else:
            job = [wanted]
            low, high = ends
    if job:
        yield job


class _Reader:
    """Does the jobs of a reading batch, and learns how large objects are that nobody told of."""

    def __init__(
        self, provider: Provider, mine: Callable[[ObjectMeta], ObjectMeta], most: int | None
    ) -> None:
        self._provider = provider
        self._most = most
        self._mine = mine
        self._guess = _GUESS

    def cost(self, job: Job) -> int:
        """Return the bytes that a job will hold, as far as one knows."""
        if len(job) > 1:
            ends = [_reading.closed(wanted.span) or (0, 0) for wanted in job]
            return max(stop for _, stop in ends) - min(start for start, _ in ends)
        size = job[0].size
        if job[0].error is not None:
            return 0
        return self._guess if size is None else size

    def wish(self, job: Job, token: Any) -> Asked | None:
        """Return what to ask for, where a job is no more than to read a whole object."""
        wanted = job[0]
        if wanted.span is not WHOLE or wanted.error is not None:
            return None
        most = self._guess if wanted.size is None else self._most
        return Asked(wanted.key, wanted.etag, most, token)

    def came(self, job: Job, slot: Slot, blob: Blob) -> Outcome[Any, Blob]:
        """Return the outcome of a job whose object was read."""
        wanted = job[0]
        if wanted.size is None:
            size = len(blob.data)
            if self._guess > _GUESS or size > _GUESS // 2:
                self._learn(size)
            slot.settle(size)
        change_meta(blob, self._mine)
        return Outcome(wanted.item, wanted.index, blob)

    async def finish(
        self, job: Job, slot: Slot, read: Callable[[], Awaitable[Blob]]
    ) -> Sequence[Outcome[Any, Blob]]:
        """Do a job whose object takes more to read."""
        wanted = job[0]
        try:
            blob = await read()
            if wanted.size is None:
                blob = await self._known(wanted, slot, blob)
            elif self._most is not None and not len(blob.data):
                blob = await _reading.refused(self._provider, wanted.span, None, blob)
        except StoreError as error:
            return [Outcome(wanted.item, wanted.index, error=error)]
        return [Outcome(wanted.item, wanted.index, self._own([blob])[0])]

    async def work(self, job: Job, slot: Slot) -> Sequence[Outcome[Any, Blob]]:
        """Do a job."""
        first = job[0]
        if first.error is not None:
            return [Outcome(first.item, first.index, error=first.error)]
        try:
            blobs = await self._read(job, slot)
        except StoreError as error:
            return [Outcome(wanted.item, wanted.index, error=error) for wanted in job]
        return [
            Outcome(wanted.item, wanted.index, blob)
            for wanted, blob in zip(job, blobs, strict=True)
        ]

    async def _read(self, job: Job, slot: Slot) -> list[Blob]:
        first = job[0]
        provider = self._provider
        if len(job) > 1:
            return self._own(await self._neighbours(job))
        if first.size is None:
            blob = await self._unknown(first, slot)
        else:
            blob = await _reading.read(
                provider, first.key, first.span, if_match=first.etag, most=self._most
            )
        return self._own([blob])

    def _own(self, blobs: list[Blob]) -> list[Blob]:
        for blob in blobs:
            change_meta(blob, self._mine)
        return blobs

    async def _neighbours(self, job: Job) -> list[Blob]:
        ends = [_reading.closed(wanted.span) or (0, 0) for wanted in job]
        low = min(start for start, _ in ends)
        high = max(stop for _, stop in ends)
        whole = await self._provider.get(job[0].key, span=Span(low, high), if_match=job[0].etag)
        view = memoryview(whole.data)
        return [
            Blob(view[start - low : stop - low], whole.meta, start=min(start, whole.meta.size))
            for start, stop in ends
        ]

    async def _unknown(self, wanted: Wanted, slot: Slot) -> Blob:
        """Read an object whose size nobody told, as far as it fits what was taken for it."""
        blob = await self._provider.get(
            wanted.key, span=wanted.span, if_match=wanted.etag, most=self._guess
        )
        return await self._known(wanted, slot, blob)

    async def _known(self, wanted: Wanted, slot: Slot, blob: Blob) -> Blob:
        """Return what was read, or read it now that it is known to be larger than the guess."""
        start, stop = wanted.span.resolve(blob.meta.size)
        self._learn(stop - start)
        if len(blob.data) == stop - start:
            slot.settle(len(blob.data))
            return blob
        await slot.swap(wanted.index, stop - start)
        etag = blob.meta.etag
        return await _reading.read(
            self._provider, wanted.key, wanted.span, if_match=etag, most=self._most
        )

    def _learn(self, size: int) -> None:
        """Take the next ones for a little larger than this, or nearly as large as others lately."""
        guess = max(_GUESS, size + size // 4, self._guess - self._guess // 4)
        self._guess = min(guess, _reading.LARGE)


Call: TypeAlias = "Callable[[Any], Any]"


def each_of(
    provider: Provider,
    items: Iterable[Any] | AsyncIterable[Any],
    call: Call,
    *,
    writes: bool,
    cost: Callable[[Any], int],
    ordered: bool,
    width: int | None,
    budget: int,
) -> Batch[Any, Any]:
    """Await `call(item)` for every item."""

    async def work(job: tuple[int, Any], slot: Slot) -> Sequence[Outcome[Any, Any]]:
        index, item = job
        outcome: Outcome[Any, Any] = Outcome(item, index)
        try:
            outcome.value = await call(item)
        except StoreError as error:
            outcome.error = error
        slot.free()
        return (outcome,)

    return Batch(
        _counted_late(items) if isinstance(items, AsyncIterable) else enumerate(items),
        work,
        cost=lambda job: cost(job[1]),
        width=_width(provider, width, writes=writes),
        budget=Budget(budget),
        ordered=ordered,
    )


async def _counted_late(items: AsyncIterable[V]) -> AsyncIterator[tuple[int, V]]:
    index = 0
    async for item in items:
        yield index, item
        index += 1


def delete_many(
    provider: Provider,
    items: Iterable[str] | AsyncIterable[str],
    whole: Callable[[str], str],
    *,
    ordered: bool,
    width: int | None,
) -> Batch[str, None]:
    """Delete many objects, as many in a request as the service takes."""

    async def work(job: list[tuple[int, str]], slot: Slot) -> Sequence[Outcome[str, None]]:
        del slot
        outcomes: list[Outcome[str, None]] = []
        keys: dict[str, list[Outcome[str, None]]] = {}
        for index, key in job:
            outcome: Outcome[str, None] = Outcome(key, index)
            outcomes.append(outcome)
            try:
                keys.setdefault(whole(key), []).append(outcome)
            except StoreError as error:
                outcome.error = error
        failed: Mapping[str, StoreError] = {}
        try:
            if keys:
                failed = await provider.delete(list(keys))
        except StoreError as error:
            failed = dict.fromkeys(keys, error)
        for key, why in failed.items():
            for outcome in keys[key]:
                outcome.error = why
        return outcomes

    size = provider.limits.delete
    counted = _counted_late(items) if isinstance(items, AsyncIterable) else enumerate(items)
    source: Any = (
        _chunked_late(counted, size)
        if isinstance(counted, AsyncIterator)
        else _chunked(counted, size)
    )
    return Batch(
        source,
        work,
        cost=lambda _: 0,
        width=_width(provider, width, writes=True),
        budget=Budget(1),
        ordered=ordered,
    )


def _chunked(items: Iterator[V], size: int) -> Iterator[list[V]]:
    chunk: list[V] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _chunked_late(items: AsyncIterator[V], size: int) -> AsyncIterator[list[V]]:
    chunk: list[V] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def weight(data: Any) -> int:
    """Return the bytes of a buffer that is to be written."""
    return len(_writing.flat(data))
