"""The clients that are measured, each reduced to the same few calls.

Every client is used as its documentation shows, with the defaults of its own except where a
default would keep it from the work: addresses, credentials, plain HTTP, and as many connections
as there are requests in flight.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks.works import MiB, Work, key_of

if TYPE_CHECKING:
    from benchmarks.servers import Place

_REGION = "us-east-1"
_PART = 8 * MiB


def array(size: int) -> Any:
    """Return memory to read into, as a user would: NumPy's, which nobody fills with zeros first."""
    import numpy as np

    return np.empty(size, np.uint8)


class Peer:
    """A client.

    Attributes:
        kinds: the kinds of works that it can do.
        threads: whether its calls are made from as many threads as requests are in flight.
        command: whether it is a program that does a whole work by itself.
        batch: whether it has one call for many objects.
        loop: `asyncio` or `uvloop`.
    """

    kinds = frozenset({"get", "get-one", "put", "put-one", "list"})
    servers = frozenset({"nginx", "nginx-tls", "standin", "seaweedfs"})
    threads = False
    command = False
    batch = False
    loop = "asyncio"

    def __init__(self, place: Place, work: Work) -> None:
        self.place = place
        self.work = work

    async def start(self) -> None:
        """Make what is kept between calls."""

    async def stop(self) -> None:
        """Close it."""


class Asyncstore(Peer):
    """The public `Store`."""

    checksums = True

    async def start(self):
        import asyncstore

        self.store = asyncstore.open_store(
            f"s3://{self.place.bucket}",
            creds={
                "aws_access_key_id": self.place.access_key,
                "aws_secret_access_key": self.place.secret_key,
                "aws_region": _REGION,
                "endpoint_url": self.place.url,
            },
            checksums=self.checksums,
            ca_bundle=self.place.ca or None,
        )

    async def stop(self):
        await self.store.aclose()

    async def get(self, key):
        return (await self.store.get(key)).data

    async def get_one(self, key, size):
        return (await self.store.get_into(key, array(size))).data

    async def put(self, key, data):
        await self.store.put(key, data)

    put_one = put

    async def list(self, prefix):
        return [meta.key async for meta in self.store.list(prefix)]


class AsyncstoreUnchecked(Asyncstore):
    """The same, without verifying or sending checksums."""

    checksums = False


class AsyncstoreUvloop(Asyncstore):
    """The same, on uvloop."""

    loop = "uvloop"


class AsyncstoreMany(Asyncstore):
    """The public `Store`, with its one call for many objects."""

    kinds = frozenset({"get"})
    batch = True

    async def get_many(self, keys, taken):
        found = [None] * len(keys)
        async with self.store.get_many(keys, width=self.work.width) as reads:
            async for outcome in reads:
                found[outcome.index] = taken(outcome.result().data)
        return found


class AsyncstoreManyUvloop(AsyncstoreMany):
    """The same, on uvloop."""

    loop = "uvloop"


class AsyncstoreEngine(Peer):
    """The HTTP engine alone: what the layers above it cost."""

    kinds = frozenset({"get", "get-one"})
    servers = frozenset({"nginx", "nginx-tls", "standin"})

    async def start(self):
        from asyncstore.http import Engine, EngineOptions, Origin, Request

        options = EngineOptions(connections=self.work.width, ca_bundle=self.place.ca or None)
        self.engine = Engine(options)
        self.origin = Origin.parse(self.place.url)
        self.request = Request

    async def stop(self):
        await self.engine.aclose()

    async def get(self, key):
        request = self.request("GET", self.origin, f"/{self.place.bucket}/{key}")
        return (await self.engine.send(request)).body

    async def get_one(self, key, size):
        target = f"/{self.place.bucket}/{key}"
        into = memoryview(array(size))
        return (await self.engine.send(self.request("GET", self.origin, target, into=into))).body


class Obstore(Peer):
    """obstore, async."""

    async def start(self):
        import obstore
        from obstore.store import S3Store

        if self.place.ca:
            os.environ["SSL_CERT_FILE"] = self.place.ca
        self.obstore = obstore
        self.store = S3Store(
            self.place.bucket,
            endpoint=self.place.url,
            access_key_id=self.place.access_key,
            secret_access_key=self.place.secret_key,
            region=_REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "600s"},
        )

    async def get(self, key):
        return await (await self.obstore.get_async(self.store, key)).bytes_async()

    async def get_one(self, key, size):
        return await self.get(key)

    async def put(self, key, data):
        await self.obstore.put_async(self.store, key, data, use_multipart=False)

    async def put_one(self, key, data):
        await self.obstore.put_async(
            self.store, key, data, chunk_size=_PART, max_concurrency=self.work.width
        )

    async def list(self, prefix):
        keys = []
        async for page in self.obstore.list(self.store, prefix, chunk_size=1000):
            keys += [meta["path"] for meta in page]
        return keys


