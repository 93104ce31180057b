"""Dataset functions on a hub's paths, call by call: what the hub is asked, and when."""

from __future__ import annotations

import json

import pytest

import asyncstore
from asyncstore.errors import (
    ConfigurationError,
    DatasetExistsError,
    DatasetNotFoundError,
    InvalidPathError,
    PermissionDeniedError,
    ReadOnlyError,
    UnauthenticatedError,
)
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.testing.fake_hub import FakeHub
from asyncstore.testing.small_http import Reply

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def hub(seaweedfs):
    with FakeHub(f"s3://{seaweedfs.make_bucket()}", lambda: seaweedfs.creds) as hub:
        hub.tokens[CANARY_TOKEN] = "ann"
        yield hub


@pytest.fixture
def at(hub):
    return {"hub_url": hub.url, "token": CANARY_TOKEN}


def forbidden(**more):
    return Reply(403, json.dumps({"description": "not yours", **more}).encode())


def asked(hub):
    """The calls but for those about credentials."""
    return [(call.method, call.path) for call in hub.calls if not call.path.endswith("/creds")]


async def test_a_dataset_is_made_filled_loaded_renamed_listed_and_deleted(hub, at):
    async with await asyncstore.empty("hub://org/one", public=True, **at) as ds:
        assert ds.path == "hub://org/one"
        await ds.store.put("chunks/0", b"x" * 1000)
    assert hub.known["org/one"]["public"] is True
    assert hub.known["org/one"]["meta"]["tensors"] == []
    assert await asyncstore.exists("hub://org/one", **at)
    assert not await asyncstore.exists("hub://org/two", **at)
    renamed = await asyncstore.rename("hub://org/one", "two", **at)
    assert (renamed.path, renamed.read_only) == ("hub://org/two", True)
    await renamed.aclose()
    async with await asyncstore.load("hub://org/two", **at) as ds:
        assert bytes(await ds.store.get("chunks/0")) == b"x" * 1000
        assert ds.mode == "a"
    assert await asyncstore.list("hub://org", **at) == ["hub://org/two"]
    assert await asyncstore.list("org", **at) == ["hub://org/two"]
    await asyncstore.delete("hub://org/two", **at)
    assert await asyncstore.list("hub://org", **at) == []
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.load("hub://org/two", **at)


async def test_the_hub_knows_of_a_dataset_before_anything_is_written(hub, seaweedfs, at):
    bucket = hub.base.removeprefix("s3://")
    there = []

    def look():
        client = seaweedfs.client()
        there.append(client.list_objects_v2(Bucket=bucket)["KeyCount"])
        client.close()

    hub.fail("before", "/api/dataset/create", look)
    await (await asyncstore.empty("hub://org/one", **at)).aclose()
    assert there == [0]


async def test_what_cannot_be_registered_is_not_written(hub, seaweedfs, at):
    hub.fail("reply", "/api/dataset/create", forbidden())
    with pytest.raises(PermissionDeniedError, match="not yours"):
        await asyncstore.empty("hub://org/one", **at)
    async with asyncstore.open_store(f"{hub.base}/", creds=seaweedfs.creds) as store:
        assert [meta.key async for meta in store.list()] == []


async def test_a_mode_is_asked_for_as_the_call_means_it(hub, at):
    await (await asyncstore.empty("hub://org/one", **at)).aclose()
    for read_only, mode in ((None, None), (True, "r"), (False, "w")):
        before = len(hub.calls)
        await (await asyncstore.load("hub://org/one", read_only=read_only, **at)).aclose()
        (call,) = hub.calls[before:]
        assert call.query.get("mode") == mode
        assert call.query["no_cache"] == "False"
        assert json.loads(call.query["db_engine"]) == {"enabled": False}
        assert call.headers["hub-cli-version"]


@pytest.mark.parametrize("lock_enabled", [True, False])
async def test_where_the_hub_grants_reading_a_dataset_is_read_only(hub, at, lock_enabled):
    await (await asyncstore.empty("hub://org/one", **at)).aclose()
    hub.mode = "r"
    with pytest.warns(UserWarning, match="read-only"):
        ds = await asyncstore.load("hub://org/one", lock_enabled=lock_enabled, **at)
    assert ds.mode == "r"
    with pytest.raises(ReadOnlyError):
        await ds.store.put("k", b"")
    await ds.aclose()
    with pytest.raises(PermissionDeniedError):
        await asyncstore.load("hub://org/one", read_only=False, lock_enabled=lock_enabled, **at)
    with pytest.raises(PermissionDeniedError):
        await asyncstore.empty("hub://org/two", **at)
    assert "org/two" not in hub.known


async def test_a_name_that_is_taken_is_not_given_twice(hub, at):
    for name in ("one", "two"):
        await (await asyncstore.empty(f"hub://org/{name}", **at)).aclose()
    with pytest.raises(DatasetExistsError, match="name"):
        await asyncstore.rename("hub://org/one", "two", **at)
    assert await asyncstore.list("hub://org", **at) == ["hub://org/one", "hub://org/two"]
    assert await asyncstore.exists("hub://org/one", **at)


