"""How a tree of files is listed: as keys, in the order of their bytes, a page at a time.

Theory of operation: a folder is read once and its names sorted, a folder's with its slash, so
that `a!` comes before `a/b` and that before `a0`. A `Walk` keeps the names of the folders on the
way to where it is and nothing else. Between pages it keeps no descriptor; the next page opens
the way again. A page whose walk is forgotten begins a new one that goes straight down to the
last key. Names that are no UTF-8 are listed as Python gives them, with surrogates: such keys can
be read, copied and deleted here, and no other service takes them.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from bisect import bisect_left
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

from asyncstore.columns import Columns
from asyncstore.errors import InvalidPathError, NotFoundError
from asyncstore.providers.local.locking import sweep
from asyncstore.providers.local.threads import check_cancelled
from asyncstore.providers.local.tree import TEMP
from asyncstore.providers.local.writing import etag_of
from asyncstore.types import Page

if TYPE_CHECKING:
    from asyncstore.providers.local.tree import Root

_MOST_WALKS = 32
_MOST_NAMES = 2_000_000
_LOOK_EVERY = 256


def names_in(folder: int) -> list[str]:
    """Return the names of files and, with a slash, of folders, in the order of their bytes.

    Links and what is neither file nor folder are left out: they are not objects. Files whose
    writer died are removed on the way.
    """
    names = []
    temps = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".asyncstore-") and TEMP.fullmatch(name):
                temps.append(name)
            elif entry.is_file(follow_symlinks=False):
                names.append(name)
            elif entry.is_dir(follow_symlinks=False):
                names.append(name + "/")
    for name in temps:
        sweep(folder, name)
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        names.sort(key=os.fsencode)  # surrogates sort otherwise than the bytes they stand for
    else:
        names.sort()
    return names


class _Level:
    """A folder on the way: its prefix, its names, and how far the walk is."""

    __slots__ = ("at", "fd", "names", "prefix")

    def __init__(self, prefix: str, fd: int, names: list[str], at: int) -> None:
        self.prefix = prefix
        self.fd = fd
        self.names = names
        self.at = at

    @property
    def key(self) -> str:
        """The next name, as a key."""
        return self.prefix + self.names[self.at]


class _Files:
    """Files on a page: their keys, and what the system says of each."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._sizes: list[int] = []
        self._etags: list[str | None] = []
        self._times: list[int] = []

    def take(self, level: _Level, prefix: str, most: int) -> None:
        """Take files from where a level is, up to its next folder, or until there are `most`.

        Args:
            level: its next name is a file's, and begins as all have to.
            prefix: what all keys begin with.
            most: files, with those that were taken before; more than these.
        """
        above, at = level.prefix, level.at
        names = level.names[at : at + min(most - len(self.keys), _LOOK_EVERY)]
        is_inside = above.startswith(prefix)
        if not is_inside or "/" in "".join(names):
            for place, name in enumerate(names):
                if name[-1] == "/" or not (is_inside or (above + name).startswith(prefix)):
                    del names[place:]
                    break
        level.at += len(names)
        names, states = _states(level.fd, names)
        self.keys += [above + name for name in names]
        self._sizes += [state.st_size for state in states]
        self._etags += [etag_of(state) for state in states]
        self._times += [state.st_mtime_ns for state in states]

    def columns(self) -> Columns:
        """Return what was taken."""
        return Columns(self.keys, self._sizes, self._etags, self._times)


def _states(folder: int, names: list[str]) -> tuple[list[str], list[os.stat_result]]:
    """Return what the system says of files, with the names of those that are files still."""
    look = partial(os.stat, dir_fd=folder, follow_symlinks=False)
    try:
        states = [*map(look, names)]
    except FileNotFoundError:  # one was deleted since the folder was read
        there = []
        states = []
        for name in names:
            with suppress(FileNotFoundError):
                states.append(look(name))
                there.append(name)
        names = there
    are_files = [stat.S_ISREG(state.st_mode) for state in states]
    if not all(are_files):
        names, states = [*compress(names, are_files)], [*compress(states, are_files)]
    return names, states


