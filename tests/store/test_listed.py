"""What is listed can be read and deleted, whoever made it and however it is named."""

from __future__ import annotations

import os

import pytest

from asyncstore import open_store
from asyncstore.errors import BatchError, InvalidPathError
from asyncstore.providers.memory import MemoryProvider

pytestmark = pytest.mark.anyio


async def test_keys_that_no_store_writes_are_deleted_by_prefix(cloud):
    store, provider = cloud()
    for key in ("ok", "folder/", "a//b", "back\\slash", "new\nline", "x" * 2000):
        await MemoryProvider.put(provider, f"set/{key}", b"1")
    await MemoryProvider.put(provider, "beside", b"1")
    assert await store.delete_prefix("") == 6
    assert [meta.key for meta in (await MemoryProvider.list_page(provider, "")).objects] == [
        "beside"
    ]


async def test_what_is_listed_can_be_read(cloud):
    store, provider = cloud()
    keys = ["ok", "folder/", "a//b", "back\\slash", "new\nline"]
    for key in keys:
        await MemoryProvider.put(provider, f"set/{key}", key.encode())
    await MemoryProvider.put(provider, "set/x/../y", b"1")
    read, refused = {}, []
    async with store.get_many(store.list()) as batch:
        async for outcome in batch:
            if outcome.error is None:
                read[outcome.item.key] = bytes(outcome.result())
            else:
                refused.append(outcome.item.key)
    assert read == {key: key.encode() for key in keys}
    assert refused == ["x/../y"]


async def test_a_key_that_could_be_taken_for_another_stays_and_is_told(cloud):
    store, provider = cloud()
    for key in ("ok", "x/../../beside", "./y"):
        await MemoryProvider.put(provider, f"set/{key}", b"1")
    with pytest.raises(BatchError) as caught:
        await store.delete_prefix("")
    assert [type(error) for error in caught.value.exceptions] == [InvalidPathError] * 2
    assert len((await MemoryProvider.list_page(provider, "set/")).objects) == 2


async def test_files_of_any_name_are_deleted_by_prefix(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (b"good", b"back\\slash", b"no\xff\xfeutf-8", b"new\nline"):
        path = os.path.join(os.fsencode(tmp_path), b"sub", name)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    async with open_store(tmp_path) as store:
        assert await store.delete_prefix("") == 4
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["seaweedfs", "ministack", "moto"])
async def test_the_markers_of_consoles_are_deleted_by_prefix(name, request):
    server = request.getfixturevalue(name)
    bucket = server.make_bucket()
    client = server.client()
    try:
        for key in ("photos/", "photos/a", "photos/empty/"):
            client.put_object(Bucket=bucket, Key=key, Body=b"")
        async with open_store(f"s3://{bucket}", creds=server.creds) as store:
            await store.delete_prefix("photos/")
        assert not client.list_objects_v2(Bucket=bucket).get("Contents")
    finally:
        client.close()


@pytest.mark.parametrize("begun", [0, 2])
async def test_a_listing_gives_columns_also_of_what_is_left_of_a_page(tmp_path, begun):
    async with open_store(tmp_path) as store:
        for key in ("a", "b/c", "b/d", "e"):
            await store.put(key, b"1")
        listing = store.list()
        keys = [(await anext(listing)).key for _ in range(begun)]
        while found := await listing.columns():
            keys += found.keys
            assert [meta.key for meta in found] == found.keys
        assert keys == ["a", "b/c", "b/d", "e"]


async def test_columns_have_the_stores_own_keys_and_no_marker_of_its_folder(cloud):
    store, provider = cloud()
    for key in ("set/", "set/a", "set/b"):
        await MemoryProvider.put(provider, key, b"1")
    assert (await store.list().columns()).keys == ["a", "b"]
