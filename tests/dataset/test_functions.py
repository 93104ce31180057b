"""load, dataset, empty, exists, delete, rename, copy, list: on every service, as one."""

import json
import re

import anyio
import pytest

import asyncstore
from asyncstore.datasets import deleting
from asyncstore.errors import (
    DatasetCorruptError,
    DatasetError,
    DatasetExistsError,
    DatasetNotFoundError,
    InvalidPathError,
    NotSupportedError,
    ReadOnlyError,
)
from asyncstore.format import FIRST_COMMIT, DatasetMeta, History

pytestmark = pytest.mark.anyio

ROOT_FILES = ["dataset_meta.json", "version_control_info.json"]
TREE = {
    "x/chunks/1": b"one",
    "x/chunks/2": b"",
    "x/tensor_meta.json": b"{}",
    "versions/c1/chunks/3": b"x" * 100_000,
}


async def make(place, name, **objects):
    """Make a dataset with some objects in it."""
    async with await asyncstore.empty(place / name, **place.access) as ds:
        for key, data in (TREE | objects).items():
            await ds.store.put(key, data)
    return place / name


async def content(place, name):
    async with place.store(name) as store:
        return {meta.key: bytes(await store.get(meta.key)) async for meta in store.list()}


async def set_meta(place, name, **fields):
    async with place.store(name) as store:
        meta = json.loads(bytes(await store.get("dataset_meta.json")))
        await store.put("dataset_meta.json", json.dumps(meta | fields).encode())


# ---- making and opening


async def test_an_empty_dataset_is_two_files_and_while_it_is_open_a_lock(place):
    async with await asyncstore.empty(place / "ds", **place.access) as ds:
        assert not ds.read_only
        assert ds.mode == "a"
        assert ds.branch == "main"
        assert ds.branches == ["main"]
        assert ds.commit_id is None
        assert ds.pending_commit_id == FIRST_COMMIT
        assert ds.meta == DatasetMeta()
        assert ds.path == str(ds.url) == str(asyncstore.StoreURL.parse(place / "ds"))
        assert repr(ds) == f"Dataset(path={ds.path!r}, branch='main')"
        held = ["dataset_lock.lock"] if place.locks else []
        assert sorted(await place.keys("ds")) == held + ROOT_FILES
    files = await content(place, "ds")
    assert files == dict(zip(ROOT_FILES, (DatasetMeta().dump(), History().dump()), strict=True))


async def test_what_is_written_through_a_dataset_is_read_through_another(place):
    await make(place, "ds")
    async with await asyncstore.load(place / "ds", read_only=True, **place.access) as ds:
        assert bytes(await ds.store.get("x/chunks/1")) == b"one"
        assert {m.key async for m in ds.store.list("x/")} == {k for k in TREE if k[0] == "x"}


async def test_load_of_nothing_says_that_no_dataset_is_there(place):
    with pytest.raises(DatasetNotFoundError, match=re.escape(place / "no")):
        await asyncstore.load(place / "no", **place.access)


async def test_load_of_other_files_says_that_no_dataset_is_there(place):
    async with place.store("other") as store:
        await store.put("file", b"")
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.load(place / "other", **place.access)


async def test_empty_where_a_dataset_is_leaves_it_as_it_is(place):
    await make(place, "ds")
    before = await content(place, "ds")
    with pytest.raises(DatasetExistsError, match="load"):
        await asyncstore.empty(place / "ds", **place.access)
    assert await content(place, "ds") == before


@pytest.mark.parametrize("overwrite", [False, True])
async def test_empty_where_other_files_are_leaves_them_as_they_are(place, overwrite):
    async with place.store("other") as store:
        await store.put("my/file", b"mine")
    with pytest.raises(DatasetExistsError, match="my/file"):
        await asyncstore.empty(place / "other", overwrite=overwrite, **place.access)
    with pytest.raises(DatasetExistsError, match="my/file"):
        await asyncstore.dataset(place / "other", overwrite=overwrite, **place.access)
    assert await content(place, "other") == {"my/file": b"mine"}


async def test_overwrite_deletes_everything_that_the_dataset_held(place):
    await make(place, "ds")
    await make(place, "ds2")
    for function in (asyncstore.empty, asyncstore.dataset):
        async with await function(place / "ds", overwrite=True, **place.access) as ds:
            assert not ds.read_only
            await ds.store.put("new", b"")
        assert sorted(await place.keys("ds")) == [ROOT_FILES[0], "new", ROOT_FILES[1]]
    assert len(await place.keys("ds2")) == len(TREE) + 2


