"""Where `put_stream` reads from: files, file objects, iterables, sync or async.

A `Reader` gives exactly the bytes it is asked for, or fewer at the end. What may block runs in a
worker thread. A file that changes while it is read is found out at the end.
"""

from __future__ import annotations

import inspect
import io
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from anyio.to_thread import run_sync

from asyncstore.errors import ObjectChangedError
from asyncstore.room import room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncstore.types import Buffer

T = TypeVar("T")


class Reader(Protocol):
    """Bytes in order; `size` is their number where it is known."""

    size: int | None

    async def read(self, most: int, /) -> Buffer:
        """Return the next `most` bytes, or fewer where they are the last."""
        ...

    async def unchanged(self) -> None:
        """Raise `ObjectChangedError` where the source is not what it was at the beginning."""
        ...


@asynccontextmanager
async def opened(source: Any, /) -> AsyncIterator[Reader]:
    """Make a reader of anything that `put_stream` takes.

    Raises:
        TypeError: it is nothing of that kind; the message says what is.
        OSError: a file cannot be opened.
    """
    if isinstance(source, os.PathLike):
        file = await run_sync(partial(open, source, "rb", buffering=0))
        try:
            yield await run_sync(_File, file)
        finally:
            file.close()
    else:
        yield await _reader(source)


async def _reader(source: Any) -> Reader:
    if isinstance(source, str):
        raise TypeError("put_stream takes a pathlib.Path, not a path as text: write Path(source)")
    if isinstance(source, io.TextIOBase):
        raise TypeError("the file is open as text: open it with 'rb'")
    if hasattr(source, "read"):
        if isinstance(source, io.FileIO | io.BufferedReader | io.BufferedRandom):
            return await run_sync(_File, source)
        return _FileLike(source)
    if hasattr(source, "__aiter__"):
        return _Chunks(aiter(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _Iterable(iter([source]))
    if hasattr(source, "__iter__"):
        return _Iterable(iter(source))
    raise TypeError(
        f"put_stream takes a Path, a binary file or an iterable of bytes, "
        f"not {type(source).__name__}"
    )


class _File:
    """An open file of the operating system, from where it stands to its end."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._before = _identity(file)
        self.size: int | None = None
        if file.seekable():
            self.size = max(0, os.fstat(file.fileno()).st_size - file.tell())

    async def read(self, most: int, /) -> Buffer:
        return await run_sync(_fill, self._file, most)

    async def unchanged(self) -> None:
        if await run_sync(_identity, self._file) != self._before:
            raise ObjectChangedError("the source file changed while it was read")


def _identity(file: Any) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _fill(file: Any, most: int) -> Buffer:
    view = room(most)
    filled = 0
    while filled < most:
        count = file.readinto(view[filled:])
        if not count:
            break
        filled += count
    return view[:filled]


class _FileLike:
    """Anything with `read(n)`, sync or async."""

    size: int | None = None

    def __init__(self, source: Any) -> None:
        self._read = source.read
        self._is_async = inspect.iscoroutinefunction(source.read)

    async def read(self, most: int, /) -> Buffer:
        data = bytearray()
        while len(data) < most:
            wanted = most - len(data)
            if self._is_async:
                more = await self._read(wanted)
            else:
                more = await run_sync(self._read, wanted)
                if inspect.isawaitable(more):
                    more = await more
            if not more:
                break
            data += _checked(more)
        return data

    async def unchanged(self) -> None:
        return


class _Chunks:
    """An async iterator of chunks of any sizes."""

    size: int | None = None

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    async def read(self, most: int, /) -> Buffer:
        data = bytearray(self._rest[:most])
        self._rest = self._rest[most:]
        while len(data) < most:
            try:
                chunk = _checked(await anext(self._chunks))
            except StopAsyncIteration:
                break
            wanted = most - len(data)
            data += chunk[:wanted]
            self._rest = memoryview(bytes(chunk[wanted:]))
        return data

    async def unchanged(self) -> None:
        return


class _Iterable:
    """A sync iterator of chunks, drawn in a worker thread, a whole part per visit."""

    size: int | None = None

    def __init__(self, chunks: Iterator[Buffer]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    async def read(self, most: int, /) -> Buffer:
        return await run_sync(self._draw, most)

    def _draw(self, most: int) -> Buffer:
        data = bytearray(self._rest[:most])
        self._rest = self._rest[most:]
        while len(data) < most:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            view = _checked(chunk)
            wanted = most - len(data)
            data += view[:wanted]
            self._rest = memoryview(bytes(view[wanted:]))
        return data

    async def unchanged(self) -> None:
        return


def _checked(chunk: Any) -> memoryview:
    if isinstance(chunk, str | int):
        raise TypeError(f"the source gave {type(chunk).__name__}, not bytes")
    return memoryview(chunk).cast("B") if len(chunk) else memoryview(b"")
