"""Steps that wait for the plan to be complete, and names that were taken.

They are in memory while they are few, and else in files.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from asyncstore.batch import Chunked
from asyncstore.transfer.blocking import in_thread
from asyncstore.transfer.plan import Step
from asyncstore.transfer.spill import Spill, meta_of, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_FEW = 4096  # steps that are kept as they are, some 6 MiB


class Steps(AbstractContextManager["Steps"]):
    """Steps, put aside; each can be had again, in order, as often as one likes."""

    def __init__(self) -> None:
        self._first: list[list[Step]] = []
        self._spill = Spill()
        self.count = 0
        """How many there are."""

    async def add(self, steps: Sequence[Step], /) -> None:
        """Put steps aside."""
        self.count += len(steps)
        if steps and self.count <= _FEW:
            self._first.append(list(steps))
        elif steps:
            rows = [
                (
                    step.verb,
                    step.reason,
                    row_of(step.meta),
                    None if step.there is None else row_of(step.there),
                )
                for step in steps
            ]
            await in_thread(self._spill.add, rows)

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

    def __init__(self, first: Sequence[list[Step]], spill: Spill) -> None:
        self._first = first
        self._spill = spill
        self._at = 0

    async def some(self) -> list[Step]:
        """Return the next steps, `[]` at the end."""
        at = self._at - len(self._first)
        if at >= len(self._spill):
            return []
        self._at += 1
        if at < 0:
            return self._first[at]
        rows = await in_thread(self._spill.chunk, at)
        return [
            Step(verb, meta[0], meta_of(meta), reason, None if there is None else meta_of(there))
            for verb, reason, meta, there in rows
        ]


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