async def test_overwrite_respects_allow_delete(place):
    await make(place, "ds")
    await set_meta(place, "ds", allow_delete=False)
    before = await content(place, "ds")
    for function in (asyncstore.empty, asyncstore.dataset):
        with pytest.raises(DatasetExistsError, match="allow_delete"):
            await function(place / "ds", overwrite=True, **place.access)
    assert await content(place, "ds") == before


async def test_overwrite_of_a_dataset_that_cannot_be_read_is_refused(place):
    await make(place, "ds", **{"dataset_meta.json": b"{"})
    with pytest.raises(DatasetExistsError, match="force=True"):
        await asyncstore.empty(place / "ds", overwrite=True, **place.access)


async def test_dataset_opens_or_creates(place):
    async with await asyncstore.dataset(place / "ds", **place.access) as ds:
        await ds.store.put("x", b"1")
    async with await asyncstore.dataset(place / "ds", **place.access) as ds:
        assert bytes(await ds.store.get("x")) == b"1"


async def test_a_read_only_dataset_is_not_created(place):
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.dataset(place / "ds", read_only=True, **place.access)
    assert not await place.keys("ds")


async def test_a_write_in_read_only_is_refused_and_nothing_is_sent(place):
    await make(place, "ds")
    before = await content(place, "ds")
    async with await asyncstore.load(place / "ds", read_only=True, **place.access) as ds:
        assert ds.read_only
        assert ds.mode == "r"
        assert ds.store.read_only
        assert "read_only=True" in repr(ds)
        for write in (
            ds.store.put("k", b""),
            ds.store.delete("x/chunks/1"),
            ds.store.copy("x/chunks/1", "y"),
            ds.store.delete_prefix("x"),
            ds.store.child("x").put_stream("k", [b"x"]),
        ):
            with pytest.raises(ReadOnlyError):
                await write
    assert await content(place, "ds") == before


async def test_a_closed_dataset_refuses_writes(place):
    ds = await asyncstore.empty(place / "ds", **place.access)
    await ds.aclose()
    await ds.aclose()
    with pytest.raises((ReadOnlyError, asyncstore.ConfigurationError)):
        await ds.store.put("k", b"")
    assert sorted(await place.keys("ds")) == ROOT_FILES


async def test_of_many_who_create_one_succeeds(place):
    made, refused = [], []

    async def create():
        try:
            made.append(await asyncstore.empty(place / "ds", **place.access))
        except DatasetExistsError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(create)
    for ds in made:
        await ds.aclose()
    if place.kind != "gcs":  # the emulator has no create-only writes, and locks are a process's
        assert len(made) == 1
        assert len(refused) == 7
    assert sorted(await place.keys("ds")) == ROOT_FILES


async def test_of_many_who_open_or_create_all_get_the_dataset(place):
    async def opened():
        async with await asyncstore.dataset(place / "ds", **place.access) as ds:
            assert ds.meta == DatasetMeta()

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(opened)
    assert sorted(await place.keys("ds")) == ROOT_FILES


async def test_another_stores_probe_of_its_service_is_in_nobodys_way(place):
    async with place.store("ds") as store:
        await store.put(".asyncstore-probe-0123456789abcdef", b"")
    await make(place, "ds")
    await asyncstore.copy(place / "ds", place / "ds2", **place.ends)
    assert len(await place.keys("ds2")) == len(TREE) + 2


# ---- exists


async def test_exists_says_whether_a_dataset_is_there(place):
    await make(place, "ds")
    assert await asyncstore.exists(place / "ds", **place.access)
    assert not await asyncstore.exists(place / "d", **place.access)
    assert not await asyncstore.exists(place / "ds/x", **place.access)
    assert not await asyncstore.exists(place.base, **place.access)


@pytest.mark.parametrize("left", ROOT_FILES)
async def test_either_root_file_makes_a_dataset_exist(place, left):
    async with place.store("ds") as store:
        await store.put(left, (History() if "version" in left else DatasetMeta()).dump())
    assert await asyncstore.exists(place / "ds", **place.access)
    assert await asyncstore.list(place.base, **place.access) == [str(place_url(place, "ds"))]
    with pytest.raises(DatasetExistsError):
        await asyncstore.empty(place / "ds", **place.access)


