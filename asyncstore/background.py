"""The one background event loop: for sync code, and for callers on trio.

Theory of operation. A daemon thread runs an asyncio loop (uvloop where it is installed), begun
on first use. A caller makes a `_Slot`, which holds a function that returns a coroutine, and has
the loop run it; the slot then wakes the caller. Sync callers wait on a bare lock: that is what a
signal can interrupt, and it costs a fraction of a future. A cancelled or interrupted caller has
the task cancelled on the loop, and sees it end before it goes on.

A forked child has the object but not the thread: the object is set aside, never finalised (its
sockets are the parent's), and the child makes its own when it needs one. At exit of the
interpreter what is pending is cancelled, given a bounded time, and forgotten without noise.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import sys
import threading
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from asyncstore.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

R = TypeVar("R")
T = TypeVar("T")

BATCH = 256
"""Items that cross from the loop at once when sync code iterates."""

_PROMPT = 1.0  # seconds that an interrupted caller waits for the cancelled task to end
_FAREWELL = 4.0  # seconds that pending tasks have at the interpreter's exit
_SOON = 0.02  # seconds after which a batch is handed over though it is not full


def run(make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
    """Run a coroutine on the background loop and return its result; blocks this thread.

    Args:
        make: called on the loop; returns the coroutine.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the coroutine is cancelled first.
        RuntimeError: called on the background loop itself, which would wait for ever.
    """
    return _wait(_Slot(make), _current())


async def call(make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
    """Run a coroutine on the background loop from another event loop, of asyncio or trio.

    A cancelled caller cancels the coroutine, and goes on when it has ended.
    """
    return await _await(_Slot(make), _current())


def loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, which is begun if need be."""
    return _current().loop


