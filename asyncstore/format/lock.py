"""`dataset_lock.lock`: who writes to a version of a dataset, and until when.

Eighteen bytes, little-endian: the machine's 6-byte node number, the end as float64 epoch
seconds, and a tag of 4 bytes, the process id. A lock without a renewal is nobody's once its end
has passed.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncstore.errors import DatasetCorruptError

if TYPE_CHECKING:
    from asyncstore.types import Buffer

VALIDITY = 300.0
"""Seconds from a lock's last renewal to its end."""

LOCK_BYTES = 1024
"""More than any lock has; a longer file is something else."""

_SHORTEST = 14


@dataclass(frozen=True, slots=True)
class LockRecord:
    """A lock file's content.

    Attributes:
        node: the holder's machine, a 48-bit number.
        expires: when it ends, in epoch seconds.
        tag: the holder's process id as 4 bytes; other writers may use more or fewer.
    """

    node: int
    expires: float
    tag: bytes

    @classmethod
    def parse(cls, data: Buffer, /) -> LockRecord | None:
        """Read the file's bytes; an empty file is no lock, as Deep Lake has it.

        Raises:
            DatasetCorruptError: it is no lock.
        """
        if not len(data):
            return None
        if not _SHORTEST <= len(data) <= LOCK_BYTES:
            raise DatasetCorruptError(f"a lock of {len(data)} bytes is none")
        (expires,) = struct.unpack_from("<d", data, 6)
        if not math.isfinite(expires):
            raise DatasetCorruptError("a lock without an end is none")
        return cls(int.from_bytes(data[:6], "little"), expires, bytes(data[_SHORTEST:]))

    def dump(self) -> bytes:
        """Write the file's bytes."""
        return self.node.to_bytes(6, "little") + struct.pack("<d", self.expires) + self.tag

    @property
    def process(self) -> int:
        """The holder's process id."""
        return int.from_bytes(self.tag[:4], "little")
