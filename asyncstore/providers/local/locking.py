"""Locks between processes, and what is left of writers that died.

A folder's own descriptor is its lock (`flock`): who renames or removes holds it shared, who
compares a version first holds it alone. While a file is being written its writer holds a lock
on it, which the kernel drops when the writer dies: what can be locked, and is old enough to have
been locked at all, is stale.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

from asyncstore.errors import NotSupportedError, UnavailableError
from asyncstore.providers.local.threads import check_cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

STALE_AFTER = 60.0
"""Seconds for which a file being written is left alone, locked or not."""

KEPT_FOR = 7 * 86_400.0
"""Seconds for which a file is kept that a dead writer's successor may go on with."""

PATIENCE = 30.0
"""Seconds to wait for a lock that others hold for microseconds."""


@contextmanager
def locked(folder: int, *, exclusive: bool) -> Iterator[None]:
    """Keep other processes and threads from a folder: all, or those who want it alone.

    Raises:
        NotSupportedError: alone, on a file system without locks.
        UnavailableError: somebody keeps the folder for too long.
    """
    until = time.monotonic() + PATIENCE
    pause = 0.0002
    while not try_lock(folder, exclusive=exclusive, needed=exclusive):
        check_cancelled()
        if time.monotonic() > until:
            raise UnavailableError("another process keeps its folder locked")
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    try:
        yield
    finally:
        if _HAS_LOCKS:
            with suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_UN)


def try_lock(fd: int, *, exclusive: bool, needed: bool = False) -> bool:
    """Try to lock; where a lock cannot be had at all and is not needed, go on without."""
    if not _HAS_LOCKS:
        return True
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if needed:
            raise NotSupportedError(
                "this file system has no locks, which conditional writes need"
            ) from None
    return True


def sweep(folder: int, name: str) -> None:
    """Remove a file that was being written, if its writer is dead."""
    with suppress(OSError):
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        patience = KEPT_FOR if name.endswith(".part") else STALE_AFTER
        if not stat.S_ISREG(state.st_mode) or time.time() - state.st_mtime < patience:
            return
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if try_lock(fd, exclusive=True):
                os.unlink(name, dir_fd=folder)
        finally:
            os.close(fd)
