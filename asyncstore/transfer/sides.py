"""What is at both sides and on record, key by key: three streams in the order of their keys.

Theory of operation. Each stream is read some thousand objects at a time, and the rows of what is
there of all three are made in one go. A service whose listings are in another order is sorted
first. Of the target, only as much is listed as seems worth it: where it holds far more than the
source, the rest is asked for key by key, unless all of it must be known.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from asyncstore.errors import IntegrityError, InvalidPathError, NotFoundError
from asyncstore.transfer.blocking import in_thread, surely_in_thread
from asyncstore.transfer.names import refusal
from asyncstore.transfer.plan import Row, order
from asyncstore.transfer.spill import Sorter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from asyncstore.errors import StoreError
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Done
    from asyncstore.transfer.record import Record
    from asyncstore.types import ObjectMeta

_SOME = 1000
_SPARE = 10_000  # objects at the target, beyond four for each source, before it is not listed on


class Sides(Protocol):
    """Rows in the order of their keys, some at a time."""

    async def some(self) -> list[Row]:
        """Return the next rows, `[]` at the end."""
        ...

    async def aclose(self) -> None:
        """End the listings."""
        ...


class _Stream:
    """Pairs of a key and what there is of it, ascending, each key once.

    Args:
        more: returns the next ones, `[]` at the end.
        what: is listed; for the error where it is out of order.
    """

    def __init__(self, more: Callable[[], Awaitable[list[tuple[str, Any]]]], what: str) -> None:
        self._more = more
        self._what = what
        self._last: str | None = None
        self.pairs: list[tuple[str, Any]] = []
        self.at = 0
        self.read = 0
        self.ended = False

    async def fill(self) -> None:
        """Have a next pair, or have ended."""
        if self.ended or self.at < len(self.pairs):
            return
        self.pairs, self.at = await self._more(), 0
        self.read += len(self.pairs)
        self.ended = not self.pairs
        for key, _ in self.pairs:
            last = self._last
            if last is not None and last >= key and order(last) >= order(key):
                raise IntegrityError(f"{self._what} is listed out of order: {key!r} after {last!r}")
            self._last = key

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self.ended and self.at >= len(self.pairs)

    @property
    def dry(self) -> bool:
        """Whether it has to be filled before one knows what comes next."""
        return not self.ended and self.at >= len(self.pairs)


class Listed:
    """All of the source, beside what is at the target and on record.

    Args:
        source: read from.
        target: written to.
        record: of earlier runs; `None` where it does not count.
        whole: list the target to its end, whatever is there.
    """

    def __init__(self, source: Store, target: Store, record: Record | None, *, whole: bool) -> None:
        self._target_store = target
        self._whole = whole
        self._record = record
        self._listings = [_Listing(source), _Listing(target)]
        one, other = self._listings
        self._source = _Stream(one.some, str(source.url))
        self._target = _Stream(other.some, str(target.url))
        self._done = _Stream(self._on_record, "the record")
        self._done.ended = record is None
        self._behind = ""
        self._asked_from: str | None = None

    async def some(self) -> list[Row]:
        """See `Sides.some`."""
        while True:
            await self._fill()
            rows, forgotten = _merged(self._source, self._target, self._done)
            for key in forgotten:
                if self._record is not None and self._whole:
                    self._record.remove(key)
            if self._asked_from is not None:
                rows = await self._asked(rows, self._asked_from)
            if rows or self._is_over():
                return rows

    async def aclose(self) -> None:
        """See `Sides.aclose`."""
        one, other = self._listings
        try:
            await one.aclose()
        finally:
            await other.aclose()

    def _is_over(self) -> bool:
        return all(side.ended for side in (self._source, self._target, self._done))

    async def _fill(self) -> None:
        await self._source.fill()
        if self._source.ended and not self._whole:
            # What else is at the target or on record does not matter.
            self._target.ended = self._done.ended = True
            self._target.pairs = self._done.pairs = []
        target = self._target
        if target.dry and not self._whole and target.read >= 4 * self._source.read + _SPARE:
            target.ended = True
            self._asked_from = target.pairs[-1][0] if target.pairs else ""
            await self._listings[1].aclose()
        await target.fill()
        await self._done.fill()

    async def _on_record(self) -> list[tuple[str, Done]]:
        assert self._record is not None  # noqa: S101 - it has ended else
        found = await in_thread(self._record.after, self._behind, _SOME)
        if found:
            self._behind = found[-1][0]
        return found

    async def _asked(self, rows: list[Row], behind: str) -> list[Row]:
        """Ask for what the listing of the target was given up before."""
        there = await heads(
            self._target_store,
            [
                row.source.key
                for row in rows
                if row.source and not row.target and order(row.source.key) > order(behind)
            ],
        )
        return [
            row._replace(target=there[row.source.key])
            if row.source and row.source.key in there
            else row
            for row in rows
        ]


class Chosen:
    """Some keys of the source, beside what is at the target and on record.

    Args:
        source: read from.
        target: written to.
        record: of earlier runs; `None` where it does not count.
        keys: these only.
        missing: told of keys that the source has not, and why.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        record: Record | None,
        keys: Iterable[str],
        missing: Callable[[str, StoreError], None],
    ) -> None:
        self._source = source
        self._target = target
        self._record = record
        self._keys = sorted(set(keys), key=order)
        self._missing = missing
        self._at = 0

    async def some(self) -> list[Row]:
        """See `Sides.some`."""
        while self._at < len(self._keys):
            keys = self._keys[self._at : self._at + _SOME]
            self._at += len(keys)
            here = await heads(self._source, keys, missing=self._missing)
            there = await heads(self._target, list(here))
            done = await in_thread(self._record.find, here) if self._record is not None else {}
            if here:
                return [Row(here[k], there.get(k), done.get(k)) for k in keys if k in here]
        return []

    async def aclose(self) -> None:
        """See `Sides.aclose`."""


