"""A local folder as a list of keys, with everything that cannot be one named.

Nothing is silently lost: what is not a regular file, what has a name that no store takes, and
what cannot be read is listed beside the files.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncstore.errors import InvalidPathError, StoreError
from asyncstore.url import check_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file below the folder; `key` is its path from there, `size` in bytes."""

    key: str
    size: int


@dataclass(slots=True)
class Tree:
    """What a folder holds.

    Attributes:
        files: regular files whose names are keys, by key.
        skipped: what has no bytes to copy: pairs of the path and what it is.
        refused: files and folders that should have been copied and cannot be, one error each.
        empty: folders with nothing in them, which no object store holds.
    """

    files: list[LocalFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    refused: list[StoreError] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The files' bytes, together."""
        return sum(file.size for file in self.files)


def scan(folder: str, *, files: bool = True) -> Tree:
    """List everything below `folder`, which may itself be reached through links.

    Args:
        folder: its path.
        files: list the files that can be copied too, of which there may be many.

    Raises:
        OSError: the folder itself cannot be read.
    """
    tree = Tree()
    with os.scandir(folder) as entries:
        _scan(tree, list(entries), "", files=files)
    tree.files.sort(key=lambda file: file.key)
    return tree


def _scan(tree: Tree, entries: list[os.DirEntry[str]], prefix: str, *, files: bool) -> None:
    waiting = [(prefix, entries)]
    while waiting:
        prefix, entries = waiting.pop()
        for entry in entries:
            key = prefix + entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as below:
                        inside = list(below)
                    if inside:
                        waiting.append((f"{key}/", inside))
                    else:
                        tree.empty.append(entry.path)
                elif files or not entry.is_file(follow_symlinks=False):
                    _add(tree, entry, key)
            except InvalidPathError as error:
                tree.refused.append(error.at("read", entry.path))
            except OSError as error:
                why = error.strerror or type(error).__name__
                tree.refused.append(StoreError(why, op="read", url=entry.path))


def _add(tree: Tree, entry: os.DirEntry[str], key: str) -> None:
    about = entry.stat(follow_symlinks=False)
    if stat.S_ISREG(about.st_mode):
        tree.files.append(LocalFile(check_key(key), about.st_size))
    else:
        tree.skipped.append((entry.path, _kind(about.st_mode)))


def _kind(mode: int) -> str:
    for test, name in _KINDS:
        if test(mode):
            return name
    return "file"


_KINDS = (
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "character device"),
    (stat.S_ISBLK, "block device"),
)


def kinds(skipped: list[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """Count what was skipped by kind, most frequent first."""
    found: dict[str, int] = {}
    for _, kind in skipped:
        found[kind] = found.get(kind, 0) + 1
    return iter(sorted(found.items(), key=lambda pair: -pair[1]))


def prune(folder: str) -> list[StoreError] | None:
    """Remove a folder and the folders in it, as far as they are empty.

    Returns:
        An error for each thing that is left, or `None` where there was no folder.
    """
    if os.path.islink(folder) or not os.path.isdir(folder):
        return None
    left: list[StoreError] = []
    for where, folders, names in os.walk(folder, topdown=False):
        for name in [*names, *folders]:
            path = os.path.join(where, name)
            with suppress(FileNotFoundError):
                mode = os.lstat(path).st_mode
                if not stat.S_ISDIR(mode):
                    left.append(StoreError(f"left alone: a {_kind(mode)}", op="delete", url=path))
        with suppress(OSError):  # not empty: what is in it was named
            os.rmdir(where)
    return left
