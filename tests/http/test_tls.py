"""TLS: verified, 1.2 or newer, and no shorter than it said."""

from __future__ import annotations

import datetime as dt
import ssl
import warnings

import pytest
import trustme

from asyncstore.errors import ConfigurationError, IntegrityError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Request
from asyncstore.http.tls import tls_context
from asyncstore.testing.bytefake import OK, ByteFake, answers

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"


def context(*, authority, names=("localhost",), **more):
    out = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **more).configure_cert(out)
    return out


@pytest.mark.parametrize("size", [10, 100_000, 5_000_000])
async def test_bodies_travel_through_tls(size, server_tls, ca_bundle):
    body = bytes(range(256)) * (size // 256 + 1)

    async def echo(wire):
        while True:
            received = await wire.request()
            await wire.send(HEAD + b"content-length: %d\r\n\r\n" % len(received.body))
            await wire.send(received.body)

    async with ByteFake(echo, tls=server_tls) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        mine = bytearray(len(body))
        for _ in range(2):
            answer = await engine.send(
                Request("PUT", fake.origin, "/k", body=body, into=memoryview(mine))
            )
            assert answer.body == body
        assert mine == body
        async with engine.stream(Request("PUT", fake.origin, "/k", body=body)) as reply:
            assert await reply.read() == body
        assert fake.connections == 1
        await engine.aclose()


async def refused(tls, bundle, match):
    async with ByteFake(answers(OK), tls=tls) as fake:
        engine = Engine(EngineOptions(ca_bundle=bundle))
        with pytest.raises(ConfigurationError, match=match) as caught:
            await engine.send(Request("PUT", fake.origin, "/k", body=b"x"))
        assert caught.value.outcome == "not_applied"
        assert not caught.value.retryable
        assert fake.requests == []
        await engine.aclose()


async def test_an_unknown_authority_is_refused(server_tls):
    await refused(server_tls, None, "self.signed|unable to get")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_authorities_come_from_the_environment_too(
    variable, server_tls, ca_bundle, monkeypatch
):
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, ca_bundle)
    async with ByteFake(answers(OK), tls=server_tls) as fake:
        engine = Engine()
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        await engine.aclose()


async def test_what_the_caller_says_comes_before_the_environment(
    server_tls, ca_bundle, monkeypatch, tmp_path
):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)
    await refused(server_tls, str(other), "self.signed|unable to get|signature")


def test_a_bundle_that_cannot_be_read_is_named(tmp_path):
    missing = str(tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match=r"REQUESTS_CA_BUNDLE '.*none.pem': No such file"):
        tls_context(None, {"REQUESTS_CA_BUNDLE": missing})
    with pytest.raises(ConfigurationError, match=r"ca_bundle '.*none.pem'"):
        tls_context(missing, {})
    assert tls_context(None, {"REQUESTS_CA_BUNDLE": ""}).verify_mode == ssl.CERT_REQUIRED
    assert tls_context(None, {"REQUESTS_CA_BUNDLE": str(tmp_path)}).check_hostname


async def test_a_certificate_for_another_name_is_refused(authority, ca_bundle):
    await refused(context(authority=authority, names=["other.example"]), ca_bundle, "mismatch")


async def test_an_expired_certificate_is_refused(authority, ca_bundle):
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    await refused(context(authority=authority, not_after=past), ca_bundle, "expired")


async def test_tls_1_1_is_refused_by_both_sides_settings():
    made = tls_context(None)
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.verify_mode == ssl.CERT_REQUIRED
    assert made.check_hostname


async def test_a_server_that_offers_only_tls_1_1_is_refused(authority, ca_bundle):
    old = context(authority=authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with ByteFake(answers(OK), tls=old) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        with pytest.raises(UnavailableError, match="cannot agree"):
            await engine.send(Request("GET", fake.origin, "/k"))
        assert fake.requests == []
        await engine.aclose()


async def test_a_server_that_does_not_speak_tls_is_unavailable(ca_bundle):
    async def plain(wire):
        await wire.reader.read(10)
        await wire.send(OK)

    async with ByteFake(plain) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        with pytest.raises(UnavailableError, match="cannot agree"):
            await engine.send(Request("GET", fake.origin._replace(scheme="https"), "/k"))
        await engine.aclose()


@pytest.mark.parametrize("framing", [b"content-length: 100\r\n", b"transfer-encoding: chunked\r\n"])
@pytest.mark.parametrize("how", ["cut", "reset", "close"])
async def test_a_body_cut_under_tls_is_an_error(framing, how, server_tls, ca_bundle):
    async def script(wire):
        await wire.request()
        await wire.send(HEAD + framing + b"\r\n" + b"5\r\nhello\r\n")
        getattr(wire, how)()

    async with ByteFake(script, tls=server_tls) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        with pytest.raises(UnavailableError, match="the connection was closed"):
            await engine.send(Request("GET", fake.origin, "/k"))
        await engine.aclose()


async def test_a_cut_without_close_notify_does_not_end_a_body_without_a_length(
    server_tls, ca_bundle
):
    async def script(wire):
        await wire.request()
        await wire.send(HEAD + b"\r\nhello")
        wire.cut()

    async with ByteFake(script, tls=server_tls) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        with pytest.raises(IntegrityError, match="how long"):
            await engine.send(Request("GET", fake.origin, "/k"))
        with pytest.raises(UnavailableError):
            await engine.send(Request("GET", fake.origin, "/k", length=6))
        await engine.aclose()


async def test_a_handshake_that_fails_gives_its_place_back(server_tls):
    async with ByteFake(answers(OK), tls=server_tls) as fake:
        engine = Engine(EngineOptions(connections=1))
        for _ in range(5):
            with pytest.raises(ConfigurationError):
                await engine.send(Request("GET", fake.origin, "/k"))
        assert engine.counters().open == 0
        await engine.aclose()


async def test_a_stale_connection_costs_one_replay_under_tls(server_tls, ca_bundle):
    async def script(wire):
        await wire.request()
        await wire.send(OK)
        await wire.request()
        wire.cut()

    async with ByteFake(script, answers(OK), tls=server_tls) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        for _ in range(2):
            body = bytes(300_000)
            answer = await engine.send(Request("PUT", fake.origin, "/k", body=body))
            assert answer.body == b"ok"
        assert engine.counters().replays == 1
        await engine.aclose()


async def test_a_secret_does_travel_over_tls(server_tls, ca_bundle):
    async with ByteFake(answers(OK), tls=server_tls) as fake:
        engine = Engine(EngineOptions(ca_bundle=ca_bundle))
        await engine.send(Request("GET", fake.origin, "/k", {"authorization": "Bearer x"}))
        assert fake.requests[0].headers["authorization"] == "Bearer x"
        await engine.aclose()
