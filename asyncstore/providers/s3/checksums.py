"""Checksums of objects: which there are, what they cover, and whether they agree.

S3 tells a checksum of the whole object, or of its parts' checksums ("composite", with `-N`
behind it), or, on a range, of a part. The first says something of bytes that we hold when we hold
all of them; the second when it is also known where the parts ended, see `composite`.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from hashlib import md5
from typing import TYPE_CHECKING, NamedTuple

from awscrt import checksums as crt

from asyncstore.errors import IntegrityError
from asyncstore.sums import NAMES, SLOW, THREAD_FROM, running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.sums import Running
    from asyncstore.types import Buffer

_HEADER = "x-amz-checksum-"
TYPE = "x-amz-checksum-type"
_MD5_HEX = 32
HEADERS = [(_HEADER + kind, kind) for kind in NAMES]
"""Where an answer tells a checksum, and of which kind, in the order of `NAMES`."""

_USUAL = _HEADER + "crc64nvme"
_QUICK = {"crc64nvme": (crt.crc64nvme, 8), "crc32c": (crt.crc32c, 4), "crc32": (crt.crc32, 4)}


def hasher(kind: str, /) -> Running:
    """Return a checksum of no bytes yet; this service's packages compute every kind."""
    made = running(kind)
    assert made is not None  # noqa: S101 - `kind` is one of `NAMES`
    return made


async def feed(made: Running, kind: str, data: Buffer, /) -> None:
    """Give bytes to a checksum, off the event loop where that takes long."""
    if kind in SLOW and len(data) >= THREAD_FROM:
        await asyncio.to_thread(made.update, data)
    else:
        made.update(data)


def told(
    headers: Mapping[str, str], /, where: Sequence[tuple[str, str]] = HEADERS
) -> dict[str, str]:
    """Return the checksums of the whole object that an answer's headers tell, by kind.

    Args:
        headers: of the answer.
        where: those of `HEADERS` that it may have.
    """
    get = headers.get
    if get(TYPE) == "COMPOSITE":
        return {}
    found = {}
    for name, kind in where:
        value = get(name)
        if value and "-" not in value:
            found[kind] = value
    return found


def agree(headers: Mapping[str, str], data: Buffer, /) -> bool:
    """Whether these are an object's bytes by what is told of it, where that is quick to know.

    Args:
        headers: of the answer.
        data: all of the object, perhaps.

    Returns:
        `False` where it is not so, where nothing is told, and where it takes longer to know.
    """
    if len(data) >= THREAD_FROM:
        return False
    usual = headers.get(_USUAL)
    if usual is not None and headers.get(TYPE) != "COMPOSITE":
        return quickly("crc64nvme", data) == usual
    for kind, value in told(headers).items():
        return quickly(kind, data) == value
    wanted = md5_of(headers)
    return wanted is not None and md5(data, usedforsecurity=False).hexdigest() == wanted


class Composite(NamedTuple):
    """A checksum of the checksums of an object's parts.

    Attributes:
        kind: which.
        value: its bytes.
        parts: how many parts there are.
    """

    kind: str
    value: bytes
    parts: int


def composite_of(headers: Mapping[str, str], /) -> Composite | None:
    """Return the checksum of the parts' checksums that an answer's headers tell, if they do."""
    for name, kind in HEADERS:
        value, dash, count = headers.get(name, "").partition("-")
        if dash and count.isdecimal():
            return Composite(kind, _decoded(kind, value), int(count))
    return None


def md5_of(headers: Mapping[str, str], /) -> str | None:
    """Return the MD5 that an ETag is, in hexadecimal, or `None` where it is another thing."""
    etag = headers.get("etag", "").strip('"')
    if len(etag) != _MD5_HEX or etag.strip("0123456789abcdef"):
        return None
    if headers.get("x-amz-server-side-encryption", "AES256") != "AES256":
        return None
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    return etag


class Check:
    """Compares bytes, as they come, with what an answer's headers say of the whole object.

    Args:
        headers: of the answer.
        known: what `told` read from them, where that was done already.

    Attributes:
        kind: which checksum is compared, or `None` where the service told none.
    """

    __slots__ = ("_made", "_wanted", "kind")

    def __init__(self, headers: Mapping[str, str], known: Mapping[str, str] | None = None) -> None:
        self.kind: str | None = None
        self._wanted = b""
        self._made: Running | None = None
        for kind, value in (told(headers) if known is None else known).items():
            self._set(kind, _decoded(kind, value))
            return
        wanted = md5_of(headers)
        if wanted is not None:
            self._set("md5", bytes.fromhex(wanted))

    def _set(self, kind: str, wanted: bytes) -> None:
        self.kind = kind
        self._wanted = wanted

    async def add(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        if self.kind is None:
            return
        if self._made is None:
            self._made = hasher(self.kind)
        await feed(self._made, self.kind, data)

    def verify(self) -> None:
        """Say that these were all.

        Raises:
            IntegrityError: they are not what the service says it holds.
        """
        if self.kind is None:
            return
        made = self._made or hasher(self.kind)
        if made.digest() != self._wanted:
            raise IntegrityError(f"the bytes that came do not have the object's {self.kind}")


def _decoded(kind: str, value: str) -> bytes:
    try:
        return a2b_base64(value, strict_mode=True)
    except (Base64Error, ValueError):
        raise IntegrityError(f"the service told a {kind} that is none") from None


def quickly(kind: str, data: Buffer, /) -> str | None:
    """Return a checksum as `compute` does; `None` where that takes longer."""
    quick = _QUICK.get(kind)
    if quick is None or len(data) >= THREAD_FROM:
        return None
    step, width = quick
    return b2a_base64(step(data, 0).to_bytes(width, "big"), newline=False).decode()


async def compute(kind: str, data: Buffer, /) -> str:
    """Return a checksum of bytes as base64 text, as headers carry it."""
    quick = quickly(kind, data)
    if quick is not None:
        return quick
    made = hasher(kind)
    await feed(made, kind, data)
    return b64encode(made.digest()).decode()


def join_crc64(parts: list[tuple[str, int]], /) -> str:
    """Return the CRC-64/NVME of joined parts.

    Args:
        parts: of each, the checksum as base64 text and the size in bytes.
    """
    whole = 0
    for text, size in parts:
        whole = crt.combine_crc64nvme(whole, int.from_bytes(b64decode(text)), size)
    return b64encode(whole.to_bytes(8)).decode()


def sum_up_crc64(parts: list[str], /) -> str:
    """Return the composite CRC-64/NVME of joined parts: of their checksums, and `-N` behind it.

    Args:
        parts: the checksum of each, as base64 text.
    """
    whole = crt.crc64nvme(b"".join(map(b64decode, parts)))
    return f"{b64encode(whole.to_bytes(8)).decode()}-{len(parts)}"
