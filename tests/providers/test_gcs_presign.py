"""Signed URLs of Google Cloud Storage, used by a stranger with nothing but the URL."""

import asyncio
import time
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.providers.gcs import GCSProvider
from asyncstore.providers.gcs.credentials import Default
from asyncstore.providers.gcs.metadata import Metadata
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.testing.google_standins import (
    ACCOUNT,
    MACHINE,
    TARGET,
    GoogleStandIns,
    private_key,
)
from asyncstore.testing.keys import KEYS
from asyncstore.testing.small_http import Reply
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio


class World:
    def __init__(self, storage, google):
        self.storage, self.google = storage, google
        self.bucket = storage.make_bucket()
        for account in (ACCOUNT, TARGET, MACHINE):
            storage.keys[account] = private_key().public_key()

    @asynccontextmanager
    async def provider(self, creds, **environ):
        settings = Settings(creds=creds, endpoint_url=self.storage.url)
        provider = GCSProvider(self.bucket, settings, environ={"HOME": "/nowhere", **environ})
        try:
            yield provider
        finally:
            await provider.aclose()


@pytest.fixture
def world():
    with StrictGCS() as storage, GoogleStandIns() as google:
        google.on_issue = lambda token: storage.tokens.__setitem__(token, "rw")
        yield World(storage, google)


async def use(url, method="GET", data=None, **headers):
    """Do what a stranger can do with a URL; return status and body."""

    def call():
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
        try:
            with opener.open(request, timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return await asyncio.to_thread(call)


async def test_a_url_does_its_one_method(world):
    async with world.provider(world.google.service_account()) as provider:
        put = await provider.presign("key", method="PUT", content_type="text/plain")
        assert (await use(put, "PUT", b"data", **{"content-type": "text/plain"}))[0] == 200
        assert (await use(put, "PUT", b"data", **{"content-type": "text/html"}))[0] == 403
        assert (await provider.head("key")).content_type == "text/plain"
        get = await provider.presign("key")
        assert await use(get) == (200, b"data")
        assert (await use(get, "DELETE"))[0] == 403
        assert (await use(get.replace("/key?", "/other?")))[0] == 403
        assert (await use(get.replace("X-Goog-Expires=900", "X-Goog-Expires=9000")))[0] == 403
        assert (await use(await provider.presign("key", method="HEAD"), "HEAD"))[0] == 200
        assert (await use(await provider.presign("key", method="DELETE"), "DELETE"))[0] == 204
    assert "key" not in world.storage.buckets[world.bucket].objects


async def test_a_url_names_its_key_exactly(world):
    async with world.provider(world.google.service_account()) as provider:
        for key in KEYS:
            world.storage.store(world.bucket, key, key.encode())
            assert await use(await provider.presign(key)) == (200, key.encode()), key


async def test_a_key_of_ones_own_signs_without_asking_anybody(world):
    async with world.provider(world.google.service_account()) as provider:
        await provider.presign("key")
    assert world.google.calls == []
    assert world.storage.calls == []


async def test_an_impersonated_account_signs_through_iam(world):
    world.storage.store(world.bucket, "key", b"data")
    async with world.provider(world.google.impersonated()) as provider:
        assert await use(await provider.presign("key")) == (200, b"data")
    assert world.google.count(":signBlob", "POST") == 1


async def test_a_machines_account_signs_through_iam(world):
    world.storage.store(world.bucket, "key", b"data")
    async with world.provider(None, GCE_METADATA_HOST=world.google.host) as provider:
        source = provider._session.source
        assert isinstance(source, Default)
        chosen = source._choose()
        assert isinstance(chosen, Metadata)
        chosen.iam = world.google.url
        url = await provider.presign("key")
        assert parse_qs(urlsplit(url).query)["X-Goog-Credential"][0].startswith(MACHINE)
        assert await use(url) == (200, b"data")


async def test_credentials_without_an_account_cannot_sign(world):
    for creds in (
        "anon",
        {"gcs_oauth_token": CANARY_TOKEN},
        world.google.authorized_user(),
        world.google.external({"file": "x"}),
        lambda: CANARY_TOKEN,
        world.google.client(),
        "cache",
    ):
        async with world.provider(creds) as provider:
            with pytest.raises(ConfigurationError, match="cannot sign"):
                await provider.presign("key")
    assert world.google.calls == []


@pytest.mark.parametrize("expires", [0, -1, 0.5, 604_801, 1e9, float("nan"), float("inf"), "900"])
async def test_a_life_out_of_range_is_refused(world, expires):
    async with world.provider(world.google.service_account()) as provider:
        with pytest.raises(ConfigurationError, match="604800"):
            await provider.presign("key", expires=expires)


async def test_a_signature_of_iams_lives_half_a_day_at_most(world):
    async with world.provider(world.google.impersonated()) as provider:
        await provider.presign("key", expires=43_200)
        with pytest.raises(ConfigurationError, match="43200"):
            await provider.presign("key", expires=43_201)


async def test_another_method_is_refused(world):
    async with world.provider(world.google.service_account()) as provider:
        with pytest.raises(ConfigurationError, match="POST"):
            await provider.presign("key", method="POST")


async def test_a_url_ends(world):
    world.storage.store(world.bucket, "key", b"data")
    async with world.provider(world.google.service_account()) as provider:
        now = time.time()
        provider._session.exchange.clock = lambda: now - 100
        assert (await use(await provider.presign("key", expires=99)))[0] == 400
        assert (await use(await provider.presign("key", expires=200)))[0] == 200


async def test_iam_that_returns_no_signature_is_an_error(world):
    async with world.provider(world.google.impersonated()) as provider:
        for body in (b"{}", b'{"signedBlob": "%%%"}', b'{"signedBlob": 7}'):
            world.google.fail("reply", ":signBlob", Reply(200, body))
            with pytest.raises(IntegrityError):
                await provider.presign("key")
