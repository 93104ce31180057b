"""The checksum of an object that came in parts, in whatever order they came."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from asyncstore.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.types import ObjectMeta

    Step = Callable[[memoryview, int], int]


class Verifying:
    """Compares a buffer that fills part by part with what the service says of the whole.

    The sum runs over the parts at the beginning that are there without a gap, so that most of
    the work is done while the network is busy with the rest.

    Args:
        meta: has the checksums of the whole object, if the service told any.
        whole: where the parts go.
    """

    def __init__(self, meta: ObjectMeta, whole: memoryview) -> None:
        self._whole = whole
        self._there: dict[int, int] = {}  # parts that wait for one before them: start to stop
        self._reach = 0
        self._sum = 0
        self._wanted = ""
        self._width = 0
        self._step: Step | None = None
        for name, width in (("crc64nvme", 8), ("crc32c", 4)):
            step = _step(name) if name in meta.checksums else None
            if step is not None:
                self._wanted, self._width, self._step = meta.checksums[name], width, step
                break

    def came(self, start: int, stop: int, /) -> None:
        """Say that the bytes `[start, stop)` of the buffer are there."""
        self._there[start] = stop
        while (end := self._there.pop(self._reach, None)) is not None:
            if self._step is not None:
                self._sum = self._step(self._whole[self._reach : end], self._sum)
            self._reach = end

    def finish(self) -> None:
        """Say that all is there.

        Raises:
            IntegrityError: it is not, or not what the service says it holds.
        """
        if self._reach != len(self._whole):
            raise IntegrityError(f"{self._reach} bytes came of {len(self._whole)}")
        if self._step is None:
            return
        if b64encode(self._sum.to_bytes(self._width, "big")).decode() != self._wanted:
            raise IntegrityError("the bytes that came do not have the object's checksum")


def _step(name: str) -> Step | None:
    """Return what adds bytes to a sum, if a package for it is installed."""
    try:
        from awscrt import checksums  # noqa: PLC0415 - an extra's
    except ImportError:
        return _google if name == "crc32c" else None
    step: Step = getattr(checksums, name)
    return step


def _google(data: memoryview, value: int) -> int:
    import google_crc32c  # noqa: PLC0415 - an extra's

    extended: int = google_crc32c.extend(value, bytes(data))
    return extended
