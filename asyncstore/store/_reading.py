"""Reads: one version, into one buffer, large ones in parts at once.

Everything here takes a provider and keys that are whole in their bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asyncstore.errors import (
    IntegrityError,
    InvalidSpanError,
    ObjectChangedError,
    StoreError,
)
from asyncstore.plan import Fetch, coalesce, cut
from asyncstore.room import room
from asyncstore.store._together import each
from asyncstore.store._verify import Verifying, verifier
from asyncstore.types import Blob, MiB, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.provider import Provider
    from asyncstore.types import ObjectMeta

E = TypeVar("E", bound=StoreError)

LARGE = 16 * MiB
"""Reads of more than this are cut into parts, where parts may come at once."""

PART = 8 * MiB
WIDTH = 8
"""Parts of one read that are under way at once."""

CEILING = 16 * MiB
"""Neighbouring spans are not merged into fetches of more than this."""


async def read(
    provider: Provider,
    key: str,
    span: Span,
    *,
    into: memoryview | None = None,
    if_match: str | None = None,
    most: int | None = None,
) -> Blob:
    """Read an object or a span of it: in one request, or in parts if it has more than `most`."""
    blob = await provider.get(key, span=span, into=into, if_match=if_match, most=most)
    return blob if most is None or len(blob.data) else await refused(provider, span, into, blob)


async def refused(provider: Provider, span: Span, into: memoryview | None, blob: Blob) -> Blob:
    """Read in parts what is said to be too much for one request; what is empty stays so."""
    low, high = span.resolve(blob.meta.size)
    if low == high:
        return blob
    return await _Parts(provider, blob.meta, low, high, into).read()


class _Parts:
    """A large read: parts of one version, at once, into one buffer."""

    def __init__(
        self, provider: Provider, meta: ObjectMeta, low: int, high: int, into: memoryview | None, /
    ) -> None:
        self._provider = provider
        self._meta = meta
        self._low = low
        self._high = high
        if into is not None and len(into) < high - low:
            raise self._placed(
                InvalidSpanError(f"{high - low} bytes do not fit into a buffer of {len(into)}")
            )
        self._whole = room(high - low) if into is None else into[: high - low]
        self._verifying: Verifying | None = None

    async def read(self) -> Blob:
        if (self._low, self._high) == (0, self._meta.size):
            found = await verifier(self._provider, self._meta)
            self._verifying = Verifying(found, self._whole)
        parts = cut(self._low, self._high, part=PART)
        await each(parts, self._fetch, width=WIDTH)
        if self._verifying is not None:
            try:
                self._verifying.finish()
            except IntegrityError as error:
                raise self._placed(error) from None
        return Blob(self._whole, self._meta, start=self._low)

    async def _fetch(self, part: tuple[int, int]) -> None:
        start, stop = part
        view = self._whole[start - self._low : stop - self._low]
        key, version = self._meta.key, self._meta.etag
        blob = await self._provider.get(key, span=Span(start, stop), into=view, if_match=version)
        check_same(self._provider, key, self._meta, blob.meta)
        if len(blob.data) != stop - start:
            raise self._placed(
                IntegrityError(f"{len(blob.data)} bytes came for the span {start}:{stop}")
            )
        if self._verifying is not None:
            await self._verifying.came(start, stop)

    def _placed(self, error: E) -> E:
        return error.at("get", self._provider.locate(self._meta.key))


async def read_ranges(
    provider: Provider,
    key: str,
    spans: Sequence[Span],
    *,
    gap: int,
    if_match: str | None = None,
    most: int | None = None,
) -> list[Blob]:
    """Read several spans of one version of an object, neighbours merged; in the spans' order."""
    wanted = [pair for pair in map(closed, spans) if pair is not None]
    if len(wanted) < len(spans) or all(start == stop for start, stop in wanted):
        meta = await provider.head(key)
        if if_match is None:
            if_match = meta.etag
        elif if_match != meta.etag:
            raise ObjectChangedError("it is another version than asked for").at(
                "get_ranges", provider.locate(key)
            )
        wanted = [span.resolve(meta.size) for span in spans]
        if all(start == stop for start, stop in wanted):
            return [Blob(b"", meta, start=start) for start, _ in wanted]
    plan = coalesce(wanted, gap=gap, ceiling=CEILING)
    fetched = await _fetch(provider, key, plan, if_match, most)
    meta = fetched[0].meta
    found = [Blob(b"", meta, start=min(start, meta.size)) for start, _ in wanted]
    for fetch, blob in zip(plan, fetched, strict=True):
        view = memoryview(blob.data)
        for index in fetch.members:
            start, stop = wanted[index]
            found[index].data = view[start - fetch.start : stop - fetch.start]
    return found


async def _fetch(
    provider: Provider, key: str, plan: Sequence[Fetch], if_match: str | None, most: int | None
) -> list[Blob]:
    """Fetch a plan at once; where that met two versions, once more from the last one seen."""
    blobs: dict[int, Blob] = {}

    async def fetch(index: int) -> None:
        span = Span(plan[index].start, plan[index].stop)
        blobs[index] = await read(provider, key, span, if_match=if_match, most=most)

    if len(plan) == 1:
        await fetch(0)
        return [blobs[0]]
    await each(range(len(plan)), fetch, width=min(len(plan), WIDTH))
    versions = {_version(blob.meta) for blob in blobs.values()}
    if len(versions) > 1:
        if_match = max((blob.meta for blob in blobs.values()), key=_age).etag
        await each(range(len(plan)), fetch, width=min(len(plan), WIDTH))
        for blob in blobs.values():
            check_same(provider, key, blobs[0].meta, blob.meta)
    return [blobs[index] for index in range(len(plan))]


def check_same(provider: Provider, key: str, one: ObjectMeta, other: ObjectMeta) -> None:
    """Refuse to join bytes of two versions."""
    if _version(one) != _version(other):
        raise ObjectChangedError("it was replaced while it was being read").at(
            "get", provider.locate(key)
        )


def _version(meta: ObjectMeta) -> tuple[str | None, int]:
    return meta.etag, meta.size


def _age(meta: ObjectMeta) -> float:
    return meta.modified.timestamp() if meta.modified else 0.0


def closed(span: Span, /) -> tuple[int, int] | None:
    """Return both ends where they do not depend on the object's size."""
    start, stop = span.start or 0, span.stop
    if start < 0 or stop is None or stop < 0:
        return None
    return start, max(start, stop)
