"""Proxies: which one, and what it gets to see."""

from __future__ import annotations

import asyncio
import os
from unittest import mock

import pytest
from botocore.utils import get_environ_proxies
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import ConfigurationError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Origin, Request
from asyncstore.http.proxy import Proxy, proxy_for
from asyncstore.testing.bytefake import OK, ByteFake, Received, answers

HTTPS = Origin("https", "bucket.s3.amazonaws.com", 443)
HTTP = Origin("http", "storage.example", 8080)


def chosen(origin, **environ):
    proxy = proxy_for(origin, "environment", environ)
    return None if proxy is None else f"{proxy.host}:{proxy.port}"


@pytest.mark.parametrize(("origin", "environ", "expected"), [
    (HTTPS, {}, None),
    (HTTPS, {"HTTPS_PROXY": "http://p:3128"}, "p:3128"),
    (HTTPS, {"https_proxy": "http://p:3128", "HTTPS_PROXY": "http://q"}, "p:3128"),
    (HTTPS, {"HTTP_PROXY": "http://p:3128"}, None),
    (HTTPS, {"ALL_PROXY": "p:1"}, "p:1"),
    (HTTPS, {"all_proxy": "p", "HTTPS_PROXY": "http://q:2/"}, "q:2"),
    (HTTPS, {"HTTPS_PROXY": ""}, None),
    (HTTPS, {"https_proxy": "", "HTTPS_PROXY": "http://p"}, None),
    (HTTPS, {"https_proxy": "", "ALL_PROXY": "http://p:1"}, "p:1"),
    (HTTPS, {"HTTPS_PROXY": "http://p", "no_proxy": "", "NO_PROXY": "*"}, "p:80"),
    (HTTPS, {"HTTPS_PROXY": "http://p", "no_proxy": "*", "NO_PROXY": ""}, None),
    (HTTP, {"HTTP_PROXY": "http://p"}, "p:80"),
    (HTTP, {"HTTPS_PROXY": "http://p"}, None),
    (HTTP, {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
    (HTTP, {"http_proxy": "http://p", "REQUEST_METHOD": "GET"}, "p:80"),
    (Origin("http", "127.0.0.1", 80), {"HTTP_PROXY": "http://p"}, None),
    (Origin("https", "localhost", 80), {"ALL_PROXY": "http://p"}, None),
    (Origin("https", "::1", 80), {"ALL_PROXY": "http://p"}, None),
    (HTTPS, {"HTTPS_PROXY": "http://[::2]:3128"}, "::2:3128"),
])  # fmt: skip
def test_a_proxy_is_chosen_by_the_environment(origin, environ, expected):
    assert chosen(origin, **environ) == expected


@pytest.mark.parametrize(("host", "port", "text", "excluded"), [
    ("a.example", 443, "*", True),
    ("a.example", 443, "a.example", True),
    ("a.example", 443, " b.example , A.EXAMPLE ", True),
    ("x.a.example", 443, "a.example", True),
    ("x.a.example", 443, ".a.example", True),
    ("x.a.example", 443, "*.a.example", True),
    ("a.example", 443, ".a.example", True),
    ("xa.example", 443, "a.example", False),
    ("a.example.org", 443, "a.example", False),
    ("a.example", 443, "a.example:443", True),
    ("a.example", 443, "a.example:80", False),
    ("10.1.2.3", 443, "10.0.0.0/8", True),
    ("11.1.2.3", 443, "10.0.0.0/8", False),
    ("10.1.2.3", 443, "10.1.2.3", True),
    ("10.1.2.3", 443, "10.1.2.3:443", True),
    ("fd00::1", 443, "fd00::/8", True),
    ("fd00::1", 443, "[fd00::1]:443", True),
    ("fd00::1", 443, "[fd00::1]:80", False),
    ("a.example", 443, "", False),
    ("a.example", 443, ",", False),
])  # fmt: skip
def test_no_proxy_lists_what_is_reached_directly(host, port, text, excluded):
    for name in ("NO_PROXY", "no_proxy"):
        proxy = chosen(Origin("https", host, port), HTTPS_PROXY="http://p:1", **{name: text})
        assert proxy == (None if excluded else "p:1")


HOSTS = st.sampled_from(["a.example", "b.a.example", "xa.example", "10.1.2.3", "a.example.org"])
ENTRIES = st.lists(HOSTS | st.sampled_from([".a.example", "A.Example", " a.example ", "", "*"]))
VALUES = st.sampled_from(["", "http://p:1", "http://q:2"])


@given(
    host=HOSTS,
    scheme=st.sampled_from(["http", "https"]),
    excluded=ENTRIES.filter(lambda entries: "*" not in entries or len(entries) == 1),
    environ=st.dictionaries(
        st.sampled_from(["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"]), VALUES
    ),
    where=st.sampled_from(["no_proxy", "NO_PROXY"]),
    cgi=st.booleans(),
)
def test_the_choice_is_botocores(*, host, scheme, excluded, environ, where, cgi):
    """With as many proxies and exclusions as botocore knows of; networks are beyond it."""
    environ = {**environ, where: ",".join(excluded), **({"REQUEST_METHOD": "GET"} if cgi else {})}
    with mock.patch.dict(os.environ, environ, clear=True):
        theirs = get_environ_proxies(f"{scheme}://{host}/").get(scheme)
    origin = Origin(scheme, host, 443 if scheme == "https" else 80)
    ours = proxy_for(origin, "environment", environ)
    assert (f"http://{ours.host}:{ours.port}" if ours else None) == theirs


@pytest.mark.parametrize(
    "url", ["socks5://p:1", "https://p", "http://", "http://p:x", "http://p:99999", "http://p\n"]
)
def test_a_proxy_that_is_not_supported_is_named_by_its_variable_and_not_shown(url):
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY is not") as caught:
        proxy_for(HTTPS, "environment", {"HTTPS_PROXY": url.replace("//", "//user:pass@")})
    assert "pass" not in str(caught.value)


def test_a_proxys_password_does_not_show():
    proxy = Proxy.parse("http://user:p%40ss@host:1", "x")
    assert proxy.authorization == "Basic dXNlcjpwQHNz"
    assert repr(proxy) == "Proxy(host:1)"


def test_an_explicit_proxy_is_used_and_none_means_none():
    environ = {"HTTPS_PROXY": "http://p:1"}
    assert proxy_for(HTTPS, "http://q:2", environ) == Proxy("q", 2, None)
    assert proxy_for(HTTPS, None, environ) is None


def tunnel(port, seen, *, reply=b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """Make a script: a proxy that tunnels whatever is asked for to a port of this machine."""

    async def script(wire):
        seen.append(await wire.head())
        await wire.send(reply)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def copy(source, sink):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()

        ways = [
            asyncio.create_task(copy(wire.reader, writer)),
            asyncio.create_task(copy(reader, wire.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()

    return script


@pytest.fixture
def any_host(monkeypatch):
    """Take no host for this machine, so that proxies are used also in a test."""
    monkeypatch.setattr(Origin, "is_loopback", property(lambda _: False))


@pytest.mark.anyio
@pytest.mark.usefixtures("any_host")
async def test_an_https_origin_is_tunnelled_and_the_proxy_sees_no_credentials(
    server_tls, ca_bundle
):
    seen: list[Received] = []
    async with (
        ByteFake(answers(OK), tls=server_tls) as fake,
        ByteFake(tunnel(fake.port, seen)) as middle,
    ):
        proxy = f"http://u:p@127.0.0.1:{middle.port}"
        engine = Engine(EngineOptions(ca_bundle=ca_bundle, proxy=proxy))
        for _ in range(2):
            request = Request("PUT", fake.origin, "/k", {"authorization": "sig"}, body=b"data")
            assert (await engine.send(request)).body == b"ok"
        assert fake.requests[0].headers["authorization"] == "sig"
        assert "proxy-authorization" not in fake.requests[0].headers
        assert len(seen) == 1
        place = f"localhost:{fake.port}"
        assert (
            seen[0].raw
            == (
                f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n"
                "proxy-authorization: Basic dTpw\r\n\r\n"
            ).encode()
        )
        await engine.aclose()


@pytest.mark.anyio
@pytest.mark.usefixtures("any_host")
@pytest.mark.parametrize("reply", [
    b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nsurplus",
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000,
    b"",
])  # fmt: skip
async def test_a_proxy_that_refuses_a_tunnel_is_named(reply, ca_bundle):
    async def script(wire):
        await wire.head()
        await wire.send(reply)

    async with ByteFake(script) as middle:
        proxy = f"http://127.0.0.1:{middle.port}"
        engine = Engine(EngineOptions(ca_bundle=ca_bundle, proxy=proxy))
        with pytest.raises(UnavailableError, match=f"proxy 127.0.0.1:{middle.port}") as caught:
            await engine.send(Request("PUT", HTTPS, "/k", body=b"x"))
        assert caught.value.outcome == "not_applied"
        assert engine.counters().open == 0
        await engine.aclose()


@pytest.mark.anyio
async def test_a_dead_proxy_is_a_clear_error():
    async with ByteFake(answers(OK)) as middle:
        port = middle.port
    engine = Engine(EngineOptions(proxy=f"http://127.0.0.1:{port}"))
    with pytest.raises(UnavailableError, match=f"proxy 127.0.0.1:{port}"):
        await engine.send(Request("GET", HTTPS, "/k"))
    await engine.aclose()


@pytest.mark.anyio
async def test_a_plain_origin_is_asked_for_by_its_whole_url():
    async with ByteFake(answers(OK)) as middle:
        proxy = f"http://u:p@127.0.0.1:{middle.port}"
        engine = Engine(EngineOptions(proxy=proxy))
        assert (await engine.send(Request("GET", HTTP, "/k?a=b"))).body == b"ok"
        assert middle.requests[0].raw == (
            b"GET http://storage.example:8080/k?a=b HTTP/1.1\r\nhost: storage.example:8080\r\n"
            b"proxy-authorization: Basic dTpw\r\n\r\n"
        )
        await engine.aclose()


@pytest.mark.anyio
async def test_credentials_are_not_shown_to_a_proxy_in_clear():
    async with ByteFake(answers(OK)) as middle:
        proxy = f"http://127.0.0.1:{middle.port}"
        request = Request("GET", HTTP, "/k", {"authorization": "sig"})
        engine = Engine(EngineOptions(proxy=proxy))
        with pytest.raises(ConfigurationError, match="through the proxy"):
            await engine.send(request)
        assert middle.connections == 0
        await engine.aclose()
        engine = Engine(EngineOptions(proxy=proxy, allow_http=True))
        assert (await engine.send(request)).body == b"ok"
        await engine.aclose()
