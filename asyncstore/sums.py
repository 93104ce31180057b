"""Checksums by their names in `ObjectMeta.checksums`, computed as the bytes come."""

from __future__ import annotations

import hashlib
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.types import Buffer

NAMES = ("crc64nvme", "crc32c", "crc32", "sha256", "sha1", "md5")
"""Those that can be computed, in the order in which they are wanted: the quick ones first."""

SLOW = frozenset({"sha256", "sha1", "md5"})
"""Those that take long enough for many bytes to leave the event loop for it."""

THREAD_FROM = 1 << 20
"""Bytes from which they do."""

_PIECE = 64 << 20


class Running(Protocol):
    """A checksum of the bytes so far."""

    def update(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the checksum, big-endian."""
        ...


def running(name: str, /) -> Running | None:
    """Return a checksum of no bytes yet, or `None` where no package here computes it."""
    if name in SLOW:
        made: Running = hashlib.new(name, usedforsecurity=False)
        return made
    step = _step(name)
    return None if step is None else _Crc(step, 8 if name == "crc64nvme" else 4)


class _Crc:
    def __init__(self, step: Callable[[Any, int], int], width: int) -> None:
        self._step = step
        self._width = width
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        # In pieces: the C function holds the interpreter for as long as it runs.
        view = memoryview(data)
        for at in range(0, len(view), _PIECE):
            self._value = self._step(view[at : at + _PIECE], self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


def _step(name: str) -> Callable[[Any, int], int] | None:
    """Return what adds bytes to a CRC, if a package for it is installed."""
    if name not in NAMES:
        return None
    try:
        from awscrt import checksums  # noqa: PLC0415 - an extra's
    except ImportError:
        return {"crc32": zlib.crc32, "crc32c": _google()}.get(name)
    step: Callable[[Any, int], int] = getattr(checksums, name)
    return step


def _google() -> Callable[[Any, int], int] | None:
    try:
        import google_crc32c  # noqa: PLC0415 - an extra's
    except ImportError:
        return None
    return partial(_extended, google_crc32c.extend)


def _extended(extend: Callable[[int, bytes], int], data: Buffer, value: int) -> int:
    return extend(value, bytes(data))  # it takes nothing but bytes
