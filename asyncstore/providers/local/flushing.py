"""When what was written is flushed to the disk: each time, or once at the end.

*Full*: a file is flushed before it gets its name, the folder after it, and only then is the
write acknowledged: it outlives a power cut.

*Deferred*: nothing is flushed until `finish`, which flushes the whole file system once. Until
then a write outlives the death of this process, but not a power cut or a crash of the kernel:
that may undo any of the writes since the beginning, and, on file systems that give a file its
name before its bytes, may leave some of them empty or cut short. A bulk load that was
interrupted so is to be done again.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Flush:
    """Flush each write before it is acknowledged."""

    at_once = True

    def file(self, fd: int) -> None:
        """Flush a file that is about to get its name."""
        os.fsync(fd)

    def folder(self, fd: int) -> None:
        """Flush a folder in which a name has changed."""
        os.fsync(fd)

    def finish(self) -> None:
        """Flush what was deferred: nothing."""


class Deferred(Flush):
    """Flush everything once, in `finish`."""

    at_once = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._systems: dict[int, int] = {}
        """A descriptor on each file system that was written to, by device."""

    def file(self, fd: int) -> None:
        """Leave the file to `finish`."""

    def folder(self, fd: int) -> None:
        """Remember the file system; what fails to reach its disk from now on will be told."""
        device = os.fstat(fd).st_dev
        if device not in self._systems:
            with self._lock:
                if device not in self._systems:
                    self._systems[device] = os.dup(fd)

    def finish(self) -> None:
        """Flush every file system that was written to.

        Raises:
            OSError: something did not reach the disk.
        """
        with self._lock:
            systems, self._systems = list(self._systems.values()), {}
        try:
            for fd in systems:
                _syncfs(fd)
        finally:
            for fd in systems:
                os.close(fd)


def _load_syncfs() -> Callable[[int], None]:
    if not sys.platform.startswith("linux"):
        return lambda _: os.sync()
    function = ctypes.CDLL(None, use_errno=True).syncfs

    def syncfs(fd: int) -> None:
        if function(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


def _syncfs(fd: int) -> None:
    _load_syncfs()(fd)
