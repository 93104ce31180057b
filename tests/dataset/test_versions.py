"""`path@branch` and `path@commit`, and paths that have an `@` of their own."""

import dataclasses

import pytest

import asyncstore
from asyncstore.errors import DatasetNotFoundError, InvalidPathError, ReadOnlyError
from asyncstore.format import FIRST_COMMIT, Commit, DatasetMeta, History

pytestmark = pytest.mark.anyio

HISTORY = History(
    {
        FIRST_COMMIT: Commit(children=("aaa", "bbb"), time=1.0, message="first"),
        "aaa": Commit(parent=FIRST_COMMIT),
        "bbb": Commit(branch="dev/x", parent=FIRST_COMMIT),
    },
    {"main": "aaa", "dev/x": "bbb"},
)


@pytest.fixture
async def versions(anyio_backend, place):
    """A dataset with a commit and two branches; each version's metadata tells it apart."""

    async def make(name):
        async with place.store(name) as store:
            await store.put("version_control_info.json", HISTORY.dump())
            for key, group in (("", "1"), ("versions/aaa/", "a"), ("versions/bbb/", "b")):
                meta = dataclasses.replace(DatasetMeta(), groups=(group,))
                await store.put(f"{key}dataset_meta.json", meta.dump())
        return place / name

    return make


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", ("a", "main", "aaa")),
        ("@main", ("a", "main", "aaa")),
        ("@aaa", ("a", "main", "aaa")),
        ("@dev/x", ("b", "dev/x", "bbb")),
        (f"@{FIRST_COMMIT}", ("1", "main", FIRST_COMMIT)),
    ],
)
@pytest.mark.parametrize("function", [asyncstore.load, asyncstore.dataset])
async def test_a_version_is_opened_by_branch_or_commit(
    versions, place, function, address, expected
):
    group, branch, pending = expected
    path = await versions("ds")
    async with await function(path + address, **place.access) as ds:
        assert ds.meta.groups == (group,)
        assert (ds.branch, ds.commit_id, ds.pending_commit_id) == (branch, FIRST_COMMIT, pending)
        assert ds.branches == ["main", "dev/x"]
        assert ds.path == str(asyncstore.StoreURL.parse(path))
        assert ds.read_only == (pending == FIRST_COMMIT)
        assert ds.prefix == ("" if pending == FIRST_COMMIT else f"versions/{pending}/")
        locked = [key for key in await place.keys("ds") if key.endswith(".lock")]
        mine = [f"versions/{pending}/dataset_lock.lock"]
        assert locked == (mine if place.locks and not ds.read_only else [])


async def test_a_past_commit_is_not_written_to(versions, place):
    path = await versions("ds")
    with pytest.raises(ReadOnlyError, match="past commit"):
        await asyncstore.load(f"{path}@{FIRST_COMMIT}", read_only=False, **place.access)
    async with await asyncstore.load(f"{path}@{FIRST_COMMIT}", **place.access) as ds:
        with pytest.raises(ReadOnlyError, match="past commit"):
            await ds.store.put("k", b"")


async def test_an_unknown_version_says_which_there_are(versions, place):
    path = await versions("ds")
    for function in (asyncstore.load, asyncstore.dataset):
        with pytest.raises(DatasetNotFoundError, match=r"'gone'; its branches are dev/x, main"):
            await function(f"{path}@gone", **place.access)


async def test_an_at_sign_may_be_part_of_the_path(versions, place):
    path = await versions("user@host/ds@v1/")
    await versions("user@host/ds")
    for address, group in (("", "a"), ("@dev/x", "b")):
        async with await asyncstore.load(path.rstrip("/") + address, **place.access) as ds:
            assert ds.meta.groups == (group,)
            assert ds.url.name == "ds@v1"
    assert await asyncstore.exists(place / "user@host/ds@v1", **place.access)
    made = await asyncstore.copy(place / "user@host/ds@v1", place / "user@host/c", **place.ends)
    assert made.meta.groups == ("a",)
    await asyncstore.delete(place / "user@host/ds@v1", **place.access)
    assert not await asyncstore.exists(place / "user@host/ds@v1", **place.access)
    assert await asyncstore.exists(place / "user@host/ds", **place.access)


async def test_where_the_whole_path_is_a_dataset_its_at_sign_means_no_version(versions, place):
    await versions("ds")
    await (await asyncstore.empty(place / "ds@main/", **place.access)).aclose()
    async with await asyncstore.load(place / "ds@main", **place.access) as ds:
        assert ds.meta.groups == ()
        assert ds.url.name == "ds@main"


async def test_other_functions_take_no_version(versions, place):
    path = await versions("ds")
    before = await place.keys("ds")
    for call in (
        asyncstore.exists(f"{path}@main", **place.access),
        asyncstore.empty(f"{path}@main", **place.access),
        asyncstore.dataset(f"{path}@main", overwrite=True, **place.access),
        asyncstore.delete(f"{path}@main", **place.access),
        asyncstore.rename(f"{path}@main", "new", **place.access),
        asyncstore.copy(f"{path}@main", place / "new", **place.ends),
        asyncstore.copy(path, place / "new@main", **place.ends),
        asyncstore.rename(path, "new@main", **place.access),
    ):
        with pytest.raises(ValueError, match=r"@|version") as caught:
            await call
        assert isinstance(caught.value, InvalidPathError)
    assert await place.keys("ds") == before


async def test_a_copy_has_all_versions(versions, place):
    path = await versions("ds")
    await asyncstore.copy(path, place / "ds2", **place.ends)
    async with await asyncstore.load(place / "ds2@dev/x", **place.access) as ds:
        assert ds.meta.groups == ("b",)
        assert ds.history == HISTORY


async def test_every_heads_allow_delete_is_respected(versions, place):
    path = await versions("ds")
    async with place.store("ds") as store:
        meta = dataclasses.replace(DatasetMeta(), allow_delete=False)
        await store.put("versions/bbb/dataset_meta.json", meta.dump())
    with pytest.raises(asyncstore.DatasetError, match="allow_delete"):
        await asyncstore.delete(path, **place.access)