class Seat:
    """One task on the background loop that runs coroutines one after another.

    For context managers, which must be left by the task that entered them.
    """

    def __init__(self) -> None:
        self._home = _current()
        self._queue: asyncio.Queue[_Slot[Any] | None] = asyncio.Queue()
        self._home.soon(self._begin, _context())

    def run(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """As the function of this name, in this task."""
        return _wait(_Slot(make), self)

    async def call(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """As the function of this name, in this task."""
        return await _await(_Slot(make), self)

    def leave(self) -> None:
        """End the task, once what was given to it is done."""
        self._home.soon(self._queue.put_nowait, None)

    def start(self, slot: _Slot[Any]) -> None:
        """Run a slot when those before it are done."""
        self._home.refuse_own_thread()
        self._home.soon(self._queue.put_nowait, slot)

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function on the loop."""
        self._home.soon(function, *args)

    def _begin(self, context: contextvars.Context) -> None:
        task = self._home.loop.create_task(self._work(), context=context)
        self._home.tasks.add(task)
        task.add_done_callback(self._home.tasks.discard)

    async def _work(self) -> None:
        task = asyncio.current_task()
        while (slot := await self._queue.get()) is not None:
            await slot.work()
            if task is not None:
                task.uncancel()


class Held(Generic[T]):
    """An async context manager of the background loop, for callers elsewhere.

    It is left whenever it was entered, whatever is cancelled or interrupted meanwhile.

    Args:
        make: called on the loop; returns the async context manager.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._make = make
        self._manager: AbstractAsyncContextManager[T] | None = None
        self._seat: Seat | None = None

    def enter(self) -> T:
        """Enter it from sync code and return what it gives."""
        self._seat = Seat()
        try:
            return self._seat.run(self._enter)
        except BaseException as error:
            self.leave(error)
            raise

    def run(self, make: Callable[[], Coroutine[Any, Any, R]], /) -> R:
        """Run a coroutine in its task, from sync code."""
        return self._entered().run(make)

    def leave(self, error: BaseException | None = None) -> bool | None:
        """Leave it from sync code, with the error that ended the body."""
        seat, self._seat = self._entered(), None
        try:
            return _wait(_Slot(partial(self._leave, error), sure=True), seat)
        finally:
            seat.leave()

    async def aenter(self) -> T:
        """Enter it from another event loop and return what it gives."""
        self._seat = Seat()
        try:
            return await self._seat.call(self._enter)
        except BaseException as error:
            await self.aleave(error)
            raise

    async def call(self, make: Callable[[], Coroutine[Any, Any, R]], /) -> R:
        """Run a coroutine in its task, from another event loop."""
        return await self._entered().call(make)

    async def aleave(self, error: BaseException | None = None) -> bool | None:
        """Leave it from another event loop, with the error that ended the body."""
        seat, self._seat = self._entered(), None
        try:
            return await _await(_Slot(partial(self._leave, error), sure=True), seat)
        finally:
            seat.leave()

    def _entered(self) -> Seat:
        if self._seat is None:
            raise RuntimeError("enter the context manager first")
        return self._seat

    async def _enter(self) -> T:
        manager = self._make()
        entered = await manager.__aenter__()
        self._manager = manager
        return entered

    async def _leave(self, error: BaseException | None) -> bool | None:
        manager, self._manager = self._manager, None
        if manager is None:
            return None
        if error is None:
            return await manager.__aexit__(None, None, None)
        return await manager.__aexit__(type(error), error, error.__traceback__)


class Iterating(Generic[T]):
    """An async iterator as an iterator: items cross in batches.

    Args:
        make: called on the loop; returns the async iterator.
        most: items per batch; 1 where the consumer steers what comes next.
    """

    def __init__(self, make: Callable[[], AsyncIterator[T]], *, most: int = BATCH) -> None:
        self._make = make
        self._most = most
        self._source: AsyncIterator[T] | None = None
        self._ready: deque[T] = deque()
        self._failed: BaseException | None = None
        self._ended = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._ready:
            if self._failed is not None:
                failed, self._failed, self._ended = self._failed, None, True
                raise failed
            if not self._ended:
                run(self._fill)
                return self.__next__()
            raise StopIteration
        return self._ready.popleft()

    async def _fill(self) -> None:
        if self._source is None:
            self._source = self._make()
        late = monotonic() + _SOON
        ready = self._ready
        try:
            while len(ready) < self._most and (not ready or monotonic() < late):
                ready.append(await anext(self._source))
        except StopAsyncIteration:
            self._ended = True
        except Exception as error:  # noqa: BLE001 - raised when the items before it are taken
            self._failed = error


class _Slot(Generic[T]):
    """A call in flight: what to run, whom to wake, and how it ended."""

    __slots__ = ("cancelled", "context", "done", "error", "make", "sure", "task", "value")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], *, sure: bool = False) -> None:
        self.make = make
        self.sure = sure  # it is begun even if it was cancelled before
        self.context = _context()
        self.done: Callable[[], object]
        self.task: asyncio.Task[Any] | None = None
        self.cancelled = False
        self.error: BaseException | None = None
        self.value: T

    async def work(self) -> None:
        """Run it, as a task of the loop."""
        try:
            # From here on a cancellation is the task's. Before, the task must not be cancelled:
            # a coroutine that has not begun would never get here, and nobody would be woken.
            self.task = asyncio.current_task()
            if self.cancelled and not self.sure:
                raise asyncio.CancelledError  # noqa: TRY301 - as if it had begun
            self.value = await self.make()
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self.error = error
        finally:
            self.task = None
            self.done()

    def cancel(self) -> None:
        """On the loop: cancel it, if it is not done."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()

    def result(self) -> T:
        """Return or raise what came out."""
        error = self.error
        if error is None:
            return self.value
        try:
            if isinstance(error, asyncio.CancelledError):
                raise UnavailableError(
                    "the background loop was ended meanwhile", outcome="unknown"
                ) from None
            raise error
        finally:
            self.error = error = None  # or the error would refer to itself


class _Loop:
    """A thread with a loop."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name="asyncstore", daemon=True)
        self._thread.start()

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function on the loop."""
        self.loop.call_soon_threadsafe(function, *args)

    def refuse_own_thread(self) -> None:
        """Raise where waiting for the loop would stop it."""
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError("a sync call inside async code of the same loop: await it instead")

    def start(self, slot: _Slot[Any]) -> None:
        """Run a slot as a task of its own."""
        self.refuse_own_thread()
        self.loop.call_soon_threadsafe(self._begin, slot)

    def _begin(self, slot: _Slot[Any]) -> None:
        task = self.loop.create_task(slot.work(), context=slot.context)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def end(self) -> None:
        """Cancel what is pending and end the thread; bounded."""
        self.soon(self.loop.stop)
        self._thread.join(_FAREWELL + 0.5)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.set_exception_handler(lambda _loop, _context: None)
        self.loop.run_until_complete(self._farewell())

    async def _farewell(self) -> None:
        this = asyncio.current_task()
        pending = [task for task in asyncio.all_tasks() if task is not this]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=_FAREWELL / 2)
        try:
            await asyncio.wait_for(self.loop.shutdown_asyncgens(), _FAREWELL / 2)
        except TimeoutError:
            return


_library: contextvars.ContextVar[str | None] | None
try:
    from sniffio import current_async_library_cvar as _library
except ImportError:
    _library = None

_lock = threading.Lock()
_background: _Loop | None = None
_parents: list[_Loop] = []  # never finalised: what is in it belongs to the parent


def _current() -> _Loop:
    home = _background
    if home is not None and home.pid == os.getpid():
        return home
    return _started()


def _started() -> _Loop:
    global _background  # noqa: PLW0603 - there is one per process
    with _lock:
        if _background is not None and _background.pid != os.getpid():
            _parents.append(_background)  # forked by something that called no hooks
            _background = None
        if _background is None:
            _background = _Loop()
        return _background


def _after_fork() -> None:
    global _background, _lock  # noqa: PLW0603
    _lock = threading.Lock()  # a thread of the parent may have held it
    if _background is not None:
        _parents.append(_background)
        _background = None


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    if _background is not None and _background.pid == os.getpid():
        _background.end()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.new_event_loop()
    made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return made


def _wait(slot: _Slot[T], home: _Loop | Seat) -> T:
    lock = threading.Lock()
    lock.acquire()
    slot.done = lock.release
    home.start(slot)
    try:
        lock.acquire()
    except BaseException:  # KeyboardInterrupt, or what another signal handler raises
        home.soon(slot.cancel)
        lock.acquire(timeout=_PROMPT)
        raise
    return slot.result()


async def _await(slot: _Slot[T], home: _Loop | Seat) -> T:
    event = anyio.Event()
    slot.done = _waker(event.set)
    home.start(slot)
    try:
        await event.wait()
    except BaseException:
        home.soon(slot.cancel)
        with anyio.CancelScope(shield=True):
            await event.wait()
        if slot.error is not None or asyncio._get_running_loop() is not None:  # noqa: SLF001
            raise
        # It was done before the cancellation came, and its result may need tidying up. On trio
        # the cancellation comes again at the next checkpoint.
    return slot.result()


def _context() -> contextvars.Context:
    """Copy the caller's context, without the name of the caller's async library."""
    context = contextvars.copy_context()
    if _library is not None and context.get(_library) is not None:
        context.run(_library.set, None)
    return context


def _waker(function: Callable[[], Any]) -> Callable[[], object]:
    """Return what calls a function on the event loop that is running here."""
    here = asyncio._get_running_loop()  # noqa: SLF001 - `None`, not an error, on trio
    if here is not None:
        return lambda: here.call_soon_threadsafe(function)
    token = sys.modules["trio"].lowlevel.current_trio_token()
    return lambda: token.run_sync_soon(function)
