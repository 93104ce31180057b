"""Names, paths and keywords: what is taken, what is refused, and what the refusal says."""

import inspect
import pathlib
from typing import Any

import pytest

import asyncstore
from asyncstore.datasets.options import Reach
from asyncstore.errors import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidPathError,
    NotSupportedError,
)

pytestmark = pytest.mark.anyio

FUNCTIONS = ("load", "dataset", "empty", "exists", "delete", "list")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("name", [*FUNCTIONS, "rename", "copy"])
async def test_an_unknown_keyword_is_a_type_error(name):
    args = ["mem://keywords/ds"] + ["mem://keywords/new"] * (name in ("rename", "copy"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'overwite'"):
        await getattr(asyncstore, name)(*args, overwite=True)


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("load", {"access_method": "download"}),
        ("load", {"reset": True}),
        ("load", {"indra": True}),
        ("load", {"check_integrity": True}),
        ("load", {"memory_cache_size": 10}),
        ("load", {"local_cache_size": 10}),
        ("load", {"unlink": True}),
        ("load", {"index_params": {}}),
        ("dataset", {"public": True}),
        ("empty", {"runtime": {"tensor_db": True}}),
        ("copy", {"tensors": ["x"]}),
        ("copy", {"scheduler": "processed"}),
    ],
)
async def test_a_known_keyword_that_would_be_ignored_is_refused(name, keywords):
    args = ["mem://keywords/ds"] + ["mem://keywords/new"] * (name == "copy")
    with pytest.raises(NotSupportedError, match=f"{name}.{next(iter(keywords))}"):
        await getattr(asyncstore, name)(*args, **keywords)


async def test_keywords_of_old_programs_with_their_defaults_are_taken():
    old: Any = {"memory_cache_size": 2000, "local_cache_size": 0, "index_params": None}
    ds = await asyncstore.empty(
        "mem://keywords/old", runtime=None, public=False, verbose=False, **old
    )
    await ds.aclose()
    ds = await asyncstore.load(
        path="mem://keywords/old",
        read_only=None,
        access_method="stream",
        unlink=False,
        reset=False,
        indra=False,
        check_integrity=None,
        lock_timeout=0,
        lock_enabled=True,
        org_id=None,
        token=None,
        creds=None,
        **old,
    )
    await ds.aclose()


def test_no_keyword_is_taken_by_position():
    for name in (*FUNCTIONS, "rename", "copy"):
        kinds = [p.kind for p in inspect.signature(getattr(asyncstore, name)).parameters.values()]
        assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) == (
            2 if name in ("rename", "copy") else 1
        )


def test_a_service_is_reached_by_the_same_keywords_as_a_store():
    store = set(inspect.signature(asyncstore.open_store).parameters)
    assert store - {"path", "creds", "token", "hub_url", "read_only"} == Reach.__optional_keys__


async def test_every_function_passes_on_how_its_service_is_reached(seaweedfs):
    creds = {name: value for name, value in seaweedfs.creds.items() if name != "endpoint_url"}
    seen: list[str] = []
    reach: Any = {
        "endpoint_url": seaweedfs.url,
        "region": "us-east-1",
        "deadline": 60.0,
        "trace": lambda event: seen.append(event.op),
    }
    base = f"s3://{seaweedfs.make_bucket()}/reach"
    both: Any = {"creds": creds, **reach}

    async def told(call):
        seen.clear()
        result = await call
        if isinstance(result, asyncstore.Dataset):
            await result.aclose()
        assert seen, "the trace was not passed on"
        return result

    await told(asyncstore.empty(f"{base}/a", lock_enabled=False, **both))
    await told(asyncstore.dataset(f"{base}/a", lock_enabled=False, **both))
    await told(asyncstore.load(f"{base}/a", read_only=True, **both))
    assert await told(asyncstore.exists(f"{base}/a", **both))
    ends: Any = {"src_creds": creds, "dest_creds": creds, "progressbar": False}
    await told(
        asyncstore.copy(
            f"{base}/a",
            f"{base}/b",
            src_options=reach,
            dest_options={"endpoint_url": seaweedfs.url, "region": "us-east-1"},
            **ends,
        )
    )
    await told(asyncstore.rename(f"{base}/b", "c", **both))
    assert await told(asyncstore.list(base, **both)) == [f"{base}/a", f"{base}/c"]
    await told(asyncstore.delete(f"{base}/c", **both))


async def test_how_the_ends_of_a_copy_are_reached_is_said_for_each():
    with pytest.raises(TypeError, match="'endpoint_url'; it goes into src_options="):
        await asyncstore.copy("mem://a", "mem://b", endpoint_url="http://127.0.0.1:1")  # type: ignore[call-arg]
    for end in ("src_options", "dest_options"):
        wrong: Any = {end: {"endpoint": "x"}}
        with pytest.raises(TypeError, match=f"{end}.*'endpoint'"):
            await asyncstore.copy("mem://a", "mem://b", **wrong)


