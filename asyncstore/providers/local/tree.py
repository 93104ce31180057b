"""Folders below a root, reached step by step so that no symbolic link leads out of it.

Theory of operation: every folder on the way to a key is opened by its name alone, relative to
the descriptor of the one before and without following links. Whatever anybody renames or links
meanwhile, a descriptor that was reached so is below the root, and files are then named relative
to it. The root's own path may hold links: it is the user's word.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError, InvalidPathError, StoreError
from asyncstore.providers.local import faults
from asyncstore.providers.local.locking import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME_BYTES = 255
TEMP = re.compile(r"\.asyncstore-[0-9a-f]{16}\.(?:tmp|part)")
"""Names of files that are being written; no object has such a name."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_THROUGH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_INTO = _FOLDER | os.O_NOFOLLOW
_MOST_KNOWN = 100_000
_ATTEMPTS = 200
_FEW = 64


def temp_name() -> str:
    """Return a name for a file being written, which nobody can guess."""
    return f".asyncstore-{secrets.token_hex(8)}.tmp"


def temp_names(count: int) -> list[str]:
    """Return names as `temp_name` does, of one draw."""
    drawn = secrets.token_hex(8 * count)
    return [f".asyncstore-{drawn[at : at + 16]}.tmp" for at in range(0, 16 * count, 16)]


def parts_of(key: str) -> list[str]:
    """Return a key's folders and name.

    Raises:
        InvalidPathError: where a part is none, is a way up, is too long, or names what
            asyncstore keeps for itself.
    """
    parts = key.split("/")
    for part in parts:
        check_part(part)
    return parts


def check_part(part: str) -> None:
    """Raise `InvalidPathError` where a folder or file cannot have this name, as in `parts_of`."""
    if part in ("", ".", "..") or "\0" in part:
        raise InvalidPathError(f"the key has a part {part!r}, which names no file")
    if len(part) * 4 > NAME_BYTES and len(os.fsencode(part)) > NAME_BYTES:
        raise InvalidPathError(f"the key has a part of more than {NAME_BYTES} bytes")
    if part.startswith(".asyncstore-") and TEMP.fullmatch(part):
        raise InvalidPathError(f"{part!r}: such names are kept for files being written")


def parts_are_plain(parts: Sequence[str]) -> bool:
    """Whether some parts are surely what `check_part` lets pass: most are, and this is quick."""
    return len(max(parts, key=len)) * 4 <= NAME_BYTES and _are_plain("/".join(parts)) is not None


_are_plain = re.compile(
    r"[0-9A-Za-z_][0-9A-Za-z_.\-]*+(?:/[0-9A-Za-z_][0-9A-Za-z_.\-]*+)*+"
).fullmatch


