"""Rows that are put aside: in memory while they are few, else in a file without a name.

Rows are sequences of JSON's values; a tuple comes back as a list. The file is this process's own
and is gone with it. All calls block.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from asyncstore.transfer.plan import order
from asyncstore.types import ObjectMeta

_IN_MEMORY = 4 << 20
_CHUNK = 1000
_RUN = 20_000
"""Rows that are sorted in memory."""

Row = Sequence[Any]
Rows = list[Row]


class Spill:
    """Chunks of rows, to be read as often as one likes when all are there."""

    def __init__(self) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - see `close`
        self._chunks: list[tuple[int, int]] = []
        self._end = 0
        self.count = 0

    def add(self, rows: Sequence[Row], /) -> None:
        """Put some rows aside, as one chunk."""
        if rows:
            data = json.dumps(rows).encode()
            self._file.seek(self._end)
            self._file.write(data)
            self._chunks.append((self._end, len(data)))
            self._end += len(data)
            self.count += len(rows)

    def __len__(self) -> int:
        """Return how many chunks there are."""
        return len(self._chunks)

    def chunk(self, number: int, /) -> Rows:
        """Return a chunk."""
        start, size = self._chunks[number]
        self._file.seek(start)
        found: Rows = json.loads(self._file.read(size))
        return found

    def rows(self) -> Iterator[Row]:
        """Return every row."""
        return chain.from_iterable(self.chunk(number) for number in range(len(self)))

    def close(self) -> None:
        """Forget all of it."""
        self._file.close()


class Sorter:
    """Objects that come in no order, to be read by the order of their keys' bytes.

    Runs of rows are sorted in memory, put aside and merged. Of a key that came twice, the last
    one counts.
    """

    def __init__(self) -> None:
        self._run: Rows = []
        self._runs: list[Spill] = []
        self._end = b""
        self._apart = True  # each run begins behind the one before: most services are near that
        self._merged: Iterator[Row] | None = None
        self._last: str | None = None

    def add(self, metas: Sequence[ObjectMeta], /) -> None:
        """Take some objects."""
        self._run += [row_of(meta) for meta in metas]
        if len(self._run) >= _RUN:
            self._put_aside()

    def some(self) -> list[ObjectMeta]:
        """Return the next objects, `[]` at the end; after the first call nothing may be added."""
        if self._merged is None:
            self._put_aside()
            self._merged = self._in_order()
        found: list[ObjectMeta] = []
        for row in self._merged:
            if row[0] != self._last:
                found.append(meta_of(row))
                self._last = row[0]
            if len(found) == _CHUNK:
                break
        return found

    def close(self) -> None:
        """Forget all of it."""
        for run in self._runs:
            run.close()

    def _put_aside(self) -> None:
        run, self._run = self._run, []
        run.reverse()  # of equals the last one comes first, as sorting keeps them in this order
        run.sort(key=_by_key)
        if run:
            self._apart = self._apart and (not self._end or _by_key(run[0]) > self._end)
            self._end = _by_key(run[-1])
        spill = Spill()
        self._runs.append(spill)
        for at in range(0, len(run), _CHUNK):
            spill.add(run[at : at + _CHUNK])

    def _in_order(self) -> Iterator[Row]:
        if self._apart:
            return chain.from_iterable(run.rows() for run in self._runs)
        # Of equals the last run's comes first, as merging keeps them in this order.
        return heapq.merge(*[run.rows() for run in reversed(self._runs)], key=_by_key)


def _by_key(row: Row) -> bytes:
    return order(row[0])


def row_of(meta: ObjectMeta) -> Row:
    """Return what a transfer needs to know of an object, as a row."""
    return meta.key, meta.size, meta.etag, meta.version, dict(meta.checksums) or None


def meta_of(row: Row) -> ObjectMeta:
    """Return the object of a row."""
    key, size, etag, version, checksums = row
    return ObjectMeta(key, size, etag=etag, version=version, checksums=checksums or {})
