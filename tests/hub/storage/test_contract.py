"""The library's own S3 provider on the hub's storage: the whole contract, and nothing lacking."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from asyncstore.providers.s3 import S3Provider
from asyncstore.testing import ProviderContract
from asyncstore.types import Settings


class SortedProvider(S3Provider):
    """The storage sorts as AWS does, which the provider cannot know of a look-alike."""

    @property
    def limits(self):
        return replace(super().limits, sorted=True)


class TestS3OnTheHubsStorage(ProviderContract):
    @pytest.fixture
    def root(self):
        return f"ds/contract-{secrets.token_hex(6)}/"

    @pytest.fixture
    async def provider(self, anyio_backend, hub_storage):
        self.server = hub_storage
        provider = SortedProvider(hub_storage.make_bucket(), Settings(creds=hub_storage.creds))
        yield provider
        await provider.aclose()

    async def open_uploads(self, provider, root):
        keys = {"session_token": self.server.session_token}
        client = self.server.client(**keys)
        try:
            found = client.list_multipart_uploads(Bucket=provider._client.bucket, Prefix=root)
        finally:
            client.close()
        return len(found.get("Uploads", ()))