def place_url(place, name):
    return asyncstore.StoreURL.parse(place / name)


# ---- damaged


@pytest.mark.parametrize("key", ROOT_FILES)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\x80\x04K\x01.", b"[" * 100_000])
async def test_a_dataset_whose_files_are_broken_is_corrupt(place, key, data):
    await make(place, "ds", **{key: data})
    with pytest.raises(DatasetCorruptError, match=key):
        await asyncstore.load(place / "ds", **place.access)
    with pytest.raises(DatasetCorruptError):
        await asyncstore.delete(place / "ds", **place.access)
    await asyncstore.delete(place / "ds", force=True, **place.access)
    assert not await place.keys("ds")


async def test_a_dataset_without_a_history_has_one_branch(place):
    async with place.store("ds") as store:
        await store.put("dataset_meta.json", DatasetMeta().dump())
    async with await asyncstore.load(place / "ds", **place.access) as ds:
        assert ds.branches == ["main"]


async def test_a_dataset_without_its_metadata_is_corrupt(place):
    async with place.store("ds") as store:
        await store.put("version_control_info.json", History().dump())
    with pytest.raises(DatasetCorruptError, match=r"dataset_meta\.json is missing"):
        await asyncstore.load(place / "ds", **place.access)


async def test_a_pickled_history_is_never_read(place):
    async with place.store("ds") as store:
        await store.put("dataset_meta.json", DatasetMeta().dump())
        await store.put("version_control_info", b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(NotSupportedError, match="pickle"):
        await asyncstore.load(place / "ds", **place.access)


# ---- delete


async def test_delete_leaves_nothing_and_spares_the_neighbours(place):
    for name in ("ds", "ds2"):
        await make(place, name)
    await asyncstore.delete(place / "ds", **place.access)
    assert not await place.keys("ds")
    assert not await asyncstore.exists(place / "ds", **place.access)
    assert len(await place.keys("ds2")) == len(TREE) + 2


@pytest.mark.parametrize("force", [False, True])
async def test_delete_of_nothing_says_so(place, force):
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.delete(place / "ds", force=force, **place.access)


async def test_only_force_deletes_other_files(place):
    async with place.store("other") as store:
        await store.put("a/b", b"")
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.delete(place / "other", **place.access)
    assert await place.keys("other") == ["a/b"]
    await asyncstore.delete(place / "other", force=True, **place.access)
    assert not await place.keys("other")


@pytest.mark.parametrize("force", [False, True])
async def test_delete_respects_allow_delete(place, force):
    await make(place, "ds")
    await set_meta(place, "ds", allow_delete=False)
    before = await content(place, "ds")
    with pytest.raises(DatasetError, match="allow_delete"):
        await asyncstore.delete(place / "ds", force=force, large_ok=True, **place.access)
    assert await content(place, "ds") == before


async def test_a_large_dataset_is_deleted_only_with_large_ok(place, monkeypatch):
    assert deleting.LARGE == 2**30
    monkeypatch.setattr(deleting, "LARGE", 50_000)
    await make(place, "ds")
    with pytest.raises(DatasetError, match="large_ok"):
        await asyncstore.delete(place / "ds", **place.access)
    assert len(await place.keys("ds")) == len(TREE) + 2
    await asyncstore.delete(place / "ds", large_ok=True, **place.access)
    assert not await place.keys("ds")


# ---- list


async def test_list_finds_datasets_at_any_depth_and_looks_into_none(place):
    for name in ("b", "a/deep/er", "a/deep2"):
        async with await asyncstore.empty(place / name, **place.access) as ds:
            await ds.store.put("x/chunks/1", b"")
            await ds.store.put(".queries/view/dataset_meta.json", b"{}")
    async with place.store("a") as store:
        await store.put("file", b"")
        await store.put("other/folder/file", b"")
    expected = [str(place_url(place, name)) for name in ("a/deep/er", "a/deep2", "b")]
    assert await asyncstore.list(place.base, **place.access) == expected
    assert await asyncstore.list(place / "a/deep2", **place.access) == expected[1:2]
    assert await asyncstore.list(place / "a/deep", **place.access) == expected[:1]
    assert await asyncstore.list(place / "nothing", **place.access) == []


# ---- copy


@pytest.mark.parametrize("overwrite", [False, True])
async def test_copy_takes_every_object_but_locks(place, overwrite):
    await make(place, "ds", **{"dataset_lock.lock": b"", "versions/c1/dataset_lock.lock": b""})
    if overwrite:
        await make(place, "to/ds2", old=b"old")
    made = await asyncstore.copy(place / "ds", place / "to/ds2", overwrite=overwrite, **place.ends)
    assert made.path == str(place_url(place, "to/ds2"))
    assert made.read_only
    before = await content(place, "ds")
    expected = {key: data for key, data in before.items() if not key.endswith(".lock")}
    assert await content(place, "to/ds2") == expected
    async with made, await asyncstore.load(place / "to/ds2", **place.access) as ds:
        assert not ds.read_only
        assert bytes(await made.store.get("x/chunks/1")) == b"one"


async def test_copy_takes_an_open_dataset(place):
    async with await asyncstore.empty(place / "ds", **place.access) as ds:
        await ds.store.put("x", b"1")
        await asyncstore.copy(ds, place / "ds2", **place.ends)
    assert (await content(place, "ds2"))["x"] == b"1"


async def test_copy_to_where_something_is_leaves_both_as_they_are(place):
    await make(place, "ds")
    await make(place, "ds2")
    async with place.store("other") as store:
        await store.put("file", b"mine")
    for name in ("ds2", "other"):
        before = await content(place, name)
        with pytest.raises(DatasetExistsError):
            await asyncstore.copy(place / "ds", place / name, **place.ends)
        assert await content(place, name) == before
    with pytest.raises(DatasetExistsError):
        await asyncstore.copy(place / "ds", place / "other", overwrite=True, **place.ends)
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.copy(place / "none", place / "new", **place.ends)


@pytest.mark.parametrize("to", ["ds", "ds/", "ds/inside", "ds/x"])
async def test_a_dataset_is_not_copied_or_renamed_into_itself(place, to):
    await make(place, "ds")
    for call in (
        asyncstore.copy(place / "ds", place / to, overwrite=True, **place.ends),
        asyncstore.rename(place / "ds", place / to, **place.access),
        asyncstore.copy(place / "ds", place.base, overwrite=True, **place.ends),
    ):
        with pytest.raises(InvalidPathError):
            await call
    assert len(await place.keys("ds")) == len(TREE) + 2


# ---- rename


@pytest.mark.parametrize("whole", [False, True])
async def test_rename_moves_everything_and_leaves_nothing(place, whole):
    await make(place, "a/ds")
    before = await content(place, "a/ds")
    name, target = (place / "b/c/new", "b/c/new") if whole else ("new", "a/new")
    made = await asyncstore.rename(place / "a/ds", name, **place.access)
    assert made.path == str(place_url(place, target))
    assert await content(place, target) == before
    assert not await place.keys("a/ds")
    async with await asyncstore.load(place / target, **place.access) as ds:
        assert not ds.read_only


async def test_rename_to_where_something_is_leaves_both_as_they_are(place):
    await make(place, "ds")
    await make(place, "ds2")
    async with place.store("other") as store:
        await store.put("file", b"mine")
    before = [await content(place, name) for name in ("ds", "ds2", "other")]
    for name in ("ds2", "other"):
        with pytest.raises(DatasetExistsError):
            await asyncstore.rename(place / "ds", name, **place.access)
    assert [await content(place, name) for name in ("ds", "ds2", "other")] == before
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.rename(place / "none", "new", **place.access)


async def test_rename_stays_in_its_bucket(place):
    await make(place, "ds")
    other = "mem://elsewhere/ds" if place.kind != "mem" else "/tmp/elsewhere"
    with pytest.raises(InvalidPathError, match="copy"):
        await asyncstore.rename(place / "ds", other, **place.access)
    assert len(await place.keys("ds")) == len(TREE) + 2


@pytest.mark.parametrize("where", [("seaweedfs", "trio")], ids="-".join)
async def test_the_whole_life_of_a_dataset_on_trio_over_a_service(place):
    await make(place, "ds")
    await asyncstore.copy(place / "ds", place / "ds2", **place.ends)
    async with await asyncstore.rename(place / "ds2", "ds3", **place.access) as ds:
        assert bytes(await ds.store.get("x/chunks/1")) == b"one"
    expected = [place / "ds", place / "ds3"]
    assert await asyncstore.list(place.base, **place.access) == expected
    await asyncstore.delete(place / "ds", **place.access)
    assert await asyncstore.list(place.base, **place.access) == expected[1:]
