"""How connections are opened: addresses, happy eyeballs, permission."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from time import monotonic

import pytest

from asyncstore.errors import ConfigurationError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Origin, Request, dial
from asyncstore.testing.bytefake import OK, ByteFake, answers

pytestmark = pytest.mark.anyio

DEAD = "192.0.2.1"  # reserved for documents; nobody answers, or the network says so at once


def resolving(monkeypatch, *addresses, asked=None):
    """Make every name resolve to these addresses."""

    async def ask(host, port):
        if asked is not None:
            asked.append(host)
        await asyncio.sleep(0)
        return [
            (socket.AF_INET6, (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(dial, "_ask", ask)


async def test_a_name_without_an_address_is_unavailable_and_nothing_was_applied():
    engine = Engine()
    origin = Origin("https", "no-such-host.invalid", 443)
    with pytest.raises(UnavailableError, match="cannot find the address of no-such") as caught:
        await engine.send(Request("PUT", origin, "/k", body=b"x"))
    assert caught.value.outcome == "not_applied"
    await engine.aclose()


async def test_a_name_that_cannot_be_one_is_refused():
    engine = Engine()
    with pytest.raises(ConfigurationError, match="no host's name"):
        await engine.send(Request("GET", Origin("https", "a" * 70 + ".x", 443), "/k"))
    await engine.aclose()


async def test_a_dead_address_of_two_costs_a_quarter_of_a_second(monkeypatch):
    async with ByteFake(answers(OK)) as fake:
        connect = dial._connect_one

        async def hanging(address):
            if address[1][0] == DEAD:
                await asyncio.Event().wait()
            return await connect(address)

        monkeypatch.setattr(dial, "_connect_one", hanging)
        resolving(monkeypatch, DEAD, "127.0.0.1")
        engine = Engine()
        origin = fake.origin._replace(host="two.example")
        began = monotonic()
        assert (await engine.send(Request("GET", origin, "/k"))).body == b"ok"
        assert monotonic() - began < 2
        await engine.aclose()
    assert not [task for task in asyncio.all_tasks() if "hanging" in repr(task)]


async def test_an_address_that_refuses_is_passed_over_at_once(monkeypatch):
    async with ByteFake(answers(OK), host="127.0.0.2") as fake:
        # Nothing listens on that port of the other address.
        resolving(monkeypatch, "127.0.0.1", "127.0.0.2")
        origin = fake.origin._replace(host="two.example")
        for _ in range(4):
            engine = Engine()
            assert (await engine.send(Request("GET", origin, "/k"))).body == b"ok"
            await engine.aclose()


async def test_no_address_that_answers_is_one_error(monkeypatch):
    async with ByteFake(answers(OK)) as fake:
        port = fake.port
    resolving(monkeypatch, "127.0.0.1", "127.0.0.2", "::1")
    engine = Engine()
    with pytest.raises(UnavailableError, match="cannot connect to many"):
        await engine.send(Request("GET", Origin("http", "many.example", port), "/k"))
    await engine.aclose()


async def test_requests_that_begin_together_ask_for_an_address_once(monkeypatch):
    asked: list[str] = []
    resolving(monkeypatch, "127.0.0.1", asked=asked)
    async with ByteFake(answers(OK)) as fake:
        engine = Engine()
        request = Request("GET", fake.origin._replace(host="a.example"), "/k")
        await asyncio.gather(*(engine.send(request) for _ in range(20)))
        assert asked == ["a.example"]
        await engine.aclose()


async def test_each_new_connection_asks_again(monkeypatch):
    asked: list[str] = []
    resolving(monkeypatch, "127.0.0.1", asked=asked)
    async with ByteFake(answers(OK, close=True)) as fake:
        engine = Engine()
        request = Request("GET", fake.origin._replace(host="a.example"), "/k")
        for _ in range(3):
            await engine.send(request)
        assert len(asked) == fake.connections == 3
        await engine.aclose()


async def test_one_who_gives_up_does_not_take_the_address_from_others(monkeypatch):
    resolving(monkeypatch, "127.0.0.1")
    async with ByteFake(answers(OK)) as fake:
        engine = Engine()
        request = Request("GET", fake.origin._replace(host="a.example"), "/k")
        tasks = [asyncio.create_task(engine.send(request)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        assert [(await task).body for task in tasks[1:]] == [b"ok"] * 2
        await engine.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "rebound.example"])
async def test_an_address_that_is_not_permitted_is_never_connected_to(host, monkeypatch):
    resolving(monkeypatch, "127.0.0.1")
    async with ByteFake(answers(OK)) as fake:
        engine = Engine(EngineOptions(permit=lambda address: address != "127.0.0.1"))
        with pytest.raises(ConfigurationError, match="not permitted"):
            await engine.send(Request("GET", fake.origin._replace(host=host), "/k"))
        assert fake.connections == 0
        await engine.aclose()


def test_families_take_turns():
    six = [(socket.AF_INET6, (f"::{n}", 1, 0, 0)) for n in range(3)]
    four = [(socket.AF_INET, (f"10.0.0.{n}", 1)) for n in range(2)]
    order = dial._interleave([*six, *four])
    assert [family for family, _ in order] == [
        socket.AF_INET6,
        socket.AF_INET,
        socket.AF_INET6,
        socket.AF_INET,
        socket.AF_INET6,
    ]
    assert set(order) == {*six, *four}


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as made:
        made.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="platform: no IPv6")
async def test_connecting_over_ipv6():
    async with ByteFake(answers(OK), host="::1") as fake:
        engine = Engine()
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        assert fake.requests[0].headers["host"] == f"[::1]:{fake.port}"
        await engine.aclose()
