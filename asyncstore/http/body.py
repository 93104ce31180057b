"""Where the bytes of an answer go: sinks, which hand out the window that is filled next.

A connection receives into `window()` and says `advance(n)`; bytes that came along with the head
or inside chunks arrive by `take(view)`. A sink never holds more than it was told to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from asyncstore.errors import IntegrityError
from asyncstore.room import room

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.types import Buffer

ERROR_KEPT = 64 << 10
"""How much of an error's body is kept; the rest is read and dropped."""

ERROR_READ = 1 << 20
"""How much of an error's body is read at most, before the connection is given up instead."""

STREAM_BUFFER = 256 << 10
"""How much a streamed body may run ahead of its reader, in bytes."""


class Whole:
    """A body of known length, into one buffer: the caller's, or one of its own."""

    __slots__ = ("filled", "view")

    def __init__(self, length: int, into: memoryview | None) -> None:
        self.view = room(length) if into is None else into[:length]
        self.filled = 0

    def take(self, data: memoryview) -> None:
        """Copy bytes that were received elsewhere."""
        end = self.filled + len(data)
        self.view[self.filled : end] = data
        self.filled = end

    def window(self, spare: int) -> memoryview:
        """Return what is still to be filled, but for the last `spare` bytes."""
        return self.view[self.filled : len(self.view) - spare]

    def result(self) -> Buffer:
        """Return the body."""
        return self.view[: self.filled]


class Growing:
    """A body of unknown length, up to a limit."""

    __slots__ = ("_data", "_limit", "filled", "into")

    def __init__(self, limit: int, into: memoryview | None) -> None:
        self.into = into
        self.filled = 0
        self._limit = limit if into is None else min(limit, len(into))
        self._data = bytearray()

    def take(self, data: memoryview) -> None:
        """Copy bytes that were received elsewhere.

        Raises:
            IntegrityError: they are more than the limit.
        """
        end = self.filled + len(data)
        if end > self._limit:
            raise IntegrityError(f"the answer's body is longer than {self._limit} bytes")
        if self.into is None:
            self._data += data
        else:
            self.into[self.filled : end] = data
        self.filled = end

    def result(self) -> Buffer:
        """Return the body."""
        return self._data if self.into is None else self.into[: self.filled]


class Capped:
    """An error's body: its beginning is kept, the rest dropped."""

    __slots__ = ("_data", "filled")

    def __init__(self) -> None:
        self._data = bytearray()
        self.filled = 0

    def take(self, data: memoryview) -> None:
        """Keep what fits."""
        self.filled += len(data)
        room = ERROR_KEPT - len(self._data)
        if room > 0:
            self._data += data[:room]

    def result(self) -> Buffer:
        """Return the beginning of the body."""
        return self._data


class Queued:
    """A body on its way to a reader, who may be slower than the network.

    It outlives its exchange: the connection may serve another while the reader takes the rest.

    Args:
        limit: most bytes altogether.
        hold, flow: called when it is full, and when it has room again.
    """

    __slots__ = (
        "_flow",
        "_full",
        "_hold",
        "_limit",
        "_pieces",
        "_reader",
        "_size",
        "done",
        "error",
        "filled",
    )

    def __init__(self, limit: int, hold: Callable[[], None], flow: Callable[[], None]) -> None:
        self.filled = 0
        self.done = False
        self.error: Exception | None = None
        self._pieces: deque[memoryview] = deque()
        self._limit = limit
        self._size = 0
        self._full = False
        self._hold = hold
        self._flow = flow
        self._reader: asyncio.Future[None] | None = None

    def take(self, data: memoryview) -> None:
        """Copy bytes that were received elsewhere.

        Raises:
            IntegrityError: they are more than the limit.
        """
        self.filled += len(data)
        if self.filled > self._limit:
            raise IntegrityError(f"the answer's body is longer than {self._limit} bytes")
        self._pieces.append(memoryview(bytes(data)))
        self._size += len(data)
        if self._size >= STREAM_BUFFER and not self._full:
            self._full = True
            self._hold()
        self._wake()

    def finish(self) -> None:
        """See the body's end."""
        self.done = True
        self._full = False
        self._wake()

    def fail(self, error: Exception) -> None:
        """See that the rest will not come; what has come is not handed out either."""
        self.error = error
        self.finish()

    async def next(self) -> memoryview | None:
        """Return the next piece, or `None` at the end.

        Raises:
            StoreError: what `fail` was told.
        """
        while True:
            if self.error is not None:
                raise self.error
            if self._pieces:
                return self._pop()
            if self.done:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def _pop(self) -> memoryview:
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._full and self._size < STREAM_BUFFER // 2:
            self._full = False
            self._flow()
        return piece

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def result(self) -> Buffer:
        """Return nothing: the reader has it."""
        return b""
