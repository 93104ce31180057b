"""The contract through a hub: over S3, and over Google's stand-in."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from asyncstore import registry
from asyncstore.credentials import Secret
from asyncstore.providers.gcs import GCSProvider
from asyncstore.providers.gcs.session import Session
from asyncstore.providers.hub import HubProvider
from asyncstore.providers.hub.client import HubClient
from asyncstore.providers.hub.login import Hub
from asyncstore.testing import ProviderContract
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.testing.fake_hub import FakeHub
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.types import Settings
from asyncstore.url import StoreURL

SET = StoreURL.parse("hub://org/set")
NAME = "contract".ljust(64, "-")  # no shorter than what the storage calls it, for the longest key


@pytest.fixture(scope="module")
def strict_gcs():
    with StrictGCS() as server:
        server.tokens[CANARY_TOKEN] = "rw"
        yield server


@pytest.fixture(scope="module")
def bucket(strict_gcs):
    return strict_gcs.make_bucket()


class HubContract(ProviderContract):
    """One data set of one hub, and keys below its name."""

    __test__ = False

    @pytest.fixture
    def root(self):
        return f"set/contract-{secrets.token_hex(6)}/"

    async def through(self, hub, beneath, **settings):
        with hub:
            hub.tokens[CANARY_TOKEN] = "ann"
            said = Settings(hub_url=hub.url, token=CANARY_TOKEN, **settings)
            provider = HubProvider(SET, said, beneath)
            yield provider
            await provider.aclose()


class TestHubOverGCS(HubContract):
    __test__ = True
    server: StrictGCS

    @pytest.fixture
    async def provider(self, anyio_backend, strict_gcs, bucket, monkeypatch):
        class AsGoogle(Session):
            """Google's own endpoint has both APIs and keeps conditions, and so does this."""

            is_google = True

        monkeypatch.setattr("asyncstore.providers.gcs.provider.Session", AsGoogle)
        self.server = strict_gcs
        hub = FakeHub(f"gcs://{bucket}", lambda: {"gcs_oauth_token": CANARY_TOKEN})
        hub.places["org/set"] = f"gcs://{bucket}/set"  # as long as the name here
        made = self.through(
            hub,
            lambda url, settings: GCSProvider(url.bucket, settings),
            endpoint_url=strict_gcs.url,
        )
        async for provider in made:
            yield provider

    async def open_uploads(self, provider, root):
        return self.server.open_uploads


class TestHubOverItsOwnStorage(ProviderContract):
    """The real hub, with what it lends."""

    @pytest.fixture
    def root(self):
        return f"{NAME}/contract-{secrets.token_hex(6)}/"

    @pytest.fixture
    async def provider(self, anyio_backend, real_hub, token):
        url = StoreURL.parse(f"hub://carla/{NAME}")
        settings = Settings(hub_url=real_hub.url, token=token)
        provider = registry.connector("hub")(url, settings)
        yield provider
        await provider.aclose()

    @pytest.fixture
    def token(self, real_hub):
        token = real_hub.person("carla")
        asyncio.run(_registered(real_hub, token))
        return token


async def _registered(hub, token):
    """Let the hub know of the data set; twice is as once."""
    async with HubClient(Hub(hub.url, Secret(token), "the test"), Settings()) as client:
        await client.register("carla", NAME, {}, public=False)
