"""People register, sign in and hold tokens."""

import pytest

from asyncstore.testing.canary import guard
from tests.hub.people import PASSWORD

pytestmark = pytest.mark.asyncio


async def test_the_first_administrator_is_made_once_with_the_code(town, server):
    code = guard(server.bootstrap_code)
    wrong = await town.nobody.post(
        "/api/v1/bootstrap", code="x", username="eve", email="e@e.example", password=PASSWORD
    )
    first = await town.first(code)
    again = await town.nobody.post(
        "/api/v1/bootstrap", code=code, username="eve", email="e@e.example", password=PASSWORD
    )

    assert (wrong.status, wrong.body["code"]) == (403, "wrong_code")
    assert (await first.get("/api/v1/me")).body["administrator"] is True
    assert again.status == 409
    assert server.bootstrap_code is None


async def test_a_restarted_hub_without_an_administrator_has_another_code(serving, session):
    async with serving() as server:
        first = guard(server.bootstrap_code)
    async with serving() as server:
        assert guard(server.bootstrap_code) != first
        told = await session.post(
            f"{server.url}/api/v1/bootstrap",
            json={"code": first, "username": "a", "email": "a@b.example", "password": PASSWORD},
        )
        assert told.status == 403


async def test_a_code_ends(serving, session):
    now = [1_000_000.0]
    async with serving(clock=lambda: now[0]) as server:
        now[0] += 3601
        body = {"username": "a", "email": "a@b.example", "password": PASSWORD}
        told = await session.post(
            f"{server.url}/api/v1/bootstrap", json=body | {"code": guard(server.bootstrap_code)}
        )
        assert told.status == 403


async def test_who_registers_has_an_organization_of_the_same_name(town):
    ada = await town.person("Ada")

    me = (await ada.get("/api/v1/me")).body
    assert (me["username"], me["email"], me["administrator"]) == ("Ada", "Ada@b.example", False)
    assert me["organizations"] == [{"name": "Ada", "role": "admin"}]
    assert me["token"]["kind"] == "login"


async def test_a_name_is_taken_whatever_its_case(town):
    await town.person("Ada")
    taken = await town.nobody.post(
        "/api/v1/users", username="aDA", email="e@e.example", password=PASSWORD
    )
    assert taken.status == 409


@pytest.mark.parametrize("name", ["public", "api", "a b", "a/b", "", "é", "-a", "a" * 64, "a\0"])
async def test_a_name_that_an_address_cannot_hold_is_refused(town, name):
    told = await town.nobody.post(
        "/api/v1/users", username=name, email="e@e.example", password=PASSWORD
    )
    assert told.status == 422
    assert PASSWORD not in str(told.body)


async def test_a_token_is_told_once_and_listed_without_its_text(town):
    ada = await town.person("ada")
    other, token_id = await ada.make_token(name="ci", access="read")

    rows = (await ada.get("/api/v1/tokens")).body["tokens"]
    assert [(row["name"], row["kind"], row["access"]) for row in rows] == [
        ("", "login", "write"),
        ("ci", "api", "read"),
    ]
    assert rows[1]["id"] == token_id
    assert other.token not in str(rows)
    assert (await other.get("/api/v1/me")).status == 200


async def test_logging_out_ends_the_token_presented_and_no_other(town):
    ada = await town.person("ada")
    other, _ = await ada.make_token()

    assert (await ada.post("/api/v1/logout")).status == 204
    assert (await ada.get("/api/v1/me")).status == 401
    assert (await other.get("/api/v1/me")).status == 200


async def test_a_new_password_ends_every_other_token(town):
    ada = await town.person("ada")
    other, _ = await ada.make_token()
    new = guard("another password, as good as any")

    wrong = await ada.put("/api/v1/me/password", current="not the one", new=new)
    right = await ada.put("/api/v1/me/password", current=PASSWORD, new=new)

    assert (wrong.status, right.status) == (401, 204)
    assert (await ada.get("/api/v1/me")).status == 200
    assert (await other.get("/api/v1/me")).status == 401
    await town.nobody.with_token(None).login("ada", new)


async def test_where_registration_is_closed_an_administrator_registers_people(serving, session):
    from tests.hub.people import Town

    async with serving(open_registration=False) as server:
        town = Town(session, server.url)
        root = await town.first(guard(server.bootstrap_code))
        who = {"username": "ada", "email": "a@b.example", "password": PASSWORD}
        assert (await town.nobody.post("/api/v1/users", **who)).status == 401
        assert (await root.post("/api/v1/users", **who)).status == 201
        ada = await town.person("ada", register=False)
        assert (await ada.post("/api/v1/users", **who | {"username": "bob"})).status == 403
