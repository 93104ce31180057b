"""One process writes at a time, for as long as it likes, and finds out if it no longer may."""

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import uuid

import anyio
import pytest

import asyncstore
from asyncstore.datasets import lock as lock_module
from asyncstore.datasets import opening
from asyncstore.datasets.lock import acquire
from asyncstore.errors import (
    DatasetLockedError,
    NotSupportedError,
    PermissionDeniedError,
    ReadOnlyError,
    StoreError,
    UnavailableError,
)
from asyncstore.format import LockRecord
from asyncstore.providers.memory import MemoryProvider

pytestmark = pytest.mark.anyio

LOCK = "dataset_lock.lock"
PLACES = [("file", "asyncio"), ("file", "trio"), ("seaweedfs", "asyncio"), ("gcs", "asyncio")]


@pytest.fixture(params=PLACES, ids="-".join)
def where(request):
    return request.param


class Clock:
    """Epoch seconds that move only when told."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


def another(seconds=300.0):
    """The lock of a process elsewhere that ends in so many seconds."""
    return LockRecord(0x0242AC110002, time.time() + seconds, b"\x01\0\0\0").dump()


async def read(store):
    return LockRecord.parse(bytes(await store.get(LOCK)))


@pytest.fixture
async def ds(anyio_backend, place):
    ds = await asyncstore.empty(place / "ds", **place.access)
    yield ds
    await ds.aclose()


@pytest.fixture
async def store(anyio_backend, place):
    """The dataset's objects, past its lock."""
    async with place.store("ds") as store:
        yield store


@pytest.fixture
async def quiet(anyio_backend, place):
    """A dataset that nobody has open."""
    await (await asyncstore.empty(place / "ds", **place.access)).aclose()


async def test_a_lock_names_the_machine_the_process_and_an_end_in_five_minutes(ds, store):
    data = bytes(await store.get(LOCK))
    assert len(data) == 18
    record = LockRecord.parse(data)
    assert record is not None
    assert record.node == uuid.getnode()
    assert record.process == os.getpid()
    assert 290 < record.expires - time.time() <= 301


async def test_one_process_is_one_holder(ds, store, place):
    async with await asyncstore.load(place / "ds", read_only=False, **place.access) as second:
        await second.store.put("a", b"")
        await ds.store.put("b", b"")
        await ds.aclose()
        assert await store.exists(LOCK)
        await second.store.put("c", b"")
    assert not await store.exists(LOCK)


async def test_another_process_is_kept_out_until_it_ends(quiet, store, place):
    await store.put(LOCK, another())
    with pytest.raises(DatasetLockedError, match="process 1 on machine 0242ac110002, for another"):
        await asyncstore.load(place / "ds", read_only=False, **place.access)
    with pytest.warns(UserWarning, match="opened read-only.*process 1"):
        ds = await asyncstore.load(place / "ds", **place.access)
    async with ds:
        assert ds.read_only
        with pytest.raises(ReadOnlyError, match="process 1"):
            await ds.store.put("k", b"")
    assert bytes(await store.get(LOCK)) == bytes(await store.get(LOCK))
    assert (await read(store)).process == 1


async def test_a_lock_that_has_ended_is_taken_over(quiet, store, place):
    await store.put(LOCK, another(-0.001))
    async with await asyncstore.load(place / "ds", read_only=False, **place.access):
        assert (await read(store)).process == os.getpid()
    assert not await store.exists(LOCK)


async def test_lock_timeout_waits_for_the_end_of_anothers(quiet, store, place):
    await store.put(LOCK, another(1.0))
    end = (await read(store)).expires
    async with await asyncstore.load(
        place / "ds", read_only=False, lock_timeout=30, **place.access
    ):
        assert end <= time.time() < end + 20


async def test_lock_timeout_is_kept(quiet, store, place):
    await store.put(LOCK, another())
    begun = time.monotonic()
    with pytest.raises(DatasetLockedError):
        await asyncstore.load(place / "ds", read_only=False, lock_timeout=0.3, **place.access)
    assert 0.25 < time.monotonic() - begun < 10


async def test_an_empty_lock_file_is_none_and_one_that_is_no_lock_is_never_taken_over(
    quiet, store, place
):
    await store.put(LOCK, b"")
    await (await asyncstore.load(place / "ds", read_only=False, **place.access)).aclose()
    for data in (b"?", b"\0" * 2_000_000, b"\xff" * 18):
        await store.put(LOCK, data)
        with pytest.raises(DatasetLockedError, match="no lock; delete it"):
            await asyncstore.load(place / "ds", read_only=False, **place.access)
        assert bytes(await store.get(LOCK)) == data


