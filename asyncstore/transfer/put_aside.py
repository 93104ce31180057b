"""Steps that wait for the plan to be complete, and names that were taken.

They are in memory while they are few, and else in files.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from asyncstore.batch import Chunked
from asyncstore.columns import Columns
from asyncstore.transfer.blocking import in_thread
from asyncstore.transfer.plan import NEW, Step
from asyncstore.transfer.spill import Spill, meta_of, packed, row_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_step_of: Callable[[Any], Step] = partial(tuple.__new__, Step)
"""As `Step._make`, and quicker."""

_KEPT = 32_768  # of what is new, some 8 MiB, is kept in memory
_HEAVY = 8  # as much is a step


class Steps(AbstractContextManager["Steps"]):
    """Steps, put aside; each can be had again, in order, as often as one likes."""

    def __init__(self) -> None:
        self._first: list[Sequence[Step] | Columns] = []
        self._room = _KEPT
        self._spill = Spill()
        self.count = 0
        """How many there are."""

    async def add(self, steps: Sequence[Step], /) -> None:
        """Put steps aside."""
        await self._add(steps, _HEAVY * len(steps))

    async def add_new(self, objects: Columns, /) -> None:
        """Put aside that objects are to be copied, which are nowhere but at the source."""
        await self._add(objects, len(objects))

    async def _add(self, some: Sequence[Step] | Columns, weight: int) -> None:
        if not some:
            return
        self.count += len(some)
        self._room -= weight
        if self._room >= 0:
            self._first.append(some)
        else:
            await in_thread(self._spill.add, _chunk(some))

    def chunks(self) -> Chunks:
        """Return what gives them again, some at a time."""
        return Chunks(self._first, self._spill)

    def all(self) -> Chunked[Step]:
        """Return what gives them again, one by one."""
        return Chunked(self.chunks().some)

    def __exit__(self, *_: object) -> None:
        self._spill.close()


class Chunks:
    """Steps that were put aside, some at a time."""

    def __init__(self, first: Sequence[Sequence[Step] | Columns], spill: Spill) -> None:
        self._first = first
        self._spill = spill
        self._at = 0

    async def some(self) -> Iterable[Step]:
        """Return the next steps, none at the end."""
        at = self._at - len(self._first)
        if at >= len(self._spill):
            return ()
        self._at += 1
        some = self._first[at] if at < 0 else _some(await in_thread(self._spill.chunk, at))
        if isinstance(some, Columns):  # each is made when it is its turn
            return map(_step_of, zip(repeat("copy"), some.keys, some, repeat(NEW), repeat(None)))
        return some


def _chunk(some: Sequence[Step] | Columns) -> list[Any]:
    """Return steps as a chunk of a `Spill`."""
    if isinstance(some, Columns):
        return [_COPIED, *packed(some)]
    return [
        _STEPS,
        *(
            (
                step.verb,
                step.reason,
                row_of(step.meta),
                None if step.there is None else row_of(step.there),
            )
            for step in some
        ),
    ]


def _some(chunk: list[Any]) -> Sequence[Step] | Columns:
    """Return the steps of a chunk."""
    kind, *told = chunk
    if kind == _COPIED:
        return unpacked(told)
    return [
        Step(verb, meta[0], meta_of(meta), reason, None if there is None else meta_of(there))
        for verb, reason, meta, there in told
    ]


_COPIED, _STEPS = "copied", "steps"


class Firsts(AbstractContextManager["Firsts"]):
    """Which of the keys that a target takes for one came first.

    Args:
        fold: returns what keys that are taken for one have in common.
    """

    def __init__(self, fold: Callable[[str], str]) -> None:
        import sqlite3  # noqa: PLC0415 - only transfers need it

        self._fold = fold
        # Without a name it is in memory while it is small, and else in a file that nobody sees.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("create table first (name text primary key, key text) without rowid")
        self._db.execute("begin")

    def first(self, key: str, /) -> str:
        """Return the first key that is taken for the same as this one: perhaps itself."""
        name = self._fold(key)
        self._db.execute("insert or ignore into first values (?, ?)", (name, key))
        [found] = self._db.execute("select key from first where name = ?", (name,)).fetchone()
        return str(found)

    def __exit__(self, *_: object) -> None:
        self._db.close()
