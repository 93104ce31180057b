"""Many at once."""

import asyncio
import resource
import time

import pytest

from tests.hub.people import Town

pytestmark = pytest.mark.asyncio

CLIENTS = 500


async def test_five_hundred_clients_fetch_credentials_at_once(town: Town):
    ada = await town.person("ada")
    await ada.create("ada/d")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = await asyncio.gather(*(ada.get("/api/org/ada/ds/d/creds") for _ in range(CLIENTS)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert {one.status for one in told} == {200}
    assert len({one.body["creds"]["aws_session_token"] for one in told}) == CLIENTS
    assert after - before < 150_000  # KiB: clients, server and their buffers
    rows = 0
    cursor: str | None = ""
    while cursor is not None:
        page = await ada.get(f"/api/v1/organizations/ada/events?limit=400{cursor}")
        rows += sum(row["action"] == "credentials.handed_out" for row in page.body["events"])
        cursor = page.body["cursor"] and f"&cursor={page.body['cursor']}"
    assert rows == CLIENTS


async def test_a_hundred_places_are_set_aside_for_one_name_once(town: Town):
    ada = await town.person("ada")
    told = await asyncio.gather(*(ada.get("/api/org/ada/ds/new/creds?mode=w") for _ in range(100)))
    assert {one.status for one in told} == {200}
    assert len({one.body["path"] for one in told}) == 1


async def test_an_answer_does_not_wait_for_its_first_half_to_be_acknowledged(town: Town):
    taken = []
    for _ in range(40):
        began = time.perf_counter()
        assert (await town.nobody.get("/healthz")).status == 200
        taken.append(time.perf_counter() - began)
    assert sorted(taken)[10] < 0.02  # an acknowledgement is 40 ms late
