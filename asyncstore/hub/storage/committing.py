"""The one thread that changes the index: changes that wait together are committed together.

Theory of operation: SQLite takes one writer, and a commit costs a flush of the disk. So changes
go through one queue; the thread takes all that wait, up to a bound, into one transaction, each
behind a savepoint of its own, so that one that is refused leaves the others alone. Only when the
transaction is on the disk are their callers told, all in one wake-up of the event loop. What a
change decides (a condition on what is there) it decides inside, where nothing can come between.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_MOST = 256
"""Changes in one transaction."""


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


class _Job:
    __slots__ = ("brings", "call", "error", "future", "result")

    def __init__(
        self, call: Callable[[Change], Any], brings: Sequence[str], future: asyncio.Future[Any]
    ) -> None:
        self.call = call
        self.brings = brings
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None


class Committer:
    """Carries out changes, in order.

    Args:
        db: a connection that is this one's alone.
        forget: called, in the thread, with the names of files that no row names.
    """

    def __init__(self, db: sqlite3.Connection, forget: Callable[[Sequence[str]], None]) -> None:
        self._db = db
        self._forget = forget
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[_Job] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="hub-storage-commit", daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[Change], T], /, *, brings: Sequence[str] = ()) -> T:
        """Carry out a change; it is on the disk when this returns.

        When the caller is cancelled, the change is carried out all the same.

        Args:
            call: the change; runs in the thread. What it raises is raised here, and undone.
            brings: names of files that are its own; where it fails, they are removed.

        Raises:
            sqlite3.Error: the index could not be written.
        """
        if self._closed:
            self._forget(brings)
            raise RuntimeError("the storage is closed")
        job = _Job(call, brings, self._loop.create_future())
        self._queue.put(job)
        result: T = await job.future
        return result

    async def aclose(self) -> None:
        """Carry out what waits, and end."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._deliver()
            self._db.close()

    def _work(self) -> None:
        while (jobs := self._take()) is not None:
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
            self._done.extend(jobs)
            self._loop.call_soon_threadsafe(self._deliver)

    def _take(self) -> list[_Job] | None:
        first = self._queue.get()
        if first is None:
            return None
        jobs = [first]
        while len(jobs) < _MOST:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                self._queue.put(None)  # after these
                break
            jobs.append(job)
        return jobs

    def _commit(self, change: Change, jobs: list[_Job]) -> None:
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

    def _deliver(self) -> None:
        while self._done:
            job = self._done.popleft()
            if job.future.done():
                continue  # the caller was cancelled
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
