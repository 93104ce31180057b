"""Cancelled at any moment: no upload, temporary file or task is left, and the next run is right."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from asyncstore.transfer import large, one
from tests.transfer.conftest import fill, tree

pytestmark = pytest.mark.asyncio

TIMES = 50
FILES = {f"d{n % 3}/{n}": os.urandom(n * 50) for n in range(40)} | {"large": os.urandom(11 << 20)}


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


def others():
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


@pytest.mark.timeout(200)
async def test_a_cancelled_download_leaves_nothing_and_is_continued(bucket, tmp_path):
    draw = random.Random(1)
    async with bucket() as store:
        async with store.put_many(FILES.items()) as puts:
            await puts.finish()
        began = asyncio.get_running_loop().time()
        await store.download("", tmp_path / "first")
        whole = asyncio.get_running_loop().time() - began
        before = others()
        cancelled = 0
        for n in range(TIMES):
            folder = tmp_path / str(n)
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
        assert cancelled > TIMES / 3
        report = await store.download("", folder)
        assert report.ok
        assert tree(folder) == FILES


@pytest.mark.timeout(200)
async def test_a_cancelled_upload_leaves_nothing_and_is_continued(bucket, tmp_path):
    draw = random.Random(2)
    fill(tmp_path, FILES)
    async with bucket() as store:
        began = asyncio.get_running_loop().time()
        await store.upload(tmp_path, "first")
        whole = asyncio.get_running_loop().time() - began
        before = others()
        cancelled = 0
        for n in range(TIMES):
            began = asyncio.get_running_loop().time()
            hit = await cancelled_after(
                draw.random() * whole, lambda n=n: store.upload(tmp_path, str(n))
            )
            cancelled += hit
            if not hit:  # the machine is faster now than it was
                whole = asyncio.get_running_loop().time() - began
            assert bucket.uploads() == []
            assert others() <= before
        assert cancelled > TIMES / 3
        report = await store.upload(tmp_path, str(n))
        assert report.ok
        keys = {meta.key.partition("/")[2]: meta.size async for meta in store.list(f"{n}/")}
        assert keys == {key: len(data) for key, data in FILES.items()}
