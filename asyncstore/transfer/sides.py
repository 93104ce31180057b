"""What is at both sides and on record, key by key: three streams in the order of their keys.

Theory of operation. Each stream is read some thousand objects at a time, as columns. Where all
three go on alike, with nothing but what is proven, they are taken for one `Stretch` as they are;
else rows are made of all that is there. A service that promises no order is taken to keep one
until a key proves otherwise, and then sorted first. Of the target, only as much is listed as
seems worth it: where it holds far more than the source, the rest is asked for key by key, unless
all of it must be known. What is listed late, behind where that was left, counts as absent: it is
copied again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from asyncstore.errors import IntegrityError, InvalidPathError, NotFoundError
from asyncstore.transfer.blocking import in_thread, surely_in_thread
from asyncstore.transfer.names import refusal
from asyncstore.transfer.plan import Done, Row, ascend, order
from asyncstore.transfer.spill import Sorter
from asyncstore.transfer.stretch import Fresh, Stretch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from asyncstore.columns import Columns
    from asyncstore.errors import StoreError
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Noted
    from asyncstore.transfer.record import Record
    from asyncstore.types import ObjectMeta

_SOME = 1000
_SPARE = 10_000  # objects at the target, beyond four for each source, before it is not listed on


class Sides(Protocol):
    """Rows in the order of their keys, some at a time."""

    async def some(self) -> Sequence[Row]:
        """Return the next rows; none at the end.

        They are a `Stretch` where all are proven, and `Fresh` where nothing else is known of any.
        """
        ...

    async def aclose(self) -> None:
        """End the listings."""
        ...


class UnsortedError(Exception):
    """A service that promises no order of its listings does not keep it."""


class _Stream:
    """Keys and what there is of each, ascending, each key once.

    Args:
        more: returns the next ones, none at the end.
        what: is listed; for the error where it is out of order.
        promised: it never is.

    Attributes:
        keys: that were read last.
        values: what there is of each of them.
        at: how many of them were taken.
        read: how many keys there were so far.
        ended: there are no more.
    """

    def __init__(
        self,
        more: Callable[[], Awaitable[tuple[Sequence[str], Sequence[Any]]]],
        what: str,
        *,
        promised: bool = True,
    ) -> None:
        self._more = more
        self._what = what
        self._promised = promised
        self._last: Sequence[str] = ()
        self.keys: Sequence[str] = ()
        self.values: Sequence[Any] = ()
        self.at = 0
        self.read = 0
        self.ended = False

    async def fill(self) -> None:
        """Have a next key, or have ended."""
        if self.ended or self.left:
            return
        self.keys, self.values = await self._more()
        self.at = 0
        self.read += len(self.keys)
        self.ended = not self.keys
        if not (ascend(self.keys) and ascend([*self._last, *self.keys[:1]])):
            self._complain()
        self._last = self.keys[-1:] or self._last

    def end(self) -> None:
        """Have ended: what is left does not matter."""
        self.ended, self.keys, self.values, self.at = True, (), (), 0

    @property
    def left(self) -> int:
        """How many are there and not taken yet."""
        return len(self.keys) - self.at

    @property
    def head(self) -> str | None:
        """The next key, where one is there."""
        return self.keys[self.at] if self.at < len(self.keys) else None

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self.ended and not self.left

    @property
    def is_dry(self) -> bool:
        """Whether it has to be filled before one knows what comes next."""
        return not self.ended and not self.left

    def take(self) -> Any:
        """Return what there is of the next key."""
        value = self.values[self.at]
        self.at += 1
        return value

    def _complain(self) -> NoReturn:
        if not self._promised:
            raise UnsortedError
        keys = [*self._last, *self.keys]
        last, key = next(pair for pair in pairwise(keys) if not ascend(pair))
        raise IntegrityError(f"{self._what} is listed out of order: {key!r} after {last!r}")


class Listed:
    """All of the source, beside what is at the target and on record.

    Args:
        source: read from.
        target: written to.
        record: of earlier runs; `None` where it does not count.
        whole: list the target to its end, whatever is there.
        in_order: take listings to be in order of which that is not promised, for as long as they
            are; else sort them first.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        record: Record | None,
        *,
        whole: bool,
        in_order: bool = False,
    ) -> None:
        self._target_store = target
        self._whole = whole
        self._record = record
        self._listings = [_Listing(store, in_order=in_order) for store in (source, target)]
        done = _Stream(self._on_record, "the record")
        if record is None:
            done.end()
        one, other = [
            _Stream(listing.some, listing.name, promised=listing.promised)
            for listing in self._listings
        ]
        self._streams = (one, other, done)
        self._behind = ""
        self._asked_from: str | None = None

    async def some(self) -> Sequence[Row]:
        """See `Sides.some`."""
        while True:
            await self._fill()
            alike = _stretch(*self._streams) or _fresh(*self._streams)
            if alike and self._asked_from is None:
                return alike
            rows, forgotten = ([*alike], []) if alike else _merged(*self._streams)
            for key in forgotten:
                if self._record is not None and self._whole:
                    self._record.remove(key)
            if self._asked_from is not None:
                rows = await self._asked(rows, self._asked_from)
            if rows or all(stream.ended for stream in self._streams):
                return rows

    async def aclose(self) -> None:
        """See `Sides.aclose`."""
        one, other = self._listings
        try:
            await one.aclose()
        finally:
            await other.aclose()

    async def _fill(self) -> None:
        source, target, done = self._streams
        await source.fill()
        if source.ended and not self._whole:
            target.end()
            done.end()
        if target.is_dry and not self._whole and target.read >= 4 * source.read + _SPARE:
            self._asked_from = target.keys[-1] if target.keys else ""
            target.end()
            await self._listings[1].aclose()
        await target.fill()
        await done.fill()

    async def _on_record(self) -> tuple[Sequence[str], Sequence[Noted]]:
        assert self._record is not None  # noqa: S101 - it has ended else
        found = await in_thread(self._record.after, self._behind, _SOME)
        if found:
            self._behind = found[-1][0]
        return [row[0] for row in found], found

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
    """A store's objects, sorted where the service may not do that."""

    def __init__(self, store: Store, *, in_order: bool) -> None:
        is_sorted = store.provider.limits.sorted
        self._listing = store.list()
        self._sorter = None if is_sorted or in_order else Sorter()
        self.name = str(store.url)
        self.promised = is_sorted or not in_order
        """Whether they come in order, whatever the service does."""

    async def some(self) -> tuple[Sequence[str], Columns]:
        """Return the next objects, with their keys; none at the end."""
        if self._sorter is None:
            found = await self._listing.columns()
        else:
            while columns := await self._listing.columns():
                await in_thread(self._sorter.add, columns)
            found = await in_thread(self._sorter.some)
        return found.keys, found

    async def aclose(self) -> None:
        """End it."""
        try:
            await self._listing.aclose()
        finally:
            if self._sorter is not None:
                await surely_in_thread(self._sorter.close)


