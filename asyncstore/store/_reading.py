"""Reads: one version, into one buffer, large ones in parts at once.

Everything here takes a provider and keys that are whole in their bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.errors import IntegrityError, InvalidSpanError, ObjectChangedError
from asyncstore.plan import Fetch, coalesce, cut
from asyncstore.store._together import each
from asyncstore.types import Blob, MiB, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.provider import Provider
    from asyncstore.types import ObjectMeta

LARGE = 16 * MiB
"""Reads of more than this are cut into parts."""

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
) -> Blob:
    """Read an object or a span of it, in parts where it is known to be large."""
    ends = _closed(span)
    if ends is not None and ends[1] - ends[0] > LARGE and provider.limits.engine:
        return await _read_parts(provider, key, *ends, into=into, if_match=if_match)
    return await provider.get(key, span=span, into=into, if_match=if_match)


async def _read_parts(
    provider: Provider,
    key: str,
    start: int,
    stop: int,
    /,
    *,
    into: memoryview | None,
    if_match: str | None,
) -> Blob:
    if into is not None and len(into) < stop - start:
        raise InvalidSpanError(f"the buffer has {len(into)} bytes, and the span {stop - start}").at(
            "get", provider.locate(key)
        )
    first = await provider.get(key, span=Span(start, start + PART), if_match=if_match)
    end = min(stop, first.meta.size)
    size = max(0, end - start)
    whole = into if into is not None else memoryview(bytearray(size))
    whole[: len(first.data)] = first.data
    version = first.meta.etag

    async def fetch(part: tuple[int, int]) -> None:
        low, high = part
        view = whole[low - start : high - start]
        blob = await provider.get(key, span=Span(low, high), into=view, if_match=version)
        check_same(provider, key, first.meta, blob.meta)
        if len(blob.data) != high - low:
            raise IntegrityError(f"{len(blob.data)} bytes came for the span {low}:{high}").at(
                "get", provider.locate(key)
            )

    await each(cut(start + len(first.data), end, part=PART), fetch, width=WIDTH)
    return Blob(whole[:size], first.meta, start=start)


async def read_ranges(
    provider: Provider,
    key: str,
    spans: Sequence[Span],
    *,
    gap: int,
    if_match: str | None = None,
) -> list[Blob]:
    """Read several spans of one version of an object, neighbours merged; in the spans' order."""
    wanted = [pair for pair in map(_closed, spans) if pair is not None]
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
    fetched = await _fetch(provider, key, plan, if_match)
    meta = fetched[0].meta
    found = [Blob(b"", meta, start=min(start, meta.size)) for start, _ in wanted]
    for fetch, blob in zip(plan, fetched, strict=True):
        view = memoryview(blob.data)
        for index in fetch.members:
            start, stop = wanted[index]
            found[index].data = view[start - fetch.start : stop - fetch.start]
    return found


async def _fetch(
    provider: Provider, key: str, plan: Sequence[Fetch], if_match: str | None
) -> list[Blob]:
    """Fetch a plan at once; where that met two versions, once more from the last one seen."""
    blobs: dict[int, Blob] = {}

    async def fetch(index: int) -> None:
        span = Span(plan[index].start, plan[index].stop)
        blobs[index] = await read(provider, key, span, if_match=if_match)

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


def _closed(span: Span) -> tuple[int, int] | None:
    """Return both ends where they do not depend on the object's size."""
    start, stop = span.start or 0, span.stop
    if start < 0 or stop is None or stop < 0:
        return None
    return start, max(start, stop)
