"""The memory provider against the contract, and what is its own."""

import pytest

from asyncstore.providers.memory import MemoryProvider
from asyncstore.testing import ProviderContract


class TestMemory(ProviderContract):
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request):
        return request.param

    @pytest.fixture
    async def provider(self, anyio_backend):
        provider = MemoryProvider()
        yield provider
        await provider.aclose()