async def test_a_dataset_is_copied_in_and_out_and_between_two(hub, at, tmp_path):
    async with await asyncstore.empty(tmp_path / "ds") as ds:
        for number in range(5):
            await ds.store.put(f"chunks/{number}", bytes([number]) * 100)
    for source, target in (
        (tmp_path / "ds", "hub://org/one"),
        ("hub://org/one", "hub://org/two"),
        ("hub://org/two", tmp_path / "again"),
    ):
        await (await asyncstore.copy(source, target, progressbar=False, **at)).aclose()
    async with await asyncstore.load(tmp_path / "again", read_only=True) as ds:
        assert bytes(await ds.store.get("chunks/4")) == b"\4" * 100
    assert set(hub.known) == {"org/one", "org/two"}


@pytest.mark.parametrize(
    ("status", "kind"), [(401, UnauthenticatedError), (403, PermissionDeniedError)]
)
async def test_a_refusal_is_not_absence(hub, at, status, kind):
    hub.fail("reply", "/creds", Reply(status, b'{"description": "no"}'), times=9)
    for function in (asyncstore.load, asyncstore.exists, asyncstore.empty, asyncstore.delete):
        with pytest.raises(kind):
            await function("hub://org/one", **at)


async def test_what_the_hub_does_not_show_is_absent(hub, at):
    hub.fail("reply", "/creds", Reply(404, b'{"description": "no such data set"}'), times=9)
    assert not await asyncstore.exists("hub://org/one", **at)
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.load("hub://org/one", **at)


async def test_a_dataset_is_connected_by_the_name_of_stored_credentials(hub, seaweedfs, at):
    where = f"s3://{seaweedfs.make_bucket()}/data/mine"
    await (await asyncstore.empty(where, creds=seaweedfs.creds)).aclose()
    async with await asyncstore.connect(where, "hub://org/mine", creds_key="key", **at) as ds:
        assert ds.path == "hub://org/mine"
    told = hub.known["org/mine"]
    assert told["src_path"] == where
    assert told["creds_key"] == "key"
    ds = await asyncstore.connect(where, org_id="org", ds_name="other", creds_key="key", **at)
    await ds.aclose()
    assert hub.places["org/other"] == where


async def test_what_cannot_be_connected_is_refused(hub, at):
    with pytest.raises(InvalidPathError, match="bucket"):
        await asyncstore.connect("mem://place", "hub://org/x", creds_key="k", **at)
    with pytest.raises(InvalidPathError, match="hub://"):
        await asyncstore.connect("s3://bucket/x", "s3://bucket/y", creds_key="k", **at)
    with pytest.raises(ConfigurationError, match="not both"):
        await asyncstore.connect("s3://bucket/x", creds_key="k", **at)
    assert hub.calls == []
    hub.fail("reply", "/connect", Reply(400, b'{"description": "the key opens nothing"}'))
    with pytest.raises(PermissionDeniedError, match="opens nothing"):
        await asyncstore.connect("s3://bucket/x", org_id="org", creds_key="k", **at)


async def test_stored_credentials_open_a_path_of_the_bucket(hub, seaweedfs, at):
    where = f"s3://{seaweedfs.make_bucket()}/mine"
    creds = {"creds_key": "key"}
    await (await asyncstore.empty(where, creds=creds, org_id="org", **at)).aclose()
    assert await asyncstore.exists(where, creds=seaweedfs.creds)
    assert hub.count("/storage/name", "GET") == 1
    assert hub.calls[0].query == {"query": "key"}


async def test_the_hub_is_told_who_may_read(hub, at):
    await (await asyncstore.empty("hub://org/one", **at)).aclose()
    for function, public in ((asyncstore.make_public, True), (asyncstore.make_private, False)):
        await function("hub://org/one", **at)
        assert hub.known["org/one"]["public"] is public
    with pytest.raises(NotImplementedError, match="bucket"):
        await asyncstore.make_public("s3://bucket/x")


async def test_an_entry_without_files_is_deleted_by_force(hub, at):
    hub.known["org/one"] = {}
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.delete("hub://org/one", **at)
    await asyncstore.delete("hub://org/one", force=True, **at)
    assert hub.known == {}


@pytest.mark.parametrize("path", ["hub://org/a/b", "hub://org/a.b", "hub://org/a@main"])
async def test_a_path_that_names_no_dataset_of_a_hub_is_refused(hub, at, path):
    with pytest.raises(InvalidPathError, match="hub://organisation/name"):
        await asyncstore.empty(path, **at)
    assert hub.calls == []


async def test_a_version_is_loaded_without_asking_for_its_path(hub, at):
    await (await asyncstore.empty("hub://org/one", **at)).aclose()
    async with await asyncstore.load("hub://org/one@main", **at) as ds:
        assert ds.branch == "main"
    assert all("@" not in call.path and "%40" not in call.path for call in hub.calls)


async def test_a_call_that_meets_a_hub_for_a_moment_unwell_is_made_again(hub, at):
    hub.fail("reply", "/api/dataset/create", Reply(503, b"<html>"), times=2)
    hub.fail("reply", "/creds", Reply(502, b"<html>"), times=2)
    await (await asyncstore.empty("hub://org/one", **at)).aclose()
    assert asked(hub).count(("POST", "/api/dataset/create")) == 3
