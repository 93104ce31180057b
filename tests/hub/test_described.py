"""The document of the API is true: whatever it allows to be sent is answered as it says."""

import asyncio
import functools
import itertools
import json
import os
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
import yarl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests import Request
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from asyncstore.hub import app, tokens
from asyncstore.hub.core import Hub
from asyncstore.hub.settings import Settings
from asyncstore.testing.canary import guard
from tests.hub.people import PASSWORD, Town
from tests.hub.test_attacks import AWS

EXAMPLES = 5

PLACE = {"organization": "root", "name": "d", "username": "eve"}
SAID = {
    "username": "root",
    "password": PASSWORD,
    "current": PASSWORD,
    "new": PASSWORD,
    "tag": "root/d",
    "org_id": "root",
    "src_path": "s3://bucket/other",
    "creds_key": "d",
    "query": "d",
    "blob_path": "s3://bucket/other/a",
    "expires_in": 60,
}


@pytest.mark.asyncio
async def test_the_document_is_served_to_anybody(town):
    told = await town.nobody.get("/api/v1/openapi.json")
    assert told.status == 200
    assert len(told.body["paths"]) > 30


def test_whatever_makes_something_takes_a_key_by_which_it_is_done_once():
    takes = {
        path.removeprefix("/api/v1/")
        for path, methods in document()["paths"].items()
        for one in methods.get("post", {}).get("parameters", [])
        if (one["in"], one["name"].lower()) == ("header", "idempotency-key")
    }
    posts = {path for path, methods in document()["paths"].items() if "post" in methods}
    ours = {path.removeprefix("/api/v1/") for path in posts if path.startswith("/api/v1/")}
    assert takes == ours - {"logout"}  # which makes nothing


@functools.cache
def document():
    return app.make(Hub(Settings(data=os.devnull))).openapi()


@functools.cache
def requests():
    """Return requests as the document allows them, the same for both databases."""
    schema = schemathesis.openapi.from_dict(document())
    return draw(
        [one.ok().as_strategy() for one in schema.get_all_operations() if isinstance(one, Ok)]
    )


@pytest.mark.asyncio
async def test_whatever_is_sent_is_answered_as_described(serving, database, session):
    async with serving(database=database, static_credentials=True) as server:
        town = Town(session, server.url)
        root = await town.first(guard(server.bootstrap_code))
        for name in ("eve", "zoe"):
            await town.person(name)
        drawn = await asyncio.to_thread(requests)
        told = [(case, await answered(root, case, {}, {})) for case in drawn]
        for _, cases in itertools.groupby(drawn, lambda case: case.operation.label):
            await settle(root)
            told += [(case, await answered(root, case, PLACE, SAID)) for case in cases]
        failed = await asyncio.to_thread(lambda: [f for one in told for f in failures(*one)])
        assert failed == []
        assert len(drawn) > 30 * EXAMPLES / 2
        granted = {case.operation.label for case, reply in told if reply.status_code < 300}
        assert len(granted) > 0.8 * len({case.operation.label for case in drawn})


async def settle(root):
    """Make what `PLACE` names, unless it is there."""
    await root.create("root/d")
    await root.put("/api/v1/organizations/root/members/eve", role="read")
    await root.put("/api/v1/organizations/root/credentials/d", **AWS)


async def answered(person, case, place, said):
    """Send a request; returns the answer as the checks take it.

    Args:
        person: who sends it.
        case: as it was drawn.
        place: other parts of its path, by their names.
        said: other fields of its body and query.
    """
    body = case.body if isinstance(case.body, dict | list | str | int) else None
    if isinstance(body, dict):
        body = body | {name: text for name, text in said.items() if name in body}
    query = (case.query or {}) | {n: t for n, t in said.items() if n in (case.query or {})}
    parts = case.path_parameters | place
    if place and "/users/" in case.path:
        parts["username"] = "zoe"  # who is removed
    parts = {name: quoted(text) for name, text in parts.items()}
    path = case.path.format(**parts)
    if query:
        path += "?" + "&".join(f"{quoted(name)}={quoted(text)}" for name, text in query.items())
    headers = {"Authorization": f"Bearer {person.token}"}
    if "Idempotency-Key" in (case.headers or {}):
        headers["Idempotency-Key"] = case.headers["Idempotency-Key"]
    url = yarl.URL(f"{person.url}{path}", encoded=True)
    sent = {"json": body} if body is not None else {}
    async with person.session.request(
        case.method, url, headers=headers, allow_redirects=False, **sent
    ) as reply:
        return Response(
            status_code=reply.status,
            headers={name: reply.headers.getall(name) for name in reply.headers},
            content=await reply.read(),
            request=Request(case.method, str(url)).prepare(),
            elapsed=0.0,
            verify=False,
        )


def failures(case, reply):
    """Return in what an answer is not as described."""
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    if reply.status_code != 503:  # which says when again
        checks.append(not_a_server_error)
    try:
        case.validate_response(reply, checks=checks)
    except FailureGroup as group:
        return [f"{case.method} {reply.request.url}: {one}" for one in group.exceptions]
    return []


def draw(strategies):
    """Return requests that the strategies make."""
    found: list[schemathesis.Case[Any]] = []
    for strategy in strategies:

        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def collect(case):
            if not case.path.endswith("/logout"):  # what follows would be nobody's
                found.append(case)

        collect()
    return found


def quoted(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text, safe="", errors="surrogatepass")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_token_that_is_read_is_one_that_could_have_been_made(data):
    text = data.draw(st.text(max_size=80))
    named = tokens.read(text)
    assert named is None or named == tokens.ANONYMOUS or len(named) == 24
