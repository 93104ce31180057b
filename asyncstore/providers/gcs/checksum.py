"""CRC-32C and MD5 as Google Cloud Storage writes them, over any buffer, in steps."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any

import google_crc32c

from asyncstore.errors import IntegrityError

if TYPE_CHECKING:
    from asyncstore.types import Buffer, ObjectMeta

_STEP = 1 << 20
_BREATH = 8  # steps between two chances for the event loop: about 4 ms


class Crc32c:
    """A running CRC-32C."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def update(self, data: Buffer) -> None:
        """Add bytes. Anything but `bytes` is copied in small steps, since the package asks so."""
        if isinstance(data, bytes):
            self.value = google_crc32c.extend(self.value, data)
            return
        view = memoryview(data)
        for at in range(0, len(view), _STEP):
            self.value = google_crc32c.extend(self.value, bytes(view[at : at + _STEP]))

    async def followed_by(self, data: Buffer) -> Crc32c:
        """Return the checksum with many bytes added, letting others run in between."""
        longer = Crc32c(self.value)
        await _add(longer, data)
        return longer

    @property
    def text(self) -> str:
        """Base64 of the big-endian value."""
        return base64.b64encode(self.value.to_bytes(4, "big")).decode()


class _Md5:
    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = hashlib.md5(usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        self._hash.update(data)

    @property
    def text(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()


async def crc32c_of(data: Buffer, /) -> str:
    """Return the CRC-32C of a large buffer, letting others run in between."""
    return (await Crc32c().followed_by(data)).text


class Check:
    """Compares bytes with what the service says of the whole object.

    Args:
        meta: has the checksums; CRC-32C is preferred to the slower MD5.
    """

    __slots__ = ("_name", "_running", "_wanted")

    def __init__(self, meta: ObjectMeta) -> None:
        sums = meta.checksums
        self._name = "crc32c" if "crc32c" in sums else "md5"
        self._wanted = sums.get(self._name)
        self._running: Any = Crc32c() if self._name == "crc32c" else _Md5()

    def update(self, data: Buffer) -> None:
        """Add bytes."""
        if self._wanted is not None:
            self._running.update(data)

    async def add(self, data: Buffer, /) -> None:
        """Add many bytes."""
        if self._wanted is not None:
            await _add(self._running, data)

    def verify(self) -> None:
        """Say whether all the bytes were right.

        Raises:
            IntegrityError: they were not.
        """
        if self._wanted is not None and self._running.text != self._wanted:
            raise IntegrityError(
                f"the bytes do not match the service's {self._name}: they were altered on the way"
            )


async def _add(running: Any, data: Buffer) -> None:
    if len(data) <= _STEP * _BREATH:
        running.update(data)
        return
    view = memoryview(data)
    for at in range(0, len(view), _STEP * _BREATH):
        running.update(view[at : at + _STEP * _BREATH])
        await asyncio.sleep(0)
