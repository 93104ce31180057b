"""Memory for large reads, which costs a fraction of what a `bytearray` does.

A fresh `bytearray` is filled with zeros, page by page of 4 KiB, before anything is read into it:
half a millisecond per MiB, which is what a fast network needs for the reading itself. Anonymous
memory in huge pages takes a seventh of that, and memory that an earlier read is done with takes
nothing. So some of that is kept; the system is told that it may have it whenever it is short.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import weakref

_LARGE = 4 << 20
_STEP = 1 << 20  # sizes are rounded up to this, so that more reads fit what is there
_KEPT = 128 << 20


def room(size: int, /) -> memoryview:
    """Return a writable, flat view of `size` bytes of memory of its own, of any content."""
    if size < _LARGE:
        return memoryview(bytearray(size))
    if not hasattr(mmap, "MAP_PRIVATE"):
        return memoryview(mmap.mmap(-1, size))  # Windows
    return _spare.lend(size)


class Spare:
    """Mapped memory that nobody uses: lent, and taken back when the last view of it is gone.

    Whoever holds a view holds an object of ours through it, whose end is the sign. A call may
    come from any thread, and in the middle of another: each step is a single one of a list.

    Args:
        most: bytes that are kept for the next read.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: list[mmap.mmap] = []
        self._lent: dict[int, weakref.ref[Any]] = {}

    def lend(self, size: int) -> memoryview:
        """Return a view of `size` bytes, of any content."""
        import ctypes  # noqa: PLC0415 - not for those who read nothing large
        import weakref  # noqa: PLC0415

        length = -(-size // _STEP) * _STEP
        mapping = self._take(length) or _map(length)
        array = (ctypes.c_char * length).from_buffer(mapping)
        lent = weakref.ref(array, partial(self._back, mapping))
        self._lent[id(lent)] = lent
        return memoryview(array).cast("B")[:size]

    def _take(self, length: int) -> mmap.mmap | None:
        for mapping in self._free[::-1]:
            if len(mapping) == length:
                with suppress(ValueError):  # another thread took it
                    self._free.remove(mapping)
                    return mapping
        return None

    def _back(self, mapping: mmap.mmap, lent: weakref.ref[Any]) -> None:
        del self._lent[id(lent)]
        if self.kept + len(mapping) <= self._most:
            if hasattr(mmap, "MADV_FREE"):
                with suppress(OSError):
                    mapping.madvise(mmap.MADV_FREE)
            self._free.append(mapping)

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return sum(map(len, self._free[:]))


_spare = Spare(_KEPT)


def _map(length: int) -> mmap.mmap:
    made = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            made.madvise(mmap.MADV_HUGEPAGE)
    return made
