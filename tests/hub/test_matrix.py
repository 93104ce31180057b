"""Every route by who calls: what each may do, and that nobody learns of what is not theirs.

The rows come from the application's own document: a route without an expectation here fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import pytest_asyncio

from asyncstore.hub import app
from asyncstore.hub.core import Hub
from asyncstore.hub.settings import Settings
from asyncstore.testing.canary import CANARY_SECRET
from tests.hub.people import CHEAP, PASSWORD, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

AWS = {
    "kind": "aws",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": CANARY_SECRET,
    "region": "us-east-1",
    "allow_static": True,
}
WHO = ("none", "public", "expired", "revoked", "outsider", "read", "write", "admin", "read_only")
MEMBERS = ("read", "write", "admin", "read_only")
RANK = {"read": 1, "read_only": 1, "write": 2, "admin": 3}
API = "/api/v1"
ORG = "/api/v1/organizations/{organization}"


@dataclass
class Row:
    """What a route asks for.

    Attributes:
        need: `open`; `user`, signed in; `writer`, and no read-only token; or a role.
        ok: the answer to those who may.
        body: what is sent.
        query: behind the path.
        nobody: the answer to nobody, where it is not the usual.
        changes: whether what it did must be undone.
    """

    need: str
    ok: int = 200
    body: dict[str, object] | None = None
    query: str = ""
    nobody: int | None = None
    changes: bool = True


def user(name="new"):
    return {"username": name, "email": "n@n.example", "password": PASSWORD}


PRESIGN = "?chunk_path=a/b"
BLOB = "?creds_key=bucket&blob_path=s3://bucket/linked/a"
ROWS = {
    ("GET", "/healthz"): Row("open", changes=False),
    ("POST", f"{API}/bootstrap"): Row("open", 409, user() | {"code": "x"}, changes=False),
    ("POST", f"{API}/users"): Row("open", 409, user("Acme"), changes=False),
    # Of administrators of the hub, which none of these is, and of oneself.
    ("DELETE", f"{API}/users/{{username}}"): Row("writer", 404, changes=False),
    ("POST", f"{API}/login"): Row(
        "open", 200, {"username": "bystander", "password": PASSWORD}, changes=False
    ),
    ("POST", f"{API}/logout"): Row("user", 204),
    ("GET", f"{API}/me"): Row("user", changes=False),
    # The wrong password, so that nothing changes.
    ("PUT", f"{API}/me/password"): Row(
        "writer", 401, {"current": "not the one", "new": PASSWORD}, changes=False
    ),
    ("POST", f"{API}/tokens"): Row("writer", 201, {"name": "t", "expires_in": 60}, changes=False),
    ("GET", f"{API}/tokens"): Row("user", changes=False),
    ("DELETE", f"{API}/tokens/{{token_id}}"): Row("user", 204),
    ("POST", f"{API}/organizations"): Row("writer", 409, {"name": "acme"}, changes=False),
    ("GET", f"{API}/organizations"): Row("user", changes=False),
    ("DELETE", ORG): Row("admin", 409),
    ("GET", f"{ORG}/members"): Row("read"),
    ("PUT", f"{ORG}/members/{{username}}"): Row("admin", 200, {"role": "read"}),
    ("DELETE", f"{ORG}/members/{{username}}"): Row("admin", 204),
    ("GET", f"{ORG}/events"): Row("admin"),
    ("GET", f"{ORG}/credentials"): Row("write"),
    ("PUT", f"{ORG}/credentials/{{name}}"): Row("admin", 200, AWS),
    ("DELETE", f"{ORG}/credentials/{{name}}"): Row("admin", 204),
    ("GET", f"{ORG}/datasets"): Row("read"),
    ("GET", f"{ORG}/datasets/{{name}}"): Row("read", nobody=404),
    ("PUT", f"{ORG}/datasets/{{name}}/agreement"): Row("admin", 204, {"text": "Be kind."}),
    ("DELETE", f"{ORG}/datasets/{{name}}/agreement"): Row("admin", 204),
    ("POST", "/api/user/register"): Row("open", 409, user("Acme"), changes=False),
    ("POST", "/api/user/token"): Row(
        "open", 200, {"username": "public", "password": ""}, changes=False
    ),
    ("GET", "/api/user/profile"): Row("open", changes=False),
    ("GET", "/api/org/{organization}/ds/{name}/creds"): Row("read", nobody=403),
    ("GET", "/api/org/{organization}/ds/{name}/chunks/url/presigned"): Row(
        "read", query=PRESIGN, nobody=404
    ),
    ("POST", "/api/dataset/create"): Row("write", 200, {"tag": "{organization}/{name}"}),
    ("POST", "/api/dataset/connect"): Row(
        "admin",
        200,
        {
            "src_path": "s3://bucket/other",
            "org_id": "{organization}",
            "ds_name": "connected",
            "creds_key": "bucket",
        },
    ),
    ("DELETE", "/api/dataset/{organization}/{name}"): Row("write"),
    ("PUT", "/api/org/{organization}/dataset/{name}"): Row("write", 200, {"basename": "moved"}),
    ("GET", "/api/org/{organization}/storage/name"): Row("write", query="?query=bucket"),
    ("GET", "/api/org/{organization}/managed-credentials/blob/url/presigned"): Row(
        "read", query=BLOB
    ),
    ("GET", "/api/datasets/all"): Row("open", query="?organization={organization}"),
    ("GET", "/api/datasets/public"): Row("open", query="?organization={organization}"),
    ("POST", "/api/organization/{organization}/dataset/{name}/agree"): Row("read"),
    ("POST", "/api/organization/{organization}/dataset/{name}/disagree"): Row("read"),
    ("POST", "/api/event"): Row("open", 200, {"event": "x"}, changes=False),
    ("GET", "/api/organizations/{organization}/features/{feature}"): Row("read"),
    ("POST", "/api/query/dataset/{organization}/{name}"): Row("user", 400, changes=False),
}
HERE = {
    "organization": "acme",
    "name": "secret",
    "username": "bystander",
    "feature": "deepmemory",
}
NOWHERE = HERE | {"organization": "nowhere", "name": "absent"}


class Cast:
    """One organisation with what it owns, and everybody who may ask for it."""

    def __init__(self, town, people):
        self.town = town
        self.people = people

    async def restore(self):
        """Make things as they were, whatever a call has done to them."""
        admin = self.people["admin"]
        await admin.delete("/api/dataset/acme/connected")
        await admin.put("/api/org/acme/dataset/moved", basename="secret")
        await admin.create("acme/secret")
        await admin.delete(f"{API}/organizations/acme/datasets/secret/agreement")
        await admin.put(f"{API}/organizations/acme/members/bystander", role="read")
        await admin.put(f"{API}/organizations/acme/credentials/secret", **AWS)

    async def token_to_spend(self, who):
        """Return somebody whose token may be revoked, with the same rights."""
        person = self.people[who]
        if who not in (*MEMBERS, "outsider"):
            return person
        owner = self.people["admin"] if who == "read_only" else person
        spare, _ = await owner.make_token(access="read" if who == "read_only" else "write")
        return spare

    async def ask(self, who, method, path, place, row):
        spends = path in (f"{API}/logout", f"{API}/tokens/{{token_id}}")
        person = await self.token_to_spend(who) if spends else self.people[who]
        names = place | {"token_id": person.token_id or "f" * 24}
        body = None
        if row.body is not None:
            body = {
                key: value.format(**names) if isinstance(value, str) else value
                for key, value in row.body.items()
            }
        told = await person.ask(method, path.format(**names) + row.query.format(**names), body)
        if told.status < 300 and row.changes and method != "GET":
            await self.restore()
        return told


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def cast(request, tmp_path_factory):
    import aiohttp

    from asyncstore.hub.serving import HubServer

    database = None
    if request.param == "postgresql":
        database = await request.getfixturevalue("postgres").make_database()
    now = [1_800_000_000.0]
    async with (
        HubServer(
            str(tmp_path_factory.mktemp("matrix") / "hub"),
            database=database,
            password_cost=CHEAP,
            static_credentials=True,
            clock=lambda: now[0],
        ) as server,
        aiohttp.ClientSession() as session,
    ):
        town = Town(session, server.url)
        root = await town.first(server.bootstrap_code)
        admin, write, read, outsider, _ = [
            await town.person(name) for name in ("ann", "will", "rhea", "olga", "bystander")
        ]
        assert (await admin.post(f"{API}/organizations", name="acme")).status == 201
        members = f"{API}/organizations/acme/members"
        for person, role in ((write, "write"), (read, "read"), (root, "admin")):
            assert (await admin.put(f"{members}/{person.name}", role=role)).status == 200
        stored = await admin.put(f"{API}/organizations/acme/credentials/bucket", **AWS)
        assert stored.status == 200, stored
        linked = await admin.post(
            "/api/dataset/connect",
            src_path="s3://bucket/linked",
            org_id="acme",
            ds_name="linked",
            creds_key="bucket",
        )
        assert linked.status == 200, linked
        expired, _ = await admin.make_token(expires_in=60)
        now[0] += 100
        revoked, token_id = await admin.make_token()
        assert (await admin.delete(f"{API}/tokens/{token_id}")).status == 204
        read_only, _ = await admin.make_token(access="read")
        public = await town.nobody.post("/api/user/token", username="public", password="")
        made = Cast(
            town,
            {
                "none": town.nobody,
                "public": town.nobody.with_token(public.body["token"]),
                "expired": expired,
                "revoked": revoked,
                "outsider": outsider,
                "read": read,
                "write": write,
                "admin": admin,
                "read_only": read_only,
            },
        )
        await made.restore()
        yield made


def expected(row, who):
    if row.need == "open":
        return 401 if who in ("expired", "revoked") else row.ok
    if who in ("expired", "revoked"):
        return 401
    if who in ("none", "public"):
        return row.nobody or 401
    if row.need in ("user", "writer"):
        return 403 if row.need == "writer" and who == "read_only" else row.ok
    if who == "outsider":
        return 404
    return row.ok if RANK[who] >= RANK[row.need] else 403


def documented(tmp_path):
    paths = app.make(Hub(Settings(data=str(tmp_path)))).openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


async def test_every_route_has_an_expectation(tmp_path):
    assert documented(tmp_path) == set(ROWS)


@pytest.mark.parametrize("route", ROWS, ids=" ".join)
async def test_each_may_do_what_their_role_says_and_nothing_else(cast, route):
    method, path = route
    row = ROWS[route]
    answers = {who: await cast.ask(who, method, path, HERE, row) for who in WHO}
    asked_nothing = path in ("/healthz", "/api/event")  # not even who calls
    wanted = {who: row.ok if asked_nothing else expected(row, who) for who in WHO}
    assert {who: told.status for who, told in answers.items()} == wanted
    for told in answers.values():
        assert told.status < 400 or set(told.body) == {"description", "code"}


@pytest.mark.parametrize(
    "route", [r for r in ROWS if "organization}" in str(ROWS[r]) + r[1]], ids=" ".join
)
async def test_what_is_there_is_told_from_what_is_not_by_members_alone(cast, route):
    method, path = route
    row = ROWS[route]
    for who in ("none", "public", "expired", "revoked", "outsider"):
        here = await cast.ask(who, method, path, HERE, row)
        nowhere = await cast.ask(who, method, path, NOWHERE, row)
        assert (who, here.status, plain(here)) == (who, nowhere.status, plain(nowhere))
        assert sorted(here.headers) == sorted(nowhere.headers)


def plain(told):
    """The answer without the names that were asked for."""
    text = str(told.body)
    for place in (HERE, NOWHERE):
        for name in ("organization", "name"):
            text = text.replace(place[name], "…")
    return text


async def test_a_listing_of_everything_holds_nothing_of_others(cast):
    for who in ("none", "public", "outsider"):
        for path in ("/api/datasets/all", "/api/datasets/public"):
            assert (await cast.people[who].get(path)).body == []


async def test_somebody_elses_token_is_one_that_is_not_there(cast):
    other = cast.people["write"].token_id
    theirs = await cast.people["outsider"].delete(f"{API}/tokens/{other}")
    absent = await cast.people["outsider"].delete(f"{API}/tokens/{'0' * 24}")
    assert (theirs.status, theirs.body) == (absent.status, absent.body) == (404, absent.body)
