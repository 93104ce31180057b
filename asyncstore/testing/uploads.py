"""The contract of uploads in parts: order, conditions, ends; nothing visible before complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncstore.errors import (
    AlreadyExistsError,
    IntegrityError,
    NotSupportedError,
    PreconditionError,
    StoreError,
)
from asyncstore.testing.terms import Terms, at_once, exists, names, pattern, read
from asyncstore.types import MiB

if TYPE_CHECKING:
    from asyncstore.provider import Provider


def part_size(provider: Provider) -> int:
    """Return a size for every part but the last."""
    return min(max(provider.limits.part_min, 64 * 1024), provider.limits.part_max, 8 * MiB)


def cut(data: bytes, size: int) -> list[tuple[int, bytes]]:
    """Return numbered parts."""
    pieces = range(0, len(data), size)
    return [(n, data[at : at + size]) for n, at in enumerate(pieces, 1)]


class Uploads(Terms):
    """What `begin_upload` and `Upload` promise."""

    async def test_parts_join_into_the_object(self, provider: Provider, root: str) -> None:
        data = pattern(2 * part_size(provider) + 12_345)
        upload = await provider.begin_upload(root + "a", size=len(data))
        for number, part in cut(data, part_size(provider)):
            await upload.put_part(number, part)
        meta = await upload.complete()
        assert meta.key == root + "a"
        assert meta.size == len(data)
        assert meta.etag == (await provider.head(root + "a")).etag
        assert await read(provider, root + "a") == data

    async def test_the_size_need_not_be_known(self, provider: Provider, root: str) -> None:
        data = pattern(part_size(provider) + 1)
        upload = await provider.begin_upload(root + "a")
        for number, part in cut(data, part_size(provider)):
            await upload.put_part(number, memoryview(part))
        await upload.complete()
        assert await read(provider, root + "a") == data

    async def test_parts_may_come_at_once_and_in_any_order(
        self, provider: Provider, root: str
    ) -> None:
        if not provider.limits.parallel_parts:
            return
        data = pattern(3 * part_size(provider) + 99)
        parts = cut(data, part_size(provider))
        upload = await provider.begin_upload(root + "a", size=len(data))
        shuffled = [parts[-1], *parts[-2::-1]]
        results = await at_once([lambda p=p: upload.put_part(*p) for p in shuffled], width=4)  # type: ignore[misc]
        assert not any(results), results
        await upload.complete()
        assert await read(provider, root + "a") == data

    async def test_one_short_or_empty_part_is_enough(self, provider: Provider, root: str) -> None:
        for data in (b"short", b""):
            upload = await provider.begin_upload(root + "a", size=len(data))
            await upload.put_part(1, data)
            meta = await upload.complete()
            assert meta.size == len(data)
            assert await read(provider, root + "a") == data

    async def test_a_part_may_be_sent_again(self, provider: Provider, root: str) -> None:
        if not provider.limits.parallel_parts:
            return
        data = pattern(part_size(provider) + 500)
        upload = await provider.begin_upload(root + "a", size=len(data))
        (_, first), (_, second) = cut(data, part_size(provider))
        for number, part in ((1, first), (2, second), (1, first)):
            await upload.put_part(number, part)
        await upload.complete()
        assert await read(provider, root + "a") == data

    async def test_the_callers_buffer_is_free_after_put_part(
        self, provider: Provider, root: str
    ) -> None:
        size = part_size(provider)
        data = pattern(2 * size)
        buffer = bytearray(size)
        upload = await provider.begin_upload(root + "a", size=len(data))
        for number, part in cut(data, size):
            buffer[:] = part
            await upload.put_part(number, buffer)
        buffer.clear()
        await upload.complete()
        assert await read(provider, root + "a") == data

    async def test_nothing_is_visible_before_complete(self, provider: Provider, root: str) -> None:
        await provider.put(root + "old", b"old")
        for key in ("new", "old"):
            upload = await provider.begin_upload(root + key)
            await upload.put_part(1, b"not yet")
            assert not await exists(provider, root + "new")
            assert await read(provider, root + "old") == b"old"
            assert await names(provider, root) == [root + "old"]
            await upload.abort()
        assert await names(provider, root) == [root + "old"]

    async def test_abort_leaves_nothing_and_twice_is_as_once(
        self, provider: Provider, root: str
    ) -> None:
        before = await self.open_uploads(provider, root)
        upload = await provider.begin_upload(root + "a")
        await upload.put_part(1, pattern(part_size(provider)))
        await upload.abort()
        await upload.abort()
        assert await names(provider, root) == []
        assert await self.open_uploads(provider, root) == before

    async def test_abort_after_complete_leaves_the_object(
        self, provider: Provider, root: str
    ) -> None:
        upload = await provider.begin_upload(root + "a")
        await upload.put_part(1, b"done")
        await upload.complete()
        await upload.abort()
        assert await read(provider, root + "a") == b"done"

    async def test_an_aborted_upload_takes_no_more(self, provider: Provider, root: str) -> None:
        upload = await provider.begin_upload(root + "a")
        await upload.put_part(1, b"x")
        await upload.abort()
        with pytest.raises(StoreError):
            await upload.put_part(2, b"y")
        with pytest.raises(StoreError):
            await upload.complete()
        assert not await exists(provider, root + "a")

    async def test_a_missing_part_is_refused(self, provider: Provider, root: str) -> None:
        if not provider.limits.parallel_parts:
            return
        upload = await provider.begin_upload(root + "a")
        await upload.put_part(1, pattern(part_size(provider)))
        await upload.put_part(3, b"last")
        with pytest.raises(IntegrityError):
            await upload.complete()
        assert not await exists(provider, root + "a")
        await upload.abort()

    async def test_uploads_to_one_key_do_not_mix(self, provider: Provider, root: str) -> None:
        uploads = [await provider.begin_upload(root + "a") for _ in range(3)]
        for n, upload in enumerate(uploads):
            await upload.put_part(1, bytes([n]) * 1000)
        for n in (1, 0, 2):
            await uploads[n].complete()
            assert await read(provider, root + "a") == bytes([n]) * 1000

    async def test_if_absent_holds_at_complete(self, provider: Provider, root: str) -> None:
        if "upload if_absent" in self.lacks:
            await self._lacking(provider, root, if_absent=True)
            return
        upload = await provider.begin_upload(root + "a", if_absent=True)
        await upload.put_part(1, b"late")
        await provider.put(root + "a", b"first")
        with pytest.raises(AlreadyExistsError):
            await upload.complete()
        await upload.abort()
        assert await read(provider, root + "a") == b"first"
        upload = await provider.begin_upload(root + "b", if_absent=True)
        await upload.put_part(1, b"alone")
        await upload.complete()
        assert await read(provider, root + "b") == b"alone"

    async def test_if_match_holds_at_complete(self, provider: Provider, root: str) -> None:
        old = await provider.put(root + "a", b"old")
        if "upload if_match" in self.lacks:
            await self._lacking(provider, root, if_match=old.etag)
            return
        upload = await provider.begin_upload(root + "a", if_match=old.etag)
        await upload.put_part(1, b"replacement")
        meta = await upload.complete()
        assert await read(provider, root + "a") == b"replacement"
        upload = await provider.begin_upload(root + "a", if_match=meta.etag)
        await upload.put_part(1, b"late")
        await provider.put(root + "a", b"meanwhile")
        with pytest.raises(PreconditionError):
            await upload.complete()
        await upload.abort()
        assert await read(provider, root + "a") == b"meanwhile"

    async def test_metadata_rides_on_an_upload(self, provider: Provider, root: str) -> None:
        if not provider.limits.metadata or "metadata" in self.lacks:
            return
        upload = await provider.begin_upload(
            root + "a", content_type="image/x-thing", metadata={"k": "v"}
        )
        await upload.put_part(1, b"x")
        await upload.complete()
        meta = await provider.head(root + "a")
        assert meta.content_type == "image/x-thing"
        assert dict(meta.metadata) == {"k": "v"}

    async def _lacking(self, provider: Provider, root: str, **condition: str | bool | None) -> None:
        """The refusal may come at the beginning or at the end, but nothing may be written."""
        before = await names(provider, root)
        with pytest.raises(NotSupportedError):
            upload = await provider.begin_upload(root + "a", **condition)  # type: ignore[arg-type]
            try:
                await upload.put_part(1, b"x")
                await upload.complete()
            finally:
                await upload.abort()
        assert await names(provider, root) == before