async def test_many_small_local_writes_of_a_dataset_may_be_flushed_at_its_end(tmp_path):
    async with await asyncstore.empty(tmp_path / "ds", durability="deferred") as ds:
        facts = await ds.store.diagnose()
        assert facts["capabilities"]["durability"] == "deferred"
    with pytest.raises(ConfigurationError, match="durability"):
        await asyncstore.load(tmp_path / "ds", durability="none")  # type: ignore[arg-type]


async def test_managed_credentials_need_their_organisation_and_a_bucket():
    with pytest.raises(ConfigurationError, match="no other keys"):
        await asyncstore.load("s3://bucket/ds", creds={"creds_key": "k", "x": 1}, org_id="o")
    with pytest.raises(ValueError, match="org_id"):
        await asyncstore.exists("s3://bucket/ds", creds={"creds_key": "k"})
    for path in ("hub://o/ds", "mem://place"):
        with pytest.raises(ConfigurationError, match="s3:// and gcs://"):
            await asyncstore.empty(path, creds={"creds_key": "k"}, org_id="o")


@pytest.mark.parametrize("name", ["a.b", "a b", "ä", "a@b", "a+b"])
async def test_a_name_that_the_old_client_refuses_is_refused_for_a_new_dataset(name, tmp_path):
    for function in (asyncstore.empty, asyncstore.dataset):
        with pytest.raises(InvalidPathError, match="name"):
            await function(f"mem://names/{name}")
    if name in ("a.b", "a b"):
        await (await asyncstore.empty(tmp_path / name)).aclose()
    else:
        with pytest.raises(InvalidPathError, match="name"):
            await asyncstore.empty(tmp_path / name)


async def test_a_slash_at_the_end_says_that_a_name_is_meant_so():
    await (await asyncstore.empty("mem://names/a.b/")).aclose()
    assert await asyncstore.exists("mem://names/a.b")
    await (await asyncstore.load("mem://names/a.b")).aclose()
    await asyncstore.rename("mem://names/a.b", "mem://names/c.d/")
    await asyncstore.copy("mem://names/c.d", "mem://names/e.f/", progressbar=False)
    assert await asyncstore.list("mem://names") == ["mem://names/c.d", "mem://names/e.f"]


async def test_paths_may_be_path_objects_urls_and_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    async with await asyncstore.empty("~/ds") as ds:
        assert ds.path == str(tmp_path / "ds")
    for path in (
        tmp_path / "ds",
        pathlib.Path(tmp_path / "ds"),
        f"file://{tmp_path}/ds",
        asyncstore.StoreURL.parse(tmp_path / "ds"),
    ):
        assert await asyncstore.exists(path)
        async with await asyncstore.load(path) as ds:
            assert ds.path == str(tmp_path / "ds")
    monkeypatch.chdir(tmp_path)
    assert await asyncstore.list(".") == [str(tmp_path / "ds")]


async def test_a_file_is_no_place_for_a_dataset(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("load", "dataset", "empty", "exists", "delete"):
        with pytest.raises(ValueError, match="file"):
            await getattr(asyncstore, name)(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


async def test_a_dataset_may_be_a_whole_bucket():
    await (await asyncstore.empty("mem://whole")).aclose()
    assert await asyncstore.list("mem://whole") == ["mem://whole"]
    with pytest.raises(InvalidPathError, match="parent"):
        await asyncstore.rename("mem://whole", "new")
    await asyncstore.delete("mem://whole")
    assert not await asyncstore.exists("mem://whole")


async def test_saved_views_are_not_deleted_by_path():
    with pytest.raises(NotSupportedError, match="views"):
        await asyncstore.delete("mem://ds/x/.queries/view")


async def test_delete_leaves_no_folder_behind(tmp_path):
    async with await asyncstore.empty(tmp_path / "a/ds") as ds:
        await ds.store.put("x/y/z", b"")
    await asyncstore.delete(tmp_path / "a/ds")
    assert list((tmp_path / "a").iterdir()) == []


async def test_a_link_to_a_dataset_is_opened_and_deleted_through(tmp_path):
    await (await asyncstore.empty(tmp_path / "real")).aclose()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    async with await asyncstore.load(tmp_path / "link") as ds:
        assert not ds.read_only
    await asyncstore.rename(tmp_path / "link", "moved")
    assert await asyncstore.list(tmp_path) == [str(tmp_path / "moved")]
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.load(tmp_path / "link")


async def test_nothing_is_written_where_a_dataset_is_refused_not_even_a_lock(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_bytes(b"mine")
    before = (tmp_path / "other").stat().st_mtime_ns
    for function in (asyncstore.empty, asyncstore.dataset):
        with pytest.raises(asyncstore.DatasetExistsError):
            await function(tmp_path / "other")
    assert (tmp_path / "other").stat().st_mtime_ns == before
