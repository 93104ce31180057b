"""A look-alike that lies: `rclone serve s3` ignores conditions, and says so nowhere."""

from __future__ import annotations

import secrets

import pytest
import pytest_asyncio

import asyncstore
from asyncstore.errors import NotFoundError, NotSupportedError, UnauthenticatedError
from asyncstore.providers.s3 import S3Provider, capabilities
from asyncstore.types import Settings, Span

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def provider(rclone):
    capabilities.forget()
    provider = S3Provider(rclone.make_bucket(), Settings(creds=rclone.creds))
    yield provider
    await provider.aclose()


async def keys(provider, prefix=""):
    return [meta.key for meta in (await provider.list_page(prefix)).objects]


async def test_a_condition_that_would_be_ignored_is_refused_and_nothing_is_written(provider):
    etag = (await provider.put("d/k", b"old")).etag
    with pytest.raises(NotSupportedError, match="does not keep the condition"):
        await provider.put("d/k", b"new", if_absent=True)
    with pytest.raises(NotSupportedError):
        await provider.put("d/k", b"new", if_match=etag)
    with pytest.raises(NotSupportedError):
        await provider.put("d/new", b"new", if_absent=True)
    with pytest.raises(NotSupportedError):
        await provider.begin_upload("d/k", if_absent=True)
    with pytest.raises(NotSupportedError):
        await provider.begin_upload("d/k", if_match=etag)
    with pytest.raises(NotSupportedError):
        await provider.copy("d/k", "d/new", if_absent=True)
    assert bytes(await provider.get("d/k")) == b"old"
    assert await keys(provider) == ["d/k"], "the trial's object is left"


async def test_what_was_found_is_told_and_not_tried_again(provider):
    with pytest.raises(NotSupportedError):
        await provider.put("k", b"x", if_absent=True)
    assert (await provider.diagnose())["capabilities"]["put if_absent"] is False
    other = S3Provider(provider._client.bucket, provider._client.settings)
    sent = other._client.engine
    with pytest.raises(NotSupportedError):
        await other.put("k", b"x", if_absent=True)
    assert sent.counters().requests == 0
    await other.aclose()


async def test_plain_reads_and_writes_work_and_are_verified_as_far_as_it_goes(provider):
    data = secrets.token_bytes(300_000)
    await provider.put("a/b", data)
    assert bytes(await provider.get("a/b")) == data
    for span in (Span(0, 10), Span(10, 20), Span(-5), Span(299_990, 400_000), Span(2, -2)):
        assert bytes(await provider.get("a/b", span=span)) == data[span.start : span.stop]
    await provider.copy("a/b", "c")
    assert bytes(await provider.get("c")) == data
    assert not await provider.delete(["a/b", "c", "no"])
    assert await keys(provider) == []
    with pytest.raises(NotFoundError):
        await provider.get("a/b")


async def test_a_wrong_secret_is_unauthenticated(rclone, provider):
    creds = {**rclone.creds, "aws_secret_access_key": "wrong"}
    stranger = S3Provider(provider._client.bucket, Settings(creds=creds))
    for call in (stranger.head("k"), stranger.put("k", b"x"), stranger.list_page("")):
        with pytest.raises(UnauthenticatedError):
            await call
    await stranger.aclose()


@pytest.mark.parametrize("name", ["seaweedfs", "ministack"])
async def test_a_trial_leaves_nothing_behind_where_conditions_are_kept(name, request):
    server = request.getfixturevalue(name)
    capabilities.forget()
    provider = S3Provider(server.make_bucket(), Settings(creds=server.creds))
    etag = (await provider.put("d/k", b"1", if_absent=True)).etag
    etag = (await provider.put("d/k", b"2", if_match=etag)).etag
    upload = await provider.begin_upload("d/up", if_absent=True)
    await upload.put_part(1, b"x")
    await upload.complete()
    await provider.copy("d/k", "d/copy", if_match=etag, if_absent=True)
    assert sorted(await keys(provider)) == ["d/copy", "d/k", "d/up"]
    client = server.client()
    left = client.list_multipart_uploads(Bucket=provider._client.bucket).get("Uploads", [])
    client.close()
    assert left == []
    await provider.aclose()


@pytest.mark.parametrize(("name", "kept"), [("seaweedfs", True), ("rclone", False)])
async def test_what_a_server_keeps_is_found_when_asked_for_and_nothing_is_left(name, kept, request):
    server = request.getfixturevalue(name)
    capabilities.forget()
    bucket = server.make_bucket()
    async with asyncstore.open_store(f"s3://{bucket}/a/b", creds=server.creds) as store:
        before = (await store.diagnose())["capabilities"]
        assert {before[condition] for condition in capabilities.CONDITIONS} == {"not tried"}
        after = (await store.diagnose(try_writes=True))["capabilities"]
        assert {after[condition] for condition in capabilities.CONDITIONS} == {kept}
        assert (before["crc64nvme"], after["crc64nvme"]) == ("not tried", kept)
        assert [meta async for meta in store.list()] == []
    reader = asyncstore.open_store(f"s3://{bucket}/a/b", creds=server.creds, read_only=True)
    async with reader:
        with pytest.raises(asyncstore.ReadOnlyError):
            await reader.diagnose(try_writes=True)
