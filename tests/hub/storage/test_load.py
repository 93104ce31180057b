"""Many at once, and a process that is killed in the middle of it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from anyio import create_task_group

from asyncstore.errors import StoreError
from asyncstore.hub.storage import Storage
from asyncstore.providers.s3 import S3Provider
from asyncstore.testing.storing import HubStorage
from asyncstore.types import Settings, Span

pytestmark = pytest.mark.asyncio
MiB = 1 << 20


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS"))


async def read_span(url, host, span):
    """Read a span over a connection of its own, slowly at first."""
    reader, writer = await asyncio.open_connection(*host.split(":"), limit=16_384)
    first, last = span
    head = f"GET {url} HTTP/1.1\r\nhost: {host}\r\nrange: bytes={first}-{last}\r\n\r\n"
    writer.write(head.encode())
    try:
        told = await reader.readuntil(b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 206"), told
        return await reader.readexactly(last + 1 - first)
    finally:
        writer.close()


async def test_2000_ranged_reads_at_once_lose_nothing_and_take_bounded_memory(hub_storage):
    data = os.urandom(8 * MiB)
    provider = S3Provider("org-tests", Settings(creds=hub_storage.creds))
    await provider.put("ds/load", data)
    url = await provider.presign("ds/load")
    await provider.aclose()
    host = hub_storage.url.removeprefix("http://")
    target = url[url.index(host) + len(host) :]
    before = memory(hub_storage.process.pid)
    peak = before
    spans = [(n * 4_001, n * 4_001 + 60_000 + n * 16) for n in range(2_000)]
    ended = asyncio.Event()

    async def watch():
        nonlocal peak
        while not ended.is_set():
            peak = max(peak, memory(hub_storage.process.pid))
            await asyncio.sleep(0.02)

    async with create_task_group() as tasks:
        tasks.start_soon(watch)
        found = await asyncio.gather(*(read_span(target, host, span) for span in spans))
        ended.set()
    for (first, last), piece in zip(spans, found, strict=True):
        assert piece == data[first : last + 1]
    assert peak - before < 256 * MiB


async def test_a_killed_storage_has_every_object_that_it_acknowledged_and_no_torn_one(tmp_path):
    folder = str(tmp_path / "storage")
    known: dict[str, bytes] = {}
    written: dict[str, list[bytes]] = {}
    for turn in range(3):
        with HubStorage(folder) as server:
            provider = S3Provider("org-tests", Settings(creds=server.creds))
            await _write_until_killed(provider, server.process.pid, turn, known, written)
            await provider.aclose()
        with HubStorage(folder) as server:
            provider = S3Provider("org-tests", Settings(creds=server.creds))
            for key, versions in written.items():
                found = await _read(provider, key)
                assert found is None or found in versions, key
                if key in known:  # that version is there, or the one that was on its way
                    assert found is not None, key
                    assert versions.index(found) >= versions.index(known[key]), key
            await provider.aclose()
    # Nothing that is nobody's is left, once it was opened again.
    storage = Storage(folder, b"k" * 32)
    await storage.open()
    total = await storage.size_of("org-tests", "ds/")
    await storage.delete_prefix("org-tests", "ds/")
    await storage.aclose()
    assert total > 0
    assert [path for path in (tmp_path / "storage" / "data").rglob("*") if path.is_file()] == []


async def _read(provider, key):
    try:
        return bytes(await provider.get(key, span=Span()))
    except FileNotFoundError:
        return None


async def _write_until_killed(provider, pid, turn, known, written):
    async def write(worker):
        for n in range(10_000):
            key = f"ds/{worker}/{n % 7}"
            size = (100, 50_000, 1_500_000)[n % 3]
            data = f"{turn} {worker} {n}|".encode() * (size // 10)
            written.setdefault(key, []).append(data)
            try:
                await provider.put(key, data)
            except StoreError:
                return
            known[key] = data
            if len(known) > 20 and n > 20 and worker == 0:
                os.kill(pid, signal.SIGKILL)

    async with create_task_group() as tasks:
        for worker in range(6):
            tasks.start_soon(write, worker)
