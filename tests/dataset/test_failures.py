"""What is left when a copy, a rename or a deletion is stopped in the middle: no half dataset."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import anyio
import pytest

import asyncstore
from asyncstore.errors import (
    BatchError,
    DatasetExistsError,
    DatasetNotFoundError,
    IntegrityError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
)
from asyncstore.format.keys import HISTORY, META
from asyncstore.providers.memory import MemoryProvider
from asyncstore.types import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

COUNT = 40


@pytest.fixture(params=[("mem", "asyncio"), ("mem", "trio")], ids="-".join)
def where(request):
    return request.param


@pytest.fixture
async def dataset(anyio_backend, place):
    async with await asyncstore.empty(place / "ds") as ds:
        for n in range(COUNT):
            await ds.store.put(f"x/chunks/{n}", b"%d" % n)
    return place / "ds"


@pytest.fixture
def spoil(monkeypatch):
    """Replace a method of the memory provider; the replacement gets the old one first."""

    def spoil(name, make):
        monkeypatch.setattr(MemoryProvider, name, make(getattr(MemoryProvider, name)))

    yield spoil
    monkeypatch.undo()


async def content(place, name):
    async with place.store(name) as store:
        return {meta.key: bytes(await store.get(meta.key)) async for meta in store.list()}


CALLS = [
    lambda place: asyncstore.copy(place / "ds", place / "to", progressbar=False),
    lambda place: asyncstore.rename(place / "ds", "to"),
]
both = pytest.mark.parametrize("call", CALLS, ids=["copy", "rename"])


@both
@pytest.mark.parametrize("stop", ["x/chunks/7", HISTORY, META])
async def test_a_failure_leaves_the_source_whole_and_nothing_at_the_target(
    dataset, place, spoil, call, stop
):
    before = await content(place, "ds")

    def failing(old):
        async def copy(self, source, target, /, **conditions):
            if target.endswith(f"to/{stop}"):
                raise ObjectChangedError("gone wrong")
            return await old(self, source, target, **conditions)

        return copy

    spoil("copy", failing)
    with pytest.raises(ObjectChangedError, match="gone wrong"):
        await call(place)
    assert await content(place, "ds") == before
    assert await place.keys("to") == []


@both
async def test_a_cancellation_leaves_the_source_whole_and_nothing_at_the_target(
    dataset, place, spoil, call
):
    before = await content(place, "ds")
    reached = anyio.Event()

    def stuck(old):
        async def copy(self, source, target, /, **conditions):
            if target.endswith("/9"):
                reached.set()
                await anyio.sleep_forever()
            return await old(self, source, target, **conditions)

        return copy

    spoil("copy", stuck)
    async with anyio.create_task_group() as group:
        group.start_soon(call, place)
        await reached.wait()
        await anyio.wait_all_tasks_blocked()
        assert await place.keys("to")
        assert not await asyncstore.exists(place / "to")
        group.cancel_scope.cancel()
    assert await content(place, "ds") == before
    assert await place.keys("to") == []


@both
async def test_until_the_last_object_nobody_finds_a_dataset_at_the_target(
    dataset, place, spoil, call
):
    seen = []

    def watched(old):
        async def copy(self, source, target, /, **conditions):
            # The history is the last but one: with it alone, the dataset exists and is not whole.
            if not target.endswith(META):
                seen.append(await asyncstore.exists(place / "to"))
            made = await old(self, source, target, **conditions)
            order.append(target.rpartition("/to/")[2])
            return made

        return copy

    order: list[str] = []
    spoil("copy", watched)
    await call(place)
    assert len(seen) == COUNT + 1
    assert not any(seen)
    assert order[-2:] == [HISTORY, META]
    assert await asyncstore.exists(place / "to")


@both
async def test_an_object_that_is_lost_on_the_way_is_found_out(dataset, place, spoil, call):
    before = await content(place, "ds")

    def losing(old):
        async def list_page(self, prefix, /, **rest):
            page = await old(self, prefix, **rest)
            kept = [meta for meta in page.objects if not meta.key.endswith("to/x/chunks/3")]
            return Page(kept, page.prefixes, page.cursor)

        return list_page

    spoil("list_page", losing)
    with pytest.raises(IntegrityError, match=f"{COUNT} objects of .* and {COUNT - 1} of"):
        await call(place)
    assert await content(place, "ds") == before


@both
async def test_where_clearing_up_fails_too_the_error_says_what_to_do(dataset, place, spoil, call):
    def failing(old):
        async def copy(self, source, target, /, **conditions):
            if target.endswith("/7"):
                raise ObjectChangedError("gone wrong")
            return await old(self, source, target, **conditions)

        return copy

    def stubborn(old):
        async def delete(self, keys, /):
            return {key: NotSupportedError("no deletions") for key in keys}

        return delete

    spoil("copy", failing)
    spoil("delete", stubborn)
    with pytest.raises(ObjectChangedError, match="gone wrong") as caught:
        await call(place)
    (note,) = caught.value.__notes__
    assert f"delete('{place / 'to'}', force=True)" in note


async def test_a_target_that_another_creates_meanwhile_is_left_to_it(dataset, place, spoil):
    def racing(old):
        async def copy(self, source, target, /, **conditions):
            if target.endswith(f"to/{HISTORY}"):
                await self.put(target, b"{}")
            return await old(self, source, target, **conditions)

        return copy

    spoil("copy", racing)
    with pytest.raises(DatasetExistsError, match="another process"):
        await asyncstore.copy(dataset, place / "to", progressbar=False)
    assert (await content(place, "to"))[HISTORY] == b"{}"


async def test_a_service_that_copies_without_conditions_is_watched(dataset, place, spoil):
    changed: list[int] = []

    def unconditional(old):
        async def copy(self, source, target, /, *, if_match=None, if_absent=False):
            if if_match is not None or if_absent:
                raise NotSupportedError("conditions")
            made = await old(self, source, target)
            if changed and source.endswith("/5"):
                await self.put(source, b"changed")
            return made

        return copy

    spoil("copy", unconditional)
    await asyncstore.copy(dataset, place / "to", progressbar=False)
    assert await content(place, "to") == await content(place, "ds")
    changed.append(1)
    with pytest.raises(ObjectChangedError, match="while it was copied"):
        await asyncstore.copy(dataset, place / "to2", progressbar=False)
    assert await place.keys("to2") == []


async def test_an_interrupted_deletion_leaves_no_dataset_and_says_what_clears_the_rest(
    dataset, place, spoil
):
    def stubborn(old):
        async def delete(self, keys, /):
            bad = [key for key in keys if key.endswith("/7")]
            failed = await old(self, [key for key in keys if key not in bad])
            return {**failed, **{key: PermissionDeniedError("no") for key in bad}}

        return delete

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryProvider, "delete", stubborn(MemoryProvider.delete))
        with pytest.raises(BatchError) as caught:
            await asyncstore.delete(dataset)
    assert "force=True" in caught.value.__notes__[0]
    assert await place.keys("ds") == ["x/chunks/7"]
    assert not await asyncstore.exists(dataset)
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.delete(dataset)
    with pytest.raises(DatasetExistsError, match="force=True"):
        await asyncstore.empty(dataset)
    await asyncstore.delete(dataset, force=True)
    await (await asyncstore.empty(dataset)).aclose()


async def test_a_rename_whose_deletion_fails_says_where_the_dataset_is(dataset, place, spoil):
    before = await content(place, "ds")

    def stubborn(old):
        async def delete(self, keys, /):
            return {key: PermissionDeniedError("no") for key in keys}

        return delete

    spoil("delete", stubborn)
    with pytest.raises(BatchError) as caught:
        await asyncstore.rename(dataset, "to")
    assert any(f"whole at {place / 'to'}" in note for note in caught.value.__notes__)
    assert await content(place, "to") == before


async def test_a_reader_never_finds_a_dataset_with_holes(dataset, place, spoil):
    """Its root files are the first to be deleted."""
    seen = []

    def watched(old):
        async def delete(self, keys, /):
            seen.append(sorted(key.rpartition("/ds/")[2] for key in keys))
            return await old(self, keys)

        return delete

    spoil("delete", watched)
    await asyncstore.delete(dataset)
    assert seen[0] == [META, HISTORY]
    assert len(seen[1]) == COUNT


async def test_a_copy_goes_many_objects_at_once(dataset, place, spoil):
    under_way, most, full = 0, 0, anyio.Event()

    def counting(old):
        async def copy(self, source, target, /, **conditions):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            if most == width:
                full.set()
            with anyio.fail_after(30):
                await full.wait()
            await anyio.lowlevel.checkpoint()
            under_way -= 1
            return await old(self, source, target, **conditions)

        return copy

    spoil("copy", counting)
    width = 32
    await asyncstore.copy(dataset, place / "to", progressbar=False)
    assert most == 32
    most, width, full = 0, 3, anyio.Event()
    await asyncstore.copy(dataset, place / "to2", num_workers=3, progressbar=False)
    assert most == 3


async def test_a_dataset_moves_between_memory_and_disk(dataset, place, tmp_path):
    before = await content(place, "ds")
    await asyncstore.copy(dataset, tmp_path / "ds", progressbar=False)
    await asyncstore.copy(tmp_path / "ds", tmp_path / "ds2", progressbar=False)
    await asyncstore.copy(tmp_path / "ds2", place / "back", progressbar=False)
    assert await content(place, "back") == before


async def test_renaming_to_another_file_system_copies(dataset, tmp_path, monkeypatch):
    await asyncstore.copy(dataset, tmp_path / "a/ds", progressbar=False)
    rename = os.rename

    def refusing(source, *args, **options):
        if source == "ds":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, *args, **options)

    monkeypatch.setattr(os, "rename", refusing)
    async with await asyncstore.rename(tmp_path / "a/ds", tmp_path / "b/new") as ds:
        assert bytes(await ds.store.get("x/chunks/0")) == b"0"
    assert not (tmp_path / "a/ds").exists()


async def test_renaming_on_disk_is_one_rename(dataset, tmp_path, monkeypatch):
    await asyncstore.copy(dataset, tmp_path / "a/ds", progressbar=False)
    file = tmp_path / "a/ds/x/chunks/0"
    inode = file.stat().st_ino
    monkeypatch.setattr("asyncstore.datasets.renaming.transfer", None)
    ds = await asyncstore.rename(tmp_path / "a/ds", tmp_path / "b/c/new")
    async with ds:
        assert bytes(await ds.store.get("x/chunks/0")) == b"0"
    assert (tmp_path / "b/c/new/x/chunks/0").stat().st_ino == inode
    assert not (tmp_path / "a/ds").exists()
    assert not list((tmp_path / "b").rglob("*.lock"))


async def test_a_dataset_that_was_renamed_or_deleted_takes_no_more_writes(tmp_path):
    ways: list[Callable[..., Awaitable[object]]] = [
        lambda path: asyncstore.rename(path, "new"),
        asyncstore.delete,
    ]
    for n, away in enumerate(ways):
        path = tmp_path / f"{n}/ds"
        async with await asyncstore.empty(path) as ds:
            await ds.store.put("k", b"")
            await away(path)
            with pytest.raises(asyncstore.DatasetLockedError, match=r"renamed|deleted"):
                await ds.store.put("k", b"")
        assert not path.exists()