async def test_without_locks_nothing_is_locked(quiet, store, place):
    await store.put(LOCK, another())
    ds = await asyncstore.load(place / "ds", lock_enabled=False, **place.access)
    async with ds:
        await ds.store.put("k", b"")
        assert not ds.read_only
    assert (await read(store)).process == 1


async def until(condition):
    """Look again and again; what is waited for happens elsewhere and says nothing."""
    with anyio.fail_after(20):
        while not await condition():  # noqa: ASYNC110 - as said
            await anyio.sleep(0.01)


async def test_a_lock_is_renewed_while_the_dataset_is_open(ds, store, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_AFTER", 0.02)
    async with ds:
        for _ in range(2):
            seen = await read(store)

            async def renewed(seen=seen):
                return (await read(store)).expires > seen.expires

            await until(renewed)
    assert not await store.exists(LOCK)


async def test_after_an_hour_the_lock_is_still_held(ds, store):
    """Deep Lake 3.9 never renews its lock after its first 300 seconds."""
    clock = Clock()
    held = await acquire(ds.store, LOCK, clock=clock)
    for _ in range(30):
        clock.now += 120
        await held.renew()
        await held.ensure()
        record = await read(store)
        assert 299 < record.expires - clock.now <= 301
    await held.release()


async def test_without_async_with_a_write_renews_the_lock(ds, store):
    clock = Clock()
    held = await acquire(ds.store, LOCK, clock=clock)
    await held.ensure()
    before = await read(store)
    clock.now += 200
    await held.ensure()
    assert await read(store) == before
    clock.now += 60
    await held.ensure()
    assert (await read(store)).expires > before.expires + 200
    clock.now += 4_000  # a laptop slept; nobody else came
    await held.ensure()
    await held.release()


@pytest.mark.parametrize("data", [another(), None, b""], ids=["another", "none", "empty"])
async def test_a_lost_lock_stops_writes_and_is_not_taken_back(ds, store, data):
    await ds.store.put("before", b"")
    if data is None:
        await store.delete(LOCK)
    else:
        await store.put(LOCK, data)
    held = await acquire_again(ds)
    with pytest.raises(DatasetLockedError, match="the lock is lost"):
        await held.renew()
    for _ in range(2):
        with pytest.raises(DatasetLockedError, match=r"put .*k: the lock is lost.*load"):
            await ds.store.put("k", b"")
    await ds.aclose()
    assert not await store.exists("k")
    if data is not None:
        assert bytes(await store.get(LOCK)) == data


async def acquire_again(ds):
    """Return the dataset's own lock, as if it were time to renew it."""
    held = ds._gate.lock
    held._clock = lambda: time.time() + 200
    return held


async def test_a_lock_written_over_ours_at_the_same_moment_is_found_before_the_first_write(
    ds, store
):
    """Deep Lake reads no lock, we take it, it writes its own: by its rules it is the holder."""
    theirs = another()
    await store.put(LOCK, theirs)
    with pytest.raises(DatasetLockedError, match="lost: it is held by process 1"):
        await ds.store.put("k", b"")
    await ds.aclose()
    assert bytes(await store.get(LOCK)) == theirs
    assert not await store.exists("k")


async def test_a_renewal_that_fails_is_tried_again_and_reads_go_on(ds, store, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_AFTER", 0.05)
    await ds.store.put("k", b"1")
    failures: list[int] = []
    renew = lock_module.WriteLock.renew

    async def failing(self):
        if len(failures) < 3:
            failures.append(1)
            raise UnavailableError("down")
        await renew(self)
        failures.append(2)

    monkeypatch.setattr(lock_module.WriteLock, "renew", failing)
    async with ds:

        async def over():
            return 2 in failures

        await until(over)
        await ds.store.put("k", b"2")


async def test_who_may_not_write_the_lock_opens_read_only(quiet, place, monkeypatch):
    async def denied(*args, **keywords):
        raise PermissionDeniedError("access denied")

    monkeypatch.setattr(opening, "acquire", denied)
    with pytest.warns(UserWarning, match="opened read-only: access denied"):
        ds = await asyncstore.load(place / "ds", **place.access)
    assert ds.read_only
    await ds.aclose()
    with pytest.raises(PermissionDeniedError):
        await asyncstore.load(place / "ds", read_only=False, **place.access)


async def test_the_bodys_error_comes_out_as_it_is(place):
    with pytest.raises(KeyError, match="mine"):
        async with await asyncstore.empty(place / "ds", **place.access):
            raise KeyError("mine")
    async with place.store("ds") as store:
        assert not await store.exists(LOCK)


async def test_a_cancelled_body_gives_the_lock_back(place):
    with anyio.move_on_after(0.2) as scope:
        async with await asyncstore.empty(place / "ds", **place.access):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert LOCK not in await place.keys("ds")


# ---- other processes, on disk


@pytest.fixture
def child(tmp_path):
    """Start a process that runs code; it finds `path` and says what it prints as JSON."""
    started = []

    def start(code, path):
        script = (
            f"import asyncio, json, os, sys, asyncstore\npath = {str(path)!r}\n"
            f"async def main():\n{textwrap.indent(textwrap.dedent(code), '    ')}\n"
            "asyncio.run(main())\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    return json.loads(process.stdout.readline())


on_disk = pytest.mark.parametrize("where", [("file", "asyncio")], ids="-".join)


@on_disk
async def test_a_pickled_dataset_is_read_only(ds):
    await ds.store.put("k", b"1")
    again = pickle.loads(pickle.dumps(ds))
    assert again.read_only
    assert (again.path, again.meta, again.history) == (ds.path, ds.meta, ds.history)
    with pytest.raises(ReadOnlyError):
        await again.store.put("k", b"2")
    await again.aclose()


CONTEND = """
try:
    ds = await asyncstore.load(path, read_only=False)
except asyncstore.DatasetLockedError:
    print(json.dumps("locked"), flush=True)
else:
    print(json.dumps("mine"), flush=True)
    sys.stdin.read()
    await ds.aclose()
"""


@on_disk
async def test_of_many_processes_one_has_the_lock(child, place, quiet):
    contenders = [child(CONTEND, place / "ds") for _ in range(5)]
    answers = [await anyio.to_thread.run_sync(said, process) for process in contenders]
    assert sorted(answers) == ["locked"] * 4 + ["mine"]
    for process in contenders:
        process.communicate(timeout=30)
    await (await asyncstore.load(place / "ds", read_only=False)).aclose()


CREATE = """
try:
    ds = await asyncstore.empty(path)
except (asyncstore.DatasetLockedError, asyncstore.DatasetExistsError):
    print(json.dumps("refused"), flush=True)
else:
    print(json.dumps("made"), flush=True)
    await ds.aclose()
"""


@on_disk
async def test_of_many_processes_that_create_one_succeeds(child, place):
    creators = [child(CREATE, place / "ds") for _ in range(5)]
    answers = [await anyio.to_thread.run_sync(said, process) for process in creators]
    assert sorted(answers) == ["made"] + ["refused"] * 4
    for process in creators:
        process.communicate(timeout=30)
    assert await asyncstore.exists(place / "ds")


@on_disk
async def test_a_process_that_ends_without_closing_gives_its_locks_back(child, place, quiet):
    code = "ds = await asyncstore.load(path, read_only=False)\nprint(json.dumps(os.listdir(path)))"
    process = child(code, place / "ds")
    output, _ = await anyio.to_thread.run_sync(process.communicate)
    assert LOCK in json.loads(output)
    assert LOCK not in os.listdir(place / "ds")


@on_disk
async def test_a_process_that_is_killed_keeps_its_lock_until_it_ends(child, place, quiet):
    process = child(CONTEND, place / "ds")
    assert await anyio.to_thread.run_sync(said, process) == "mine"
    process.send_signal(signal.SIGKILL)
    await anyio.to_thread.run_sync(process.communicate)
    with pytest.raises(DatasetLockedError, match=f"process {process.pid} "):
        await asyncstore.load(place / "ds", read_only=False)


@on_disk
async def test_a_forked_child_has_no_share_in_its_parents_lock(child, place, quiet):
    code = """
    ds = await asyncstore.load(path, read_only=False)
    await ds.store.put("k", b"parent")
    if os.fork() == 0:
        lock = ds._gate.lock
        said = [lock.lost]
        await lock.release()
        said.append("dataset_lock.lock" in os.listdir(path))
        print(json.dumps(said), flush=True)
        os._exit(0)
    os.wait()
    await ds.store.put("k", b"parent again")
    await ds.aclose()
    """
    process = child(code, place / "ds")
    lost, still_there = await anyio.to_thread.run_sync(said, process)
    assert "parent" in lost
    assert still_there
    await anyio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0


def forget(left):
    left.clear()
    gc.collect()


@on_disk
async def test_a_dataset_that_nobody_closed_can_be_opened_again_in_its_process(place):
    ds = await asyncstore.empty(place / "ds")
    left = [ds]
    del ds
    with pytest.warns(ResourceWarning, match="unclosed store"):
        forget(left)
    async with await asyncstore.load(place / "ds", read_only=False) as ds:
        await ds.store.put("k", b"")
    assert LOCK not in await place.keys("ds")


# ---- a service that knows no conditions


@pytest.mark.parametrize("where", [("mem", "asyncio"), ("mem", "trio")], ids="-".join)
async def test_without_conditional_writes_the_old_clients_way_is_used(place, monkeypatch):
    put = MemoryProvider.put

    async def unconditional(self, key, data, /, *, if_match=None, if_absent=False, **rest):
        if if_match is not None or if_absent:
            raise NotSupportedError("conditions")
        return await put(self, key, data, **rest)

    monkeypatch.setattr(MemoryProvider, "put", unconditional)
    async with place.store("ds") as store:
        clock = Clock()
        held = await acquire(store, LOCK, clock=clock)
        clock.now += 250
        await held.ensure()
        assert (await read(store)).expires > clock.now + 290
        await store.put(LOCK, another())
        clock.now += 250
        with pytest.raises(DatasetLockedError, match="lost"):
            await held.ensure()
        await held.release()
        with pytest.raises(DatasetLockedError):
            await acquire(store, LOCK)
        assert (await read(store)).process == 1
        await store.put(LOCK, another(-1))
        await (await acquire(store, LOCK)).release()
        assert not await store.exists(LOCK)
    async with await asyncstore.empty(place / "new") as ds:
        assert not ds.read_only


@pytest.mark.parametrize("where", [("mem", "asyncio"), ("mem", "trio")], ids="-".join)
async def test_a_renewal_that_was_cut_short_is_known_again(place, monkeypatch):
    put = MemoryProvider.put

    async def cut(self, key, data, /, **rest):
        await put(self, key, data, **rest)
        raise StoreError("the answer was lost", outcome="unknown")

    async with place.store("ds") as store:
        clock = Clock()
        held = await acquire(store, LOCK, clock=clock)
        await held.ensure()
        for _ in range(3):
            clock.now += 200
            with monkeypatch.context() as patch:
                patch.setattr(MemoryProvider, "put", cut)
                with pytest.raises(StoreError, match="lost"):
                    await held.renew()
        await held.ensure()
        await held.renew()
        with monkeypatch.context() as patch:
            patch.setattr(MemoryProvider, "put", cut)
            clock.now += 200
            with pytest.raises(StoreError, match="lost"):
                await held.renew()
        await held.release()
        assert not await store.exists(LOCK)


@pytest.mark.parametrize("where", [("mem", "asyncio")], ids="-".join)
async def test_a_first_write_of_the_lock_that_was_cut_short_locks_nobody_out(place, monkeypatch):
    put = MemoryProvider.put

    async def cut(self, key, data, /, **rest):
        await put(self, key, data, **rest)
        raise StoreError("the answer was lost", outcome="unknown")

    async with place.store("ds") as store:
        with monkeypatch.context() as patch:
            patch.setattr(MemoryProvider, "put", cut)
            with pytest.raises(StoreError, match="lost"):
                await acquire(store, LOCK)
        held = await acquire(store, LOCK)
        await held.ensure()
        await held.release()
        assert not await store.exists(LOCK)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_lock_that_is_being_given_back_is_waited_for_and_not_shared(monkeypatch):
    at_it, on = anyio.Event(), anyio.Event()
    delete = lock_module._delete

    async def slowly(store, held):
        at_it.set()
        await on.wait()
        await delete(store, held)

    async with asyncstore.open_store("mem://given-back") as store:
        first = await acquire(store, LOCK)
        monkeypatch.setattr(lock_module, "_delete", slowly)
        second = []

        async def take():
            second.append(await acquire(store, LOCK))

        async with anyio.create_task_group() as group:
            group.start_soon(first.release)
            await at_it.wait()
            group.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            assert second == []
            on.set()
        await second[0].ensure()
        await second[0].release()
        assert not await store.exists(LOCK)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_lock_given_back_while_it_is_looked_at_is_nobodys(monkeypatch):
    see = lock_module._see

    async with asyncstore.open_store("mem://looked-at") as store:
        first = await acquire(store, LOCK)

        async def late(*about):
            seen = await see(*about)
            monkeypatch.setattr(lock_module, "_see", see)
            await first.release()
            return seen

        monkeypatch.setattr(lock_module, "_see", late)
        second = await acquire(store, LOCK)
        await second.release()