class Root:
    """A folder that holds keys.

    Args:
        path: absolute; need not exist until something is written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._durable: set[tuple[int, int]] = set()
        """Folders, by device and inode, whose own names are known to be on the disk."""
        self._lock = threading.Lock()

    def open(self, folders: Sequence[str]) -> int:
        """Return a descriptor of a folder, to be closed by the caller.

        Raises:
            FileNotFoundError: no such folder.
            NotFoundError: a file is where a folder would be.
            InvalidPathError: a link, or what is neither file nor folder, is in the way.
        """
        fd = self._open_root()
        for at, name in enumerate(folders, 1):
            flags = _INTO if at == len(folders) else _THROUGH
            try:
                child = os.open(name, flags, dir_fd=fd)
            except OSError as error:
                _explain(error, name, fd, faults.no_object)
                raise
            finally:
                os.close(fd)
            fd = child
        return fd

    def make(self, folders: Sequence[str], *, durable: bool) -> int:
        """Return a descriptor of a folder, made where it is missing, with all above it.

        Args:
            folders: its name, and before it those of the folders that it is in.
            durable: make sure that the folders' names are on the disk.

        Raises:
            FileNotFoundError: somebody removes the folders as fast as they are made.
            NotSupportedError: a file is where a folder would be.
            InvalidPathError: as in `open`.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._make(folders, durable)
            except FileNotFoundError:
                continue  # an empty folder was tidied away before it was entered
        raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again")

    def _make(self, folders: Sequence[str], durable: bool) -> int:  # noqa: FBT001
        fd = self._make_root(durable)
        for name in folders:
            try:
                child = self._make_one(fd, name, durable)
            finally:
                os.close(fd)
            fd = child
        return fd

    def _make_one(self, parent: int, name: str, durable: bool) -> int:  # noqa: FBT001
        made = False
        try:
            child = os.open(name, _INTO, dir_fd=parent)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
                made = True
            child = os.open(name, _INTO, dir_fd=parent)
        except OSError as error:
            _explain(error, name, parent, _in_the_way)
            raise
        if durable:
            try:
                self._settle(child, parent, made)
            except BaseException:
                os.close(child)
                raise
        return child

    def _settle(self, child: int, parent: int, made: bool) -> None:  # noqa: FBT001
        """Bring a folder's name to the disk, unless it is known to be there.

        A folder that was there already counts as unknown at first: whoever made it may not
        have flushed its name yet, and what is acknowledged below it must not go with it.
        """
        state = os.fstat(child)
        identity = (state.st_dev, state.st_ino)
        if made or identity not in self._durable:
            os.fsync(parent)
            with self._lock:
                if len(self._durable) > _MOST_KNOWN:
                    self._durable.clear()
                self._durable.add(identity)

    def _make_root(self, durable: bool) -> int:  # noqa: FBT001
        try:
            return self._open_root()
        except FileNotFoundError:
            missing = []
            path = self.path
            while not os.path.lexists(path) and os.path.dirname(path) != path:
                missing.append(path)
                path = os.path.dirname(path)
            for path in reversed(missing):
                with suppress(FileExistsError):
                    os.mkdir(path)
                if durable:
                    _fsync_path(os.path.dirname(path))
            return self._open_root()

    def _open_root(self) -> int:
        try:
            return os.open(self.path, _FOLDER)
        except NotADirectoryError:
            raise ConfigurationError(
                f"{self.path} is, or is below, a file; name a folder"
            ) from None

    def prune(self, folders: Sequence[str]) -> int | None:
        """Remove a folder if it is empty, and those above it that become so, but for the root.

        Returns a descriptor of the lowest folder that is left, or `None` where the root is gone.
        """
        left = list(folders)
        while left and self._is_gone(left):
            left.pop()
        try:
            return self.open(left)
        except (OSError, StoreError):
            return None

    def _is_gone(self, folders: Sequence[str]) -> bool:
        try:
            parent = self.open(folders[:-1])
        except FileNotFoundError:
            return True
        except (OSError, StoreError):
            return False
        try:
            return self._remove(parent, folders[-1])
        finally:
            os.close(parent)

    def _remove(self, parent: int, name: str) -> bool:
        """Remove an empty folder; return whether it is gone."""
        try:
            state = os.stat(name, dir_fd=parent, follow_symlinks=False)
            with self._lock:
                # Its inode's number may come back as another folder's.
                self._durable.discard((state.st_dev, state.st_ino))
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                _sweep_in(parent, name)
                os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # not empty, or not ours to remove: the objects are gone all the same
        return True


def _sweep_in(parent: int, name: str) -> None:
    """Remove what dead writers left, if there is nothing else in a folder."""
    fd = os.open(name, _INTO, dir_fd=parent)
    try:
        with os.scandir(fd) as entries:
            first = [entry.name for entry in islice(entries, _FEW)]
        if all(TEMP.fullmatch(temp) for temp in first):
            for temp in first:
                sweep(fd, temp)
    finally:
        os.close(fd)


def _explain(error: OSError, name: str, parent: int, explain: Callable[[int], Exception]) -> None:
    """Raise what `explain` makes of the thing that is no folder, where that is the trouble."""
    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
        return
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        raise explain(mode) from None


def _in_the_way(mode: int) -> Exception:
    return faults.beside() if stat.S_ISREG(mode) else faults.odd(mode)


def _fsync_path(path: str) -> None:
    fd = os.open(path, _FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
