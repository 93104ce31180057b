"""What is measured: each work is the same for every peer."""

from __future__ import annotations

from dataclasses import dataclass, replace

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes:
        name: in the table and on the command line.
        kind: `get`, `get-one`, `put`, `put-one` or `list`.
        count: objects, or keys to list.
        size: of each object, in bytes.
        width: requests in flight.
        server: `nginx`, `nginx-tls`, `standin` or `seaweedfs`.
        delay: seconds that the stand-in waits before each answer.
        rounds: how often it is done in one process, after one that is not timed.
        pinned: whether server and client have cores of their own, or all share all.
        note: for the table.
    """

    name: str
    kind: str
    count: int
    size: int
    width: int
    server: str = "nginx"
    delay: float = 0.0
    rounds: int = 3
    pinned: bool = True
    note: str = ""


_PLAIN = [
    Work("get-4k", "get", 4000, 4 * KiB, 64, note="GET 4,000 × 4 KiB, 64 in flight"),
    Work("put-4k", "put", 2000, 4 * KiB, 64, note="PUT 2,000 × 4 KiB, 64 in flight"),
    Work("get-8m", "get", 64, 8 * MiB, 16, note="GET 64 × 8 MiB, 16 in flight"),
    Work("get-1g", "get-one", 1, GiB, 16, rounds=2, note="GET one 1 GiB object into one buffer"),
]
WORKS = [
    *_PLAIN,
    *(
        replace(work, name=f"{work.name}-tls", server="nginx-tls", note=f"{work.note}, TLS")
        for work in _PLAIN
        if work.kind.startswith("get")
    ),
    *(
        replace(work, name=f"{work.name}-free", pinned=False, note=f"{work.note}, cores shared")
        for work in _PLAIN
        if work.size == 4 * KiB
    ),
    Work(
        "get-4k-20ms",
        "get",
        2000,
        4 * KiB,
        64,
        server="standin",
        delay=0.02,
        note="GET 2,000 × 4 KiB, 64 in flight, each answer 20 ms late",
    ),
    Work("list-100k", "list", 100_000, 0, 1, server="standin", note="list 100,000 keys"),
    Work(
        "put-1g",
        "put-one",
        1,
        GiB,
        8,
        server="standin",
        rounds=2,
        note="PUT one 1 GiB object in parts",
    ),
    Work(
        "put-256m-s3",
        "put-one",
        1,
        256 * MiB,
        8,
        server="seaweedfs",
        rounds=1,
        note="PUT one 256 MiB object in parts, SeaweedFS",
    ),
    Work(
        "get-4k-s3",
        "get",
        2000,
        4 * KiB,
        64,
        server="seaweedfs",
        note="GET 2,000 × 4 KiB, 64 in flight, SeaweedFS",
    ),
]
BY_NAME = {work.name: work for work in WORKS}


def key_of(work: Work, number: int) -> str:
    """Return an object's key."""
    return f"{work.kind}/{work.size}/{number:06}"


def listed_key(number: int) -> str:
    """Return a key of the stand-in's listing."""
    return f"listing/{number:08}.bin"
