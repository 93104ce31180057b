"""How a file is read: one version of it, in one visit to a worker thread.

A descriptor goes on naming the version that it was opened on, whatever is renamed over it. A
file that somebody changes in place is noticed by its size and time, and the read fails.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from asyncstore.errors import InvalidSpanError, NotFoundError, ObjectChangedError
from asyncstore.providers.local import faults
from asyncstore.providers.local.threads import check_cancelled
from asyncstore.providers.local.tree import parts_of
from asyncstore.providers.local.writing import PIECE, etag_of
from asyncstore.room import room
from asyncstore.types import Blob, ObjectMeta

if TYPE_CHECKING:
    from asyncstore.providers.local.tree import Root
    from asyncstore.types import Buffer, Span

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def meta_of(key: str, state: os.stat_result) -> ObjectMeta:
    """Return what the file system says of an object."""
    return ObjectMeta(key, state.st_size, etag=etag_of(state), modified=state.st_mtime_ns)


def head(root: Root, key: str) -> ObjectMeta:
    """See `Provider.head`."""
    *folders, name = parts_of(key)
    folder = root.open(folders)
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(folder)
    if not stat.S_ISREG(state.st_mode):
        raise faults.no_object(state.st_mode)
    return meta_of(key, state)


def get(
    root: Root,
    key: str,
    span: Span,
    into: memoryview | None,
    *,
    if_match: str | None,
    most: int | None = None,
) -> Blob:
    """See `Provider.get`."""
    with Source(root, key, if_match) as source:
        start, stop = span.resolve(source.size)
        size = stop - start
        if most is not None and size > most:
            size = 0
        if into is not None and len(into) < size:
            raise InvalidSpanError(f"{size} bytes do not fit into a buffer of {len(into)}")
        data: Buffer
        if into is None and size <= PIECE:
            data = source.read(start, size)
        else:
            data = room(size) if into is None else into[:size]
            source.read_into(data, start)
        source.check_unchanged()
        return Blob(data, meta_of(key, source.state), start=start)


class Source:
    """A file that is open for reading.

    Raises:
        FileNotFoundError, NotFoundError: no such object.
        InvalidPathError: a link, or no file; it is not opened.
        ObjectChangedError: another version than `if_match`.
    """

    def __init__(self, root: Root, key: str, if_match: str | None = None) -> None:
        *folders, name = parts_of(key)
        folder = root.open(folders)
        try:
            self.fd = os.open(name, _OPEN, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ELOOP):  # a socket, a link
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                raise faults.no_object(mode) from None
            raise
        finally:
            os.close(folder)
        try:
            self.state = os.fstat(self.fd)
            self._check(if_match)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """The object's bytes."""
        return self.state.st_size

    def read(self, start: int, size: int) -> bytes:
        """Return bytes at a position, all of them."""
        data = os.pread(self.fd, size, start)
        if len(data) == size:
            return data
        buffer = bytearray(size)
        buffer[: len(data)] = data
        self.read_into(memoryview(buffer)[len(data) :], start + len(data))
        return bytes(buffer)

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill a buffer from a position, in pieces, unless nobody waits any more."""
        while buffer:
            check_cancelled()
            count = os.preadv(self.fd, [buffer[:PIECE]], start)
            if count == 0:
                raise ObjectChangedError("the file became shorter while it was read")
            buffer = buffer[count:]
            start += count

    def check_unchanged(self) -> None:
        """Raise `ObjectChangedError` where the file was changed in place since it was opened."""
        now = os.fstat(self.fd)
        if (now.st_size, now.st_mtime_ns) != (self.state.st_size, self.state.st_mtime_ns):
            raise ObjectChangedError("the file was changed while it was read")

    def close(self) -> None:
        """Close the file; twice is as once."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, if_match: str | None) -> None:
        if not stat.S_ISREG(self.state.st_mode):
            if stat.S_ISDIR(self.state.st_mode):
                raise NotFoundError("no such object")
            raise faults.odd(self.state.st_mode)
        found = etag_of(self.state)
        if if_match is not None and found != if_match:
            raise ObjectChangedError(f"its ETag is {found}, not {if_match}")
