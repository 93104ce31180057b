"""A file that is being written and outlives its writer's death, to be gone on with.

Theory of operation: as in `writing`, but the file's name follows from the target's, so that the
next writer finds it. It is locked while it is being written; whoever has the lock makes sure that
the name is still that file's, since the one before may have published or removed it. Such files
are swept too, but only when nobody has gone on with them for a week.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from asyncstore.errors import UnavailableError
from asyncstore.providers.local.locking import try_lock
from asyncstore.providers.local.writing import Draft

if TYPE_CHECKING:
    from asyncstore.providers.local.flushing import Flush
    from asyncstore.providers.local.tree import Root

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
_ATTEMPTS = 200


def kept_name(target: str) -> str:
    """Return the name of the file that becomes `target`, which is in the same folder."""
    return f".asyncstore-{hashlib.sha256(os.fsencode(target)).hexdigest()[:16]}.part"


class KeptDraft(Draft):
    """A draft that is found again.

    Args:
        root: where the key is.
        key: the object to be.
        flush: what makes it durable.
        fresh: begin with an empty file, whatever an earlier writer left.

    Raises:
        UnavailableError: somebody else is writing it.
    """

    def __init__(self, root: Root, key: str, flush: Flush, *, fresh: bool) -> None:
        self._fresh = fresh
        super().__init__(root, key, flush)

    def _create(self) -> tuple[int, int]:
        self._name = kept_name(self._target)
        for _ in range(_ATTEMPTS):
            folder = self._root.make(self._folders, durable=self._flush.at_once)
            try:
                fd = self._take(folder)
            except FileNotFoundError:
                fd = None  # the folder was tidied away while it was still empty
            except BaseException:
                os.close(folder)
                raise
            if fd is not None:
                return folder, fd
            os.close(folder)
        raise FileNotFoundError(errno.ENOENT, "the file is removed again and again")

    def _take(self, folder: int) -> int | None:
        """Open and lock it; `None` where the name has become another file's meanwhile."""
        fd = os.open(self._name, _OPEN, 0o600, dir_fd=folder)
        try:
            mine = os.fstat(fd)
            if not stat.S_ISREG(mine.st_mode) or mine.st_nlink > 1:
                # Not of our making: what it is a second name of must not be written to.
                os.unlink(self._name, dir_fd=folder)
            elif _locked(fd) and _is_named(self._name, folder, mine):
                if self._fresh:
                    os.ftruncate(fd, 0)
                os.utime(fd)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None


def _locked(fd: int) -> bool:
    if not try_lock(fd, exclusive=True):
        raise UnavailableError("another process is writing this file")
    return True


def _is_named(name: str, folder: int, mine: os.stat_result) -> bool:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
