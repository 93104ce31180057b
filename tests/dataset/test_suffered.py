"""What users of the old client suffered with datasets, and must not suffer here."""

import os
import pickle
import subprocess
import sys

import pytest

import asyncstore
from asyncstore.errors import (
    ConfigurationError,
    DatasetNotFoundError,
    NotFoundError,
    StoreError,
)

pytestmark = pytest.mark.anyio

S3 = [("seaweedfs", "asyncio"), ("ministack", "asyncio")]


@pytest.fixture(params=[*S3, ("gcs", "asyncio")], ids="-".join)
def where(request):
    return request.param


def calls(path, access):
    creds = access.get("creds")
    ends = {"src_creds": creds, "dest_creds": creds, "progressbar": False}
    return {
        "load": lambda: asyncstore.load(path, **access),
        "dataset": lambda: asyncstore.dataset(path, **access),
        "empty": lambda: asyncstore.empty(path, **access),
        "overwrite": lambda: asyncstore.empty(path, overwrite=True, **access),
        "exists": lambda: asyncstore.exists(path, **access),
        "delete": lambda: asyncstore.delete(path, **access),
        "force": lambda: asyncstore.delete(path, force=True, **access),
        "rename": lambda: asyncstore.rename(path, "new", **access),
        "list": lambda: asyncstore.list(path, **access),
        "copy": lambda: asyncstore.copy(path, f"{path}2", **ends),
    }


NAMES = sorted(calls("", {}))


@pytest.fixture
async def made(anyio_backend, place):
    async with await asyncstore.empty(place / "ds", **place.access) as ds:
        await ds.store.put("k", b"")
    return sorted(await place.keys())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", S3, ids="-".join)
async def test_a_wrong_secret_is_never_an_absent_dataset_nor_somebody_else(
    made, place, monkeypatch, name
):
    """Neither is the environment's identity taken in its place."""
    creds = place.access["creds"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", creds["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", creds["aws_secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", creds["endpoint_url"])
    wrong = {"creds": creds | {"aws_secret_access_key": "not the secret"}}
    for path in (place / "ds", place / "absent"):
        with pytest.raises(PermissionError) as caught:
            await calls(path, wrong)[name]()
        assert not isinstance(caught.value, NotFoundError)
        assert "not the secret" not in str(caught.value)
    assert sorted(await place.keys()) == made


@pytest.mark.parametrize("name", NAMES)
async def test_a_missing_bucket_is_never_an_absent_dataset(place, name):
    scheme = place.base.partition("://")[0]
    with pytest.raises(StoreError) as caught:
        await calls(f"{scheme}://no-such-bucket-here/ds", place.access)[name]()
    assert isinstance(caught.value, NotFoundError)
    assert not isinstance(caught.value, DatasetNotFoundError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", S3, ids="-".join)
@pytest.mark.parametrize(
    "wrong",
    [
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        {"aws_access_key_id": "a"},
        {"aws_access_key": "a", "aws_secret_access_key": "b"},
        "a string that means nothing",
    ],
    ids=["upper-case", "half", "misspelt", "string"],
)
async def test_credentials_that_mean_nothing_are_refused(made, place, name, wrong):
    with pytest.raises(ConfigurationError):
        await calls(place / "ds", {"creds": wrong})[name]()
    assert sorted(await place.keys()) == made


@pytest.mark.parametrize("where", S3, ids="-".join)
async def test_a_service_that_is_down_is_never_an_absent_dataset(place, made):
    from asyncstore.testing.process import free_ports

    (port,) = free_ports(1)
    down = {"creds": place.access["creds"] | {"endpoint_url": f"http://127.0.0.1:{port}"}}
    with pytest.raises(asyncstore.UnavailableError):
        await asyncstore.exists(place / "ds", **down)


@pytest.mark.parametrize("where", S3, ids="-".join)
async def test_folder_markers_of_consoles_are_in_nobodys_way(place):
    client = place.server.client()
    try:
        for key in ("sub/ds/", "sub/ds/x/"):
            client.put_object(Bucket=place.bucket, Key=key, Body=b"")
        async with await asyncstore.empty(place / "ds", **place.access) as ds:
            await ds.store.put("x/1", b"")
        assert await asyncstore.list(place.base, **place.access) == [place / "ds"]
        await asyncstore.copy(place / "ds", place / "ds2", **place.ends)
        await asyncstore.rename(place / "ds2", "ds3", **place.access)
        await asyncstore.delete(place / "ds", **place.access)
        left = client.list_objects_v2(Bucket=place.bucket)["Contents"]
    finally:
        client.close()
    assert not [found["Key"] for found in left if found["Key"].startswith("sub/ds/")]
    assert await asyncstore.list(place.base, **place.access) == [place / "ds3"]


@pytest.mark.parametrize("where", [("file", "asyncio")], ids="-".join)
async def test_nothing_in_a_dataset_or_beside_it_is_unpickled(place, tmp_path, monkeypatch):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    data = pickle.dumps(Bomb())
    keys = ("version_control_info.json", "dataset_meta.json", "dataset_lock.lock")
    for key in (*keys, "version_control_info"):
        async with place.store("ds") as store:
            await store.delete_prefix("")
            if key == "version_control_info":
                await store.put("dataset_meta.json", b'{"version": "3", "tensors": []}')
            await store.put(key, data)
        for call in calls(place / "ds", {}).values():
            try:
                result = await call()
            except (StoreError, ExceptionGroup):
                continue
            if isinstance(result, asyncstore.Dataset):
                await result.aclose()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("where", [("mem", "asyncio")], ids="-".join)
async def test_importing_calls_nobody_and_patches_no_loop(place):
    code = """
import asyncio, socket, sys
before = dict(vars(asyncio)), dict(vars(asyncio.BaseEventLoop))
def refuse(*args, **kwargs): raise SystemExit("a socket was opened")
socket.socket.connect = socket.getaddrinfo = refuse
import asyncstore
asyncstore.load, asyncstore.Dataset, asyncstore.sync.load
assert (dict(vars(asyncio)), dict(vars(asyncio.BaseEventLoop))) == before
assert not [m for m in sys.modules if m.partition(".")[0] in ("aiobotocore", "aiohttp", "gcloud")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)  # noqa: ASYNC221
