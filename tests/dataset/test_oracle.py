"""Deep Lake 3.9 itself: it opens what is made here, and what it makes is opened here."""

import time

import anyio
import pytest

import asyncstore
from asyncstore.errors import DatasetExistsError, DatasetLockedError
from asyncstore.format import FIRST_COMMIT, DatasetMeta, History, LockRecord

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]  # pip may have to install it first

PLACES = [("file", "asyncio"), ("seaweedfs", "asyncio")]

FULL = """
ds = deeplake.empty(args[0], creds=args[1])
ds.create_tensor("g/x", dtype="int64")
ds.create_tensor("text", htype="text")
ds["g/x"].extend([1, 2, 3])
ds.text.extend(["a", "bc", ""])
ds.info.update(made="by Deep Lake")
first = ds.commit("first")
ds.checkout("dev", create=True)
ds["g/x"].append(4)
second = ds.commit("second")
ds.flush()
result = [first, second]
"""
READ = """
ds = deeplake.load(args[0], creds=args[1], read_only=True)
result = [ds["g/x"].numpy().ravel().tolist(), ds.text.data()["value"], dict(ds.info), ds.branches]
"""
CONTENT = [[1, 2, 3], ["a", "bc", ""], {"made": "by Deep Lake"}, ["main", "dev"]]


@pytest.fixture(params=PLACES, ids="-".join)
def where(request):
    return request.param


@pytest.fixture
def creds(place):
    return place.access.get("creds") or {}


async def run(oracle, code, *args):
    return await anyio.to_thread.run_sync(lambda: oracle.run(code, *args))


async def test_it_reaches_loopback_only(oracle):
    tried = await run(
        oracle,
        """
        import socket
        result = [deeplake.__version__]
        for host in ("192.0.2.1", "example.com"):
            try:
                socket.create_connection((host, 80), timeout=3)
            except OSError as error:
                result.append(str(error))
        """,
    )
    assert tried[0] == "3.9.52"
    assert [("is not loopback" in text) for text in tried[1:]] == [True, True]


async def test_what_both_write_for_an_empty_dataset_is_the_same_bytes(oracle, place, creds):
    await run(oracle, "deeplake.empty(args[0], creds=args[1])", place / "theirs", creds)
    async with await asyncstore.empty(place / "ours", **place.access):
        pass
    for name in ("theirs", "ours"):
        assert sorted(await place.keys(name)) == ["dataset_meta.json", "version_control_info.json"]
        async with place.store(name) as store:
            assert bytes(await store.get("dataset_meta.json")) == DatasetMeta().dump()
            assert bytes(await store.get("version_control_info.json")) == History().dump()


async def test_it_opens_what_is_made_here_writes_to_it_and_commits(oracle, place, creds):
    await (await asyncstore.empty(place / "ds", **place.access)).aclose()
    commit, listed = await run(
        oracle,
        """
        assert deeplake.exists(args[0], creds=args[1])
        ds = deeplake.load(args[0], creds=args[1])
        assert not ds.read_only
        ds.create_tensor("x")
        ds.x.extend([1.5, 2.5])
        result = [ds.commit("mine"), list(ds.tensors)]
        """,
        place / "ds",
        creds,
    )
    assert listed == ["x"]
    async with await asyncstore.load(place / "ds", **place.access) as ds:
        assert not ds.read_only
        assert ds.commit_id == commit == FIRST_COMMIT
        assert "x" in ds.meta.tensors
        assert ds.history.commits[commit].message == "mine"
        assert {m.key async for m in ds.store.list("x/chunks/")}


