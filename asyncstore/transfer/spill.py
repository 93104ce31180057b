"""What is put aside: in memory while it is little, else in a file without a name.

It is made of JSON's values; a tuple comes back as a list. The file is this process's own and is
gone with it. All calls block.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

from asyncstore.columns import Columns
from asyncstore.transfer.plan import ascend, order
from asyncstore.types import ObjectMeta

_IN_MEMORY = 4 << 20
_CHUNK = 1000
_RUN = 20_000
"""Rows that are sorted in memory."""

Row = Sequence[Any]
Rows = list[Row]


class Spill:
    """Chunks, such as of rows, to be read as often as one likes when all are there."""

    def __init__(self) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - see `close`
        self._chunks: list[tuple[int, int]] = []
        self._end = 0

    def add(self, chunk: Sequence[Any], /) -> None:
        """Put a chunk aside, unless it is empty."""
        if chunk:
            data = json.dumps(chunk).encode()
            self._file.seek(self._end)
            self._file.write(data)
            self._chunks.append((self._end, len(data)))
            self._end += len(data)

    def __len__(self) -> int:
        """Return how many chunks there are."""
        return len(self._chunks)

    def chunk(self, number: int, /) -> list[Any]:
        """Return a chunk."""
        start, size = self._chunks[number]
        self._file.seek(start)
        found: list[Any] = json.loads(self._file.read(size))
        return found

    def chunks(self) -> Iterator[list[Any]]:
        """Return every chunk."""
        return map(self.chunk, range(len(self)))

    def close(self) -> None:
        """Forget all of it."""
        self._file.close()


class Sorter:
    """Objects that come in no order, to be read by the order of their keys' bytes.

    As long as pages come in order, as those of most services do, they are put aside as they are.
    What comes behind the first that does not is sorted in runs, which are merged with the rest.
    Of a key that came twice, the last one counts.
    """

    def __init__(self) -> None:
        self._ordered = Spill()
        self._last: Sequence[str] = ()
        self._run: Rows = []
        self._runs: list[Spill] = []
        self._read = 0
        self._merged: Iterator[Row] | None = None

    def add(self, objects: Columns, /) -> None:
        """Take some objects."""
        if not (self._run or self._runs) and ascend([*self._last, *objects.keys]):
            self._ordered.add(packed(objects))
            self._last = objects.keys[-1:] or self._last
            return
        self._run += map(row_of, objects)
        if len(self._run) >= _RUN:
            self._put_aside()

    def some(self) -> Columns:
        """Return the next objects, none at the end; after the first call nothing may be added."""
        if self._run:
            self._put_aside()
        if self._runs:
            return self._some_merged()
        if self._read == len(self._ordered):
            return Columns([], [], [])
        self._read += 1
        return unpacked(self._ordered.chunk(self._read - 1))

    def close(self) -> None:
        """Forget all of it."""
        for run in (self._ordered, *self._runs):
            run.close()

    def _put_aside(self) -> None:
        run, self._run = self._run, []
        run.reverse()  # of equals the last one comes first, as sorting keeps them in this order
        run.sort(key=_by_key)
        spill = Spill()
        self._runs.append(spill)
        for at in range(0, len(run), _CHUNK):
            spill.add(run[at : at + _CHUNK])

    def _some_merged(self) -> Columns:
        if self._merged is None:
            ordered = (map(row_of, unpacked(chunk)) for chunk in self._ordered.chunks())
            runs = [chain.from_iterable(run.chunks()) for run in reversed(self._runs)]
            # Of equals the last run's comes first, as merging keeps them in this order.
            merged = heapq.merge(*runs, chain.from_iterable(ordered), key=_by_key)
            self._merged = (next(same) for _, same in groupby(merged, key=itemgetter(0)))
        return Columns.of([meta_of(row) for row in islice(self._merged, _CHUNK)])


def packed(objects: Columns) -> list[Any]:
    """Return objects as a chunk: columns, if these are all that there is to tell, else rows."""
    if objects.is_all:
        return [_COLUMNS, objects.keys, objects.sizes, objects.etags]
    return [_ROWS, *map(row_of, objects)]


def unpacked(chunk: list[Any]) -> Columns:
    """Return the objects of a chunk that is `packed`."""
    kind, *told = chunk
    return Columns(*told) if kind == _COLUMNS else Columns.of([meta_of(row) for row in told])


_COLUMNS, _ROWS = "columns", "rows"


def _by_key(row: Row) -> bytes:
    return order(row[0])


def row_of(meta: ObjectMeta) -> Row:
    """Return what a transfer needs to know of an object, as a row."""
    return meta.key, meta.size, meta.etag, meta.version, dict(meta.checksums) or None


def meta_of(row: Row) -> ObjectMeta:
    """Return the object of a row."""
    key, size, etag, version, checksums = row
    return ObjectMeta(key, size, etag=etag, version=version, checksums=checksums or {})
