"""Neighbours that are all alike: proven, or nowhere but at the source.

In a rerun of what is complete nearly everything is proven, and in a first run everything is new.
So whole columns are held against each other, of both sides and of the record; rows are made of
those alone that somebody looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import eq
from typing import TYPE_CHECKING, overload

from asyncstore.transfer.plan import Done, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncstore.columns import Columns
    from asyncstore.transfer.plan import Noted


class Stretch(Sequence[Row]):
    """Rows of keys that both sides and the record have, each made when it is looked at.

    Args:
        source: what is there.
        target: what is there, of as many keys.
        done: what is on record, of as many keys.
    """

    __slots__ = ("_done", "_source", "_target")

    def __init__(self, source: Columns, target: Columns, done: Sequence[Noted]) -> None:
        self._source = source
        self._target = target
        self._done = done

    @property
    def keys(self) -> Sequence[str]:
        """Of the source's objects."""
        return self._source.keys

    @property
    def _told(self) -> tuple[Sequence[str | int | None], ...]:
        """What both sides tell, column by column as it is noted."""
        source = self._source
        return source.keys, source.etags, source.sizes, self._target.etags

    def is_proven(self) -> bool:
        """Whether each of these versions is on record as written as what is there now."""
        here, there = self._source, self._target
        return (
            here.keys == there.keys
            and here.sizes == there.sizes
            and None not in here.etags
            and None not in there.etags
            and all(map(eq, zip(*self._told, strict=True), self._done))
        )

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, at: int, /) -> Row: ...
    @overload
    def __getitem__(self, at: slice, /) -> Stretch: ...
    def __getitem__(self, at: int | slice, /) -> Row | Stretch:
        if isinstance(at, slice):
            return Stretch(self._source[at], self._target[at], self._done[at])
        return Row(self._source[at], self._target[at], Done(*self._done[at][1:]))

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self._source, self._target, (Done(*row[1:]) for row in self._done))


class Fresh(Sequence[Row]):
    """Rows of keys that the source alone has, each made when it is looked at.

    Args:
        source: what is there.

    Attributes:
        source: as given.
    """

    __slots__ = ("source",)

    def __init__(self, source: Columns) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, at: int, /) -> Row: ...
    @overload
    def __getitem__(self, at: slice, /) -> Fresh: ...
    def __getitem__(self, at: int | slice, /) -> Row | Fresh:
        if isinstance(at, slice):
            return Fresh(self.source[at])
        return Row(self.source[at], None)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self.source, repeat(None))
