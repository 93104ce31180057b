"""Cancelled at any moment: no upload, file, task or socket is left, and the next run is right."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress

import pytest

from asyncstore.transfer import large, one
from tests.transfer.conftest import fill, tree

pytestmark = pytest.mark.asyncio

TIMES = 100
FILES = {f"d{n % 3}/{n}": os.urandom(n * 50) for n in range(40)} | {
    "large": os.urandom((6 << 20) + 1)
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(one, "SMALL", 1 << 20)
    monkeypatch.setattr(large, "PART", 5 << 20)


async def cancelled_after(seconds, call):
    task = asyncio.create_task(call())
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


def sockets():
    """Return this process's sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("socket:"):
                found.add(target)
    return found


def others():
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_a_cancelled_download_leaves_nothing_and_is_continued(bucket, tmp_path):
    draw = random.Random(1)
    kept = sockets()
    async with bucket() as store:
        async with store.put_many(FILES.items()) as puts:
            await puts.finish()
        began = asyncio.get_running_loop().time()
        await store.download("", tmp_path / "first")
        whole = asyncio.get_running_loop().time() - began
        before = others()
        cancelled = runs = 0
        while cancelled < TIMES:
            runs += 1
            assert runs < 4 * TIMES
            folder = tmp_path / str(runs)
            began = asyncio.get_running_loop().time()
            hit = await cancelled_after(
                draw.random() * whole, lambda folder=folder: store.download("", folder)
            )
            cancelled += hit
            if not hit:  # the machine is faster now than it was
                whole = asyncio.get_running_loop().time() - began
            left = tree(folder)
            assert left.items() <= FILES.items()
            assert others() <= before
        report = await store.download("", folder)
        assert report.ok
        assert tree(folder) == FILES
    assert sockets() <= kept


async def test_a_cancelled_upload_leaves_nothing_and_is_continued(bucket, tmp_path):
    draw = random.Random(2)
    kept = sockets()
    fill(tmp_path, FILES)
    async with bucket() as store:
        began = asyncio.get_running_loop().time()
        await store.upload(tmp_path, "first")
        whole = asyncio.get_running_loop().time() - began
        before = others()
        cancelled = runs = 0
        while cancelled < TIMES:
            runs += 1
            assert runs < 4 * TIMES
            began = asyncio.get_running_loop().time()
            hit = await cancelled_after(
                draw.random() * whole, lambda n=runs: store.upload(tmp_path, str(n))
            )
            cancelled += hit
            if not hit:  # the machine is faster now than it was
                whole = asyncio.get_running_loop().time() - began
            assert bucket.uploads() == []
            assert others() <= before
        report = await store.upload(tmp_path, str(runs))
        assert report.ok
        keys = {meta.key.partition("/")[2]: meta.size async for meta in store.list(f"{runs}/")}
        assert keys == {key: len(data) for key, data in FILES.items()}
    assert sockets() <= kept
