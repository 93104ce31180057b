"""S36: a request that is sent again by the same key is done once, and answered as before."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select, text

from asyncstore.hub.models import Done, Token
from asyncstore.hub.once import Once
from asyncstore.testing.canary import guard
from tests.hub.people import PASSWORD, Town

pytestmark = pytest.mark.asyncio

API = "/api/v1"
KEY = "6f1c0f8e-0001-4c5e-9d0e"
OTHER = "6f1c0f8e-0002-4c5e-9d0e"


def user(name, password=PASSWORD):
    return {"username": name, "email": f"{name}@b.example", "password": password}


async def keyed(person, path, body, key=KEY):
    return await person.ask("POST", f"{API}{path}", body, **{"Idempotency-Key": key})


async def rows_of(server, table):
    async with server.hub.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def test_what_is_made_is_made_once_and_answered_the_same(town, server):
    code = guard(server.bootstrap_code)
    ada = await town.person("ada")
    for person, path, body in (
        (town.nobody, "/bootstrap", user("root") | {"code": code}),
        (town.nobody, "/users", user("bob")),
        (ada, "/organizations", {"name": "acme"}),
    ):
        first = await keyed(person, path, body, f"{KEY}{path}")
        again = await keyed(person, path, body, f"{KEY}{path}")
        assert (first.status, again.status) == (201, 201)
        assert again.body == first.body
        assert (await keyed(person, path, body, f"{OTHER}{path}")).status == 409  # done anew
    events = (await ada.get(f"{API}/organizations/acme/events")).body["events"]
    assert [row["action"] for row in events] == ["organization.made"]


async def test_another_body_with_the_same_key_is_refused(town, server):
    ada = await town.person("ada")
    new = guard("another password, as good as any")
    assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 201
    assert (await keyed(town.nobody, "/users", user("bob"))).status == 201
    for person, path, body in (
        (ada, "/organizations", {"name": "else"}),
        (ada, "/tokens", {"name": "t", "expires_in": 60}),  # also on another path
        (town.nobody, "/users", user("eve")),
        (town.nobody, "/users", user("bob", new)),
    ):
        told = await keyed(person, path, body)
        assert (told.status, told.body["code"]) == (422, "key_used")
    assert (await ada.get(f"{API}/organizations/else/members")).status == 404


async def test_a_secret_is_told_once_and_a_repeat_learns_what_to_revoke(town, server):
    ada = await town.person("ada")
    before = await rows_of(server, Token)
    for person, path, body in (
        (ada, "/tokens", {"name": "t", "expires_in": 60}),
        (town.nobody, "/login", {"username": "ada", "password": PASSWORD}),
    ):
        first = await keyed(person, path, body)
        secret = guard(first.body["token"])
        again = await keyed(person, path, body)
        assert (again.status, again.body["code"]) == (409, "made_before")
        assert again.body["id"] == first.body["id"]
        assert secret not in str(again.body)
        assert (await ada.delete(f"{API}/tokens/{again.body['id']}")).status == 204
    assert await rows_of(server, Token) == before


async def test_a_key_lets_nobody_try_passwords(town, server):
    await town.person("ada")
    asked = {"username": "ada", "password": PASSWORD}
    guard((await keyed(town.nobody, "/login", asked)).body["token"])
    tries = [
        (await keyed(town.nobody, "/login", asked | {"password": f"guess {n}"})).status
        for n in range(12)
    ]
    assert tries == [401] * 10 + [429] * 2
    async with server.hub.database.reading() as session:
        (kept,) = (await session.scalars(select(Done))).all()
    assert kept.digest.startswith("$argon2id$")  # else the folder were a quick way to try them


async def test_a_key_is_its_owners_alone(town):
    ada, bob = await town.person("ada"), await town.person("bob")
    assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 201
    assert (await keyed(bob, "/organizations", {"name": "acme"})).status == 409
    assert (await keyed(bob, "/organizations", {"name": "bobs"})).status == 201
    reader, _ = await ada.make_token(access="read")
    assert (await keyed(reader, "/organizations", {"name": "acme"})).status == 403


async def test_while_the_first_is_under_way_a_repeat_is_told_so(town, server, monkeypatch):
    ada = await town.person("ada")
    begun = asyncio.Event()
    look_up = Once._look_up

    async def begin(once, key):
        begun.set()
        await look_up(once, key)

    monkeypatch.setattr(Once, "_look_up", begin)
    async with server.hub.database.writing() as session:
        if session.get_bind().dialect.name == "postgresql":
            await session.execute(text("LOCK TABLE organizations"))
        first = asyncio.create_task(keyed(ada, "/organizations", {"name": "acme"}))
        await begun.wait()
        second = await keyed(ada, "/organizations", {"name": "acme"})
    assert (second.status, second.body["code"]) == (409, "under_way")
    assert second.headers["retry-after"] == "1"
    assert (await first).status == 201
    assert (await keyed(ada, "/organizations", {"name": "acme"})).body == (await first).body


async def test_many_at_once_are_done_once(town, server):
    told = await asyncio.gather(
        *(keyed(town.nobody, "/users", user("bob")) for _ in range(8)),
    )
    assert {one.status for one in told} <= {201, 409}
    assert {one.body["code"] for one in told if one.status == 409} <= {"under_way"}
    assert 201 in {one.status for one in told}
    assert not server.hub.under_way


async def test_what_was_refused_is_judged_anew(town, server):
    ada = await town.person("ada")
    assert (await keyed(ada, "/organizations", {"name": "ADA"})).status == 409
    assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 201
    assert await rows_of(server, Done) == 1


async def test_what_is_made_and_that_it_was_are_committed_together(town, server, monkeypatch):
    ada = await town.person("ada")

    def fail(*_args):
        raise RuntimeError("a bug, just before the end")

    with monkeypatch.context() as patched:
        patched.setattr("asyncstore.hub.once.Once._row", fail)
        assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 500
    assert (await rows_of(server, Done), server.hub.under_way) == (0, set())
    assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 201


@pytest.mark.parametrize("key", ["short", "x" * 129, "with a space in it"])
async def test_a_key_that_may_be_anybodys_is_refused(town, key):
    ada = await town.person("ada")
    told = await keyed(ada, "/organizations", {"name": "acme"}, key)
    assert (told.status, told.body["code"]) == (422, "invalid")


async def test_it_is_remembered_for_a_day_also_through_a_restart(serving, database, session):
    now = [1_800_000_000.0]
    async with serving(database=database, clock=lambda: now[0]) as server:
        ada = await Town(session, server.url).person("ada")
        assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 201
    async with serving(database=database, clock=lambda: now[0]) as server:
        ada = await Town(session, server.url).person("ada", register=False)
        now[0] += 86_399
        assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 201
        now[0] += 1
        assert (await keyed(ada, "/organizations", {"name": "acme"})).status == 409
        assert (await keyed(ada, "/organizations", {"name": "else"})).status == 201
        assert await rows_of(server, Done) == 1  # the one of before was swept
        now[0] += 86_400
    async with serving(database=database, clock=lambda: now[0]) as server:
        assert await rows_of(server, Done) == 0
