"""Presigned URLs work for who has nothing else, for what they were made for, and for a while."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from asyncstore.errors import ConfigurationError
from asyncstore.provider import Diagnoses, Presigns
from asyncstore.providers.s3 import S3Provider
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["seaweedfs", "ministack"])
async def provider(request):
    server = request.getfixturevalue(request.param)
    provider = S3Provider(server.make_bucket(), Settings(creds=server.creds))
    yield provider
    await provider.aclose()


async def fetch(url, method="GET", data=None, **headers):
    """Send a request as somebody else; return status and body."""

    def send():
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return await asyncio.to_thread(send)


@pytest.mark.parametrize("key", ["k", "a b+c/é%2F&=?#", "d/e//f"])
async def test_a_url_reads_and_writes_what_it_is_for(provider, key):
    if "//" in key:
        key = key.replace("//", "/")
    put = await provider.presign(key, method="PUT", content_type="text/plain")
    status, _ = await fetch(put, "PUT", b"hello", **{"Content-Type": "text/plain"})
    assert status == 200
    assert (await provider.head(key)).content_type == "text/plain"
    assert await fetch(await provider.presign(key)) == (200, b"hello")
    assert (await fetch(await provider.presign(key, method="HEAD"), "HEAD"))[0] == 200
    assert (await fetch(await provider.presign(key, method="DELETE"), "DELETE"))[0] == 204


async def test_a_url_is_for_one_method_one_key_and_one_content_type(provider):
    await provider.put("k", b"hello")
    await provider.put("other", b"hello")
    url = await provider.presign("k")
    assert (await fetch(url, "DELETE"))[0] == 403
    assert (await fetch(url.replace("/k?", "/other?")))[0] == 403
    put = await provider.presign("k", method="PUT", content_type="text/plain")
    status, _ = await fetch(put, "PUT", b"x", **{"Content-Type": "text/html"})
    assert status == 403
    assert bytes(await provider.get("k")) == b"hello"


async def test_a_url_ends(provider):
    await provider.put("k", b"hello")
    url = await provider.presign("k", expires=1)
    await asyncio.sleep(2.5)
    assert (await fetch(url))[0] == 403


async def test_a_url_is_of_signature_version_4_and_lasts_15_minutes(provider):
    query = parse_qs(urlsplit(await provider.presign("k")).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["900"]
    assert not {"Signature", "AWSAccessKeyId"} & set(query)


@pytest.mark.parametrize("expires", [0, -1, 0.5, 604_801, float("inf"), float("nan")])
async def test_a_life_out_of_range_is_refused(provider, expires):
    with pytest.raises(ConfigurationError, match="7 days"):
        await provider.presign("k", expires=expires)


async def test_the_longest_life_is_seven_days(provider):
    query = parse_qs(urlsplit(await provider.presign("k", expires=604_800)).query)
    assert query["X-Amz-Expires"] == ["604800"]


async def test_the_abilities_are_found(provider):
    assert isinstance(provider, Presigns)
    assert isinstance(provider, Diagnoses)
    facts = await provider.diagnose()
    assert facts["capabilities"]["list"] is True
    assert abs(facts["clock_drift"]) < 5
    assert facts["expires_at"] is None