async def test_what_it_makes_is_opened_listed_copied_renamed_and_deleted(oracle, place, creds):
    first, second = await run(oracle, FULL, place / "ds", creds)
    async with await asyncstore.load(place / "ds", **place.access) as ds:
        assert not ds.read_only
        assert ds.branch == "main"
        assert ds.branches == ["main", "dev"]
        assert ds.commit_id == first
        assert set(ds.meta.tensor_names) > {"g/x", "text"}
    async with await asyncstore.load(f"{place / 'ds'}@dev", **place.access) as ds:
        assert ds.commit_id == second
        assert ds.meta.groups == ("g",)
    async with await asyncstore.load(f"{place / 'ds'}@{second}", **place.access) as ds:
        assert ds.read_only
    assert len(await asyncstore.list(place.base, **place.access)) == 1

    await asyncstore.copy(place / "ds", place / "copy", **place.ends)
    await asyncstore.rename(place / "copy", "renamed", **place.access)
    await asyncstore.delete(place / "ds", **place.access)
    gone = "result = [deeplake.exists(path, creds=args[1]) for path in args[0]]"
    paths = [place / name for name in ("ds", "copy", "renamed")]
    assert await run(oracle, gone, paths, creds) == [False, False, True]
    assert await run(oracle, READ, place / "renamed", creds) == CONTENT


async def test_a_dataset_is_copied_between_disk_and_a_service(oracle, place, creds, tmp_path):
    await run(oracle, FULL, str(tmp_path / "from"), {})
    await asyncstore.copy(
        tmp_path / "from", place / "ds", dest_creds=place.access.get("creds"), progressbar=False
    )
    assert await run(oracle, READ, place / "ds", creds) == CONTENT
    await asyncstore.copy(
        place / "ds", tmp_path / "back", src_creds=place.access.get("creds"), progressbar=False
    )
    assert await run(oracle, READ, str(tmp_path / "back"), {}) == CONTENT


async def test_its_allow_delete_is_respected(oracle, place, creds):
    code = "ds = deeplake.empty(args[0], creds=args[1]); ds.allow_delete = False"
    await run(oracle, code, place / "ds", creds)
    with pytest.raises(asyncstore.DatasetError, match="allow_delete"):
        await asyncstore.delete(place / "ds", **place.access)
    with pytest.raises(DatasetExistsError, match="allow_delete"):
        await asyncstore.empty(place / "ds", overwrite=True, **place.access)


async def test_our_lock_keeps_it_out(oracle, place, creds):
    async with await asyncstore.empty(place / "ds", **place.access) as ds:
        await ds.store.put("k", b"")
        seen = await run(
            oracle,
            """
            ds = deeplake.load(args[0], creds=args[1])
            result = [ds.read_only]
            try:
                deeplake.load(args[0], creds=args[1], read_only=False)
            except Exception as error:
                result.append(type(error).__name__)
            """,
            place / "ds",
            creds,
        )
        assert seen == [True, "LockedException"]
        await ds.store.put("k", b"still ours")
    code = "result = deeplake.load(args[0], creds=args[1], read_only=False).read_only"
    assert await run(oracle, code, place / "ds", creds) is False


async def test_its_lock_keeps_us_out(oracle, place, creds):
    await (await asyncstore.empty(place / "ds", **place.access)).aclose()
    code = "ds = deeplake.load(args[0], creds=args[1], read_only=False)"
    holding = oracle.running(code, place / "ds", creds)
    await anyio.to_thread.run_sync(holding.__enter__)
    try:
        async with place.store("ds") as store:
            record = LockRecord.parse(bytes(await store.get("dataset_lock.lock")))
        assert record is not None
        assert 200 < record.expires - time.time() < 301
        with pytest.raises(DatasetLockedError, match=f"process {record.process} on machine"):
            await asyncstore.load(place / "ds", read_only=False, **place.access)
        for call in (
            asyncstore.delete(place / "ds", **place.access),
            asyncstore.rename(place / "ds", "new", **place.access),
            asyncstore.empty(place / "ds", overwrite=True, **place.access),
        ):
            with pytest.raises(DatasetLockedError):
                await call
        with pytest.warns(UserWarning, match="opened read-only"):
            ds = await asyncstore.load(place / "ds", **place.access)
        assert ds.read_only
        await ds.aclose()
        ds = await asyncstore.load(place / "ds", verbose=False, **place.access)
        await ds.aclose()
        async with await asyncstore.load(place / "ds", read_only=True, **place.access) as ds:
            assert ds.read_only
    finally:
        await anyio.to_thread.run_sync(holding.__exit__, None, None, None)
    async with await asyncstore.load(place / "ds", read_only=False, **place.access) as ds:
        assert not ds.read_only
