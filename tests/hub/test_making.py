"""Our client on a real hub behind a wire that loses answers: what it makes is made once."""

from __future__ import annotations

import asyncio
import contextlib
import http.client

import pytest
import pytest_asyncio

from asyncstore.credentials import Secret
from asyncstore.errors import AlreadyExistsError, UnavailableError
from asyncstore.providers.hub.api import HubAPI
from asyncstore.providers.hub.client import HubClient
from asyncstore.providers.hub.login import Hub
from asyncstore.testing.canary import guard
from asyncstore.testing.hubs import PASSWORD
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio

_PASSED = ("authorization", "content-type", "idempotency-key")


@pytest.fixture
def wire(real_hub):
    """Pass every call on to the hub, and its answer back, unless a test says otherwise."""

    def passed(call):
        headers = {name: call.headers[name] for name in _PASSED if name in call.headers}
        connection = http.client.HTTPConnection(real_hub.url.removeprefix("http://"))
        with contextlib.closing(connection):
            connection.request(call.method, call.path, call.body or None, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read(), {"content-type": "application/json"})

    with SmallServer(passed) as server:
        yield server


@pytest_asyncio.fixture
async def api(real_hub, wire, monkeypatch):
    monkeypatch.setattr("asyncstore.providers.hub.making._PAUSES", (0.0, 0.0, 0.0))
    token = await asyncio.to_thread(real_hub.person, "mona")
    hub = Hub(wire.url, Secret(token), "the test")
    async with HubClient(hub, Settings()) as client:
        yield HubAPI(client)


def keys(wire, path):
    calls = [call for call in wire.calls if (call.method, call.path) == ("POST", path)]
    return [call.headers["idempotency-key"] for call in calls]


@pytest.mark.parametrize("fault", ["drop_after", "drop"])
async def test_an_organization_whose_answer_was_lost_is_made_once(api, wire, fault):
    wire.fail(fault, "/organizations", method="POST")
    made = await api.create_organization(f"mona-{fault.replace('_', '-')}")
    assert (made.role, len(set(keys(wire, "/api/v1/organizations")))) == ("admin", 1)
    with pytest.raises(AlreadyExistsError):  # asked for anew, it is taken
        await api.create_organization(made.name)
    assert len(set(keys(wire, "/api/v1/organizations"))) == 2


async def test_an_account_whose_answer_was_lost_is_made_once(api, wire):
    wire.fail("drop_after", "/users")
    assert await api.register("nora", "n@b.example", Secret(PASSWORD)) == "nora"
    wire.fail("drop_after", "/login")
    session = await api.login("nora", Secret(PASSWORD), expires_in=60)
    guard(session.token.reveal())
    assert session.username == "nora"


async def test_a_token_whose_secret_was_lost_is_ended_and_another_made(api, wire):
    wire.fail("drop_after", "/tokens")
    made = await api.create_token("lost", expires_in=60, access="read")
    guard(made.token.reveal())
    found = [one.id for one in await api.tokens() if one.name == "lost"]
    assert found == [made.id]
    assert len(set(keys(wire, "/api/v1/tokens"))) == 2  # one lost, one told


async def test_a_hub_that_never_answers_is_told_after_a_few_tries(api, wire):
    wire.fail("drop_after", "/organizations", method="POST", times=100)
    with pytest.raises(UnavailableError) as caught:
        await api.create_organization("mona-never")
    assert caught.value.outcome == "unknown"
    assert len(set(keys(wire, "/api/v1/organizations"))) == 1
