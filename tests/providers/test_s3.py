"""S3 against the contract, on real servers and on moto; their quirks are named, one by one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

import pytest

from asyncstore.errors import UnavailableError
from asyncstore.providers.s3 import S3Provider
from asyncstore.testing import ProviderContract
from asyncstore.types import Settings

_buckets: dict[str, str] = {}


class S3Contract(ProviderContract):
    """What the servers share: one bucket for each, and a way to count unfinished uploads."""

    __test__ = False
    name: ClassVar[str]
    make = S3Provider

    @pytest.fixture
    def server(self, request):
        return request.getfixturevalue(self.name)

    @pytest.fixture
    def bucket(self, server):
        if server.url not in _buckets:
            _buckets[server.url] = server.make_bucket()
        return _buckets[server.url]

    @pytest.fixture
    async def provider(self, anyio_backend, server, bucket):
        provider = self.make(bucket, Settings(creds=server.creds))
        self.server_ = server
        yield provider
        await provider.aclose()

    async def open_uploads(self, provider, root):
        client = self.server_.client()
        try:
            found = client.list_multipart_uploads(Bucket=provider._client.bucket)
        finally:
            client.close()
        return sum(u["Key"].startswith(root) for u in found.get("Uploads", ()))


class SeaweedProvider(S3Provider):
    """SeaweedFS keeps names as a file system does: 255 bytes from slash to slash."""

    @property
    def limits(self):
        return replace(super().limits, segment=255)


class TestS3OnSeaweedFS(S3Contract):
    __test__ = True
    name = "seaweedfs"
    make = SeaweedProvider


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")]
)
class TestS3OnSeaweedFSAndUvloop(TestS3OnSeaweedFS):
    """The same on the other event loop, which the background loop is where it is installed."""

    @pytest.fixture
    async def provider(self, anyio_backend, server, bucket):
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        provider = self.make(bucket, Settings(creds=server.creds))
        self.server_ = server
        yield provider
        await provider.aclose()


class TestS3OnMiniStack(S3Contract):
    __test__ = True
    name = "ministack"


class MotoProvider(S3Provider):
    """moto answers 500 where an object is replaced while it is looked at: ask again, as the retry
    layer would. (It closes the old object's file under whoever reads it.)
    """

    async def put(self, *args, **options):
        return await _again(super().put, *args, **options)

    async def get(self, *args, **options):
        return await _again(super().get, *args, **options)

    async def begin_upload(self, *args, **options):
        return MotoUpload(await super().begin_upload(*args, **options))


class MotoUpload:
    """It answers 500, too, where an upload is given up while a part of it is on its way."""

    def __init__(self, upload):
        self._upload = upload

    def __getattr__(self, name):
        return getattr(self._upload, name)

    async def abort(self):
        await _again(self._upload.abort)


async def _again(call, *args, **options):
    for _ in range(20):
        try:
            return await call(*args, **options)
        except UnavailableError as error:
            if error.status != 500:
                raise
    return await call(*args, **options)


class TestS3OnMoto(S3Contract):
    __test__ = True
    name = "moto"
    make = MotoProvider
    # moto looks at neither `If-Match` on CompleteMultipartUpload nor `x-amz-copy-source-if-match`.
    lacks = ("upload if_match", "copy if_match")
