"""Which locks this process holds: one process is one holder, whoever in it asks.

Nothing here does I/O or belongs to an event loop. A record is told from every other by its end,
whose fraction is random.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncstore.errors import DatasetCorruptError
from asyncstore.format import LockRecord

if TYPE_CHECKING:
    from asyncstore.store import Store

_RECENT = 8
_MUTEX = threading.Lock()
_HELD: dict[tuple[str, str, bytes], Held] = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """A lock's object as it was read.

    Attributes:
        record: its bytes, or `None` where there is none.
        etag: its version, where the service has such.
    """

    record: bytes | None = None
    etag: str | None = None

    @property
    def end(self) -> float:
        """When it ends, in epoch seconds. What is no lock never does: its maker may be writing."""
        if self.record is None:
            return -math.inf
        try:
            lock = LockRecord.parse(self.record)
        except DatasetCorruptError:
            return math.inf
        return -math.inf if lock is None else lock.expires

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        if self.record is None:
            return "nobody: it was deleted"
        try:
            lock = LockRecord.parse(self.record)
        except DatasetCorruptError:
            return "a file that is no lock; delete it if nobody writes"
        if lock is None:
            return "nobody: it was emptied"
        return f"process {lock.process} on machine {lock.node:012x}"


@dataclass(eq=False, slots=True)
class Held:
    """A lock that this process holds, for all who share it.

    Attributes:
        store: of the dataset; a recipe of its own, used only while the process ends.
        key: the lock's.
        seen: its object, as this process wrote it last.
        settle_at: when nobody who read no lock before ours can write one any more.
        settled: whether the lock was seen to be ours after that.
        lost: why it is no longer held, or `None`.
        shares: how many share it.
        leaving: whether the last share is gone and the object is being deleted.
        busy: whether somebody is reading or renewing it.
        process: who may use it; a forked child may not.
        names: what it is found by: place, key and each of the last records.
    """

    store: Store
    key: str
    seen: Seen
    settle_at: float
    settled: bool = False
    lost: str | None = None
    shares: int = 0
    leaving: bool = False
    busy: bool = False
    process: int = field(default_factory=os.getpid)
    names: list[tuple[str, str, bytes]] = field(default_factory=list)

    def claim(self, record: bytes) -> None:
        """Let others in this process know a record before it is written.

        They may read it before the write has returned here; and the last one, read before it was
        replaced, is looked for after. So a few are kept.
        """
        with _MUTEX:
            self.names.append((str(self.store.url), self.key, record))
            _HELD[self.names[-1]] = self
            while len(self.names) > _RECENT:
                _HELD.pop(self.names.pop(0), None)

    def wrote(self, record: bytes | None) -> bool:
        """Whether a record is this lock's; a write that was cut short may have happened."""
        return (str(self.store.url), self.key, record or b"") in self.names

    def forget(self, lost: str | None = None) -> None:
        """Say that it is no longer held, and why if that is a loss."""
        with _MUTEX:
            for name in self.names:
                _HELD.pop(name, None)
            self.lost = lost

    def join(self) -> bool:
        """Take a share, unless the lock is being given back; say whether."""
        with _MUTEX:
            if self.leaving:
                return False
            self.shares += 1
            return True

    def leave(self, *, give_back: bool = False) -> bool:
        """Give a share up; say whether it was the last, whose holder may give the lock back."""
        with _MUTEX:
            self.shares -= 1
            last = self.shares <= 0
            self.leaving = self.leaving or (last and give_back)
            return last

    def begin(self) -> bool:
        """Begin to read or renew it, unless somebody else is at it; `end` ends that."""
        with _MUTEX:
            if self.busy:
                return False
            self.busy = True
            return True

    def end(self) -> None:
        """End what was begun."""
        self.busy = False

    @property
    def is_mine(self) -> bool:
        """Whether this process holds it, as far as is known."""
        return self.lost is None and self.process == os.getpid()


def find(store: Store, key: str, seen: Seen, /) -> Held | None:
    """Return what this process holds, where a lock's object is one that it wrote."""
    with _MUTEX:
        held = _HELD.get((str(store.url), key, seen.record or b""))
    return held if held is not None and held.is_mine else None


def all_held() -> list[Held]:
    """Return every lock that this process holds."""
    with _MUTEX:
        return [held for held in set(_HELD.values()) if held.is_mine]


def _after_fork() -> None:
    global _MUTEX  # noqa: PLW0603 - another thread may have held it while the process forked
    _MUTEX = threading.Lock()
    _HELD.clear()


os.register_at_fork(after_in_child=_after_fork)
