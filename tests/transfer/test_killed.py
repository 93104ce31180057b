"""Killed at any moment, and run again: every byte right, and nothing left over on either side."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest

from tests.transfer.conftest import fill, tree

MiB = 1 << 20
KILLS = 100
MOVES = 10


def files():
    draw = random.Random(5)
    small = {f"d{n % 7}/{n:03}": draw.randbytes(draw.randint(0, 3_000)) for n in range(40)}
    return {"a-large": os.urandom(12 * MiB + 1)} | small


@pytest.fixture
def s3(bucket, seaweedfs, told):
    creds = {
        "aws_access_key_id": seaweedfs.access_key,
        "aws_secret_access_key": seaweedfs.secret_key,
    }
    told["path"] = f"s3://{bucket.name}"
    told["options"] = {
        "creds": creds,
        "endpoint_url": seaweedfs.url,
        "region": seaweedfs.region,
    }
    return bucket


def rounds(killer, check):
    """Kill and run again: within the large object, then in times that follow a whole run's."""
    draw = random.Random(7)
    whole = killer.run_to_the_end()["seconds"] * 1.5
    check()
    yield 0
    killer.told["parts"] = 1
    assert killer.run() is None
    killer.told["parts"] = None
    age(killer.told["folder"])
    assert killer.run_to_the_end()["resumed"] == 1
    check()
    kills = runs = 0
    while kills < KILLS:
        for n in range(10):
            yield n
            ended = killer.run(draw.random() * whole)
            kills += ended is None
            # A run that changes little is over sooner than the first one.
            whole *= 1.1 if ended is None else 0.8
            runs += 1
        age(killer.told["folder"])
        killer.run_to_the_end()
        check()
        assert runs < 4 * KILLS


def age(folder):
    """Make what killed writers left a minute older, from when on it counts as left."""
    for at, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".tmp"):
                then = time.time() - 61
                os.utime(os.path.join(at, name), (then, then))


def test_a_killed_download_is_continued_and_leaves_nothing(s3, killer, told, tmp_path):
    there = files()

    async def put():
        pairs = (("data/" + key, data) for key, data in there.items())
        async with s3() as store, store.put_many(pairs) as puts:
            await puts.finish()

    asyncio.run(put())
    told["way"] = "download"
    folder = tmp_path / "folder"

    def check():
        assert tree(folder) == there

    for n in rounds(killer, check):
        for key in list(there)[1 + n % 3 :: 3] if n else there:
            (folder / key).unlink(missing_ok=True)


def test_a_killed_upload_is_continued_and_leaves_nothing(s3, killer, told, tmp_path):
    there = files()
    folder = tmp_path / "folder"
    fill(folder, there)
    told |= {"way": "upload", "part": 5 * MiB}

    async def found():
        async with s3() as store:
            metas = [meta async for meta in store.list("data/")]
            return {meta.key[5:]: bytes(await store.get(meta.key)) for meta in metas}

    def check():
        assert s3.uploads() == []
        assert asyncio.run(found()) == there

    for n in rounds(killer, check):
        for key in list(there)[1 + n % 3 :: 3] if n else there:
            there[key] = os.urandom(len(there[key]))
            (folder / key).write_bytes(there[key])


def test_a_killed_move_loses_nothing_at_any_moment_and_is_continued(s3, killer, told, tmp_path):
    there = {key: data[: 6 * MiB] for key, data in files().items()}
    folder = tmp_path / "folder"
    told |= {"way": "move", "part": 5 * MiB}

    async def found(keys):
        async with s3() as store, store.get_many([f"data/{key}" for key in keys]) as got:
            return {out.item[5:]: bytes(out.result()) async for out in got}

    draw = random.Random(11)
    fill(folder, there)
    whole = killer.run_to_the_end()["seconds"]
    kills = 0
    while kills < MOVES:
        there = {key: os.urandom(len(data)) for key, data in there.items()}
        fill(folder, there)
        report = None
        while report is None:
            report = killer.run(draw.random() * whole)
            kills += report is None
            whole *= 1.2 if report is None else 0.6
            here = tree(folder)
            assert here | asyncio.run(found(there.keys() - here.keys())) == there
        assert report["failed"] == []
        assert here == {}
        assert s3.uploads() == []
    there = {key: os.urandom(len(data)) for key, data in there.items()}
    fill(folder, there)
    told["parts"] = 1  # of the large one, when it is to be killed
    assert killer.run() is None
    told["parts"] = None
    assert tree(folder) == there
    assert killer.run_to_the_end()["resumed"] == 1
    assert tree(folder) == {}
