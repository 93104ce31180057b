"""The way from an event loop to worker threads and back, for calls that block on files.

Theory of operation: jobs go through one queue to threads that are started as they are needed.
A finished job is left in its loop's mailbox, and the loop is woken once for all that are in it:
under load, one wake-up delivers many results, and a hop costs a fraction of an executor's.

A caller that is cancelled waits until its job has ended, so that nothing is written, and no
buffer of the caller's filled, after the call. Jobs ask `check_cancelled` between pieces of work
and stop early. This holds for asyncio's own cancellation and for anyio's and trio's alike.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

WORKERS = 32
"""Most threads: enough to keep a disk's queue full of flushes, few enough to share one lock."""


class Cancelled(Exception):  # noqa: N818 - no error, and nobody else sees it
    """Ends a job whose caller was cancelled."""


class Job:
    """One call on its way."""

    __slots__ = ("call", "cancelled", "done", "error", "port", "result", "sure", "waiter")

    def __init__(self, call: Callable[[], Any], port: _Port, *, sure: bool = False) -> None:
        self.call = call
        self.port = port
        self.sure = sure
        self.done = False
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiter: Any = None

    def work(self) -> None:
        """Run the call, in a thread."""
        try:
            if self.cancelled and not self.sure:
                raise Cancelled  # noqa: TRY301 - as a job does later on
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            self.error = error
        finally:
            del self.call

    async def wait(self, dispose: Callable[[Any], None] | None = None) -> Any:
        """Return the call's result, or raise what it raised.

        Args:
            dispose: called, in a thread, with a result that nobody will get.
        """
        try:
            await self.port.wait(self)
        except GeneratorExit:  # the coroutine was thrown away, and nothing can be awaited
            self.cancelled = True
            raise
        except BaseException:
            self.cancelled = True
            with anyio.CancelScope(shield=True):
                await self.port.wait_to_the_end(self)
                if dispose is not None and self.error is None:
                    result, self.result = self.result, None
                    await self.port.wait_to_the_end(start(lambda: dispose(result)))
            raise
        if self.error is not None:
            error, self.error = self.error, None
            try:
                raise error
            finally:
                del error
        return self.result

    async def outlast(self) -> None:
        """Wait until the call has ended, also where cancelled; what it raised is not raised.

        A cancellation that came meanwhile is raised afterwards.
        """
        with anyio.CancelScope(shield=True):
            was_cancelled = await self.port.wait_to_the_end(self)
        if was_cancelled:
            raise asyncio.CancelledError


def start(call: Callable[[], Any], /, *, sure: bool = False) -> Job:
    """Give a call to the threads; `Job.wait` brings its result.

    Args:
        call: blocks.
        sure: make it also where its caller was cancelled before it began, as what closes must be.
    """
    job = Job(call, _port(), sure=sure)
    _pool.submit(job)
    return job


async def run(
    call: Callable[[], T], /, *, dispose: Callable[[T], None] | None = None, sure: bool = False
) -> T:
    """Run a call in a thread and return its result; when cancelled, wait for it to end first."""
    result: T = await start(call, sure=sure).wait(dispose)
    return result


async def run_all(calls: Sequence[Callable[[], T]], /) -> list[T]:
    """Run calls side by side and return their results; when cancelled, wait for all to end."""
    jobs = [start(call) for call in calls]
    try:
        return [await job.wait() for job in jobs]
    finally:
        for job in jobs:
            job.cancelled = True  # what has ended does not mind
        for job in jobs:
            await job.outlast()


def check_cancelled() -> None:
    """End the job that runs in this thread if nobody waits for its result any more."""
    job = getattr(_here, "job", None)
    if job is not None and job.cancelled:
        raise Cancelled


_here = threading.local()


class _Pool:
    """Threads, started as jobs find none idle."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._backlog = 0
        """Jobs in the queue that found no thread idle."""

    def submit(self, job: Job) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < WORKERS:
                self._threads += 1
                name = f"asyncstore-local-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            else:
                self._backlog += 1
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            _here.job = job
            job.work()
            _here.job = None
            job.port.post(job)
            del job
            with self._lock:
                if self._backlog:
                    self._backlog -= 1
                else:
                    self._idle += 1


class _Port(Protocol):
    def post(self, job: Job) -> None: ...
    async def wait(self, job: Job) -> None: ...
    async def wait_to_the_end(self, job: Job) -> bool: ...


class _Mailbox:
    """Finished jobs of one event loop."""

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        self._wake = wake
        self._done: deque[Job] = deque()
        self._woken = False

    def post(self, job: Job) -> None:
        self._done.append(job)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                self._wake(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._done:
            job = self._done.popleft()
            job.done = True
            if job.waiter is not None:
                self.notify(job.waiter)

    def notify(self, waiter: Any) -> None:
        raise NotImplementedError


class _AsyncioPort(_Mailbox):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop.call_soon_threadsafe)

    async def wait(self, job: Job) -> None:
        if not job.done:
            job.waiter = asyncio.get_running_loop().create_future()
            await job.waiter

    async def wait_to_the_end(self, job: Job) -> bool:
        """Wait, whatever comes; return whether that was a cancellation, for the caller to raise."""
        was_cancelled = False
        while not job.done:
            try:
                await self.wait(job)
            except asyncio.CancelledError:
                was_cancelled = True
        return was_cancelled

    def notify(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)


class _TrioPort(_Mailbox):
    async def wait(self, job: Job) -> None:
        if not job.done:
            job.waiter = anyio.Event()
            await job.waiter.wait()

    async def wait_to_the_end(self, job: Job) -> bool:
        await self.wait(job)  # the caller's scope shields it, and trio cancels again behind it
        return False

    def notify(self, waiter: anyio.Event) -> None:
        waiter.set()


_ports: weakref.WeakKeyDictionary[Any, _Port] = weakref.WeakKeyDictionary()


def _port() -> _Port:
    try:
        loop: Any = asyncio.get_running_loop()
        if asyncio.current_task() is None:
            loop = None  # trio is a guest in this loop
    except RuntimeError:
        loop = None
    if loop is None:
        return _trio_port()
    port = _ports.get(loop)
    if port is None:
        port = _ports[loop] = _AsyncioPort(loop)
    return port


def _trio_port() -> _Port:
    from trio.lowlevel import current_trio_token  # noqa: PLC0415 - only where trio runs

    token = current_trio_token()
    port = _ports.get(token)
    if port is None:
        port = _ports[token] = _TrioPort(token.run_sync_soon)
    return port


_pool = _Pool()


def _after_fork() -> None:
    # The parent's threads are not in the child, nor what was in its queue.
    global _pool  # noqa: PLW0603
    _pool = _Pool()
    _ports.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
