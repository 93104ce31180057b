"""Objects in this process's memory, shared by name.

Theory of operation: a `_Bucket` maps keys to immutable entries under one lock that is never held
across an await, so every call is atomic, from any thread and any event loop. Reads hand out
views of the stored `bytes` and copy nothing. The sorted list of keys that listings walk is
brought up to date by the listing, not by the writes.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from bisect import bisect_left
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from asyncstore.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidSpanError,
    NotFoundError,
    ObjectChangedError,
    PreconditionError,
)
from asyncstore.types import WHOLE, Blob, GiB, Limits, MiB, ObjectMeta, Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from asyncstore.errors import StoreError
    from asyncstore.types import Buffer, Settings, Span
    from asyncstore.url import StoreURL

_CHUNK = MiB
_FEW = 64
_SERIAL = itertools.count(1)


def connect(url: StoreURL, settings: Settings, /) -> MemoryProvider:
    """Return the provider of `mem://name`; every provider of one name shares its objects."""
    del settings  # nothing about memory can be set
    return MemoryProvider(url.bucket)


class MemoryProvider:
    """Objects in memory.

    Args:
        name: objects are shared with every provider of this name in the process, and live as
            long as the process; `None` makes a store of one's own, which goes with the provider.
    """

    limits = Limits(put=64 * GiB, part_min=1, part_max=64 * GiB, object_max=64 * GiB, delete=10_000)

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._bucket = _Bucket() if name is None else _shared(name)

    def locate(self, key: str, /) -> str:
        """Return `mem://name/key`; the name of a store of one's own is empty."""
        return f"mem://{self._name or ''}/{key}"

    async def head(self, key: str, /) -> ObjectMeta:
        """See `Provider.head`."""
        await checkpoint()
        return self._entry("head", key).meta(key)

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """See `Provider.get`; without `into`, the data is a view of the stored bytes."""
        await checkpoint()
        entry = self._entry("get", key, if_match)
        start, stop = span.resolve(len(entry.data))
        if most is not None and stop - start > most:
            stop = start
        data = memoryview(entry.data)[start:stop]
        if into is not None:
            if len(into) < len(data):
                raise InvalidSpanError(
                    f"{len(data)} bytes do not fit into a buffer of {len(into)}"
                ).at("get", self.locate(key))
            into = into[: len(data)]
            into[:] = data
            data = into
        return Blob(data, entry.meta(key), start=start)

    @asynccontextmanager
    async def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AsyncIterator[_Stream]:
        """See `Provider.open`; the whole is the version that was there when it was opened."""
        await checkpoint()
        entry = self._entry("open", key, if_match)
        start, stop = span.resolve(len(entry.data))
        yield _Stream(entry.meta(key), start, memoryview(entry.data)[start:stop])

    async def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """See `Provider.put`; the data is copied unless it is `bytes`."""
        await checkpoint()
        return self._store(
            "put",
            key,
            _Entry(bytes(data), content_type, metadata),
            if_match=if_match,
            if_absent=if_absent,
        )

    async def begin_upload(
        self,
        key: str,
        /,
        *,
        size: int | None = None,  # noqa: ARG002 - the contract's name
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> _Upload:
        """See `Provider.begin_upload`."""
        await checkpoint()
        finish = partial(self._store, "complete", key, if_match=if_match, if_absent=if_absent)
        return _Upload(self.locate(key), finish, content_type, metadata)

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """See `Provider.copy`; source and target share the bytes."""
        await checkpoint()
        old = self._entry("copy", source, if_match)
        return self._store(
            "copy",
            target,
            _Entry(old.data, old.content_type, old.metadata),
            if_match=None,
            if_absent=if_absent,
        )

    async def move(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectMeta:
        """See `Moves.move`."""
        await checkpoint()
        bucket = self._bucket
        with bucket.lock:
            entry = self._entry("move", source)
            if if_absent and target in bucket.entries:
                raise AlreadyExistsError("there is an object", op="move", url=self.locate(target))
            del bucket.entries[source]
            bucket.entries[target] = entry
            bucket.touched += [source, target]
        return entry.meta(target)

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """See `Provider.delete`; nothing can fail."""
        await checkpoint()
        self._bucket.remove(keys)
        return {}

    async def list_page(
        self,
        prefix: str,
        /,
        *,
        cursor: str | None = None,
        after: str | None = None,
        delimiter: bool = False,
        limit: int = 1000,
    ) -> Page:
        """See `Provider.list_page`; sorted, and each page is one moment's truth."""
        await checkpoint()
        first = max(prefix, cursor or "", "" if after is None else after + "\0")
        objects, prefixes, cursor = self._bucket.page(
            prefix, first, delimiter=delimiter, limit=limit
        )
        return Page([entry.meta(key) for key, entry in objects], prefixes, cursor)

    async def diagnose(self) -> Mapping[str, Any]:
        """See `Diagnoses.diagnose`."""
        await checkpoint()
        return {
            "endpoint": f"mem://{self._name or ''}",
            "source": "this process",
            "capabilities": {"conditional_put": True, "metadata": True, "move_prefix": False},
        }

    async def aclose(self) -> None:
        """Do nothing: objects of a shared name outlive the provider."""

    def _entry(self, op: str, key: str, if_match: str | None = None) -> _Entry:
        entry = self._bucket.entries.get(key)
        if entry is None:
            raise NotFoundError("no such object", op=op, url=self.locate(key))
        if if_match is not None and entry.etag != if_match:
            raise ObjectChangedError(
                f"its ETag is {entry.etag}, not {if_match}", op=op, url=self.locate(key)
            )
        return entry

    def _store(
        self, op: str, key: str, entry: _Entry, *, if_match: str | None, if_absent: bool
    ) -> ObjectMeta:
        bucket = self._bucket
        with bucket.lock:
            old = bucket.entries.get(key)
            if if_absent and old is not None:
                raise AlreadyExistsError("there is an object", op=op, url=self.locate(key))
            if if_match is not None and (old is None or old.etag != if_match):
                found = f"its ETag is {old.etag}" if old else "there is no object"
                raise PreconditionError(f"{found}, not {if_match}", op=op, url=self.locate(key))
            if old is None:
                bucket.touched.append(key)
            bucket.entries[key] = entry
        return entry.meta(key)


class _Entry:
    """One version of an object; never changed once made."""

    __slots__ = ("content_type", "data", "etag", "metadata", "modified")

    def __init__(
        self, data: bytes, content_type: str | None, metadata: Mapping[str, str] | None
    ) -> None:
        self.data = data
        self.content_type = content_type
        self.metadata = dict(metadata) if metadata else {}
        self.etag = f'"{next(_SERIAL):016x}"'
        self.modified = datetime.now(UTC)

    def meta(self, key: str) -> ObjectMeta:
        return ObjectMeta(
            key,
            len(self.data),
            etag=self.etag,
            modified=self.modified,
            content_type=self.content_type,
            metadata=dict(self.metadata),
        )


class _Bucket:
    """Entries by key, with a sorted list of the keys that is brought up to date when needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: dict[str, _Entry] = {}
        self.touched: list[str] = []
        """Keys that were added or removed since `_keys` was last up to date."""
        self._keys: list[str] = []
        _BUCKETS.add(self)

    def remove(self, keys: Iterable[str]) -> None:
        with self.lock:
            for key in keys:
                if key in self.entries:
                    self.touched.append(key)
                    del self.entries[key]

    def page(
        self, prefix: str, first: str, *, delimiter: bool, limit: int
    ) -> tuple[list[tuple[str, _Entry]], list[str], str | None]:
        """Return objects, prefixes and, where there is more, the first key of the next page."""
        objects: list[tuple[str, _Entry]] = []
        prefixes: list[str] = []
        with self.lock:
            keys = self._sorted()
            at = bisect_left(keys, first)
            while at < len(keys) and keys[at].startswith(prefix):
                key = keys[at]
                if len(objects) + len(prefixes) == limit:
                    return objects, prefixes, key
                slash = key.find("/", len(prefix)) if delimiter else -1
                if slash < 0:
                    objects.append((key, self.entries[key]))
                    at += 1
                else:
                    prefixes.append(key[: slash + 1])
                    # "0" is the character after "/": the first key behind the whole folder.
                    at = bisect_left(keys, key[:slash] + "0", at)
        return objects, prefixes, None

    def _sorted(self) -> list[str]:
        # Texts compare by code point, which is the order of their UTF-8 bytes.
        if len(self.touched) > _FEW:
            changed = set(self.touched)
            self._keys = [key for key in self._keys if key not in changed]
            self._keys += sorted(key for key in changed if key in self.entries)
            self._keys.sort()  # two runs, which merge in linear time
        else:
            for key in self.touched:
                self._settle(key)
        self.touched = []
        return self._keys

    def _settle(self, key: str) -> None:
        at = bisect_left(self._keys, key)
        listed = at < len(self._keys) and self._keys[at] == key
        if key in self.entries and not listed:
            self._keys.insert(at, key)
        elif key not in self.entries and listed:
            del self._keys[at]


class _Stream:
    """A version's bytes in views of up to 1 MiB."""

    def __init__(self, meta: ObjectMeta, start: int, data: memoryview) -> None:
        self.meta = meta
        self.start = start
        self._rest = data

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> memoryview:
        await checkpoint()
        if not self._rest:
            raise StopAsyncIteration
        view, self._rest = self._rest[:_CHUNK], self._rest[_CHUNK:]
        return view


class _Upload:
    """Parts by number, until they are joined."""

    def __init__(
        self,
        url: str,
        finish: Callable[[_Entry], ObjectMeta],
        content_type: str | None,
        metadata: Mapping[str, str] | None,
    ) -> None:
        self._url = url
        self._finish = finish
        self._content_type = content_type
        self._metadata = metadata
        self._parts: dict[int, bytes] | None = {}

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """See `Upload.put_part`."""
        await checkpoint()
        self._open("put_part")[number] = bytes(data)

    async def complete(self) -> ObjectMeta:
        """See `Upload.complete`."""
        await checkpoint()
        parts = self._open("complete")
        numbers = sorted(parts)
        if numbers != list(range(1, len(parts) + 1)):
            raise IntegrityError(f"parts are missing: there are only {numbers[:20]}").at(
                "complete", self._url
            )
        entry = _Entry(b"".join(parts[n] for n in numbers), self._content_type, self._metadata)
        meta = self._finish(entry)
        self._parts = None
        return meta

    async def abort(self) -> None:
        """See `Upload.abort`."""
        self._parts = None

    def _open(self, op: str) -> dict[int, bytes]:
        if self._parts is None:
            raise NotFoundError("the upload has ended", op=op, url=self._url)
        return self._parts


_BUCKETS: weakref.WeakSet[_Bucket] = weakref.WeakSet()
_NAMED: dict[str, _Bucket] = {}
_NAMING = threading.Lock()


def _shared(name: str) -> _Bucket:
    with _NAMING:
        if name not in _NAMED:
            _NAMED[name] = _Bucket()
        return _NAMED[name]


def _after_fork() -> None:
    # A thread of the parent may have held a lock; in the child nobody would release it.
    global _NAMING  # noqa: PLW0603
    _NAMING = threading.Lock()
    for bucket in _BUCKETS:
        bucket.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
