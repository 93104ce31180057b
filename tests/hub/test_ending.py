"""A user leaves, or is removed: what goes with them, what stays, and what is in the way."""

import asyncio

import pytest
from sqlalchemy import func, select

from asyncstore.hub.models import Base, Credential, Done
from asyncstore.testing.canary import guard
from tests.hub.people import PASSWORD
from tests.hub.test_attacks import AWS, head

pytestmark = pytest.mark.asyncio

API = "/api/v1"


async def leave(person, name=None, password=PASSWORD):
    return await person.ask("DELETE", f"{API}/users/{name or person.name}", {"password": password})


async def count(server, table):
    async with server.hub.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def test_who_leaves_takes_their_tokens_roles_and_organization_along(town, session, server):
    ada, bob = await town.person("ada"), await town.person("bob")
    await ada.create("ada/d")
    await ada.put(f"{API}/organizations/ada/members/bob", role="write")
    await bob.put(f"{API}/organizations/bob/credentials/one", **AWS)
    token, _ = await bob.make_token()
    lent = await token.creds("ada/d")
    assert await head(session, lent) == 404  # allowed, and not there

    assert (await leave(bob)).status == 204
    assert await head(session, lent) == 403
    for person in (bob, token):
        assert (await person.get(f"{API}/me")).status == 401
    gone = await town.nobody.post(f"{API}/login", username="bob", password=PASSWORD)
    assert gone.status == 401
    members = (await ada.get(f"{API}/organizations/ada/members")).body["members"]
    assert members == [{"username": "ada", "role": "admin"}]
    assert await count(server, Credential) == 0
    assert (await ada.creds("ada/d")).status == 200


async def test_who_takes_the_name_of_somebody_removed_is_somebody_else(town, server):
    ada, old = await town.person("ada"), await town.person("bob")
    await ada.post(f"{API}/organizations", name="acme")
    await ada.put(f"{API}/organizations/acme/members/bob", role="admin")
    key = {"Idempotency-Key": "of-the-old-ones-0001"}
    made = await old.ask("POST", f"{API}/organizations", {"name": "bobs"}, **key)
    assert made.status == 201
    await old.put(f"{API}/organizations/bobs/members/ada", role="admin")
    token, token_id = await old.make_token()
    before = (await old.creds("bob/d", "w")).body["path"]
    assert (await leave(old)).status == 204
    assert await count(server, Done) == 0

    new = await town.person("BOB")
    me = (await new.get(f"{API}/me")).body
    assert me["organizations"] == [{"name": "BOB", "role": "admin"}]
    assert [row["id"] for row in (await new.get(f"{API}/tokens")).body["tokens"]] == [new.token_id]
    assert (await token.get(f"{API}/me")).status == 401
    assert (await new.delete(f"{API}/tokens/{token_id}")).status == 404
    assert (await new.get(f"{API}/organizations/acme/members")).status == 404
    again = await new.ask("POST", f"{API}/organizations", {"name": "bobs"}, **key)
    assert again.status == 409  # not the old one's answer
    assert (await new.creds("BOB/d", "w")).body["path"].split("/")[2] != before.split("/")[2]


async def test_it_takes_ones_own_password(town):
    ada = await town.person("ada")
    reader, _ = await ada.make_token(access="read")
    wrong = guard("not the password at all")
    assert (await leave(reader, "ada")).status == 403
    assert (await leave(ada, password=wrong)).status == 401
    assert (await ada.delete(f"{API}/users/ada")).status == 422
    assert (await ada.get(f"{API}/me")).status == 200
    guesses = [(await leave(ada, password=f"guess {n}")).status for n in range(10)]
    assert guesses == [401] * 9 + [429]
    assert (await leave(ada)).status == 429


async def test_an_administrator_removes_others_and_nobody_else_does(town, server):
    root = await town.first(server.bootstrap_code)
    ada, eve = await town.person("ada"), await town.person("eve")
    absent = await eve.delete(f"{API}/users/absent")
    theirs = await leave(eve, "ada")
    assert (theirs.status, theirs.body) == (absent.status, absent.body) == (404, absent.body)
    reader, _ = await root.make_token(access="read")
    assert (await reader.delete(f"{API}/users/ada")).status == 403
    assert (await root.delete(f"{API}/users/ada")).status == 204
    assert (await root.delete(f"{API}/users/ada")).status == 404
    assert (await ada.get(f"{API}/me")).status == 401
    async with server.hub.database.reading() as session:
        events = Base.metadata.tables["events"].c
        lines = await session.execute(
            select(events.actor, events.subject).where(events.action == "user.removed")
        )
        assert [tuple(line) for line in lines] == [("root", "ada")]


async def test_the_last_administrator_of_a_hub_stays(town, server):
    root = await town.first(server.bootstrap_code)
    assert (await leave(root)).status == 409
    assert (await root.get(f"{API}/me")).status == 200


async def test_data_sets_are_in_the_way_and_places_that_nobody_wrote_to_are_not(town):
    ada = await town.person("ada")
    await ada.create("ada/d")
    told = await leave(ada)
    assert (told.status, "data sets" in told.body["description"]) == (409, True)
    assert (await ada.delete("/api/dataset/ada/d")).status == 200
    assert (await ada.creds("ada/asked-for", "w")).status == 200
    assert (await leave(ada)).status == 204


async def test_an_organization_of_others_keeps_an_administrator(town):
    ada, bob = await town.person("ada"), await town.person("bob")
    await ada.post(f"{API}/organizations", name="acme")
    await ada.put(f"{API}/organizations/acme/members/bob", role="write")
    assert (await leave(ada)).status == 409
    await ada.put(f"{API}/organizations/acme/members/bob", role="admin")
    assert (await leave(ada)).status == 204
    members = (await bob.get(f"{API}/organizations/acme/members")).body["members"]
    assert members == [{"username": "bob", "role": "admin"}]


async def test_an_organization_with_a_place_that_nobody_wrote_to_is_empty(town):
    ada = await town.person("ada")
    await ada.post(f"{API}/organizations", name="acme")
    assert (await ada.creds("acme/asked-for", "w")).status == 200
    assert (await ada.delete(f"{API}/organizations/acme")).status == 204


async def test_of_two_administrators_that_leave_at_once_an_organization_keeps_one(town):
    ada, bob = await town.person("ada"), await town.person("bob")
    await ada.post(f"{API}/organizations", name="acme")
    await ada.put(f"{API}/organizations/acme/members/bob", role="admin")
    told = await asyncio.gather(leave(ada), leave(bob))
    assert sorted(one.status for one in told) == [204, 409]
