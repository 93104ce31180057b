"""Tokens for one data set, against stand-ins that enforce credential access boundaries."""

import asyncio
import json
import time
import urllib.error
import urllib.request

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

import asyncstore
from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from asyncstore.hub.minting import Addresses, Minter, Reach
from asyncstore.hub.minting.boundary import access_boundary
from asyncstore.testing.boundaries import Ask, Boundary
from asyncstore.testing.canary import guard, shows
from asyncstore.testing.google_standins import ACCOUNT, TARGET, GoogleStandIns, private_key
from asyncstore.testing.small_http import Reply
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.url import StoreURL

PREFIX = "team/it's é"


@pytest.fixture
def gcs():
    with StrictGCS() as server:
        bucket = server.make_bucket()
        for key in (f"{PREFIX}/meta.json", f"{PREFIX}2/key", "team/other", "key"):
            server.store(bucket, key, b"before")
        server.keys = {name: private_key().public_key() for name in (ACCOUNT, TARGET)}
        yield server


@pytest.fixture
def place(gcs):
    (bucket,) = gcs.buckets
    return StoreURL("gcs", bucket, PREFIX)


@pytest.fixture
def google(gcs):
    with GoogleStandIns(lambda token: gcs.tokens.update({guard(token): "rw"})) as services:
        services.on_narrow = gcs.boundaries.__setitem__
        yield services


@pytest_asyncio.fixture
async def minter(google, gcs, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    addresses = Addresses(google_sts=google.url, google_iam=google.url, google_storage=gcs.url)
    async with Minter(Reach(loopback=True), addresses=addresses) as minter:
        yield minter


def stored(google, **changes):
    return {"kind": "gcs", "service_account": google.service_account()} | changes


def store_of(url, minted):
    creds = {k: v for k, v in minted.creds.items() if k != "expiration"}
    return asyncstore.open_store(str(url), creds=creds)


@pytest.mark.asyncio
@pytest.mark.parametrize("target", [None, TARGET])
async def test_a_token_reads_and_writes_inside_and_nothing_outside(minter, google, place, target):
    managed = stored(google, impersonate=target)
    minted = await minter.mint(managed, place, mode="w", lifetime=900)
    assert google.identity_of(minted.creds["gcs_oauth_token"]) == (target or ACCOUNT)
    async with store_of(place, minted) as store:
        assert bytes(await store.get("meta.json")) == b"before"
        await store.put("new", b"after")
        await store.put("large", bytes(9 << 20))
        await store.copy("new", "copy")
        assert sorted([meta.key async for meta in store.list()]) == [
            "copy",
            "large",
            "meta.json",
            "new",
        ]
        await store.delete("new")
    outside = StoreURL("gcs", place.bucket, "")
    async with store_of(outside, minted) as store:
        for key in (f"{PREFIX}2/key", "team/other", "key"):
            for attempt in (store.get(key), store.put(key, b"x"), store.delete(key)):
                with pytest.raises(PermissionDeniedError):
                    await attempt
            with pytest.raises(PermissionDeniedError):
                await store.copy(f"{PREFIX}/meta.json", key)
            with pytest.raises(PermissionDeniedError):
                await store.copy(key, f"{PREFIX}/stolen")
        for prefix in ("", "team/", PREFIX, f"{PREFIX}2/"):
            with pytest.raises(PermissionDeniedError):
                [meta async for meta in store.list(prefix)]


@pytest.mark.asyncio
async def test_a_token_to_read_changes_nothing(minter, google, gcs, place):
    minted = await minter.mint(stored(google), place, mode="r", lifetime=900)
    async with store_of(place, minted) as store:
        assert bytes(await store.get("meta.json")) == b"before"
        assert [meta.key async for meta in store.list()] == ["meta.json"]
        for attempt in (
            store.put("meta.json", b"after"),
            store.put("large", bytes(9 << 20)),
            store.delete("meta.json"),
            store.copy("meta.json", "copy"),
        ):
            with pytest.raises(PermissionDeniedError):
                await attempt
    assert [each.data for each in gcs.buckets[place.bucket].objects.values()] == [b"before"] * 4


@pytest.mark.asyncio
async def test_a_token_ends_when_asked_and_never_after_the_accounts_own(minter, google, place):
    for lifetime, right in ((60, 60), (43_200, 3600)):
        minted = await minter.mint(stored(google), place, mode="r", lifetime=lifetime)
        assert right - 60 < minted.expires - time.time() <= right + 1
        assert minted.creds["expiration"] == minted.expires
        assert not shows(minted)


@pytest.mark.asyncio
async def test_the_wide_token_never_leaves_the_hub(minter, google, gcs, place):
    minted = await minter.mint(stored(google), place, mode="w", lifetime=900)
    assert set(minted.creds) == {"gcs_oauth_token", "expiration"}
    assert minted.creds["gcs_oauth_token"] in gcs.boundaries


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(400, b'{"error": "invalid_grant"}'), UnauthenticatedError),
        (Reply(403, b"{}"), PermissionDeniedError),
        (Reply(302, headers={"location": "http://169.254.169.254/"}), ConfigurationError),
        (Reply(200, b"{}"), IntegrityError),
        (Reply(200, b'{"access_token": "a b\\n"}'), IntegrityError),
        (Reply(200, json.dumps({"access_token": "x", "expires_in": -5}).encode()), IntegrityError),
    ],
)
async def test_a_service_that_does_not_narrow_gets_nobody_a_token(
    minter, google, place, reply, error
):
    google.fail("reply", "/v1/token", reply)
    with pytest.raises(error) as caught:
        await minter.mint(stored(google), place, mode="r", lifetime=900)
    assert not shows(caught.value)


