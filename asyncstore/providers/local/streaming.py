"""A file's bytes as they are read, one chunk ahead of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from asyncstore.providers.local.reading import meta_of
from asyncstore.providers.local.threads import run, start
from asyncstore.types import MiB

if TYPE_CHECKING:
    from asyncstore.providers.local.reading import Source
    from asyncstore.providers.local.threads import Job
    from asyncstore.types import Span

_FIRST = MiB // 4
_MOST = 4 * MiB


class FileStream:
    """See `Stream`. Chunks grow to 4 MiB, so that a short look costs little."""

    def __init__(self, key: str, url: str, source: Source, span: Span) -> None:
        self.meta = meta_of(key, source.state)
        self.start, self._stop = span.resolve(source.size)
        self._url = url
        self._source = source
        self._at = self.start
        self._size = _FIRST
        self._ahead: Job | None = None

    def __aiter__(self) -> FileStream:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next chunk; each is checked against a change of the file."""
        ahead = self._ahead or self._begin()
        if ahead is None:
            await anyio.lowlevel.checkpoint()
            raise StopAsyncIteration
        self._ahead = None
        data: bytes = await ahead.wait()
        self._ahead = self._begin()
        return memoryview(data)

    async def aclose(self) -> None:
        """Wait for what is being read ahead, and close the file."""
        ahead, self._ahead = self._ahead, None
        try:
            if ahead is not None:
                await ahead.outlast()
        finally:
            await run(self._source.close, sure=True)

    def _begin(self) -> Job | None:
        at, size = self._at, min(self._size, self._stop - self._at)
        if size <= 0:
            return None
        self._at += size
        self._size = min(self._size * 2, _MOST)
        return start(lambda: self._read(at, size))

    def _read(self, at: int, size: int) -> bytes:
        data = self._source.read(at, size)
        self._source.check_unchanged()
        return data
