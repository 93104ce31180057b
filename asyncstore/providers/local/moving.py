"""Names that change: an object, or a folder with all below it, is renamed and not copied.

Everything here blocks, and runs in worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from asyncstore.errors import (
    AlreadyExistsError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
)
from asyncstore.providers.local import faults
from asyncstore.providers.local.listing import Walk
from asyncstore.providers.local.locking import locked
from asyncstore.providers.local.reading import Source
from asyncstore.providers.local.threads import check_cancelled
from asyncstore.providers.local.tree import parts_of
from asyncstore.providers.local.writing import clear_way, link_new

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncstore.providers.local.flushing import Flush
    from asyncstore.providers.local.tree import Root

_FULL = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR)


def move_object(
    root: Root, flush: Flush, source: str, target: str, *, if_absent: bool
) -> os.stat_result:
    """Give an object another name; see `Moves.move`."""
    with Source(root, source) as old:
        if source == target:
            if if_absent:
                raise AlreadyExistsError("there is an object")
            return old.state
        # Whoever wrote it may not have flushed it, and it may replace what was on the disk.
        flush.file(old.fd)
    with _Ends(root, flush, source, target) as ends:
        check_cancelled()
        return ends.rename(if_absent=if_absent)


def move_prefix(root: Root, flush: Flush, source: str, target: str) -> None:
    """Give a folder another name; see `MovesPrefix.move_prefix`."""
    if not Walk(root, source + "/", "", delimiter=False).any():
        raise NotFoundError("nothing is below this prefix")
    if f"{target}/".startswith(f"{source}/"):
        raise InvalidPathError("a folder cannot be moved into itself")
    with _Ends(root, flush, source, target) as ends:
        try:
            # A folder is never renamed over a file, nor over a folder with anything in it.
            ends.rename_once()
        except OSError as error:
            if isinstance(error, NotADirectoryError | FileExistsError) or error.errno in _FULL:
                raise AlreadyExistsError(f"something is at {target!r}") from None
            raise


class _Ends:
    """The folders that a name goes from and to, open; flushed, and the first tidied, at the end."""

    def __init__(self, root: Root, flush: Flush, source: str, target: str) -> None:
        *self._from_folders, self._from_name = parts_of(source)
        *self._to_folders, self._to_name = parts_of(target)
        self._root = root
        self._flush = flush
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._from = self._root.open(self._from_folders)
            opened.callback(os.close, self._from)
            self._to = self._root.make(self._to_folders, durable=self._flush.at_once)
            opened.callback(os.close, self._to)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._open:
            if kind is None:
                self._settle()
        # What is empty now: the old folder or, after a failure, one that was made.
        folders = self._from_folders if kind is None else self._to_folders
        left = self._root.prune(folders) if folders else None
        if left is not None:
            os.close(left)

    def rename(self, *, if_absent: bool) -> os.stat_result:
        """Rename a file, under the locks that conditional writers respect.

        Create-only takes two steps, between which nobody else may move the source.
        """
        with self._locked(alone=if_absent):
            old = os.stat(self._from_name, dir_fd=self._from, follow_symlinks=False)
            if not stat.S_ISREG(old.st_mode):
                raise faults.no_object(old.st_mode)
            there = self._there()
            if if_absent:
                link_new(self._from, self._from_name, self._to, self._to_name)
            if if_absent or (there is not None and os.path.samestat(there, old)):
                # Of two names of one file, renaming one to the other would leave both.
                os.unlink(self._from_name, dir_fd=self._from)
            else:
                self.rename_once()
            return os.stat(self._to_name, dir_fd=self._to, follow_symlinks=False)

    @contextmanager
    def _locked(self, *, alone: bool) -> Iterator[None]:
        """Lock both folders, in one order, so that no two movers wait for each other."""
        one, other = os.fstat(self._from), os.fstat(self._to)
        wanted = {(one.st_dev, one.st_ino): (self._from, alone)}
        wanted.setdefault((other.st_dev, other.st_ino), (self._to, False))
        with ExitStack() as held:
            for _, (folder, exclusive) in sorted(wanted.items()):
                held.enter_context(locked(folder, exclusive=exclusive))
            yield

    def _there(self) -> os.stat_result | None:
        """Return what is at the target, once it is known to be replaceable."""
        try:
            there = os.stat(self._to_name, dir_fd=self._to, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(there.st_mode):
            clear_way(self._to, self._to_name)
            return None
        if not stat.S_ISREG(there.st_mode):
            raise faults.odd(there.st_mode)
        return there

    def rename_once(self) -> None:
        """Rename whatever has the first name."""
        try:
            os.rename(self._from_name, self._to_name, src_dir_fd=self._from, dst_dir_fd=self._to)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise NotSupportedError("the two are on different file systems") from None
            raise

    def _settle(self) -> None:
        try:
            self._flush.folder(self._to)
            self._flush.folder(self._from)
        except OSError as error:
            raise faults.translated(error, "unknown") from None
