"""Checksums of what comes in: those that S3 knows, each compared where it was told.

Of every object the MD5 is kept, as its ETag, and one checksum more: the one that the client
chose, or CRC-64/NVME, as S3 does.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Any, Protocol

from awscrt import checksums as crt

from asyncstore.hub.storage.faults import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asyncstore.types import Buffer

DEFAULT = "crc64nvme"
HEADER = "x-amz-checksum-"


class Hasher(Protocol):
    """What adds up bytes."""

    def update(self, data: Buffer, /) -> object:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """Return the sum of all of them."""


class _Crc:
    def __init__(self, step: Callable[[Any, int], int], width: int) -> None:
        self._step, self._width, self._value = step, width, 0

    def update(self, data: Buffer) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


KINDS: Mapping[str, Callable[[], Hasher]] = {
    "crc32": lambda: _Crc(crt.crc32, 4),
    "crc32c": lambda: _Crc(crt.crc32c, 4),
    "crc64nvme": lambda: _Crc(crt.crc64nvme, 8),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
_JOIN = {
    "crc32": (crt.combine_crc32, 4),
    "crc32c": (crt.combine_crc32c, 4),
    "crc64nvme": (crt.combine_crc64nvme, 8),
}


def kind_of(name: str) -> str:
    """Return the checksum of a name as headers and documents write it.

    Raises:
        Refused: there is none.
    """
    kind = name.lower()
    if kind not in KINDS:
        raise Refused("InvalidRequest", f"The checksum algorithm {name[:40]!r} is not known")
    return kind


def joinable(kind: str) -> bool:
    """Whether the sum of a whole follows from those of its parts."""
    return kind in _JOIN


def join(kind: str, parts: Iterable[tuple[str, int]]) -> str:
    """Return the checksum of joined parts: of each, its checksum as base64, and its size."""
    step, width = _JOIN[kind]
    whole = 0
    for text, size in parts:
        whole = step(whole, int.from_bytes(b64decode(text), "big"), size)
    return b64encode(whole.to_bytes(width, "big")).decode()


def compose(kind: str, parts: list[str]) -> str:
    """Return the composite checksum of parts: of their checksums, with `-N` behind it."""
    made = KINDS[kind]()
    made.update(b"".join(map(b64decode, parts)))
    return f"{b64encode(made.digest()).decode()}-{len(parts)}"


def decoded(kind: str, text: str) -> bytes:
    """Read a checksum from base64.

    Raises:
        Refused: it is none of the kind.
    """
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        value = b""
    wanted = hashlib.md5(usedforsecurity=False) if kind == "md5" else KINDS[kind]()
    if len(value) != len(wanted.digest()):
        code = "InvalidDigest" if kind == "md5" else "InvalidRequest"
        raise Refused(code, f"The {kind} that you specified was invalid")
    return value


class Sums:
    """Adds up one body, and compares.

    Args:
        kind: the checksum to keep besides the MD5.
        told: what the client says, by kind, `md5` among them.
        payload: the SHA-256 in hexadecimal that was signed; `""` for none.
    """

    def __init__(self, kind: str, told: Mapping[str, bytes], payload: str = "") -> None:
        self.kind = kind
        self.told = dict(told)
        self._payload = payload
        self._hashers: dict[str, Any] = {"md5": hashlib.md5(usedforsecurity=False)}
        for name in {kind, *self.told} - {"md5"}:
            self._hashers[name] = KINDS[name]()
        if payload and "sha256" not in self._hashers:
            self._hashers["sha256"] = hashlib.sha256()

    def expect(self, kind: str) -> None:
        """Add up for a checksum that will be told at the end of the body."""
        if kind not in self._hashers:
            self._hashers[kind] = KINDS[kind]()

    def update(self, data: Buffer) -> None:
        """Take the next bytes."""
        for hasher in self._hashers.values():
            hasher.update(data)

    def finish(self) -> None:
        """Say that these were all.

        Raises:
            Refused: they are not what was signed, or what a checksum says.
        """
        if self._payload and not hmac.compare_digest(
            self._hashers["sha256"].hexdigest(), self._payload
        ):
            raise Refused(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        for name, value in self.told.items():
            if self._hashers[name].digest() != value:
                raise Refused("BadDigest", f"The {name} you specified did not match what we got.")

    @property
    def md5(self) -> str:
        """The MD5, in hexadecimal."""
        return str(self._hashers["md5"].hexdigest())

    @property
    def text(self) -> str:
        """The checksum that is kept, as base64."""
        return b64encode(self._hashers[self.kind].digest()).decode()
