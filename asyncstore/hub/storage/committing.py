"""The one thread that changes the index: changes that wait together are committed together.

Theory of operation: SQLite takes one writer, and a commit costs a flush of the disk. So changes
go through one queue; the thread takes all that wait, up to a bound, into one transaction, each
behind a savepoint of its own, so that one that is refused leaves the others alone. Only when the
transaction is on the disk are their callers told. What a change decides (a condition on what is
there) it decides inside, where nothing can come between.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, TypeVar

from asyncstore.hub.storage.batching import Batching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.hub.storage.batching import Job

T = TypeVar("T")


class Change:
    """What a change works with.

    Attributes:
        db: the index, inside a transaction.
        dropped: names of files that no row names once this is committed.
    """

    __slots__ = ("db", "dropped")

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.dropped: list[str] = []


class Committer(Batching):
    """Carries out changes, in order.

    Args:
        db: a connection that is this one's alone.
        forget: called, in the thread, with the names of files that no row names.
    """

    def __init__(self, db: sqlite3.Connection, forget: Callable[[Sequence[str]], None]) -> None:
        self._db = db
        self._forget = forget
        super().__init__("hub-storage-commit")

    async def run(self, call: Callable[[Change], T], /, *, brings: Sequence[str] = ()) -> T:
        """Carry out a change; it is on the disk when this returns.

        When the caller is cancelled, the change is carried out all the same.

        Args:
            call: the change; runs in the thread. What it raises is raised here, and undone.
            brings: names of files that are its own; where it fails, they are removed.

        Raises:
            sqlite3.Error: the index could not be written.
        """
        if self.closed:
            self._forget(brings)
            raise RuntimeError("the storage is closed")
        result: T = await self.submit(call, brings)
        return result

    async def aclose(self) -> None:
        """Carry out what waits, and end."""
        await super().aclose()
        self._db.close()

    def carry_out(self, jobs: list[Job]) -> None:
        """Commit changes together."""
        change = Change(self._db)
        try:
            self._commit(change, jobs)
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            change.dropped = []
            for job in jobs:
                job.error = error
        failed = [name for job in jobs if job.error is not None for name in job.brings]
        if change.dropped or failed:
            self._forget(change.dropped + failed)

    def _commit(self, change: Change, jobs: list[Job]) -> None:
        run = self._db.execute
        run("BEGIN IMMEDIATE")
        for job in jobs:
            kept = len(change.dropped)
            run("SAVEPOINT one")
            try:
                job.result = job.call(change)
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                run("ROLLBACK TO one")
                del change.dropped[kept:]
                job.error = error
            run("RELEASE one")
        run("COMMIT")
