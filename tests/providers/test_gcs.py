"""Google Cloud Storage against the contract: on fake-gcs-server, and on the strict stand-in."""

import pytest

from asyncstore.providers.gcs import GCSProvider
from asyncstore.providers.gcs.session import Session
from asyncstore.testing import ProviderContract
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.types import Settings


@pytest.fixture(scope="module")
def strict_gcs():
    with StrictGCS() as server:
        server.tokens[CANARY_TOKEN] = "rw"
        yield server


@pytest.fixture(scope="module")
def strict_bucket(strict_gcs):
    return strict_gcs.make_bucket()


@pytest.fixture(scope="module")
def fake_bucket(fake_gcs):
    return fake_gcs.make_bucket()


class TestGCSOnFakeGCSServer(ProviderContract):
    lacks = ("upload if_match", "upload if_absent", "copy if_match", "copy if_absent")

    # It counts objects alone towards a page's length, and tells a folder on every page
    # that has objects before it.
    async def test_pages_of_folders_lose_and_repeat_nothing(self, provider, root):
        for key in ("a", "ab", "b/1", "b/2/x", "b!", "z"):
            await provider.put(root + key, b"")
        objects, prefixes, cursor = [], set(), None
        while True:
            page = await provider.list_page(root, cursor=cursor, limit=1, delimiter=True)
            objects += [meta.key.removeprefix(root) for meta in page.objects]
            prefixes.update(page.prefixes)
            cursor = page.cursor
            if cursor is None:
                break
        assert objects == ["a", "ab", "b!", "z"]
        assert prefixes == {root + "b/"}

    @pytest.fixture
    async def provider(self, anyio_backend, fake_gcs, fake_bucket):
        settings = Settings(creds="anon", endpoint_url=fake_gcs.url)
        provider = GCSProvider(fake_bucket, settings, environ={})
        yield provider
        await provider.aclose()


class AsGoogle(Session):
    """Google's own endpoint has both APIs and keeps conditions; so has and does the stand-in."""

    is_google = True


class TestGCSOnStrictStandIn(ProviderContract):
    server: StrictGCS

    @pytest.fixture
    async def provider(self, anyio_backend, strict_gcs, strict_bucket, monkeypatch):
        monkeypatch.setattr("asyncstore.providers.gcs.provider.Session", AsGoogle)
        settings = Settings(creds={"gcs_oauth_token": CANARY_TOKEN}, endpoint_url=strict_gcs.url)
        provider = GCSProvider(strict_bucket, settings, environ={})
        self.server = strict_gcs
        yield provider
        await provider.aclose()

    async def open_uploads(self, provider, root):
        return self.server.open_uploads