def fetch(method, url):
    request = urllib.request.Request(url, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.asyncio
@pytest.mark.parametrize("target", [None, TARGET])
async def test_a_url_reads_one_object(minter, google, place, target):
    managed = stored(google, impersonate=target)
    url = guard(await minter.presign(managed, place.join("meta.json"), expires=600))
    other = url.replace("meta.json", "other")
    tried = [("GET", url), ("DELETE", url), ("GET", other)]
    answers = [await asyncio.to_thread(fetch, *each) for each in tried]
    assert answers == [(200, b"before"), (403, b""), (403, b"")]


@pytest.mark.asyncio
async def test_a_url_has_an_end(minter, google, place):
    for target, expires in ((None, 0), (None, 8 * 86_400), (TARGET, 13 * 3600)):
        with pytest.raises(ConfigurationError, match="expires"):
            await minter.presign(
                stored(google, impersonate=target), place.join("k"), expires=expires
            )


names = st.text("ab.-_+' %&*?${}\"é☃𝄞", min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
places = st.tuples(st.sampled_from(["bucket", "bucket2", "buck"]), paths)
READS = {"storage.objects.get"}
WRITES = {"storage.objects.create", "storage.objects.delete", "storage.objects.update"}


@given(place=places, mode=st.sampled_from(["r", "w"]), asked=places)
def test_a_boundary_allows_what_is_inside_the_data_set_alone(place, mode, asked):
    (bucket, path), (other, ask) = place, asked
    options = access_boundary(StoreURL("gcs", bucket, path), mode=mode)
    boundary = Boundary.parse(json.dumps(options))
    for key in (ask, f"{path}/{ask}", f"{path}{ask}", path, f"{path}/", path[:-1]):
        inside = other == bucket and key.startswith(f"{path}/")
        for permission in sorted(READS | WRITES):
            right = inside and (mode == "w" or permission in READS)
            assert boundary.allows(Ask(permission, other, key)) is right
            # Not even where a write says what a listing would.
            wrong = Ask(permission, bucket, "elsewhere", prefix=f"{path}/")
            assert not boundary.allows(wrong) or permission in READS
        listing = Ask("storage.objects.list", other, prefix=key)
        assert boundary.allows(listing) is inside


def test_a_whole_bucket_and_a_path_too_long_are_refused():
    with pytest.raises(ConfigurationError, match="whole bucket"):
        access_boundary(StoreURL("gcs", "bucket", ""), mode="r")
    with pytest.raises(NotSupportedError, match="shorter path"):
        access_boundary(StoreURL("gcs", "bucket", "'" * 1024), mode="r")
