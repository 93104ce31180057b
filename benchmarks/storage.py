"""Measure the hub's own storage beside `rclone serve s3`: `python -m benchmarks.storage`.

    python -m benchmarks.storage                 every work; about two minutes
    python -m benchmarks.storage get-4k put-4k   these alone
    python -m benchmarks.storage --update        and put the table into STORAGE.md

Both servers run on the first half of the cores, with a folder each, in memory or on a disk; one
client, in a process of its own on the last core, asks them in turn. Needs the extras `bench`,
`hub-server` and `test`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.cores import CLIENT, SERVERS, on, pinned
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncstore import Store
    from asyncstore.testing.servers import Server

_HERE = os.path.dirname(os.path.abspath(__file__))
_BEGIN, _END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
_TICK = os.sysconf("SC_CLK_TCK")
TURNS = 5


@dataclass(frozen=True)
class Work:
    """What the client does in one turn: `count` times, `width` at once; sizes in bytes.

    On `disk`, the servers keep their files there, and not in memory.
    """

    title: str
    kind: str
    count: int
    size: int
    width: int
    disk: bool = False


WORKS = {
    "get-4k": Work("GET 3,000 × 4 KiB, 64 in flight", "get", 3000, 4 << 10, 64),
    "put-4k": Work("PUT 1,000 × 4 KiB, 64 in flight", "put", 1000, 4 << 10, 64),
    "put-4k-disk": Work(
        "PUT 1,000 × 4 KiB, 64 in flight, on a disk", "put", 1000, 4 << 10, 64, True
    ),
    "get-8m": Work("GET 32 × 8 MiB, 8 in flight", "get", 32, 8 << 20, 8),
    "put-8m": Work("PUT 32 × 8 MiB, 8 in flight", "put", 32, 8 << 20, 8),
    "put-8m-disk": Work("PUT 32 × 8 MiB, 8 in flight, on a disk", "put", 32, 8 << 20, 8, True),
}


@contextlib.contextmanager
def serving(*, disk: bool) -> Iterator[dict[str, Server]]:
    """Start both servers, with folders on the disk or in memory."""
    from asyncstore.testing.servers import Rclone
    from asyncstore.testing.storing import HubStorage

    tempfile.tempdir = "/dev/shm" if os.path.isdir("/dev/shm") and not disk else None
    with on(SERVERS), HubStorage() as ours, Rclone() as rclone:
        yield {"hub": ours, "rclone": rclone}


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used, the system's for it among them."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def ask(server: Server, bucket: str, work: Work) -> dict[str, float]:
    """Do a work once, in a fresh process; return what it took."""
    told = json.dumps({"creds": server.creds, "bucket": bucket, "work": work.__dict__})
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith("_PROXY") and not name.startswith("AWS_")
    }
    pid = server.process.pid
    with on(CLIENT):
        client = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.storage", "--client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
    with client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(told + "\n")
        client.stdin.flush()
        if client.stdout.readline() != "ready\n":
            raise RuntimeError(f"the client ended before it began: status {client.wait()}")
        before = cpu(pid)
        client.stdin.write("go\n")
        client.stdin.flush()
        seconds = json.loads(client.stdout.readline())
        return {"seconds": seconds, "cpu": cpu(pid) - before}


async def _client() -> None:
    """Prepare, say so, and do the work once told to; every byte is compared after the clock."""
    from asyncstore import open_store

    told = json.loads(sys.stdin.readline())
    work = Work(**told["work"])
    keys = [f"ds/{work.kind}-{work.size}/{number:05}" for number in range(work.count)]
    data = [os.urandom(work.size) for _ in range(4)]
    options: dict[str, Any] = {"creds": told["creds"], "checksums": False}
    async with open_store(f"s3://{told['bucket']}", **options) as store:
        if work.kind == "get":
            await _all(store, "put", keys, data, work.width)
        await _all(store, work.kind, keys[: work.width], data, work.width)  # opens connections
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        found = await _all(store, work.kind, keys, data, work.width)
        print(time.perf_counter() - began, flush=True)
        if work.kind == "put":
            found = await _all(store, "get", keys, data, work.width)
        for number, got in enumerate(found):
            assert got == data[number % len(data)], f"object {number} differs"


async def _all(
    store: Store, kind: str, keys: list[str], data: list[bytes], width: int
) -> list[Any]:
    found: list[Any] = [None] * len(keys)
    numbers = iter(range(len(keys)))

    async def worker() -> None:
        for number in numbers:
            if kind == "get":
                found[number] = (await store.get(keys[number])).data
            else:
                await store.put(keys[number], data[number % len(data)])

    await asyncio.gather(*(worker() for _ in range(width)))
    return found


def measure(work: Work) -> dict[str, Any]:
    """Return the medians of a work on each server."""
    with serving(disk=work.disk) as servers:
        buckets = {
            label: server.make_bucket("org-tests" if label == "hub" else "bench")
            for label, server in servers.items()
        }
        runs: dict[str, list[dict[str, float]]] = {label: [] for label in servers}
        for turn in range(TURNS):
            for label, server in servers.items():
                runs[label].append(ask(server, buckets[label], work))
                print(f"{work.title}, {turn + 1}: {label} {runs[label][-1]['seconds']:.2f} s")
    found: dict[str, Any] = {
        label: {key: statistics.median(run[key] for run in some) for key in some[0]}
        for label, some in runs.items()
    }
    return found | {"load": os.getloadavg()[0], "machine": machine()}


def table(kept: dict[str, Any]) -> str:
    """Return what was measured, as Markdown."""
    lines = [
        f"{pinned().capitalize()}; medians of {TURNS} turns.",
        "",
        "| Work | Hub's storage | rclone | Throughput, × rclone | Server's CPU, × rclone | Load |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, work in WORKS.items():
        if name in kept:
            ours, other = kept[name]["hub"], kept[name]["rclone"]
            rates = " | ".join(_rate(work, one["seconds"]) for one in (ours, other))
            ratio, used = other["seconds"] / ours["seconds"], ours["cpu"] / other["cpu"]
            load = kept[name]["load"]
            lines.append(f"| {work.title} | {rates} | {ratio:.2f} | {used:.2f} | {load:.1f} |")
    machines = {one["machine"] for one in kept.values()}
    return "\n".join([*lines, "", f"{'; '.join(sorted(machines))}.\n"])


def _rate(work: Work, seconds: float) -> str:
    if work.size < 1 << 20:
        return f"{work.count / seconds:,.0f}/s"
    return f"{work.count * work.size / seconds / 2**20:,.0f} MiB/s"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.storage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("works", nargs="*", help=", ".join(WORKS))
    parser.add_argument("--update", action="store_true", help="put the table into STORAGE.md")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client:
        asyncio.run(_client())
        return
    results = os.path.join(_HERE, "results", "storage.json")
    kept: dict[str, Any] = {}
    if os.path.exists(results):
        with open(results, encoding="utf-8") as file:
            kept = json.load(file)
    kept |= {name: measure(WORKS[name]) for name in asked.works or WORKS}
    with open(results, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1)
    print(f"\n{table(kept)}")
    if asked.update:
        path = os.path.join(_HERE, "STORAGE.md")
        with open(path, encoding="utf-8") as file:
            head, rest = file.read().split(_BEGIN)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{head}{_BEGIN}{table(kept)}{_END}{rest.split(_END)[1]}")


if __name__ == "__main__":
    main()
