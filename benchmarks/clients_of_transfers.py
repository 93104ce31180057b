"""One client, one question of `transfers.py`, in this process: prints a line of JSON.

Every client's result is compared, byte by byte, after the clock has stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import time
from typing import Any

from benchmarks.crowd import body_of, key_of
from benchmarks.run import cpu, forget_peak, memory

_KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x" * 40}
_REGION = "us-east-1"


class Told:
    """What is asked."""

    def __init__(self, text: str) -> None:
        told = json.loads(text)
        self.call: str = told["call"]
        self.how: dict[str, Any] = told["how"]
        self.url: str = told["url"]
        self.folder: str = told["folder"]
        self.count: int = told["count"]
        self.size: int = told["size"]

    @property
    def target(self) -> str:
        return os.path.join(self.folder, "files")

    def number(self, key: str) -> int:
        return int(key[-10:-4])

    def check_files(self) -> None:
        """Compare what is in the folder with what it must be."""
        for number in range(self.count):
            path = os.path.join(self.target, key_of(number).partition("/")[2])
            with open(path, "rb") as file:
                assert file.read() == body_of(number, self.size), path


class Clock:
    """Measures a block: wall time, CPU time of this process, and its peak of memory."""

    def __enter__(self):
        self._before = memory("VmRSS")
        forget_peak()
        self._spent, self._began = cpu(), time.perf_counter()
        return self

    def __exit__(self, *exc):
        self.seconds = time.perf_counter() - self._began
        self.cpu = cpu() - self._spent
        self.peak = max(0, memory("VmHWM") - self._before)

    def as_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds, "cpu": self.cpu, "peak": self.peak}


def opened(told: Told, **how: Any) -> Any:
    import asyncstore

    creds = _KEYS | {"aws_region": _REGION, "endpoint_url": told.url}
    return asyncstore.open_store("s3://bucket", creds=creds, **how)


async def warm(store: Any, told: Told | None = None) -> None:
    """Import and connect once, so that the clock measures the work."""
    await store.head(key_of(0))
    if told is not None:
        await store.download([key_of(0)], os.path.join(told.folder, "warm"))


async def download(told: Told) -> dict[str, Any]:
    async with opened(told) as store:
        await warm(store, told)
        with Clock() as clock:
            report = await store.download("data", told.target)
    assert report.ok, report
    assert report.copied == told.count, report
    told.check_files()
    return clock.as_dict()


async def rerun(told: Told) -> dict[str, Any]:
    async with opened(told) as store:
        await warm(store, told)
        with Clock() as clock:
            assert (await store.download("data", told.target)).copied == told.count
        with Clock() as again:
            assert (await store.download("data", told.target)).skipped == told.count
    told.check_files()
    return clock.as_dict() | {"again": again.seconds}


async def get_many(told: Told) -> dict[str, Any]:
    how = dict(told.how)
    hedge = how.pop("hedge", False)
    async with opened(told, concurrency=1024, hedge=hedge) as store:
        await warm(store)
        listed = [meta async for meta in store.list("data/")] if told.count <= 20_000 else None
        seen = bytearray(told.count)
        with Clock() as clock:
            async with store.get_many(listed or store.list("data/"), **how) as got:
                while outcomes := await got.some(256):
                    for outcome in outcomes:
                        number = told.number(outcome.item.key)
                        data = outcome.result().data
                        seen[number] = len(data) == told.size and data[:16] == b"%016d" % number
    assert all(seen), f"{seen.count(0)} objects differ"
    return clock.as_dict()


async def obstore_gather(told: Told) -> dict[str, Any]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "bucket",
        endpoint=told.url,
        access_key_id=_KEYS["aws_access_key_id"],
        secret_access_key=_KEYS["aws_secret_access_key"],
        region=_REGION,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    async def get(number: int) -> bool:
        data = await (await obstore.get_async(store, key_of(number))).bytes_async()
        return len(data) == told.size and bytes(data[:16]) == b"%016d" % number

    await get(0)
    with Clock() as clock:
        results = await asyncio.gather(
            *(get(number) for number in range(told.count)), return_exceptions=True
        )
    failed = [result for result in results if result is not True]
    return clock.as_dict() | {"failed": len(failed)}


async def s5cmd(told: Told) -> dict[str, Any]:
    """s5cmd writes the folder; its start, some 20 ms, is part of its time."""
    return _s5cmd(told, ["cp", "s3://bucket/data/*", f"{told.target}/"])


async def s5cmd_run(told: Told) -> dict[str, Any]:
    """s5cmd is told of each file, by a list that was written before; it need not list."""
    return _s5cmd(told, ["run", _commands(told)])


def _commands(told: Told) -> str:
    path = os.path.join(told.folder, "commands")
    with open(path, "w", encoding="utf-8") as file:
        for number in range(told.count):
            key = key_of(number)
            name = key.partition("/")[2]
            file.write(f"cp s3://bucket/{key} {os.path.join(told.target, name)}\n")
    return path


def _s5cmd(told: Told, work: list[str]) -> dict[str, Any]:
    program = os.path.join(sysconfig.get_path("scripts"), "s5cmd")
    environ = os.environ | {
        "AWS_ACCESS_KEY_ID": _KEYS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": _KEYS["aws_secret_access_key"],
        "AWS_REGION": _REGION,
    }
    command = [program, "--endpoint-url", told.url, "--log", "error", *work]
    began = time.perf_counter()
    subprocess.run(command, env=environ, check=True)
    seconds = time.perf_counter() - began
    told.check_files()
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss << 10,
    }


async def boto3_transfer(told: Told) -> dict[str, Any]:
    """What `aws s3 cp --recursive` does: list, then s3transfer's manager with its defaults."""
    import boto3
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    from botocore.config import Config

    threads = told.how.get("threads", 10)
    client = boto3.client(
        "s3",
        region_name=_REGION,
        endpoint_url=told.url,
        config=Config(max_pool_connections=max(10, threads), s3={"addressing_style": "path"}),
        **_KEYS,
    )
    client.head_object(Bucket="bucket", Key=key_of(0))
    with Clock() as clock:
        manager = create_transfer_manager(client, TransferConfig(max_concurrency=threads))
        with manager:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket="bucket", Prefix="data/"
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    path = os.path.join(told.target, found["Key"].partition("/")[2])
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    manager.download("bucket", found["Key"], path)
    told.check_files()
    return clock.as_dict()


def main() -> None:
    told = Told(sys.argv[1])
    calls = {
        call.__name__: call
        for call in (
            download,
            rerun,
            get_many,
            obstore_gather,
            s5cmd,
            s5cmd_run,
            boto3_transfer,
        )
    }
    work = calls[told.call](told)
    if told.how.pop("uvloop", False):
        import uvloop

        found = uvloop.run(work)
    else:
        found = asyncio.run(work)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
