"""How a file comes into being: whole, and on the disk, or not at all.

Theory of operation: bytes go to a file of a random name beside the target, which no listing
shows. When they are all there they are flushed; then one `rename`, or for create-only one
`link`, gives them the target's name, and the folder is flushed. A crash at any moment leaves the
old object or the new one.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncstore.errors import (
    AlreadyExistsError,
    NotSupportedError,
    PreconditionError,
)
from asyncstore.providers.local import faults
from asyncstore.providers.local.locking import locked, try_lock
from asyncstore.providers.local.threads import check_cancelled
from asyncstore.providers.local.tree import parts_of, temp_name

if TYPE_CHECKING:
    from asyncstore.providers.local.flushing import Flush
    from asyncstore.providers.local.tree import Root
    from asyncstore.types import Buffer

PIECE = 8 << 20
"""Bytes written or read between two looks at whether somebody still waits."""

CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS = 200


def etag_of(state: os.stat_result) -> str:
    """Return a version's name: a new file has a new inode or, ever after, a later time."""
    # A listing asks for many, and this is the quickest of the ways to write it.
    return '"%x-%x-%x"' % (state.st_ino, state.st_mtime_ns, state.st_size)  # noqa: UP031


class Draft:
    """A file that is being written beside its target.

    Args:
        root: where the key is.
        key: the object to be.
        flush: what makes it durable.

    Raises:
        NotSupportedError, InvalidPathError, OSError: as in `Root.make`; nothing is left.
    """

    def __init__(self, root: Root, key: str, flush: Flush) -> None:
        *self._folders, self._target = parts_of(key)
        self._root = root
        self._flush = flush
        self._name = temp_name()
        self._folder, self.fd = self._create()
        try:
            try_lock(self.fd, exclusive=True)
            self._mode = self._mode_of_target()
        except BaseException:
            self.discard()
            raise

    def write(self, data: Buffer, offset: int = 0) -> None:
        """Write bytes at a position, in pieces, unless nobody waits any more."""
        left = memoryview(data)
        while left:
            check_cancelled()
            written = os.pwrite(self.fd, left[:PIECE], offset)
            left = left[written:]
            offset += written

    def publish(self, *, if_match: str | None, if_absent: bool) -> os.stat_result:
        """Give the bytes the target's name; the draft has ended then.

        Raises:
            AlreadyExistsError, PreconditionError: as in `Provider.put`.
        """
        os.fchmod(self.fd, self._mode)
        stamp(self.fd)
        self._flush.file(self.fd)
        state = os.fstat(self.fd)
        check_cancelled()
        with locked(self._folder, exclusive=if_match is not None):
            if if_match is not None:
                self._compare(if_match)
            if if_absent:
                link_new(self._folder, self._name, self._folder, self._target)
                with suppress(OSError):  # a second name of it is swept one day
                    os.unlink(self._name, dir_fd=self._folder)
            else:
                self._rename()
        try:
            self._flush.folder(self._folder)
        except OSError as error:
            raise faults.translated(error, "unknown") from None
        self._close()
        return state

    def discard(self) -> None:
        """Remove what was written; twice is as once."""
        if self.fd < 0:
            return
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)
        self._close()
        if self._folders:
            left = self._root.prune(self._folders)
            if left is not None:
                os.close(left)

    def leave(self) -> None:
        """Close what was written, and leave it where it is."""
        if self.fd >= 0:
            self._close()

    def _create(self) -> tuple[int, int]:
        for _ in range(_ATTEMPTS):
            folder = self._root.make(self._folders, durable=self._flush.at_once)
            try:
                return folder, os.open(self._name, CREATE, 0o600, dir_fd=folder)
            except FileNotFoundError:
                os.close(folder)  # tidied away while it was still empty: make it again
            except BaseException:
                os.close(folder)
                raise
        raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again")

    def _mode_of_target(self) -> int:
        """Refuse to replace what is no object, before anything is written."""
        try:
            mode = os.stat(self._target, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return 0o666 & ~umask()
        if stat.S_ISDIR(mode):
            clear_way(self._folder, self._target)
            return 0o666 & ~umask()
        if not stat.S_ISREG(mode):
            raise faults.odd(mode)
        return mode & 0o777

    def _compare(self, if_match: str) -> None:
        try:
            state = os.stat(self._target, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            raise PreconditionError(f"there is no object, and so not {if_match}") from None
        found = etag_of(state)
        if found != if_match or not stat.S_ISREG(state.st_mode):
            raise PreconditionError(f"its ETag is {found}, not {if_match}")

    def _rename(self) -> None:
        try:
            self._rename_once()
        except IsADirectoryError:
            clear_way(self._folder, self._target)
            self._rename_once()

    def _rename_once(self) -> None:
        os.rename(self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)
        os.close(self._folder)


def link_new(folder: int, name: str, to_folder: int, to_name: str) -> None:
    """Give a file a second name, where nothing has it.

    Raises:
        AlreadyExistsError: an object has it.
        NotSupportedError: a folder has it, or the file system has no second names.
    """
    try:
        os.link(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except FileExistsError:
        with suppress(FileNotFoundError):  # deleted since: there was one all the same
            state = os.stat(to_name, dir_fd=to_folder, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                raise faults.beside() from None
        raise AlreadyExistsError("there is an object") from None
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise NotSupportedError(
                "this file system has no hard links, which create-only writes need"
            ) from None
        raise


def clear_way(folder: int, name: str) -> None:
    """Remove an empty folder of a file's name-to-be: it holds no object.

    Raises:
        NotSupportedError: it holds one.
    """
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError:
        raise faults.beside() from None


_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)

_stamping = threading.Lock()
_last_stamp = 0


def stamp(fd: int) -> None:
    """Give a file a time of modification that no other file of this process has.

    The kernel's own advances a few hundred times a second only, and inodes are used again: two
    versions of one size could look the same.
    """
    [now] = stamps(1)
    os.utime(fd, ns=(now, now))


def stamps(count: int) -> range:
    """Return times of modification, in nanoseconds, that no other file of this process has."""
    global _last_stamp  # noqa: PLW0603
    with _stamping:
        first = max(time.time_ns(), _last_stamp + 1)
        _last_stamp = first + count - 1
    return range(first, first + count)


def umask() -> int:
    """Return the permissions that new files are not to have."""
    global _known_umask  # noqa: PLW0603
    if _known_umask is None:
        _known_umask = _read_umask()
    return _known_umask


_known_umask: int | None = None


def _read_umask() -> int:
    # Linux tells it; elsewhere it can only be learnt by changing it for a moment.
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    with _stamping:
        umask = os.umask(0o077)
        os.umask(umask)
    return umask
