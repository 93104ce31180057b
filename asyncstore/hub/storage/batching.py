"""A thread that takes all jobs that wait at once, and tells their callers at once.

Theory of operation: a hop to a thread and back costs more than a look-up or a small change, and
most of that is waking up: the thread, and the event loop. While the thread works, jobs gather;
it then takes them together, and the loop is woken once for all of them. Under load a hop costs a
fraction; alone, one hop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST = 256
"""Jobs taken together."""


class Job:
    """One call on its way.

    Attributes:
        call: what is to be done, in the thread.
        brings: names of files that are the call's own; where it fails, they are removed.
    """

    __slots__ = ("brings", "call", "error", "future", "result")

    def __init__(
        self, call: Callable[..., Any], future: asyncio.Future[Any], brings: Sequence[str] = ()
    ) -> None:
        self.call = call
        self.brings = brings
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None


class Batching:
    """The thread; subclasses say what is done with jobs.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[Job] = deque()
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def carry_out(self, jobs: list[Job]) -> None:
        """Do the jobs, and set their results or errors; in the thread."""
        raise NotImplementedError

    def submit(self, call: Callable[..., Any], brings: Sequence[str] = ()) -> asyncio.Future[Any]:
        """Queue a call; what it returns or raises comes out of the future."""
        job = Job(call, self._loop.create_future(), brings)
        self._queue.put(job)
        return job.future

    async def aclose(self) -> None:
        """Do what waits, and end; twice is as once."""
        if not self.closed:
            self.closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._deliver()

    def _work(self) -> None:
        while jobs := self._take():
            self.carry_out(jobs)
            self._done.extend(jobs)
            del jobs
            self._loop.call_soon_threadsafe(self._deliver)

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MOST:
                return jobs
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._queue.put(None)  # after these
        return jobs

    def _deliver(self) -> None:
        while self._done:
            job = self._done.popleft()
            if job.future.done():
                continue  # the caller was cancelled
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
