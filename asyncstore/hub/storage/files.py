"""Where the bytes are: files of random names, which only the index gives a meaning.

A file is written once, under the name that it keeps, and flushed before a row of the index names
it. What no row names is nobody's: what a killed process left so is removed when the storage is
opened. A file that rows stop naming is removed once the last reader lets go of it, so that no
reader is ever torn.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncstore.types import Buffer

_MODE = 0o600


class NewFile:
    """A file that is being written; nobody's until a row names it.

    Attributes:
        name: what the row will say.
    """

    def __init__(self, folder: str) -> None:
        self.name = secrets.token_hex(16)
        self._folder = os.path.join(folder, self.name[:2])
        path = os.path.join(self._folder, self.name)
        if not os.path.isdir(self._folder):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            flush_folder(folder)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)

    def write(self, pieces: Iterable[Buffer]) -> None:
        """Write what follows."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._fd, view) :]

    def flush(self) -> None:
        """End it: when this returns, its bytes and its name outlive a power cut."""
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        flush_folder(self._folder)

    def close(self) -> None:
        """Stop writing; for one that is not wanted. Twice is as once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def flush_folder(path: str) -> None:
    """Make the names in a folder outlive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Files:
    """All files of a storage.

    Args:
        folder: theirs alone, and there.

    Attributes:
        lock: held while a reader finds an object and takes hold of its files, and while it is
            decided that nobody holds one: what a reader found is never removed before it reads.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self._remove: SimpleQueue[str | None] = SimpleQueue()
        self._remover: threading.Thread | None = None

    def prepare(self, known: Callable[[str], bool]) -> None:
        """Remove what no row names.

        Args:
            known: whether a row names a file.
        """
        for folder in os.listdir(self.folder):
            for name in os.listdir(os.path.join(self.folder, folder)):
                if not known(name):
                    os.unlink(self._path(name))
        self._remover = threading.Thread(target=self._work, name="hub-storage-remove", daemon=True)
        self._remover.start()

    def close(self) -> None:
        """Remove what was to be removed, and end."""
        remover, self._remover = self._remover, None
        if remover is not None:
            self._remove.put(None)
            remover.join()

    def create(self) -> NewFile:
        """Begin a file."""
        return NewFile(self.folder)

    def open(self, name: str) -> int:
        """Return a descriptor to read from, of a file that is held."""
        return os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)

    def hold(self, names: Iterable[str]) -> None:
        """Keep files from being removed; under `lock`, with the row that names them at hand."""
        self._held.update(names)

    def release(self, names: Iterable[str]) -> None:
        """Let go of files that were held."""
        with self.lock:
            for name in names:
                self._held[name] -= 1
                if not self._held[name]:
                    del self._held[name]
                    if name in self._doomed:
                        self._doomed.remove(name)
                        self._remove.put(name)

    def forget(self, names: Iterable[str]) -> None:
        """Remove files that no row names any more, as soon as nobody holds them."""
        with self.lock:
            for name in names:
                if name in self._held:
                    self._doomed.add(name)
                else:
                    self._remove.put(name)

    def discard(self, file: NewFile) -> None:
        """Give up a file that was begun; twice is as once."""
        file.close()
        self.forget([file.name])

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name[:2], name)

    def _work(self) -> None:
        while (name := self._remove.get()) is not None:
            # What cannot be removed now is removed at the next start, as what a killed one left.
            with suppress(OSError):
                os.unlink(self._path(name))
