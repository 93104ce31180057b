"""Many small files, in one visit to a worker thread.

Theory of operation. A visit of its own for each file costs more than making the file, and threads
that make files side by side spend most of their time handing Python's lock to one another. So
files go in groups: each folder is reached once, and its files are written under temporary names;
then its lock is taken once, and they get their own names. What is guaranteed of a file is what
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
from asyncstore.providers.local.tree import parts_of, temp_names
from asyncstore.providers.local.writing import CREATE, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.providers.local.flushing import Flush
    from asyncstore.providers.local.tree import Root
    from asyncstore.types import Buffer, ObjectMeta

_SLOW = 0.0005  # seconds for a file, above which more threads make them
_THREADS = 16
_UNUSUAL = (OSError, StoreError, UnicodeEncodeError)

_File = tuple[int, str, str]  # its place among the items, its name, and its temporary one


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
    for place, (item, temp) in enumerate(zip(items, temp_names(len(items)), strict=True)):
        folder, _, name = item[0].rpartition("/")
        folders.setdefault(folder, []).append((place, name, temp))
    for folder, files in folders.items():
        with suppress(*_UNUSUAL):
            for place, meta in _put_in(root, folder, flush, items, files):
                found[place] = meta
    pace.learn(len(items), time.monotonic() - began)
    return found


def _put_in(
    root: Root, folder: str, flush: Flush, items: Sequence[tuple[str, Buffer]], files: list[_File]
) -> list[tuple[int, ObjectMeta]]:
    """Write files of one folder; return those that are there now."""
    folders = parts_of(folder) if folder else []
    fd = root.make(folders, durable=flush.at_once)
    written: dict[int, os.stat_result] = {}
    named: list[tuple[int, ObjectMeta]] = []
    try:
        for place, name, temp in files:
            check_cancelled()
            try:
                written[place] = _write(fd, name, temp, items[place][1], flush)
            except _UNUSUAL:
                continue
        with locked(fd, exclusive=False):
            for place, name, temp in files:
                if place in written and _is_named(fd, temp, name):
                    named.append((place, meta_of(items[place][0], written.pop(place))))
        flush.folder(fd)
    finally:
        for place, _, temp in files:
            if place in written:
                _remove(fd, temp)
        os.close(fd)
        if folders and not named:
            _tidy(root, folders)
    return named


def _is_named(folder: int, temp: str, name: str) -> bool:
    """Give a file its name; return whether it has it."""
    try:
        os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        return False
    return True


def _write(folder: int, name: str, temp: str, data: Buffer, flush: Flush) -> os.stat_result:
    """Write a file that is to be called `name` as `temp`."""
    parts_of(name)
    mode = _mode_of(folder, name)
    fd = os.open(temp, CREATE, 0o666 if mode is None else 0o600, dir_fd=folder)
    try:
        try:
            if os.write(fd, data) < len(data):
                raise OSError  # the disk is full, as another piece would tell
            if mode is not None:
                os.fchmod(fd, mode)
            stamp(fd)
            flush.file(fd)
            state = os.fstat(fd)
        finally:
            os.close(fd)  # where a network's disk may tell that it is full
    except BaseException:
        _remove(folder, temp)
        raise
    return state


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
