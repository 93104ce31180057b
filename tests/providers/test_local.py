"""The local provider against the contract."""

import os

import pytest

from asyncstore.providers.local import LocalProvider
from asyncstore.testing import ProviderContract


class LocalContract(ProviderContract):
    key_beside_folder = False

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request):
        return request.param

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, tmp_path):
        """No file that was being written and no descriptor outlives a test."""
        before = set(os.listdir("/proc/self/fd"))
        yield
        left = [name for _, _, names in os.walk(tmp_path) for name in names if ".tmp" in name]
        assert [name for name in left if name.startswith(".asyncstore-")] == []
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 8

    async def open_uploads(self, provider, root):
        found = [name for _, _, names in os.walk(provider.locate("")) for name in names]
        return sum(name.startswith(".asyncstore-") for name in found)


class TestLocal(LocalContract):
    @pytest.fixture
    async def provider(self, anyio_backend, tmp_path):
        provider = LocalProvider(str(tmp_path / "root"))
        yield provider
        await provider.aclose()


class TestLocalDeferred(LocalContract):
    @pytest.fixture
    async def provider(self, anyio_backend, tmp_path):
        provider = LocalProvider(str(tmp_path / "root"), durability="deferred")
        yield provider
        await provider.aclose()