class _Listing:
    """A store's objects, sorted where the service does not."""

    def __init__(self, store: Store) -> None:
        self._listing = store.list()
        self._sorter = None if store.provider.limits.sorted else Sorter()

    async def some(self) -> list[tuple[str, ObjectMeta]]:
        """Return the next objects with their keys, `[]` at the end."""
        if self._sorter is None:
            return [(meta.key, meta) for meta in await self._listing.some()]
        while metas := await self._listing.some():
            await in_thread(self._sorter.add, metas)
        return [(meta.key, meta) for meta in await in_thread(self._sorter.some)]

    async def aclose(self) -> None:
        """End it."""
        try:
            await self._listing.aclose()
        finally:
            if self._sorter is not None:
                await surely_in_thread(self._sorter.close)


def _merged(source: _Stream, target: _Stream, done: _Stream) -> tuple[list[Row], list[str]]:
    """Return rows until a stream runs dry; and keys that are on record alone."""
    rows: list[Row] = []
    alone: list[str] = []
    streams = (source, target, done)
    while True:
        rows += _alone(source, target, done) or _agreeing(source, target, done)
        if any(stream.dry for stream in streams):
            return rows, alone
        ahead = [s.pairs[s.at][0] if s.at < len(s.pairs) else None for s in streams]
        there = [key for key in ahead if key is not None]
        if not there:
            return rows, alone
        key = min(there, key=order)
        found: list[Any] = []
        for stream, head in zip(streams, ahead, strict=True):
            if head == key:
                found.append(stream.pairs[stream.at][1])
                stream.at += 1
            else:
                found.append(None)
        if found[0] is None and found[1] is None:
            alone.append(key)
        else:
            rows.append(Row(*found))


def _alone(source: _Stream, target: _Stream, done: _Stream) -> list[Row]:
    """Return rows of all that the source has, where nothing else is left: as in a first run."""
    if not (target.is_over and done.is_over):
        return []
    rows = [Row(here, None, None) for _, here in islice(source.pairs, source.at, None)]
    source.at += len(rows)
    return rows


def _agreeing(source: _Stream, target: _Stream, done: _Stream) -> list[Row]:
    """Return rows for as long as all three streams go on with the same key: the usual case."""
    rows: list[Row] = []
    some = zip(
        islice(source.pairs, source.at, None),
        islice(target.pairs, target.at, None),
        islice(done.pairs, done.at, None),
        strict=False,
    )
    for (key, here), (name, there), (noted, known) in some:
        if key != name or key != noted:
            break
        rows.append(Row(here, there, known))
    for stream in (source, target, done):
        stream.at += len(rows)
    return rows


async def heads(
    store: Store,
    keys: Sequence[str],
    *,
    missing: Callable[[str, StoreError], None] | None = None,
) -> dict[str, ObjectMeta]:
    """Ask for objects one by one.

    Args:
        store: asked.
        keys: of the objects.
        missing: told of those that cannot be had, and why; by default those that are not there,
            or cannot be, are left out.

    Raises:
        StoreError: without `missing`, any other error of one of them.
    """
    found: dict[str, ObjectMeta] = {}
    if missing is None:
        keys = [key for key in keys if refusal(key, local=False) is None]
    if not keys:
        return found
    async with store.head_many(keys) as asked:
        async for outcome in asked:
            if outcome.error is None:
                found[outcome.item] = outcome.result()
            elif missing is not None:
                missing(outcome.item, outcome.error)
            elif not isinstance(outcome.error, NotFoundError | InvalidPathError):
                raise outcome.error
    return found
