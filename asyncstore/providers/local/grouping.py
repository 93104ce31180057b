"""Many small files, in one visit to a worker thread.

Theory of operation. A visit of its own for each file costs more than making the file, and threads
that make files side by side spend most of their time handing Python's lock to one another. So
files go in groups, and each folder is reached once. Its files are made without a name, where the
system can do that, and get one when they are whole, by a `link` that replaces nothing: so what is
there need not be looked at, no lock be held, and a kill leaves no piece of a file. From the first
file that cannot come so, as one has its name, they are written under temporary names instead;
then the folder's lock is taken once, and they get their own. What is guaranteed of a file is what
`writing` says of a draft. That its lock is not needed follows from time: nobody sweeps a file
that is younger than a minute, and one that was swept all the same gets no name.

Whatever is unusual is left to be put alone, which takes care of it or tells what is wrong.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncstore.errors import StoreError
from asyncstore.providers.local.locking import locked
from asyncstore.providers.local.reading import meta_of
from asyncstore.providers.local.threads import check_cancelled
from asyncstore.providers.local.tree import check_part, parts_are_plain, parts_of, temp_names
from asyncstore.providers.local.writing import CREATE, stamps, umask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.providers.local.flushing import Flush
    from asyncstore.providers.local.tree import Root
    from asyncstore.types import Buffer, ObjectMeta

    _File = tuple[int, str]  # its place among the items, and its name
    _Named = tuple[int, ObjectMeta]

_SLOW = 0.0005  # seconds for a file, above which more threads make them
_THREADS = 16
_UNUSUAL = (OSError, StoreError, UnicodeEncodeError)

_NAMELESS = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC if hasattr(os, "O_TMPFILE") else 0
_OPEN_FILES = "/proc/self/fd"


class Pace:
    """How long files take, and so how many threads are to make them."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def threads(self, count: int) -> int:
        """Return how many threads are to make `count` files: one, unless the disk is slow."""
        return max(1, min(int(self._seconds / _SLOW), _THREADS, count))

    def learn(self, count: int, seconds: float) -> None:
        """Learn how long one thread took for `count` files."""
        self._seconds = (self._seconds + seconds / count) / 2


def put_group(
    root: Root, flush: Flush, items: Sequence[tuple[str, Buffer]], pace: Pace
) -> list[ObjectMeta | None]:
    """Write files; return for each what was written, `None` for one that is to be put alone."""
    began = time.monotonic()
    found: list[ObjectMeta | None] = [None] * len(items)
    folders: dict[str, list[_File]] = {}
    last: str | None = None
    for place, (key, _) in enumerate(items):
        folder, _, name = key.rpartition("/")
        if folder != last:
            files = folders.setdefault(folder, [])
            last = folder
        files.append((place, name))
    for folder, files in folders.items():
        with suppress(*_UNUSUAL):
            for place, meta in _put_in(root, folder, flush, items, files):
                found[place] = meta
    pace.learn(len(items), time.monotonic() - began)
    return found


def _put_in(
    root: Root, folder: str, flush: Flush, items: Sequence[tuple[str, Buffer]], files: list[_File]
) -> list[_Named]:
    """Write files of one folder; return those that are there now."""
    folders = parts_of(folder) if folder else []
    fd = root.make(folders, durable=flush.at_once)
    named: list[_Named] = []
    try:
        if _NAMELESS:
            with suppress(*_UNUSUAL):
                _link_new(fd, flush, items, files, named)
        if len(named) < len(files):
            _replace(fd, flush, items, files[len(named) :], named)
        flush.folder(fd)
    finally:
        os.close(fd)
        if folders and not named:
            _tidy(root, folders)
    return named


def _link_new(
    folder: int,
    flush: Flush,
    items: Sequence[tuple[str, Buffer]],
    files: list[_File],
    named: list[_Named],
) -> None:
    """Make files of names that nothing has, and add them to `named`.

    Raises:
        OSError, StoreError, UnicodeEncodeError: one cannot come so; those before it are there.
    """
    mode = 0o666 & ~umask()  # some systems forget the latter for a file without a name
    are_plain = parts_are_plain([name for _, name in files])
    open_files = os.open(_OPEN_FILES, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for (place, name), now in zip(files, stamps(len(files)), strict=True):
            key, data = items[place]
            if not are_plain:
                check_part(name)
            fd = os.open(".", _NAMELESS, mode, dir_fd=folder)
            try:
                state = _filled(fd, data, now, flush)
                check_cancelled()
                os.link(str(fd), name, src_dir_fd=open_files, dst_dir_fd=folder)
            finally:
                os.close(fd)
            named.append((place, meta_of(key, state)))
    finally:
        os.close(open_files)


def _replace(
    folder: int,
    flush: Flush,
    items: Sequence[tuple[str, Buffer]],
    files: list[_File],
    named: list[_Named],
) -> None:
    """Write files under temporary names, rename them, and add those that were to `named`."""
    written: dict[str, tuple[int, str, os.stat_result]] = {}
    try:
        names = temp_names(len(files))
        for (place, name), temp, now in zip(files, names, stamps(len(files)), strict=True):
            check_cancelled()
            with suppress(*_UNUSUAL):
                state = _write(folder, name, temp, items[place][1], flush, now=now)
                written[temp] = place, name, state
        with locked(folder, exclusive=False):
            for temp, (place, name, state) in list(written.items()):
                if _is_named(folder, temp, name):
                    del written[temp]
                    named.append((place, meta_of(items[place][0], state)))
    finally:
        for temp in written:
            _remove(folder, temp)


def _is_named(folder: int, temp: str, name: str) -> bool:
    """Give a file its name; return whether it has it."""
    try:
        os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        return False
    return True


def _write(
    folder: int, name: str, temp: str, data: Buffer, flush: Flush, *, now: int
) -> os.stat_result:
    """Write a file that is to be called `name` as `temp`."""
    check_part(name)
    mode = _mode_of(folder, name)
    fd = os.open(temp, CREATE, 0o666 if mode is None else 0o600, dir_fd=folder)
    try:
        try:
            if mode is not None:
                os.fchmod(fd, mode)
            state = _filled(fd, data, now, flush)
        finally:
            os.close(fd)  # where a network's disk may tell that it is full
    except BaseException:
        _remove(folder, temp)
        raise
    return state


def _filled(fd: int, data: Buffer, now: int, flush: Flush) -> os.stat_result:
    """Write what a file is to hold; return its state then.

    Args:
        fd: of the file.
        data: all of it.
        now: one of `stamps`.
        flush: what makes it durable.
    """
    if os.write(fd, data) < len(data):
        raise OSError  # the disk is full, as another piece would tell
    os.utime(fd, ns=(now, now))
    flush.file(fd)
    return os.fstat(fd)


def _remove(folder: int, temp: str) -> None:
    with suppress(OSError):
        os.unlink(temp, dir_fd=folder)


def _mode_of(folder: int, name: str) -> int | None:
    """Return the permissions of the file that is to be replaced, `None` where there is none."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OSError  # no object, or a folder that may be empty
    return mode & 0o777


def _tidy(root: Root, folders: list[str]) -> None:
    left = root.prune(folders)
    if left is not None:
        os.close(left)
