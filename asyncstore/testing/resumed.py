"""The contract of uploads that outlive their process: gone on with by token, or begun anew."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest

from asyncstore.errors import AlreadyExistsError
from asyncstore.provider import ResumesUploads
from asyncstore.testing.terms import Terms, exists, names, pattern, read
from asyncstore.testing.uploads import cut, part_size

if TYPE_CHECKING:
    from asyncstore.provider import Provider, Resumed


class ResumedUploads(Terms):
    """What `ResumesUploads` promises, for providers that have the ability."""

    async def test_an_upload_that_was_left_goes_on(self, provider: Provider, root: str) -> None:
        if not await _resumes(provider, root):
            return
        parts, data = _parts(provider)
        token, sums = await _left(provider, root + "a", parts[:2])
        assert not await exists(provider, root + "a")
        again = await _resumed(provider, root + "a", token, sums=sums)
        for number, part in parts:
            if number not in again.present:
                await again.upload.put_part(number, part)
        meta = await again.upload.complete()
        assert (meta.key, meta.size) == (root + "a", len(data))
        assert await read(provider, root + "a") == data

    async def test_parts_that_are_not_noted_are_put_again(
        self, provider: Provider, root: str
    ) -> None:
        if not await _resumes(provider, root):
            return
        parts, data = _parts(provider)
        token, _ = await _left(provider, root + "a", parts[:2])
        again = await _resumed(provider, root + "a", token, sums={})
        assert again.present == frozenset()
        for number, part in parts:
            await again.upload.put_part(number, part)
        await again.upload.complete()
        assert await read(provider, root + "a") == data

    async def test_an_upload_that_has_ended_begins_anew(
        self, provider: Provider, root: str
    ) -> None:
        if not await _resumes(provider, root):
            return
        before = await self.open_uploads(provider, root)
        parts, data = _parts(provider)
        token, sums = await _left(provider, root + "a", parts[:2])
        able: Any = provider
        await able.drop_uploads(root + "a", token=token, since=0.0)
        assert await self.open_uploads(provider, root) == before
        again = await _resumed(provider, root + "a", token, sums=sums)
        assert again.present == frozenset()
        for number, part in parts:
            await again.upload.put_part(number, part)
        await again.upload.complete()
        assert await read(provider, root + "a") == data
        assert await names(provider, root) == [root + "a"]

    async def test_if_absent_holds_where_an_upload_goes_on(
        self, provider: Provider, root: str
    ) -> None:
        if "upload if_absent" in self.lacks or not await _resumes(provider, root):
            return
        parts, _ = _parts(provider)
        token, sums = await _left(provider, root + "a", parts[:2], if_absent=True)
        again = await _resumed(provider, root + "a", token, sums=sums, if_absent=True)
        for number, part in parts:
            if number not in again.present:
                await again.upload.put_part(number, part)
        await provider.put(root + "a", b"first")
        with pytest.raises(AlreadyExistsError):
            await again.upload.complete()
        await again.upload.abort()
        assert await read(provider, root + "a") == b"first"


async def _resumes(provider: Provider, root: str) -> bool:
    """Whether it has the ability, which some know once they were asked anything."""
    await exists(provider, root + "nothing")
    return isinstance(provider, ResumesUploads)


def _parts(provider: Provider) -> tuple[list[tuple[int, bytes]], bytes]:
    size = part_size(provider)
    data = pattern(2 * size + 12_345)
    return cut(data, size), data


async def _resumed(provider: Any, key: str, token: str, **how: Any) -> Resumed:
    size = part_size(provider)
    found: Resumed = await provider.resume_upload(
        key, token, size=2 * size + 12_345, part=size, check=zlib.crc32, **how
    )
    return found


async def _left(
    provider: Provider, key: str, parts: list[tuple[int, bytes]], **how: Any
) -> tuple[str, dict[int, int]]:
    """Begin an upload, put some parts and leave it; return its token and the parts' sums."""
    begun = await _resumed(provider, key, "", sums={}, **how)
    for number, part in parts:
        await begun.upload.put_part(number, part)
    token = begun.upload.token
    await begun.upload.leave()
    return token, {number: zlib.crc32(part) for number, part in parts}