class ObstoreThreads(Obstore):
    """obstore's sync calls, in threads."""

    threads = True
    kinds = frozenset({"get", "put"})

    def get(self, key):
        return self.obstore.get(self.store, key).bytes()

    def put(self, key, data):
        self.obstore.put(self.store, key, data, use_multipart=False)


class Opendal(Peer):
    """OpenDAL, async."""

    kinds = frozenset({"get", "get-one", "put", "list"})
    servers = frozenset({"nginx", "standin", "seaweedfs"})

    async def start(self):
        import opendal

        self.operator = opendal.AsyncOperator(
            "s3",
            bucket=self.place.bucket,
            endpoint=self.place.url,
            region=_REGION,
            access_key_id=self.place.access_key,
            secret_access_key=self.place.secret_key,
        )

    async def get(self, key):
        return await self.operator.read(key)

    async def get_one(self, key, size):
        return await self.get(key)

    async def put(self, key, data):
        await self.operator.write(key, data)

    async def list(self, prefix):
        return [entry.path async for entry in await self.operator.list(prefix)]


class Aiobotocore(Peer):
    """aiobotocore."""

    kinds = frozenset({"get", "get-one", "put", "list"})

    async def start(self):
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self._context = get_session().create_client(
            "s3",
            region_name=_REGION,
            endpoint_url=self.place.url,
            aws_access_key_id=self.place.access_key,
            aws_secret_access_key=self.place.secret_key,
            verify=self.place.ca or None,
            config=AioConfig(
                max_pool_connections=max(10, self.work.width), s3={"addressing_style": "path"}
            ),
        )
        self.client = await self._context.__aenter__()

    async def stop(self):
        await self._context.__aexit__(None, None, None)

    async def get(self, key):
        answer = await self.client.get_object(Bucket=self.place.bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read()

    async def get_one(self, key, size):
        return await self.get(key)

    async def put(self, key, data):
        await self.client.put_object(Bucket=self.place.bucket, Key=key, Body=data)

    async def list(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.place.bucket, Prefix=prefix
        )
        return [found["Key"] async for page in pages for found in page.get("Contents", ())]


class S3fs(Peer):
    """s3fs, through its async methods."""

    kinds = frozenset({"get", "get-one", "put", "put-one", "list"})
    servers = frozenset({"nginx", "nginx-tls", "standin", "seaweedfs"})

    async def start(self):
        import s3fs

        self.fs = s3fs.S3FileSystem(
            key=self.place.access_key,
            secret=self.place.secret_key,
            endpoint_url=self.place.url,
            asynchronous=True,
            skip_instance_cache=True,
            client_kwargs={"region_name": _REGION, "verify": self.place.ca or None},
            config_kwargs={"max_pool_connections": max(10, self.work.width)},
            max_concurrency=self.work.width,
        )
        self.session = await self.fs.set_session()

    async def stop(self):
        await self.session.close()

    async def get(self, key):
        return await self.fs._cat_file(f"{self.place.bucket}/{key}")

    async def get_one(self, key, size):
        return await self.get(key)

    async def put(self, key, data):
        await self.fs._pipe_file(f"{self.place.bucket}/{key}", data)

    async def put_one(self, key, data):
        await self.fs._pipe_file(f"{self.place.bucket}/{key}", data, chunksize=_PART)

    async def list(self, prefix):
        found = await self.fs._find(f"{self.place.bucket}/{prefix}")
        return [path.partition("/")[2] for path in found]


class Boto3Threads(Peer):
    """boto3, in threads; large objects through its transfer manager."""

    threads = True

    async def start(self):
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        self.client = boto3.client(
            "s3",
            region_name=_REGION,
            endpoint_url=self.place.url,
            aws_access_key_id=self.place.access_key,
            aws_secret_access_key=self.place.secret_key,
            verify=self.place.ca or None,
            config=Config(
                max_pool_connections=max(10, self.work.width), s3={"addressing_style": "path"}
            ),
        )
        self.transfer = TransferConfig(multipart_chunksize=_PART, max_concurrency=self.work.width)

    def get(self, key):
        return self.client.get_object(Bucket=self.place.bucket, Key=key)["Body"].read()

    def get_one(self, key, size):
        import io

        out = io.BytesIO()
        self.client.download_fileobj(self.place.bucket, key, out, Config=self.transfer)
        return out.getbuffer()

    def put(self, key, data):
        self.client.put_object(Bucket=self.place.bucket, Key=key, Body=data)

    def put_one(self, key, data):
        import io

        self.client.upload_fileobj(io.BytesIO(data), self.place.bucket, key, Config=self.transfer)

    def list(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.place.bucket, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", ())]


class Aiohttp(Peer):
    """aiohttp alone: no signature, no S3."""

    kinds = frozenset({"get", "get-one"})
    servers = frozenset({"nginx", "nginx-tls", "standin"})

    async def start(self):
        import ssl

        import aiohttp

        context = ssl.create_default_context(cafile=self.place.ca) if self.place.ca else True
        connector = aiohttp.TCPConnector(limit=self.work.width, ssl=context)
        self.session = aiohttp.ClientSession(connector=connector)

    async def stop(self):
        await self.session.close()

    async def get(self, key):
        async with self.session.get(f"{self.place.url}/{self.place.bucket}/{key}") as answer:
            return await answer.read()

    async def get_one(self, key, size):
        return await self.get(key)


class S5cmd(Peer):
    """s5cmd, a program in Go: it writes files, here in memory; its start is part of its time."""

    command = True
    kinds = frozenset({"get", "get-one", "put", "put-one"})
    servers = frozenset({"nginx", "seaweedfs"})

    def run(self) -> int:
        work, bucket = self.work, self.place.bucket
        with tempfile.TemporaryDirectory(dir=os.path.dirname(self.place.root) or None) as folder:
            if work.kind.startswith("get"):
                lines = [
                    f"cp s3://{bucket}/{key_of(work, number)} {folder}/{number}"
                    for number in range(work.count)
                ]
                self._s5cmd(lines)
                return sum(self._same(f"{folder}/{n}", key_of(work, n)) for n in range(work.count))
            return self._put(folder)

    def _put(self, folder: str) -> int:
        work, bucket = self.work, self.place.bucket
        for number in range(work.count):
            with open(f"{folder}/{number}", "wb") as file:
                file.write(os.urandom(work.size))
        self._s5cmd(
            [
                f"cp {folder}/{number} s3://{bucket}/{key_of(work, number)}"
                for number in range(work.count)
            ]
        )
        return work.count

    def _same(self, path: str, key: str) -> bool:
        with open(path, "rb") as one, open(os.path.join(self.place.root, key), "rb") as other:
            while True:
                a, b = one.read(1 << 24), other.read(1 << 24)
                if a != b:
                    return False
                if not a:
                    return True

    def _s5cmd(self, lines: list[str]) -> None:
        import sysconfig
        import time

        program = os.path.join(sysconfig.get_path("scripts"), "s5cmd")
        environ = os.environ | {
            "AWS_ACCESS_KEY_ID": self.place.access_key,
            "AWS_SECRET_ACCESS_KEY": self.place.secret_key,
            "AWS_REGION": _REGION,
        }
        width = ["--numworkers", str(self.work.width)]
        began = time.perf_counter()
        subprocess.run(
            [program, *width, "--endpoint-url", self.place.url, "--log", "error", "run"],
            input="\n".join(lines).encode(),
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.seconds = time.perf_counter() - began


class Wrk(Peer):
    """wrk: what a C program that does nothing else can reach; it checks nothing."""

    command = True
    kinds = frozenset({"get"})
    servers = frozenset({"nginx", "nginx-tls"})

    def run(self) -> int:
        import re
        import time

        work = self.work
        script = (
            f"local n = 0\nrequest = function()\n n = (n + 1) % {work.count}\n"
            f' return wrk.format("GET", string.format("/{self.place.bucket}/'
            f'{work.kind}/{work.size}/%06d", n))\nend\n'
        )
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            began = time.perf_counter()
            out = subprocess.run(
                ["wrk", "-t1", f"-c{work.width}", "-d2", "-s", file.name, self.place.url],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            spent = time.perf_counter() - began
        if "Non-2xx" in out:
            raise RuntimeError(out)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
        self.seconds = work.count / rate
        self.share = self.seconds / spent  # of the CPU that was used
        return work.count


PEERS = {
    "asyncstore": Asyncstore,
    "asyncstore, uvloop": AsyncstoreUvloop,
    "asyncstore, get_many": AsyncstoreMany,
    "asyncstore, get_many, uvloop": AsyncstoreManyUvloop,
    "asyncstore, no checksums": AsyncstoreUnchecked,
    "asyncstore, engine only": AsyncstoreEngine,
    "obstore": Obstore,
    "obstore, threads": ObstoreThreads,
    "opendal": Opendal,
    "aiobotocore": Aiobotocore,
    "s3fs": S3fs,
    "boto3, threads": Boto3Threads,
    "aiohttp, bare": Aiohttp,
    "s5cmd": S5cmd,
    "wrk": Wrk,
}


def can(name: str, work: Work) -> bool:
    """Whether a peer can do a work."""
    peer: Any = PEERS[name]
    return work.kind in peer.kinds and work.server in peer.servers


def run_loop(peer: Peer, main: Any) -> Any:
    """Run a coroutine on the peer's event loop."""
    if peer.loop == "uvloop":
        import uvloop

        return uvloop.run(main)
    return asyncio.run(main)
