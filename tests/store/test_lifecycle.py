"""A store is a recipe: what is live belongs to a loop and a process, and ends with them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from functools import partial

import anyio
import pytest

from asyncstore import background, open_store, registry, sync
from asyncstore.errors import (
    ConfigurationError,
    InvalidPathError,
    NotSupportedError,
    ObjectChangedError,
    ReadOnlyError,
    UnavailableError,
)
from asyncstore.layers import RetryPolicy
from asyncstore.providers.memory import MemoryProvider
from asyncstore.testing import cancelled_everywhere

PATH = "s3://bucket/set"


# ---- opening


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"deadline": 0},
        {"deadline": -1},
        {"deadline": float("nan")},
        {"durability": "maybe"},
        {"retry": 3},
    ],
)
def test_an_option_out_of_range_is_refused_when_it_is_given(wrong):
    with pytest.raises(ConfigurationError):
        open_store("mem://x", **wrong)


def test_opening_sends_nothing_and_needs_no_loop(clouds):
    store = open_store(PATH)
    assert clouds == []
    assert str(store.url) == PATH
    assert repr(store) == "Store('s3://bucket/set')"
    assert repr(open_store(PATH, read_only=True)) == "Store('s3://bucket/set', read_only=True)"


def test_a_missing_extra_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("asyncstore.providers.s3")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "awscrt", None)
    with pytest.raises(NotSupportedError, match=r"pip install 'asyncstore\[s3\]'"):
        open_store(PATH)


def test_an_error_inside_a_provider_is_not_taken_for_a_missing_extra(monkeypatch):
    service = registry.Service("asyncstore.providers.none:connect", extra="x")
    monkeypatch.setitem(registry.SERVICES, "mem", service)
    with pytest.raises(NotSupportedError, match="not served by this version"):
        open_store("mem://x")


@pytest.mark.parametrize("path", ["", "s3://", "ftp://x/y", "s3:/bucket", "s3://UPPER/x", 5])
def test_a_path_that_means_no_place_is_refused(path):
    with pytest.raises((InvalidPathError, TypeError)):
        open_store(path)


# ---- loops


def test_each_loop_has_its_own_provider_which_ends_with_the_loop(clouds):
    store = open_store(PATH)
    loops = []

    async def use(n):
        loops.append(asyncio.get_running_loop())
        await store.put("k", bytes([n]))
        return bytes(await store.get("k"))

    assert [asyncio.run(use(n)) for n in range(3)] == [b"\0", b"\1", b"\2"]
    assert [cloud.closed_on for cloud in clouds] == [[loop] for loop in loops]
    asyncio.run(store.aclose())


def test_many_loops_in_many_threads_share_a_store(clouds):
    store = open_store(PATH)
    barrier = threading.Barrier(6)
    failed = []

    async def use(n):
        for m in range(20):
            await store.put(f"{n}/{m}", b"")
        return len([meta async for meta in store.list(f"{n}/")])

    def work(n):
        barrier.wait()
        if asyncio.run(use(n)) != 20:
            failed.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(clouds) == 6
    assert all(len(cloud.closed_on) == 1 for cloud in clouds)
    asyncio.run(store.aclose())


def test_closing_ends_what_is_live_on_the_background_loop_too(clouds):
    store = open_store(PATH)
    face = sync.Store(store)
    face.put("k", b"1")

    async def use():
        await store.get("k")
        await store.aclose()

    asyncio.run(use())
    assert len(clouds) == 2
    assert sorted(len(cloud.closed_on) for cloud in clouds) == [1, 1]
    assert clouds[0].closed_on == [background.loop()]


@pytest.mark.anyio
async def test_a_closed_store_says_so_and_closing_twice_is_as_once():
    store = open_store("mem://closed")
    async with store:
        await store.put("k", b"")
    await store.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await store.get("k")
    with pytest.raises(ConfigurationError, match="closed"):
        await (store / "sub").get("k")


@pytest.mark.anyio
async def test_a_child_shares_what_is_live_and_closes_nothing():
    async with open_store("mem://parent/a") as store:
        async with store / "b" as child:
            await child.put("c", b"1")
            assert str(child.url) == "mem://parent/a/b"
        assert bytes(await store.get("b/c")) == b"1"
        assert bytes(await (store / "b/").get("c")) == b"1"
        for wrong in ("", "/x", "../x", "a//b"):
            with pytest.raises(InvalidPathError):
                store / wrong


@pytest.mark.anyio
async def test_a_child_whose_parent_is_gone_closes_for_it():
    child = open_store("mem://orphan") / "b"
    gc.collect()
    await child.put("c", b"1")
    await child.aclose()
    with pytest.raises(ConfigurationError):
        await child.get("c")


@pytest.mark.anyio
async def test_an_unclosed_store_is_a_warning_that_names_the_line():
    store = open_store("mem://unclosed")
    await store.put("k", b"")
    with pytest.warns(ResourceWarning, match=r"mem://unclosed, opened at .*test_lifecycle\.py:\d+"):
        del store


def test_an_unused_store_needs_no_closing():
    open_store("mem://unused")
    gc.collect()


# ---- trio


@pytest.mark.anyio
async def test_a_cloud_serves_callers_on_every_library(clouds):
    async with open_store(PATH) as store:
        await store.put("k", b"x" * 3_000_000, metadata={"a": "b"})
        assert len(await store.get("k")) == 3_000_000
        assert (await store.head("k")).metadata == {"a": "b"}
        async with store.stream("k", span=(5, None)) as stream:
            assert stream.meta.key == "k"
            assert stream.start == 5
            assert sum([len(view) async for view in stream]) == 2_999_995
        await store.put_stream("l", iter([b"y" * 5_000_000] * 3))
        await store.copy("l", "m")
        assert [meta.key async for meta in store.list()] == ["k", "l", "m"]
        assert [objects for _, _, objects in [level async for level in store.walk()]]
        await store.delete(["k", "l"])
        with pytest.raises(FileNotFoundError):
            async with store.stream("k"):
                pass
        assert await store.delete_prefix("") == 1
    assert clouds.left_open == 0
    assert all(cloud.closed_on for cloud in clouds)


@pytest.mark.anyio
async def test_cancelling_a_bridged_call_ends_it_there(clouds):
    begun, ended = threading.Event(), threading.Event()

    async def hang(*_call):
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with open_store(PATH) as store:
        await store.put("k", b"1")
        clouds[0].before = hang
        async with anyio.create_task_group() as group:
            group.start_soon(store.get, "k")
            await anyio.to_thread.run_sync(begun.wait, 5)
            group.cancel_scope.cancel()
        assert ended.is_set()
        clouds[0].before = None
        assert bytes(await store.get("k")) == b"1"
        assert clouds[0].under_way == 0


@pytest.mark.anyio
async def test_a_call_cancelled_at_any_await_leaves_a_store_that_works(clouds, tmp_path):
    async def stream(store):
        async with store.stream("k") as views:
            async for _ in views:
                pass

    async def listed(store):
        return [meta.key async for meta in store.list()]

    calls = [
        lambda store: store.get("k"),
        lambda store: store.get_into("k", bytearray(3_000_000)),
        lambda store: store.get_ranges("k", [(0, 9), (2_000_000, None)]),
        lambda store: store.head("k"),
        lambda store: store.exists("none"),
        stream,
        listed,
        lambda store: store.put("l", b"1"),
        lambda store: store.put_stream("l", iter([b"1" * 9_000_000] * 2)),
        lambda store: store.copy("k", "l"),
        lambda store: store.move("l", "m"),
        lambda store: store.delete(["l", "m", "n"]),
        lambda store: store.delete_prefix("l"),
    ]
    for path in (PATH, "mem://cancelled/set", tmp_path):
        async with open_store(path, concurrency=3) as store:
            await store.put("k", b"x" * 3_000_000)

            async def check(_ended, store=store):
                assert len(await store.get("k")) == 3_000_000
                if not await store.exists("l"):
                    await store.put("l", b"1")

            await check(True)
            counted = [await cancelled_everywhere(partial(call, store), check) for call in calls]
            assert all(counted)
            await anyio.sleep(0.01)
    assert clouds.left_open == 0
    assert all(cloud.under_way == 0 for cloud in clouds)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.anyio
async def test_presigning_and_diagnosing_happen_where_the_provider_lives(clouds, monkeypatch):
    async def presign(self, key, /, **options):
        await self._here("presign", key)
        return f"https://signed/{key}?{options['method']}"

    async def diagnose(self):
        await self._here("diagnose")
        return {"identity": "me"}

    cloud = type(clouds.make())
    monkeypatch.setattr(cloud, "presign", presign, raising=False)
    monkeypatch.setattr(cloud, "diagnose", diagnose, raising=False)
    async with open_store(PATH) as store:
        assert await store.presign("k", method="PUT") == "https://signed/set/k?PUT"
    async with open_store(PATH, read_only=True) as store:
        assert await store.presign("k") == "https://signed/set/k?GET"
        for method in ("PUT", "DELETE"):
            with pytest.raises(ReadOnlyError):
                await store.presign("k", method=method)
    async with open_store(PATH) as store:
        assert await store.diagnose() == {"url": PATH, "scheme": "s3", "identity": "me"}
    async with open_store("mem://none") as store:
        with pytest.raises(NotSupportedError):
            await store.presign("k")
        assert (await store.diagnose())["scheme"] == "mem"


@pytest.mark.anyio
async def test_leaving_a_stream_early_closes_it(clouds):
    async with open_store(PATH) as store:
        await store.put("k", b"x" * 5_000_000)
        async with store.stream("k") as stream:
            await anext(stream)
            assert clouds.left_open == 1
        assert clouds.left_open == 0
        with anyio.move_on_after(0.05):
            async with store.stream("k") as stream:
                await anyio.sleep_forever()
        assert clouds.left_open == 0


@pytest.mark.anyio
async def test_breaking_out_of_a_listing_leaves_no_task(clouds):
    async with open_store(PATH) as store:
        for n in range(2500):
            await MemoryProvider.put(
                clouds[0] if clouds else (await made(store, clouds)), f"set/{n}", b""
            )
        async for _ in store.list():
            break
        async for _ in store.walk():
            break
        await anyio.sleep(0.01)
        assert clouds[0].under_way == 0
        listing = store.list()
        await anext(listing)
        await listing.aclose()
        assert [meta async for meta in listing] == []


async def made(store, clouds):
    await store.exists("none")
    return clouds[0]


# ---- processes


def test_a_pickle_is_a_recipe_without_secrets(clouds):
    creds = {"aws_access_key_id": "AKIACANARY", "aws_secret_access_key": "canary-secret"}
    store = open_store(PATH, creds=creds, token="canary-token", region="eu-north-1")
    data = pickle.dumps(store / "sub")
    assert b"canary" not in data.lower()
    copy = pickle.loads(data)
    assert copy.url == (store / "sub").url
    with pytest.raises(ConfigurationError, match=r"without its creds and token.*with_secrets"):
        asyncio.run(copy.get("k"))
    again = pickle.loads(pickle.dumps(copy))
    with pytest.raises(ConfigurationError, match="without its creds and token"):
        asyncio.run(again.get("k"))
    whole = pickle.loads(pickle.dumps(store.with_secrets()))
    assert whole._live.recipe.settings.creds == creds
    assert "canary" not in repr(store._live.recipe)


@pytest.mark.parametrize(
    "creds",
    [None, "ENV", "anon", "/path/to/key.json", {"profile_name": "me", "region": "x"}, os.getcwd],
)
def test_credentials_that_are_no_secret_are_kept_in_a_pickle(clouds, creds):
    copy = pickle.loads(pickle.dumps(open_store(PATH, creds=creds)))
    assert copy._live.recipe.settings.creds == creds
    assert copy._live.recipe.lost == ()


def test_json_credentials_given_as_text_are_a_secret(clouds):
    data = pickle.dumps(open_store("gcs://bucket", creds=' {"private_key": "canary"}'))
    assert b"canary" not in data


def test_a_function_that_cannot_be_pickled_is_lost_and_said_to_be(clouds):
    copy = pickle.loads(pickle.dumps(open_store(PATH, creds=lambda: None, trace=lambda _e: None)))
    with pytest.raises(ConfigurationError, match="without its creds"):
        asyncio.run(copy.get("k"))


def worker(store):
    with sync.Store(store) as face:
        return bytes(face.get("k"))


def test_a_spawned_worker_opens_its_own(tmp_path):
    store = open_store(tmp_path, retry=RetryPolicy(attempts=2))
    with sync.Store(store) as face:
        face.put("k", b"1")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(worker, (store,)) == b"1"


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_forked_child_uses_an_inherited_store():
    out = run(
        """
        import asyncio, os
        from asyncstore import open_store, sync
        store = open_store("mem://fork")
        face = sync.Store(store)
        face.put("k", b"1")
        async def use():
            return bytes(await store.get("k"))
        assert asyncio.run(use()) == b"1"
        child = os.fork()
        if child == 0:
            assert bytes(face.get("k")) == b"1"
            face.put("k", b"child")
            assert asyncio.run(use()) == b"child"
            face.close()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, bytes(face.get("k")))
        face.close()
        """
    )
    assert out == "0 b'1'\n"


def test_a_forked_child_neither_uses_nor_closes_its_parents_connections():
    out = run(
        """
        import os, time
        from asyncstore import sync
        from asyncstore.testing.small_http import Reply, SmallServer

        def sockets():
            with os.scandir("/proc/self/fd") as entries:
                return {os.readlink(e.path) for e in entries if "socket" in os.readlink(e.path)}

        def child(before):
            assert bytes(face.get("k")) == b"1"
            assert sockets() > before  # one of its own
            began = time.monotonic()
            face.close()
            return time.monotonic() - began < 2

        keys = {"aws_access_key_id": "AKIATESTTESTTEST", "aws_secret_access_key": "none"}
        with SmallServer(lambda _: Reply(200, b"1", {"etag": '"e"'})) as server:
            face = sync.open_store("s3://bucket", creds=keys, endpoint_url=server.url)
            assert bytes(face.get("k")) == b"1"
            before = sockets()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = 0 if child(before) else 2
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            print(code, bytes(face.get("k")), before <= sockets())
            face.close()
        """
    )
    assert out == "0 b'1' True\n"


def test_importing_starts_nothing():
    out = run(
        """
        import sys, threading
        import asyncstore
        asyncstore.open_store, asyncstore.Store
        from asyncstore import sync
        sync.open_store("mem://x")
        print(threading.active_count(), [n for n in sys.modules if n in ("aiobotocore", "aiohttp")])
        """
    )
    assert out == "1 []\n"


# ---- errors keep their types through everything


@pytest.mark.anyio
async def test_a_bridged_error_is_the_same_error(clouds):
    async with open_store(PATH, retry=RetryPolicy(attempts=1)) as store:
        await store.put("k", b"1")
        with pytest.raises(ObjectChangedError):
            await store.get("k", if_match="other")

        async def fail(*_call):
            raise UnavailableError("503", status=503)

        clouds[0].before = fail
        with pytest.raises(UnavailableError) as caught:
            await store.get("k")
        assert caught.value.status == 503
