"""S3 against the contract, on real servers and on moto; their quirks are named, one by one."""

from __future__ import annotations

from typing import ClassVar

import pytest

from asyncstore.providers.s3 import S3Provider
from asyncstore.testing import ProviderContract
from asyncstore.types import Settings

_buckets: dict[str, str] = {}


class S3Contract(ProviderContract):
    """What the servers share: one bucket for each, and a way to count unfinished uploads."""

    __test__ = False
    name: ClassVar[str]

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
        provider = S3Provider(bucket, Settings(creds=server.creds))
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


class TestS3OnSeaweedFS(S3Contract):
    __test__ = True
    name = "seaweedfs"


class TestS3OnMiniStack(S3Contract):
    __test__ = True
    name = "ministack"


class TestS3OnMoto(S3Contract):
    __test__ = True
    name = "moto"