def _stretch(source: _Stream, target: _Stream, done: _Stream) -> Stretch | None:
    """Take what all three have there; `None`, and nothing is taken, unless all is proven."""
    streams = (source, target, done)
    count = min(stream.left for stream in streams)
    if not count or not source.head == target.head == done.head:
        return None
    values: list[Any] = [stream.values[stream.at : stream.at + count] for stream in streams]
    stretch = Stretch(*values)
    if not stretch.is_proven():
        return None
    for stream in streams:
        stream.at += count
    return stretch


def _merged(source: _Stream, target: _Stream, done: _Stream) -> tuple[list[Row], list[str]]:
    """Return rows until a stream runs dry, or all but the source; and keys on record alone."""
    rows: list[Row] = []
    alone: list[str] = []
    streams = (source, target, done)
    while True:
        if any(stream.is_dry for stream in streams) or (target.is_over and done.is_over):
            return rows, alone
        heads = [stream.head for stream in streams]
        there = [head for head in heads if head is not None]
        if not there:
            return rows, alone
        key = there[0] if there.count(there[0]) == len(streams) else min(there, key=order)
        here, other, noted = (
            stream.take() if head == key else None
            for stream, head in zip(streams, heads, strict=True)
        )
        if here is None and other is None:
            alone.append(key)
        else:
            rows.append(Row(here, other, noted and Done(*noted[1:])))


def _fresh(source: _Stream, target: _Stream, done: _Stream) -> Fresh | None:
    """Take all that the source has there, where nothing else is left: as in a first run."""
    if not (source.left and target.is_over and done.is_over):
        return None
    left: Any = source.values[source.at :]
    source.at += len(left)
    return Fresh(left)


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