class Walk:
    """The objects below a prefix, from one key on.

    Args:
        root: where to walk.
        prefix: a beginning of keys.
        after: only keys behind this one; with `delimiter`, also prefixes that hold some.
        delimiter: give folders right below the prefix as prefixes.
        folded: `after` is such a prefix, and all below it is given already.
    """

    def __init__(
        self, root: Root, prefix: str, after: str, *, delimiter: bool, folded: bool = False
    ) -> None:
        self._root = root
        self._prefix = prefix
        self._after = after
        self._folded = folded
        self._delimiter = delimiter
        self._levels: list[_Level] = []
        self._begun = False

    def page(self, limit: int) -> tuple[Columns, list[str], str | None]:
        """Return the next objects, prefixes and, unless this is the end, the last one's name."""
        files = _Files()
        prefixes: list[str] = []
        try:
            self._open()
            while len(files.keys) + len(prefixes) < limit:
                check_cancelled()
                level = self._next()
                if level is None:
                    return files.columns(), prefixes, None
                if not level.names[level.at].endswith("/"):
                    files.take(level, self._prefix, limit - len(prefixes))
                elif folder := self._folder(level):
                    prefixes.append(folder)
            return files.columns(), prefixes, max(files.keys[-1:] + prefixes[-1:], key=_order)
        finally:
            self._close()

    @property
    def weight(self) -> int:
        """How many names it keeps."""
        return sum(len(level.names) for level in self._levels)

    def any(self) -> bool:
        """Return whether there is an object."""
        return len(self.page(1)[0]) > 0

    def _open(self) -> None:
        """Open the folders on the way, again; those that are gone, and what is below, end."""
        if not self._begun:
            self._begun = True
            folder = self._prefix[: self._prefix.rfind("/") + 1]
            if not self._after.startswith(folder) and _order(self._after) > _order(folder):
                return
            with suppress(FileNotFoundError, NotFoundError):
                self._enter(folder, self._root.open(_folders(folder)))
            return
        for depth, level in enumerate(self._levels):
            try:
                level.fd = self._root.open(_folders(level.prefix))
            except (FileNotFoundError, NotFoundError, InvalidPathError):
                del self._levels[depth:]
                return

    def _close(self) -> None:
        for level in self._levels:
            fd, level.fd = level.fd, -1
            if fd >= 0:
                os.close(fd)

    def _enter(self, prefix: str, fd: int) -> None:
        level = _Level(prefix, fd, [], 0)
        self._levels.append(level)
        names = names_in(fd)
        begin = self._prefix[len(prefix) :] if len(self._prefix) > len(prefix) else ""
        first = bisect_left(names, _order(begin), key=_order)
        if self._after.startswith(prefix):
            first = max(first, self._first_behind(names, self._after[len(prefix) :]))
        level.names = names
        level.at = first

    def _next(self) -> _Level | None:
        """Return the level where the walk goes on: its next name begins as all have to."""
        while self._levels:
            level = self._levels[-1]
            if level.at < len(level.names) and level.key.startswith(self._prefix):
                return level
            os.close(self._levels.pop().fd)  # sorted: nothing further on begins so
        return None

    def _folder(self, level: _Level) -> str | None:
        """Enter the next folder; return it instead where folders are prefixes, if it holds any."""
        name, key = level.names[level.at], level.key
        level.at += 1
        if self._delimiter:
            return key if self._holds(key) else None
        self._descend(level.fd, name, key)
        return None

    def _descend(self, folder: int, name: str, key: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name[:-1], flags, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # gone since the folder was read, or something else now
            raise
        self._enter(key, fd)

    def _holds(self, prefix: str) -> bool:
        after = self._after if self._after.startswith(prefix) else ""
        return Walk(self._root, prefix, after, delimiter=False).any()

    def _first_behind(self, names: list[str], bound: str) -> int:
        """Return where names go on behind a key; a folder that the key is in is not yet behind."""
        folder, slash, rest = bound.partition("/")
        if slash and self._folded and not rest:
            return bisect_left(names, _order(folder + "0"), key=_order)  # "0" comes after "/"
        if slash:
            return bisect_left(names, _order(folder + slash), key=_order)
        return bisect_left(names, _order(bound + "\0"), key=_order)


def _order(name: str) -> bytes:
    return os.fsencode(name)


def _folders(prefix: str) -> list[str]:
    parts = prefix.split("/")[:-1]
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InvalidPathError(f"no key begins with {prefix!r}")
    return parts


class Lister:
    """Lists pages, and remembers the walks that more pages may be asked of."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._walks: OrderedDict[tuple[str, str, bool], Walk] = OrderedDict()

    def page(
        self, prefix: str, cursor: str | None, after: str | None, *, delimiter: bool, limit: int
    ) -> Page:
        """See `Provider.list_page`; a cursor is the last key or prefix of its page."""
        walk = None
        if cursor is not None:
            with self._lock:
                walk = self._walks.pop((prefix, cursor, delimiter), None)
        if walk is None:
            bound = max(after or "", cursor or "", key=_order)
            folded = delimiter and bound == cursor and bound.endswith("/")
            walk = Walk(self._root, prefix, bound, delimiter=delimiter, folded=folded)
        objects, prefixes, last = walk.page(limit)
        if last is not None:
            self._keep((prefix, last, delimiter), walk)
        return Page(objects, prefixes, last)

    def _keep(self, page: tuple[str, str, bool], walk: Walk) -> None:
        with self._lock:
            self._walks[page] = walk
            weight = sum(kept.weight for kept in self._walks.values())
            while len(self._walks) > 1 and (len(self._walks) > _MOST_WALKS or weight > _MOST_NAMES):
                weight -= self._walks.popitem(last=False)[1].weight
