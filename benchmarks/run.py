"""One peer, one work, in this process: `python -m benchmarks.run JSON` prints a line of JSON.

First every byte is read (or written and read back) and compared, untimed; this also opens the
connections. Then come the timed rounds, which check numbers and lengths, and the bytes again
where they are few.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import mmap
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks.peers import PEERS, Peer, run_loop
from benchmarks.servers import Place
from benchmarks.works import BY_NAME, MiB, Work, key_of, listed_key

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPARE_ALWAYS = 64 * MiB
_SLOW = 5.0  # seconds for a work of small things, from which one timed round must do


def memory(name: str) -> int:
    """Return a figure of /proc/self/status, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


def forget_peak() -> None:
    """Let the peak begin anew."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def warm(work: Work) -> None:
    """Touch the memory that a round may need, and give it back.

    Where the machine is a virtual one, memory that was idle for seconds is the host's again, and
    getting it back takes ten times as long as a client needs for its work.
    """
    for _ in range(2 if work.size >= MiB else 0):
        size = 2 * work.count * work.size
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            for at in range(0, size, 4096):
                memory[at] = 1


def cpu(who: int = resource.RUSAGE_SELF) -> float:
    """Return the CPU seconds spent, of the process or the system for it."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


class Job:
    """A work, with what its bytes must be."""

    def __init__(self, peer: Peer, work: Work, place: Place) -> None:
        self.peer: Any = peer
        self.work = work
        self.place = place
        self.results: list[Any] = []
        if work.kind.startswith("put"):
            self.data = [os.urandom(work.size) for _ in range(min(work.count, 50))]

    def calls(self) -> list[Callable[[], Any]]:
        """Return what is to be called."""
        work, peer = self.work, self.peer
        keys = [key_of(work, number) for number in range(work.count)]
        if work.kind == "get":
            return [lambda key=key: peer.get(key) for key in keys]
        if work.kind == "get-one":
            return [lambda: peer.get_one(keys[0], work.size)]
        if work.kind == "put":
            return [
                lambda key=key, number=number: peer.put(key, self.data[number % len(self.data)])
                for number, key in enumerate(keys)
            ]
        if work.kind == "put-one":
            return [lambda: peer.put_one(keys[0], self.data[0])]
        return [lambda: peer.list("listing/")]

    async def all_at_once(self) -> None:
        """Do the work, as wide as it says."""
        calls = self.calls()
        results: list[Any] = [None] * len(calls)
        keep = self.work.count * self.work.size <= _COMPARE_ALWAYS or self.work.kind == "list"
        if self.peer.threads:
            with ThreadPoolExecutor(self.work.width) as pool:
                for number, result in enumerate(pool.map(lambda call: call(), calls)):
                    results[number] = result if keep else self.length(result)
        elif self.peer.batch:
            keys = [key_of(self.work, number) for number in range(self.work.count)]
            results = await self.peer.get_many(keys, (lambda it: it) if keep else self.length)
        else:
            numbers = iter(range(len(calls)))

            async def worker() -> None:
                for number in numbers:
                    result = await calls[number]()
                    results[number] = result if keep else self.length(result)

            await asyncio.gather(*(worker() for _ in range(min(self.work.width, len(calls)))))
        self.results = results

    def clear(self) -> None:
        """Remove what was written: nginx answers 204 to a `PUT` over something, and S3 never."""
        if self.work.kind == "put" and self.place.root:
            for number in range(self.work.count):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.place.root, key_of(self.work, number)))

    def length(self, result: Any) -> int:
        return len(result) if result is not None else self.work.size

    def check(self) -> None:
        """Compare what came, or what is there now, with what it must be."""
        work = self.work
        if work.kind == "list":
            assert self.results[0] == [listed_key(n) for n in range(work.count)], "keys differ"
        for number, result in enumerate(self.results):
            if isinstance(result, int):
                assert result == work.size, "a length differs"
            elif work.kind.startswith("get"):
                assert same(result, self.expected(number)), f"object {number} differs"
        if work.kind == "put" and self.place.root:
            for number in range(work.count):
                stored = self.expected(number)
                assert stored == self.data[number % len(self.data)], f"object {number} differs"

    def expected(self, number: int) -> bytes:
        with open(os.path.join(self.place.root, key_of(self.work, number)), "rb") as file:
            return file.read()

    async def check_everything(self) -> None:
        """Do the work once, slowly, and compare every byte."""
        work = self.work
        self.clear()
        if work.kind in ("put", "list") or work.count * work.size <= _COMPARE_ALWAYS:
            await self.all_at_once()
            self.check()
        elif work.kind.startswith("get"):
            for number, call in enumerate(self.calls()):
                result = call() if self.peer.threads else await call()
                assert same(result, self.expected(number)), f"object {number} differs"
        else:
            await self.all_at_once()
            stored = hashlib.sha256(read_back(self.place, key_of(work, 0))).digest()
            assert stored == hashlib.sha256(self.data[0]).digest(), "what was stored differs"


def read_back(place: Place, key: str) -> bytes:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=place.url,
        region_name="us-east-1",
        aws_access_key_id=place.access_key,
        aws_secret_access_key=place.secret_key,
    )
    return client.get_object(Bucket=place.bucket, Key=key)["Body"].read()


def same(one: Any, other: bytes) -> bool:
    view = memoryview(one)
    step = 16 * MiB
    return len(view) == len(other) and all(
        bytes(view[at : at + step]) == other[at : at + step] for at in range(0, len(other), step)
    )


async def measure(peer: Peer, work: Work, place: Place) -> dict[str, Any]:
    job = Job(peer, work, place)
    await peer.start()
    rounds = []
    peak = 0
    try:
        began = time.perf_counter()
        await job.check_everything()
        slow = time.perf_counter() - began > _SLOW and work.size < MiB
        for _ in range(1 if slow else work.rounds):
            job.results = []
            job.clear()
            warm(work)
            before = memory("VmRSS")
            forget_peak()
            spent, began = cpu(), time.perf_counter()
            await job.all_at_once()
            rounds.append((time.perf_counter() - began, cpu() - spent))
            peak = max(peak, memory("VmHWM") - before)
            job.check()
    finally:
        await peer.stop()
    return {"rounds": rounds, "peak": peak}


def measure_command(peer: Any, work: Work) -> dict[str, Any]:
    rounds = []
    for _ in range(work.rounds):
        spent = cpu(resource.RUSAGE_CHILDREN)
        assert peer.run() == work.count, "some objects differ"
        used = (cpu(resource.RUSAGE_CHILDREN) - spent) * getattr(peer, "share", 1)
        rounds.append((peer.seconds, used))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    return {"rounds": rounds, "peak": peak}


def main() -> None:
    asked = json.loads(sys.argv[1])
    work, place = BY_NAME[asked["work"]], Place(**asked["place"])
    peer = PEERS[asked["peer"]](place, work)
    if peer.command:
        out = measure_command(peer, work)
    else:
        out = run_loop(peer, measure(peer, work, place))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
