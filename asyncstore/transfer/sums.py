"""Checksums of objects that pass in parts: each part's, and from those the whole's.

A CRC of two pieces follows from the CRC of each and the length of the second, so that parts may
come in any order and in different runs, and the whole is still held against what the source says
of it.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple

from asyncstore.sums import NAMES, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping

    from asyncstore.sums import Running
    from asyncstore.types import Buffer, ObjectMeta

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_PIECE = 1 << 20


class Kind(NamedTuple):
    """A checksum that can be joined.

    Attributes:
        name: as in `ObjectMeta.checksums`; `""` for one that no service tells.
        step: the sum of a part.
        join: of a first and a second part's sums, and the second's size.
        width: bytes.
    """

    name: str
    step: Callable[[Buffer], int]
    join: Callable[[int, int, int], int] | None
    width: int

    def whole(self, parts: list[tuple[int, int]]) -> str | None:
        """Return the sum of joined parts, given each one's sum and size, as base64 text."""
        if self.join is None or not parts:
            return None
        value = parts[0][0]
        for part, size in parts[1:]:
            value = self.join(value, part, size)
        return b64encode(value.to_bytes(self.width, "big")).decode()


PLAIN = Kind("", zlib.crc32, None, 4)


def kind_for(checksums: Mapping[str, str], /) -> Kind:
    """Return how parts are summed so that the whole can be compared with what a service tells."""
    for name, width in (("crc64nvme", 8), ("crc32c", 4), ("crc32", 4)):
        if name in checksums:
            try:
                from awscrt import checksums as crt  # noqa: PLC0415 - an extra's
            except ImportError:
                return PLAIN
            return Kind(name, getattr(crt, name), getattr(crt, f"combine_{name}"), width)
    return PLAIN


def named(name: str, /) -> Kind:
    """Return the kind of a name that `kind_for` gave."""
    return kind_for({name: ""}) if name else PLAIN


def md5_of(meta: ObjectMeta, /) -> str | None:
    """Return the MD5 that an ETag may be, in hexadecimal.

    Where it is another thing it agrees with nothing, and the objects are compared in full.
    """
    found = _MD5.fullmatch(meta.etag or "")
    return found[1] if found else None


def hashers(wanted: Mapping[str, str], /) -> tuple[str, Running] | None:
    """Return the name of a wanted checksum and what computes it; `None` where nothing can."""
    for name in NAMES:
        made = running(name) if name in wanted else None
        if made is not None:
            return name, made
    return None


async def digest(stream: AsyncIterable[memoryview], made: Running, /) -> bytes:
    """Return the digest of all that a stream gives."""
    async for view in stream:
        for at in range(0, len(view), _PIECE):
            made.update(view[at : at + _PIECE])
    return made.digest()
