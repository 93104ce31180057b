"""The document of the API is true: whatever it allows to be sent, the hub does not fail on."""

import asyncio
import functools
import json
import os
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from asyncstore.hub import app, tokens
from asyncstore.hub.core import Hub
from asyncstore.hub.settings import Settings
from asyncstore.testing.canary import guard
from tests.hub.people import Town

EXAMPLES = 5


@pytest.mark.asyncio
async def test_the_document_is_served_to_anybody(town):
    told = await town.nobody.get("/api/v1/openapi.json")
    assert told.status == 200
    assert len(told.body["paths"]) > 30


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
async def test_nothing_that_is_sent_makes_it_fail(serving, database, session):
    async with serving(database=database) as server:
        town = Town(session, server.url)
        root = await town.first(guard(server.bootstrap_code))
        await root.create("root/d")
        drawn = await asyncio.to_thread(requests)
        failed = []
        for method, path, body, headers in drawn:
            told = await root.ask(method, path, body, **headers)
            if told.status >= 500 and told.status != 503:
                failed.append((method, path, body, told))
        assert failed == []
        assert len(drawn) > 30 * EXAMPLES / 2


def draw(strategies):
    """Return requests that the strategies make."""
    found: list[tuple[str, str, object, dict[str, str]]] = []
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
            if case.path.endswith("/logout"):
                return  # what follows would be nobody's
            body = case.body if isinstance(case.body, dict | list | str | int) else None
            query = "&".join(f"{quoted(k)}={quoted(v)}" for k, v in (case.query or {}).items())
            path = case.formatted_path + (f"?{query}" if query else "")
            found.append((case.method.upper(), path, body, {}))

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
