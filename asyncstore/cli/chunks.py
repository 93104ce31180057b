"""The demo's data: chunks as a Deep Lake v3 tensor has them, made from a seed.

Each chunk holds samples in the format's own layout: a header with the samples' shapes and byte
positions, then their bytes. Sizes are mixed as in a dataset of images with labels: many small
chunks, some of hundreds of kilobytes, a few of megabytes. The same seed makes the same bytes.
"""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = b"3.9.52"
_CHANNELS = 3

# Share of the chunks, tensor, smallest and largest side of a square sample, samples in a chunk.
_KINDS = (
    (0.55, "labels", 1, 1, 100, 2_000),
    (0.30, "thumbnails", 16, 48, 2, 6),
    (0.14, "images", 64, 200, 1, 4),
    (0.01, "scans", 500, 1_000, 1, 2),
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk to be made: where it goes and what it is made from."""

    key: str
    seed: str
    side: int
    samples: int

    @property
    def size(self) -> int:
        """Its bytes, header included."""
        return _header_size() + self.samples * self._sample

    @property
    def _sample(self) -> int:
        return self.side * self.side * _CHANNELS

    def make(self) -> bytes:
        """Return its bytes, the same for the same seed."""
        noise = random.Random(self.seed).randbytes(self.samples * self._sample)  # noqa: S311
        return _header(self.samples, (self.side, self.side, _CHANNELS), self._sample) + noise


def plan(count: int, *, seed: int = 0) -> list[Chunk]:
    """Choose `count` chunks' names and sizes, by key."""
    chance = random.Random(f"asyncstore demo {seed}")  # noqa: S311 - data, not secrets
    chunks = []
    for number in range(count):
        _, tensor, low, high, fewest, most = chance.choices(_KINDS, [kind[0] for kind in _KINDS])[0]
        name = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).hexdigest()
        key = f"{tensor}/chunks/{name.lstrip('0') or '0'}"
        chunks.append(
            Chunk(key, f"{seed}/{key}", chance.randint(low, high), chance.randint(fewest, most))
        )
    return sorted(chunks, key=lambda chunk: chunk.key)


def _header(samples: int, shape: tuple[int, ...], each: int) -> bytes:
    """Write a chunk's header, of samples of one shape; little-endian throughout."""
    last = samples - 1
    return b"".join(
        (
            struct.pack("<B", len(_VERSION)),
            _VERSION,
            struct.pack("<ii", 1, len(shape) + 1),
            struct.pack(f"<{len(shape) + 1}I", *shape, last),
            struct.pack("<i", 1),
            struct.pack("<3I", each, 0, last),
        )
    )


def _header_size() -> int:
    return len(_header(1, (1, 1, _CHANNELS), 1))


def total(chunks: Iterator[Chunk] | list[Chunk]) -> int:
    """Return the chunks' bytes, together."""
    return sum(chunk.size for chunk in chunks)
