"""One `Store` on every service, on asyncio, on trio and without await: real servers."""

from __future__ import annotations

import asyncio
import os
import secrets

import anyio
import pytest

from asyncstore import open_store, sync
from asyncstore.errors import (
    AlreadyExistsError,
    BatchError,
    InvalidSpanError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from asyncstore.layers import RetryPolicy
from asyncstore.types import MiB

DATA = os.urandom(20 * MiB + 12_345)


@pytest.fixture(scope="module")
def services(request, tmp_path_factory):
    """The path and the options of each service, started when it is asked for."""
    made: dict[str, tuple[str, dict[str, object]]] = {}

    def start(name):
        if name == "local":
            return str(tmp_path_factory.mktemp("store")), {}
        if name == "mem":
            return f"mem://services{secrets.token_hex(4)}/set", {}
        server = request.getfixturevalue(name)
        bucket = server.make_bucket()
        if name == "fake_gcs":
            return f"gs://{bucket}/a/set", {"creds": "anon", "endpoint_url": server.url}
        return f"s3://{bucket}/a/set", {"creds": server.creds}

    def get(name):
        if name not in made:
            made[name] = start(name)
        return made[name]

    return get


SERVICES = ["mem", "local", "seaweedfs", "moto", "fake_gcs"]


@pytest.fixture(params=SERVICES)
def place(request, services):
    path, options = services(request.param)
    return f"{path}/{secrets.token_hex(4)}", options


@pytest.mark.anyio
async def test_a_store_does_what_it_says(place):
    path, options = place
    async with open_store(path, **options) as store:
        assert not await store.exists("none")
        with pytest.raises(NotFoundError):
            await store.get("none")
        first = await store.put("a/small é%+", b"hello", if_absent=True)
        with pytest.raises(AlreadyExistsError):
            await store.put("a/small é%+", b"other", if_absent=True)
        with pytest.raises(PreconditionError):
            await store.put("a/small é%+", b"other", if_match='"no"' if path[:2] == "s3" else "7")
        second = await store.put("a/small é%+", b"hello!", if_match=first.etag)
        assert second.key == "a/small é%+"
        blob = await store.get("a/small é%+", if_match=second.etag)
        assert (bytes(blob), blob.meta.key) == (b"hello!", "a/small é%+")
        spans = [(0, 2), (-2, None), (3, 3), (2, 99)]
        parts = await store.get_ranges("a/small é%+", spans)
        assert [bytes(part) for part in parts] == [b"he", b"o!", b"", b"llo!"]

        await store.put("large", DATA)
        assert (await store.get("large")).data == DATA
        buffer = bytearray(len(DATA))
        await store.get_into("large", buffer)
        assert buffer == DATA
        for key in ("a/small é%+", "large"):
            with pytest.raises(InvalidSpanError):
                await store.get_into(key, bytearray(5))
        beyond = (2**70, None), (0, 2**70), (-(2**70), 2**70)
        assert [len(await store.get("a/small é%+", span=span)) for span in beyond] == [0, 6, 6]
        assert (await store.get_range("large", -7 * MiB)).data == DATA[-7 * MiB :]
        assert (await store.get("large", span=(1, 18 * MiB))).data == DATA[1 : 18 * MiB]
        async with store.stream("large", span=(5, None)) as stream:
            assert b"".join([bytes(view) async for view in stream]) == DATA[5:]
        async with store.stream("large") as stream:
            await anext(stream)

        async def pieces():
            for at in range(0, len(DATA), MiB):
                yield DATA[at : at + MiB]

        await store.put_stream("streamed", pieces(), part_size=6 * MiB)
        await store.copy("streamed", "b/copied")
        assert (await store.get("b/copied")).data == DATA
        await store.move("b/copied", "b/moved")
        keys = ["a/small é%+", "b/moved", "large", "streamed"]
        assert sorted([meta.key async for meta in store.list()]) == keys
        walked = {here: (sorted(down), len(objects)) async for here, down, objects in store.walk()}
        assert walked == {"": (["a/", "b/"], 2), "a/": ([], 1), "b/": ([], 1)}
        await store.delete("b/moved", missing_ok=False)
        with pytest.raises(NotFoundError):
            await store.delete("b/moved", missing_ok=False)
        with pytest.raises(BatchError):
            await store.delete(["large", "none"], missing_ok=False)
        assert await store.delete_prefix("") == 2
        assert [meta async for meta in store.list()] == []


@pytest.mark.anyio
async def test_many_callers_at_once_are_served(place):
    path, options = place
    async with open_store(path, concurrency=8, **options) as store:

        async def work(n):
            await store.put(f"{n:03}", str(n).encode())
            assert bytes(await store.get(f"{n:03}")) == str(n).encode()

        async with anyio.create_task_group() as group:
            for n in range(60):
                group.start_soon(work, n)
        listed = [meta.key async for meta in store.list(after="009")]
        assert sorted(listed) == [f"{n:03}" for n in range(10, 60)]
        await store.delete_prefix("")


@pytest.mark.anyio
async def test_as_many_writes_as_reads_are_under_way_at_once(place):
    path, options = place
    async with open_store(path, concurrency=2, **options) as store:
        await store.put("k", DATA)
        async with store.stream("k") as one, store.stream("k") as other:
            await anext(one)
            await anext(other)  # and both stay open
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    group.start_soon(store.put, "l", b"x")
                    group.start_soon(store.put, "m", b"x")
        await store.delete_prefix("")


def test_without_await_it_is_the_same(place):
    path, options = place
    with sync.open_store(path, **options) as store:
        store.put("k", DATA)
        assert store.get("k").data == DATA
        with store.stream("k") as stream:
            assert b"".join(stream) == DATA
        store.put_stream("l", [DATA[:MiB], DATA[MiB:]])
        assert [meta.size for meta in store.list()] == [len(DATA)] * 2
        store.delete(meta.key for meta in store.list())
        assert list(store.list()) == []


@pytest.mark.anyio
async def test_an_object_travels_between_services(services, tmp_path):
    path, options = services("seaweedfs")
    async with open_store(f"{path}/travel", **options) as cloud, open_store(tmp_path) as disk:
        await cloud.put("k", DATA[:MiB], content_type="a/b", metadata={"x": "y"})
        async with open_store("mem://travel/set") as memory:
            await cloud.copy("k", "k", to=memory)
            there = await memory.head("k")
            assert (there.content_type, there.metadata) == ("a/b", {"x": "y"})
            await memory.move("k", "moved", to=cloud)
            assert (await cloud.head("moved")).metadata == {"x": "y"}
            assert not await memory.exists("k")
        await cloud.put("k", DATA, metadata={"x": "y"})
        await cloud.copy("k", "k", to=disk)  # files carry no metadata
        assert (tmp_path / "k").read_bytes() == DATA
        await disk.move("k", "back", to=cloud)
        assert (await cloud.head("back")).size == len(DATA)
        await cloud.delete_prefix("")


@pytest.mark.anyio
async def test_a_cancelled_upload_leaves_no_upload_at_a_real_server(services, seaweedfs):
    path, options = services("seaweedfs")
    bucket = path.split("/")[2]
    async with open_store(f"{path}/cancelled", **options) as store:
        sent = anyio.Event()

        async def endless():
            for _ in range(4):
                yield b"x" * (6 * MiB)
            sent.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(store.put_stream, "k", endless())
            await sent.wait()
            group.cancel_scope.cancel()
        assert not await store.exists("k")
    client = seaweedfs.client()
    try:
        assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    finally:
        client.close()


def test_the_same_store_in_one_asyncio_run_after_another(services):
    path, options = services("seaweedfs")
    store = open_store(path, **options)

    async def use(n):
        await store.put("again", bytes([n]))
        return bytes(await store.get("again"))

    assert [asyncio.run(use(n)) for n in range(3)] == [b"\0", b"\1", b"\2"]
    with sync.Store(store) as face:
        assert bytes(face.get("again")) == b"\2"


@pytest.mark.anyio
async def test_nobody_at_home_is_told_within_seconds():
    creds = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region": "us-east-1"}
    retry = RetryPolicy(attempts=3)
    async with open_store(
        "s3://nobody", creds=creds, endpoint_url="http://127.0.0.1:9", retry=retry
    ) as store:
        with anyio.fail_after(10), pytest.raises(UnavailableError) as caught:
            await store.get("k")
        assert caught.value.attempts == 3
        assert str(caught.value).startswith("get s3://nobody/k: ")
