"""Conditions hold between processes, and a fork leaves both sides usable."""

import asyncio
import fcntl
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from asyncstore.errors import UnavailableError
from asyncstore.providers.local import LocalProvider, locking

INCREMENT = """
import asyncio, os, sys, time
from asyncstore.errors import AlreadyExistsError, PreconditionError
from asyncstore.providers.local import LocalProvider

rename = os.rename

def slowly(*args, **options):
    time.sleep(0.002)  # between the look at the version and the rename: a race would be lost
    rename(*args, **options)

os.rename = slowly

async def main():
    provider = LocalProvider(sys.argv[1], durability="deferred")
    wins = 0
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(40):
        while True:
            blob = await provider.get("counter")
            more = str(int(bytes(blob)) + 1).encode()
            try:
                await provider.put("counter", more, if_match=blob.meta.etag)
                break
            except PreconditionError:
                continue
        try:
            await provider.put(f"created/{n}", sys.argv[2].encode(), if_absent=True)
            wins += 1
        except AlreadyExistsError:
            pass
    print(wins)
    await provider.aclose()

asyncio.run(main())
"""


def test_four_processes_count_without_losing_one_and_create_each_object_once(tmp_path):
    asyncio.run(LocalProvider(str(tmp_path)).put("counter", b"0"))
    command = [sys.executable, "-c", INCREMENT, str(tmp_path)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, str(n)], stdin=pipe, stdout=pipe, text=True) for n in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all before any is waited for: one after another there is no race
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    wins = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert (tmp_path / "counter").read_bytes() == b"160"
    assert sum(wins) == 40
    owners = [int((tmp_path / "created" / str(n)).read_bytes()) for n in range(40)]
    assert [owners.count(n) for n in range(4)] == wins


@pytest.mark.asyncio
async def test_a_folder_that_somebody_keeps_locked_is_an_error_that_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "PATIENCE", 0.05)
    provider = LocalProvider(str(tmp_path))
    await provider.put("k", b"old")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with pytest.raises(UnavailableError):
            await provider.put("k", b"new")
        failed = await provider.delete(["k"])
        assert isinstance(failed["k"], UnavailableError)
        assert bytes(await provider.get("k")) == b"old"
    finally:
        os.close(folder)
    await provider.put("k", b"new")
    assert os.listdir(tmp_path) == ["k"]


@pytest.mark.asyncio
async def test_a_caller_that_waits_for_a_lock_can_be_cancelled(tmp_path):
    provider = LocalProvider(str(tmp_path))
    await provider.put("k", b"old")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await provider.put("k", b"new")
        assert time.monotonic() - started < 5
    finally:
        os.close(folder)
    assert os.listdir(tmp_path) == ["k"]
    assert bytes(await provider.get("k")) == b"old"


def _child(root, answers):
    async def main():
        provider = LocalProvider(root)
        await provider.put("child", b"child")
        answers.put(bytes(await provider.get("parent")))

    asyncio.run(main())


def test_parent_and_child_work_after_a_fork(tmp_path):
    provider = LocalProvider(str(tmp_path))

    async def parent():
        await provider.put("parent", b"parent")
        await asyncio.gather(*(provider.get("parent") for _ in range(50)))

    asyncio.run(parent())
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_child, args=(str(tmp_path), answers))
    child.start()
    assert answers.get(timeout=30) == b"parent"
    child.join(30)
    assert child.exitcode == 0

    async def again():
        assert bytes(await provider.get("child")) == b"child"

    asyncio.run(again())


def test_one_provider_serves_many_loops_in_many_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    provider = LocalProvider(str(tmp_path), durability="deferred")

    async def work(t):
        await asyncio.gather(*(provider.put(f"{t}/{n}", f"{t} {n}".encode()) for n in range(50)))
        return [bytes(await provider.get(f"{t}/{n}")) for n in range(50)]

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda t: asyncio.run(work(t)), range(6)))
    assert found == [[f"{t} {n}".encode() for n in range(50)] for t in range(6)]
    asyncio.run(provider.aclose())
