"""The contract of reading: head, get, spans, buffers, versions, streams."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asyncstore.errors import InvalidSpanError, NotFoundError, ObjectChangedError
from asyncstore.testing.terms import Terms, at_once, pattern, read, succeeded
from asyncstore.types import MiB, Span

if TYPE_CHECKING:
    from asyncstore.provider import Provider

_ENDS = (None, *range(-7, 8))
_BIG = 5 * MiB + 12_345


class Reads(Terms):
    """What `head`, `get` and `open` promise."""

    async def test_head_tells_key_size_version_and_time(
        self, provider: Provider, root: str
    ) -> None:
        before = datetime.now(UTC) - timedelta(minutes=5)
        written = await provider.put(root + "a", b"12345")
        meta = await provider.head(root + "a")
        assert meta.key == written.key == root + "a"
        assert meta.size == written.size == 5
        assert meta.etag is not None
        assert meta.etag == written.etag
        assert meta.modified is not None
        assert before < meta.modified < datetime.now(UTC) + timedelta(minutes=5)

    async def test_an_absent_object_is_not_found(self, provider: Provider, root: str) -> None:
        with pytest.raises(NotFoundError):
            await provider.head(root + "no")
        with pytest.raises(NotFoundError):
            await provider.get(root + "no")
        with pytest.raises(NotFoundError):
            async with provider.open(root + "no"):
                pytest.fail("opened what is not there")

    async def test_a_beginning_of_a_key_is_not_an_object(
        self, provider: Provider, root: str
    ) -> None:
        await provider.put(root + "folder/name", b"x")
        for key in ("folder", "fold", "folder/nam", "folder/name/deeper"):
            with pytest.raises(NotFoundError):
                await provider.get(root + key)
            with pytest.raises(NotFoundError):
                await provider.head(root + key)

    async def test_more_than_the_most_is_not_read_but_told(
        self, provider: Provider, root: str
    ) -> None:
        written = await provider.put(root + "a", pattern(100_000))
        for span, count in ((Span(), 100_000), (Span(10, 60_000), 59_990), (Span(-5, None), 5)):
            enough = await provider.get(root + "a", span=span, most=count)
            assert len(enough) == count
            told = await provider.get(root + "a", span=span, most=count - 1)
            assert len(told) == 0
            assert told.meta.size == 100_000
            assert told.meta.etag == written.etag
        assert await read(provider, root + "a") == pattern(100_000)

    async def test_get_returns_the_bytes_and_their_metadata(
        self, provider: Provider, root: str
    ) -> None:
        written = await provider.put(root + "a", b"hello")
        blob = await provider.get(root + "a")
        assert bytes(blob) == b"hello"
        assert len(blob) == 5
        assert blob.start == 0
        assert blob.meta.key == root + "a"
        assert blob.meta.size == 5
        assert blob.meta.etag == written.etag

    async def test_an_empty_object_reads_as_no_bytes(self, provider: Provider, root: str) -> None:
        await provider.put(root + "empty", b"")
        assert (await provider.head(root + "empty")).size == 0
        for span in (Span(), Span(0, 5), Span(-5), Span(3, 9), Span(None, -1)):
            blob = await provider.get(root + "empty", span=span)
            assert bytes(blob) == b""
            assert blob.meta.size == 0
        async with provider.open(root + "empty") as stream:
            assert b"".join([bytes(view) async for view in stream]) == b""

    async def test_spans_mean_what_slices_mean(self, provider: Provider, root: str) -> None:
        data = b"abcde"
        await provider.put(root + "a", data)
        spans = [Span(start, stop) for start in _ENDS for stop in _ENDS]
        blobs = await at_once(
            [lambda span=span: provider.get(root + "a", span=span) for span in spans]  # type: ignore[misc]
        )
        for span, blob in zip(spans, blobs, strict=True):
            assert not isinstance(blob, Exception), (span, blob)
            assert bytes(blob) == data[span.start : span.stop], span
            assert blob.meta.size == 5, span
            if len(blob):
                assert blob.start == span.resolve(5)[0], span

    async def test_get_fills_the_buffer_it_is_given(self, provider: Provider, root: str) -> None:
        data = pattern(1000)
        await provider.put(root + "a", data)
        for room in (1000, 1500):
            buffer = bytearray(b"\xff" * room)
            blob = await provider.get(root + "a", into=memoryview(buffer))
            assert bytes(blob.data) == data
            assert buffer == data + b"\xff" * (room - 1000)
            buffer[0] ^= 1
            assert blob.data[0] == buffer[0], "the blob is no view of the buffer"
        buffer = bytearray(50)
        blob = await provider.get(root + "a", span=Span(-50), into=memoryview(buffer))
        assert buffer == data[-50:]
        assert len(blob) == 50

    async def test_a_buffer_may_exceed_what_an_open_span_finds(
        self, provider: Provider, root: str
    ) -> None:
        await provider.put(root + "a", b"abcde")
        buffer = bytearray(b"-" * 10)
        blob = await provider.get(root + "a", span=Span(2, 12), into=memoryview(buffer))
        assert bytes(blob) == b"cde"
        assert buffer == b"cde-------"

    async def test_a_buffer_too_small_is_refused(self, provider: Provider, root: str) -> None:
        await provider.put(root + "a", pattern(1000))
        for span, room in ((Span(), 999), (Span(0, 100), 99), (Span(-100), 99), (Span(500), 0)):
            buffer = bytearray(room)
            with pytest.raises(InvalidSpanError):
                await provider.get(root + "a", span=span, into=memoryview(buffer))
        assert await read(provider, root + "a") == pattern(1000)

    async def test_if_match_reads_this_version_or_none(self, provider: Provider, root: str) -> None:
        old = await provider.put(root + "a", b"old")
        blob = await provider.get(root + "a", if_match=old.etag)
        assert bytes(blob) == b"old"
        await provider.put(root + "a", b"new")
        with pytest.raises(ObjectChangedError):
            await provider.get(root + "a", if_match=old.etag)
        with pytest.raises(ObjectChangedError):
            await provider.get(root + "a", span=Span(1, 2), if_match=old.etag)
        with pytest.raises(ObjectChangedError):
            async with provider.open(root + "a", if_match=old.etag):
                pytest.fail("opened another version")
        await provider.delete([root + "a"])
        with pytest.raises((ObjectChangedError, NotFoundError)):
            await provider.get(root + "a", if_match=old.etag)

    async def test_a_stream_brings_every_byte_in_order(self, provider: Provider, root: str) -> None:
        data = pattern(_BIG)
        written = await provider.put(root + "a", data)
        async with provider.open(root + "a") as stream:
            assert stream.meta.size == _BIG
            assert stream.meta.key == root + "a"
            assert stream.meta.etag == written.etag
            assert stream.start == 0
            arrived = bytearray()
            async for view in stream:
                assert 0 < len(view) <= 16 * MiB
                arrived += view
        assert arrived == data

    async def test_a_stream_of_a_span_brings_that_span(self, provider: Provider, root: str) -> None:
        data = pattern(3 * MiB)
        etag = (await provider.put(root + "a", data)).etag
        ends = ((0, 10), (-10, None), (MiB - 1, 2 * MiB + 1), (5, 5), (None, -3 * MiB + 4))
        for start, stop in (*ends, (3 * MiB - 4, 9 * MiB), (4 * MiB, None)):
            async with provider.open(root + "a", span=Span(start, stop), if_match=etag) as stream:
                arrived = b"".join([bytes(view) async for view in stream])
                assert stream.meta.size == len(data)
            assert arrived == data[start:stop]

    async def test_a_stream_may_be_left_early(self, provider: Provider, root: str) -> None:
        data = pattern(_BIG)
        await provider.put(root + "a", data)
        for _ in range(5):
            async with provider.open(root + "a") as stream:
                view = await anext(stream)
                assert bytes(view) == data[: len(view)]
            async with provider.open(root + "a"):
                pass
        assert await read(provider, root + "a") == data

    async def test_what_the_body_of_a_stream_raises_comes_through(
        self, provider: Provider, root: str
    ) -> None:
        await provider.put(root + "a", pattern(_BIG))
        with pytest.raises(ZeroDivisionError):
            async with provider.open(root + "a") as stream:
                await anext(stream)
                raise ZeroDivisionError
        assert len(await read(provider, root + "a")) == _BIG

    async def test_many_tasks_read_at_once(self, provider: Provider, root: str) -> None:
        sizes = [0, 1, 4_096, 100_000, 1_000_000]
        for n, size in enumerate(sizes):
            await provider.put(f"{root}{n}", pattern(size, n))
        calls = [lambda n=n % 5: provider.get(f"{root}{n}") for n in range(100)]
        blobs = succeeded(await at_once(calls, width=50))
        assert len(blobs) == 100
        for n, blob in enumerate(blobs):
            assert bytes(blob) == pattern(sizes[n % 5], n % 5)

    async def test_a_read_is_one_version_while_writers_replace_it(
        self, provider: Provider, root: str
    ) -> None:
        versions = [bytes([n]) * 300_000 for n in range(8)]
        await provider.put(root + "a", versions[0])

        async def write(version: bytes) -> None:
            await provider.put(root + "a", version)

        async def check() -> None:
            with suppress(ObjectChangedError):
                assert await read(provider, root + "a") in versions

        writes = [lambda v=v: write(v) for v in versions]
        calls = [call for change in writes for call in (change, check, check, check)]
        assert not any(await at_once(calls, width=8))
