"""A `Store` over memory, on asyncio and on trio."""

from __future__ import annotations

import pytest

from asyncstore import open_store
from asyncstore.errors import BatchError, InvalidPathError, NotFoundError, ReadOnlyError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(request):
    async with open_store(f"mem://{abs(hash(request.node.nodeid))}/set") as store:
        yield store


async def test_what_was_put_is_what_is_got(store):
    written = await store.put("a/b", b"hello", metadata={"colour": "red"})
    assert written.key == "a/b"
    blob = await store.get("a/b")
    assert bytes(blob) == b"hello"
    assert blob.meta.key == "a/b"
    assert blob.meta.metadata == {"colour": "red"}
    assert bytes(await store.get_range("a/b", -2)) == b"lo"
    blobs = await store.get_ranges("a/b", [(0, 1), (-1, None), (3, 3), slice(1, 3)])
    assert [bytes(b) for b in blobs] == [b"h", b"o", b"", b"el"]
    buffer = bytearray(8)
    blob = await store.get_into("a/b", buffer)
    assert bytes(buffer) == b"hello\0\0\0"
    assert len(blob) == 5


async def test_a_stream_gives_the_bytes_and_the_stores_own_key(store):
    await store.put("k", b"x" * 3_000_000)
    async with store.stream("k", span=(1, None)) as stream:
        assert stream.meta.key == "k"
        assert sum([len(view) async for view in stream]) == 2_999_999


async def test_keys_are_listed_relative_to_the_path(store):
    for key in ("a/1", "a/2", "b"):
        await store.put(key, b"")
    assert [meta.key async for meta in store.list()] == ["a/1", "a/2", "b"]
    assert [meta.key async for meta in store.list("a/", after="a/1")] == ["a/2"]
    walked = [(here, dirs, [o.key for o in objs]) async for here, dirs, objs in store.walk()]
    assert walked == [("", ["a/"], ["b"]), ("a/", [], ["a/1", "a/2"])]
    child = store / "a"
    assert [meta.key async for meta in child.list()] == ["1", "2"]


async def test_missing_is_not_found_and_a_hostile_key_is_refused(store):
    with pytest.raises(NotFoundError):
        await store.get("none")
    assert not await store.exists("none")
    for key in ("../x", "", "/x", "a//b", "x/"):
        with pytest.raises(InvalidPathError):
            await store.get(key)


async def test_copy_move_and_delete_do_what_they_say(store):
    await store.put("a", b"1")
    await store.copy("a", "b")
    await store.move("b", "c")
    assert [meta.key async for meta in store.list()] == ["a", "c"]
    with pytest.raises(NotFoundError):
        await store.delete("b", missing_ok=False)
    with pytest.raises(BatchError):
        await store.delete(["a", "b"], missing_ok=False)
    assert await store.delete_prefix("") == 1


async def test_a_read_only_store_refuses_every_write(request):
    async with open_store(f"mem://{abs(hash(request.node.nodeid))}", read_only=True) as store:
        with pytest.raises(ReadOnlyError):
            await store.put("a", b"1")
        with pytest.raises(ReadOnlyError):
            await store.delete("a")
