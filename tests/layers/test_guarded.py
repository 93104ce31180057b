"""A guarded store asks before it writes, and only then."""

import pickle

import pytest

import asyncstore
from asyncstore.errors import ReadOnlyError


class Guard:
    def __init__(self):
        self.asked = 0
        self.read_only = False

    async def before_write(self):
        self.asked += 1
        if self.read_only:
            raise ReadOnlyError("no")


@pytest.mark.anyio
async def test_a_guard_is_asked_before_each_write_and_what_it_raises_is_raised():
    guard = Guard()
    async with asyncstore.open_store("mem://guarded/x") as plain:
        store = plain.guarded(guard)
        await store.put("k", b"1")
        await store.get("k")
        await store.copy("k", "l")
        await store.delete("l")
        assert guard.asked == 3
        guard.read_only = True
        assert store.read_only
        with pytest.raises(ReadOnlyError, match="put mem://guarded/x/k: no"):
            await store.put("k", b"2")
        with pytest.raises(ReadOnlyError):
            await plain.copy("k", "l", to=store)
        with pytest.raises(ReadOnlyError):
            await store.child("below").put_stream("k", [b"x"])
        assert bytes(await store.get("k")) == b"1"
        await plain.put("k", b"2")


@pytest.mark.anyio
async def test_a_guard_is_asked_before_each_part_and_not_before_giving_up():
    guard = Guard()
    async with asyncstore.open_store("mem://guarded/z") as plain:
        upload = await plain.guarded(guard).provider.begin_upload("z/k")
        await upload.put_part(1, b"1")
        assert guard.asked == 2
        guard.read_only = True
        with pytest.raises(ReadOnlyError):
            await upload.put_part(2, b"2")
        with pytest.raises(ReadOnlyError):
            await upload.complete()
        asked = guard.asked
        await upload.abort()
        assert guard.asked == asked
        assert not await plain.exists("k")


@pytest.mark.anyio
async def test_a_guarded_store_pickles_as_a_read_only_one():
    async with asyncstore.open_store("mem://guarded/y") as plain:
        store = pickle.loads(pickle.dumps(plain.guarded(Guard())))
        with pytest.raises(ReadOnlyError):
            await store.put("k", b"2")
        await store.aclose()
