"""A process that is killed, at any moment, leaves whole objects and what it acknowledged."""

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from asyncstore.providers.local import LocalProvider
from asyncstore.providers.local.locking import STALE_AFTER

KILLS = 60
KEYS = 8

WRITER = """
import asyncio, hashlib, os, sys
from asyncstore.providers.local import LocalProvider

root, durability, kills, keys = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def body(n):
    head = b"%012d" % n
    bulk = hashlib.shake_128(head).digest(60_000 + n * 997 % 200_000)
    return head + hashlib.sha256(bulk).digest() + bulk

async def write(said, first):
    provider = LocalProvider(root, durability=durability)
    async def writer(w):
        for n in range(first + w, first + 10**6, 4):
            key = f"k/{n % keys}"
            if n % 3:
                await provider.put(key, body(n))
            else:
                upload = await provider.begin_upload(key)
                data = body(n)
                await upload.put_part(1, data[:40_000])
                await upload.put_part(2, data[40_000:])
                await upload.complete()
            os.write(said, b"%d %d\\n" % (n % keys, n))
    await asyncio.gather(*(writer(w) for w in range(4)))

for turn in range(kills):
    wanted = int(sys.stdin.readline())        # the test has looked at the turn before
    read, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        asyncio.run(write(said, (turn + 1) * 10**7 + 0))
        os._exit(0)
    os.close(said)
    acknowledged = b""
    while acknowledged.count(b"\\n") < wanted:
        acknowledged += os.read(read, 65536) or sys.exit("the writer ended")
    print(child, flush=True)
    sys.stdin.readline()                      # the test has killed it
    os.waitpid(child, 0)
    while piece := os.read(read, 65536):
        acknowledged += piece
    os.close(read)
    print(acknowledged.decode().replace("\\n", ","), flush=True)
"""


def number_of(data):
    """Return which body these bytes are; a torn one is none."""
    assert len(data) >= 44, "cut short"
    assert hashlib.sha256(data[44:]).digest() == data[12:44], "torn"
    return int(data[:12])


@pytest.mark.parametrize("durability", ["full", "deferred"])
def test_a_killed_writer_tears_nothing_and_loses_nothing_acknowledged(tmp_path, durability):
    root = tmp_path / "root"
    chance = random.Random(68)
    stale = 0
    command = [sys.executable, "-c", WRITER, str(root), durability, str(KILLS), str(KEYS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for _ in range(KILLS):
                acknowledged = a_turn(process.stdin, process.stdout, chance)
                stale += check(root, acknowledged)
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert stale > 0, "no writer was killed in the middle of a write"
    asyncio.run(listed_and_swept(root))


def a_turn(stdin, stdout, chance):
    """Let a writer write, kill it, and return what it said it had written."""
    began = time.monotonic()
    stdin.write(f"{chance.randrange(9)}\n")
    stdin.flush()
    child = int(stdout.readline())
    # Not to wait for anything: to kill anywhere, at the pace of this disk.
    time.sleep(chance.uniform(0, time.monotonic() - began))
    os.kill(child, signal.SIGKILL)
    stdin.write("\n")
    stdin.flush()
    said = stdout.readline().strip(",\n")
    return [tuple(map(int, pair.split())) for pair in said.split(",") if pair]


def check(root, acknowledged):
    found = {}
    stale = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(".asyncstore-"):
                stale += 1
                continue
            with open(os.path.join(folder, name), "rb") as file:
                found[int(name)] = number_of(file.read())
    last = dict(acknowledged)
    for key, number in last.items():
        # Each key has one writer, and its next object may be there without a word of it.
        assert found[key] in (number, number + KEYS)
    return stale


async def listed_and_swept(root):
    provider = LocalProvider(str(root))
    keys = [meta.key for meta in (await provider.list_page("")).objects]
    assert all(key.startswith("k/") and key[2:].isdigit() for key in keys)
    fresh = [name for name in os.listdir(root / "k") if name.startswith(".asyncstore-")]
    assert fresh, "a listing removed what was written a moment ago"
    long_ago = time.time() - STALE_AFTER - 1
    upload = await provider.begin_upload("k/alive")
    await upload.put_part(1, b"x")
    for name in os.listdir(root / "k"):
        if name.startswith(".asyncstore-"):
            os.utime(root / "k" / name, (long_ago, long_ago))
    await provider.list_page("")
    left = [name for name in os.listdir(root / "k") if name.startswith(".asyncstore-")]
    assert len(left) == 1, "only what a living writer holds is left"
    await upload.complete()
    assert bytes(await provider.get("k/alive")) == b"x"
    await provider.aclose()


def test_a_stale_file_does_not_keep_an_empty_folder(tmp_path):
    async def main():
        provider = LocalProvider(str(tmp_path))
        await provider.put("d/e/k", b"x")
        stale = tmp_path / "d" / "e" / ".asyncstore-0123456789abcdef.tmp"
        stale.write_bytes(b"half")
        os.utime(stale, (0, 0))
        await provider.delete(["d/e/k"])
        assert os.listdir(tmp_path) == []

    asyncio.run(main())
