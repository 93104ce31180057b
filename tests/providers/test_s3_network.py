"""S3 behind proxies and authorities, and the SDK's clients: all of them keep the same rules."""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic

import pytest
import trustme
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from asyncstore.errors import ConfigurationError, UnavailableError
from asyncstore.http import DEADLINE
from asyncstore.providers.s3 import S3Provider
from asyncstore.providers.s3.sdk import EngineSession
from asyncstore.testing.bytefake import EMPTY, ByteFake, answers
from asyncstore.testing.canary import CANARY_SECRET, CANARY_TOKEN
from asyncstore.testing.tunnelproxy import TunnelProxy
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio

HOST = "storage.example"
KEYS = {
    "aws_access_key_id": "AKIATESTTESTTEST",
    "aws_secret_access_key": CANARY_SECRET,
    "aws_session_token": CANARY_TOKEN,
}
HELLO = (
    b'HTTP/1.1 200 OK\r\netag: "5d41402abc4b2a76b9719d911017c592"\r\ncontent-length: 5\r\n\r\nhello'
)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "localhost").configure_cert(context)
    return context


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


def provider_at(url, **settings):
    return S3Provider("bucket", Settings(creds=KEYS, endpoint_url=url, **settings))


async def test_objects_travel_through_a_proxy_that_sees_no_more_than_the_hosts_name(
    tls, bundle, monkeypatch
):
    async with ByteFake(answers(HELLO), tls=tls) as server:
        async with TunnelProxy({HOST: server.port}, authorization="Basic dTpw") as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//u:p@"))
            provider = provider_at(f"https://{HOST}", ca_bundle=bundle)
            for _ in range(3):
                assert bytes(await provider.get("k")) == b"hello"
            await provider.aclose()
            assert proxy.asked == [f"CONNECT {HOST}:443 HTTP/1.1"]
            clear = bytes(proxy.shown) + b"".join(proxy.heads)
            for secret in (CANARY_TOKEN, "AKIATESTTESTTEST", "authorization: AWS4"):
                assert secret.encode() not in clear
        assert server.requests[0].headers["x-amz-security-token"] == CANARY_TOKEN
        assert "proxy-authorization" not in server.requests[0].headers


async def test_a_host_that_no_proxy_names_is_reached_without(tls, bundle, monkeypatch):
    async with TunnelProxy({}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "other.invalid, .example.invalid")
        provider = provider_at("https://storage.example.invalid", ca_bundle=bundle)
        with pytest.raises(UnavailableError, match="cannot find the address"):
            await provider.get("k")
        await provider.aclose()
        assert proxy.heads == []


async def test_a_proxy_that_wants_a_password_and_one_that_reaches_nobody_are_told(
    tls, bundle, monkeypatch
):
    async with TunnelProxy({}, authorization="Basic dTpw") as proxy:
        for url, says in ((proxy.url, "407"), (proxy.url.replace("//", "//u:p@"), "502")):
            monkeypatch.setenv("HTTPS_PROXY", url)
            provider = provider_at(f"https://{HOST}", ca_bundle=bundle)
            with pytest.raises(UnavailableError, match=f"refused a tunnel .*: {says}") as caught:
                await provider.put("k", b"x")
            assert caught.value.outcome == "not_applied"
            await provider.aclose()


async def test_authorities_are_those_of_the_aws_command_line(tls, bundle, monkeypatch, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with ByteFake(answers(HELLO), tls=tls) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
        provider = provider_at(str(server.origin))
        assert bytes(await provider.get("k")) == b"hello"
        await provider.aclose()
        provider = provider_at(str(server.origin), ca_bundle=str(other))
        with pytest.raises(ConfigurationError, match="certificate of"):
            await provider.get("k")
        await provider.aclose()


# The SDK's own clients, on our transport.


class Client:
    """A client of aiobotocore's, on an `EngineSession`, as those that find keys are."""

    def __init__(self, url, service="s3", *, patience=30.0, **options):
        config = AioConfig(
            http_session_cls=EngineSession,
            connect_timeout=patience,
            read_timeout=patience,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        )
        self._made = AioSession().create_client(
            service, endpoint_url=url, region_name="us-east-1", config=config, **KEYS, **options
        )

    async def __aenter__(self):
        return await self._made.__aenter__()

    async def __aexit__(self, *error):
        await self._made.__aexit__(*error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_client_of_the_sdks_follows_no_redirect(status):
    async with ByteFake(answers(HELLO)) as other:
        away = f"HTTP/1.1 {status} Away\r\nlocation: {other.origin}/k\r\ncontent-length: 0\r\n\r\n"
        async with ByteFake(answers(away.encode())) as server:
            async with Client(str(server.origin), "sts") as client:
                with pytest.raises((ClientError, BotoCoreError, ResponseParserError)):
                    await client.get_caller_identity()
            assert len(server.requests) == 1
        assert other.connections == 0


async def test_a_client_of_the_sdks_expects_no_100_continue():
    async with ByteFake(answers(EMPTY)) as server, Client(str(server.origin)) as client:
        await client.put_object(Bucket="bucket", Key="k", Body=b"hello")
        assert "expect" not in server.requests[0].headers
        assert server.requests[0].body.startswith((b"hello", b"5\r\nhello"))


async def test_a_client_of_the_sdks_waits_no_longer_than_it_was_told():
    async def silent(wire):
        await wire.request()
        await wire.stall()

    async def dripping(wire):
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            await wire.send(b"x")
            await asyncio.sleep(0.05)

    for script in (silent, dripping):
        async with (
            ByteFake(script) as server,
            Client(str(server.origin), patience=0.3) as client,
        ):
            began = monotonic()
            with pytest.raises(ReadTimeoutError):
                await client.get_object(Bucket="bucket", Key="k")
            assert 0.2 < monotonic() - began < 1.6


async def test_a_client_of_the_sdks_is_not_hurried_by_whoever_waits_first():
    async with ByteFake(answers(EMPTY)) as server, Client(str(server.origin)) as client:
        passed = DEADLINE.set(monotonic() - 1)
        await client.head_object(Bucket="bucket", Key="k")
        DEADLINE.reset(passed)


async def test_a_client_of_the_sdks_meets_a_closed_port_and_a_false_certificate(tls):
    async with ByteFake(answers(EMPTY)) as server:
        url = str(server.origin)
    async with Client(url) as client:
        with pytest.raises(EndpointConnectionError):
            await client.head_object(Bucket="bucket", Key="k")
    async with ByteFake(answers(EMPTY), tls=tls) as server:
        for verify in (None, False):  # what switches verification off elsewhere does not here
            async with Client(str(server.origin), verify=verify) as client:
                with pytest.raises(HTTPClientError, match="certificate"):
                    await client.head_object(Bucket="bucket", Key="k")
        assert server.requests == []


async def test_a_client_of_the_sdks_sends_no_key_in_clear_beyond_this_machine():
    async with Client("http://storage.example") as client:
        with pytest.raises(ConfigurationError, match="plain HTTP"):
            await client.head_object(Bucket="bucket", Key="k")


async def test_a_cancelled_call_of_the_sdks_leaves_no_connection():
    begun, gone = asyncio.Event(), asyncio.Event()

    async def silent(wire):
        await wire.request()
        begun.set()
        await wire.gone()
        gone.set()

    async with ByteFake(silent) as server, Client(str(server.origin)) as client:
        task = asyncio.create_task(client.head_object(Bucket="bucket", Key="k"))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(60):
            await gone.wait()
