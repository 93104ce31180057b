"""stdin and stdout beside an event loop: a slow reader or writer blocks nothing else.

The blocking calls run in one daemon thread, which an interrupted command leaves behind where it
stands: the process need not wait for a terminal's next line to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncstore.types import Buffer

T = TypeVar("T")

_PIECE = 1 << 20


class Pipes:
    """Reads stdin and writes stdout, in order."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def write(self, data: Buffer, /) -> None:
        """Write to stdout, and wait until it has taken everything.

        Raises:
            BrokenPipeError: nobody reads it any more.
        """
        # A copy: an interrupted write goes on, and the view may be filled anew.
        piece = bytes(data)
        await self._run(lambda: _write(piece))

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what stdin holds, to its end."""
        while piece := await self._run(_read):
            yield piece

    async def _run(self, call: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="asyncstore pipes", daemon=True)
            self._thread.start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((call, future))
        return await future

    def _work(self) -> None:
        while True:
            call, future = self._calls.get()
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except OSError as raised:
                error = raised
            # The loop has ended where the command was interrupted.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)


# By descriptor where there is one: a thread left behind in a buffered stream holds its lock, and
# the interpreter, which wants it at exit, dies of that.


def _read() -> bytes:
    descriptor = _descriptor(sys.stdin)
    return sys.stdin.buffer.read(_PIECE) if descriptor is None else os.read(descriptor, _PIECE)


def _write(data: bytes) -> None:
    descriptor = _descriptor(sys.stdout)
    if descriptor is None:
        sys.stdout.buffer.write(data)
        return
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # whoever shares it made it so
            select.select([], [descriptor], [])


def _descriptor(stream: Any) -> int | None:
    try:
        number: int = stream.fileno()
    except (OSError, AttributeError):  # what stands in for it in a test
        return None
    return number


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
