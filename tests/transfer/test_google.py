"""Large uploads to Google: gone on with after a kill, from what the service has, as it has it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
from typing import Any

import pytest

from asyncstore import open_store
from asyncstore.errors import IntegrityError, UnavailableError
from asyncstore.layers import Retried
from asyncstore.providers.local import LocalProvider
from asyncstore.store._transfers import transfer
from asyncstore.testing.canary import CANARY_TOKEN, guard
from asyncstore.testing.fake_hub import FakeHub
from asyncstore.testing.small_http import Reply
from asyncstore.testing.strict_gcs import QUANTUM, StrictGCS
from asyncstore.transfer import large, one
from asyncstore.transfer.record import Record
from asyncstore.types import MiB
from tests.transfer.conftest import fill

SIZE = 6 * MiB + 7


@pytest.fixture
def server():
    with StrictGCS() as server:
        server.tokens[CANARY_TOKEN] = "rw"
        yield server


@pytest.fixture
def bucket(server):
    return server.make_bucket()


@pytest.fixture
def there(server, bucket):
    """Return what opens the bucket."""
    creds = {"gcs_oauth_token": CANARY_TOKEN}
    return lambda **how: open_store(f"gs://{bucket}", endpoint_url=server.url, creds=creds, **how)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(one, "SMALL", MiB)
    monkeypatch.setattr(large, "PART", MiB)


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "folder", {"big": os.urandom(SIZE)})
    return tmp_path / "folder"


@pytest.fixture
def killed(killer, told, server, bucket, folder):
    """Return what runs an upload in a process that is killed when so many parts are on record."""
    told |= {"way": "sync", "path": str(folder), "options": {}, "to": f"gs://{bucket}"}
    told["to_options"] = {
        "creds": {"gcs_oauth_token": CANARY_TOKEN},
        "endpoint_url": server.url,
    }

    def run(parts, **how):
        told.update(how, parts=parts)
        assert killer.run() is None
        told["parts"] = None
        [server.watched] = server.sessions
        server.calls.clear()

    return run


def sent(server):
    """Return what only asked for the state of the last upload begun, and the ranges that came."""
    ours = [call for call in server.calls if call.query.get("upload_id") == server.watched]
    ranges = [call.headers.get("content-range", "") for call in ours]
    asked = [text for text in ranges if text.startswith("bytes */")]
    spans = [re.match(r"bytes (\d+)-(\d+)", text) for text in ranges]
    return asked, [(int(span[1]), int(span[2]) + 1) for span in spans if span]


async def upload(folder, there, **how):
    async with open_store(folder) as here, there() as target:
        return await transfer(here, target, "test", **how)


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("part", [MiB, 700_000, QUANTUM])
def test_a_killed_upload_goes_on_from_what_the_service_has(  # noqa: PLR0917 - fixtures
    killed, killer, told, server, bucket, folder, count, part
):
    told["part"] = part
    killed(count)
    [session] = server.sessions.values()
    held = len(session.data)
    assert held >= count * part - QUANTUM
    report = killer.run_to_the_end()
    assert (report["copied"], report["resumed"]) == (1, int(held >= part))
    asked, spans = sent(server)
    assert asked == [f"bytes */{SIZE}"]
    assert min(start for start, _ in spans) == held
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()
    assert server.open_uploads == 0


def test_what_was_sent_and_not_put_on_record_is_not_sent_again(  # noqa: PLR0917 - fixtures
    killed, killer, told, server, bucket, folder
):
    killed(2, early=True)
    [session] = server.sessions.values()
    assert len(session.data) == 2 * MiB
    report = killer.run_to_the_end()
    assert report["resumed"] == 1
    assert min(start for start, _ in sent(server)[1]) == 2 * MiB
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_whose_session_has_ended_begins_anew(  # noqa: PLR0917 - fixtures
    killed, killer, server, bucket, folder, status
):
    killed(3)
    server.sessions.clear()
    server.fail("reply", f"upload_id={server.watched}", Reply(status), method="PUT")
    report = killer.run_to_the_end()
    assert (report["copied"], report["resumed"]) == (1, 0)
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()
    assert server.open_uploads == 0


def test_another_version_of_the_source_ends_the_session_and_begins_anew(
    killed, killer, server, bucket, folder
):
    killed(3)
    (folder / "big").write_bytes(os.urandom(SIZE))
    report = killer.run_to_the_end()
    assert (report["copied"], report["resumed"]) == (1, 0)
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()
    assert server.open_uploads == 0


@pytest.mark.parametrize("at", [0, 3 * MiB - 1])
def test_bytes_that_the_service_holds_wrongly_never_become_an_object(  # noqa: PLR0917 - fixtures
    killed, there, server, bucket, folder, at
):
    killed(3)
    [session] = server.sessions.values()
    session.data[at] ^= 1
    report = asyncio.run(upload(folder, there))
    [failure] = report.failures
    assert isinstance(failure.error, IntegrityError)
    assert "complete" in str(failure.error)
    assert "CRC32C" in str(failure.error)
    assert "big" not in server.buckets[bucket].objects
    assert server.open_uploads == 0
    assert asyncio.run(upload(folder, there)).copied == 1
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()


def test_a_session_that_lost_what_it_had_confirmed_is_not_trusted(
    killed, killer, server, bucket, folder
):
    killed(3)
    [session] = server.sessions.values()
    del session.data[MiB:]
    report = killer.run_to_the_end()
    assert (report["copied"], report["resumed"]) == (1, 0)
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()
    assert server.open_uploads == 0


def test_a_session_that_was_completed_is_no_proof_that_the_object_is_there(
    killed, killer, server, bucket, folder
):
    killed(6)
    [session] = server.sessions.values()
    session.done = server.store(bucket, "other", b"x")
    report = killer.run_to_the_end()
    assert (report["copied"], report["resumed"]) == (1, 0)
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()


@pytest.mark.timeout(120)
def test_kills_at_random_end_with_every_byte_right(killer, killed, server, bucket, folder):
    draw = random.Random(5)
    whole = 0.5
    kills = 0
    while kills < 10:
        data = os.urandom(SIZE)
        (folder / "big").write_bytes(data)
        report = None
        while report is None:
            report = killer.run(draw.random() * whole)
            kills += report is None
            whole *= 1.2 if report is None else 0.7
        assert report["failed"] == []
        assert server.buckets[bucket].objects["big"].data == data


@pytest.mark.asyncio
async def test_a_cancelled_upload_leaves_no_session(server, bucket, folder, there):
    draw = random.Random(9)
    cancelled = 0
    while cancelled < 20:
        (folder / "big").write_bytes(os.urandom(SIZE))
        task = asyncio.create_task(upload(folder, there))
        await asyncio.wait([task], timeout=draw.random() / 5)
        cancelled += task.cancel()
        await asyncio.wait([task])
        assert server.open_uploads == 0
    assert (await upload(folder, there)).ok
    assert server.buckets[bucket].objects["big"].data == (folder / "big").read_bytes()


@pytest.mark.asyncio
async def test_an_upload_through_a_hub_goes_on_too(server, bucket, folder, interrupted):
    with FakeHub(f"gs://{bucket}", lambda: {"gcs_oauth_token": CANARY_TOKEN}) as hub:
        hub.tokens[CANARY_TOKEN] = "ann"

        def there():
            how: dict[str, Any] = {"hub_url": hub.url, "token": CANARY_TOKEN}
            return open_store("hub://org/set", endpoint_url=server.url, **how)

        report = await upload(folder, there)
        assert isinstance(report.failures[0].error, UnavailableError)
        [server.watched] = server.sessions
        server.calls.clear()
        interrupted[0] = False
        report = await upload(folder, there)
    assert (report.copied, report.resumed, report.failures) == (1, 1, [])
    assert min(start for start, _ in sent(server)[1]) == 3 * MiB
    [stored] = server.buckets[bucket].objects.values()
    assert stored.data == (folder / "big").read_bytes()


# ---- the session's address is a secret


@pytest.fixture
def interrupted(monkeypatch):
    """Return what fails an upload for a passing reason, with its third part."""
    get = LocalProvider.get
    down = [True]

    async def failing(self, key, /, **how):
        if down[0] and how["span"].start == 3 * MiB:
            raise UnavailableError("the disk went away")
        return await get(self, key, **how)

    monkeypatch.setattr(large, "WIDTH", 1)
    monkeypatch.setattr(LocalProvider, "get", failing)
    monkeypatch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
    return down


def test_the_address_is_in_a_file_of_its_owner_and_nowhere_else(  # noqa: PLR0917 - fixtures
    there, server, folder, interrupted, state, caplog
):
    caplog.set_level(logging.DEBUG)
    told: list[Any] = []

    async def run():
        async with open_store(folder) as here, there(trace=told.append) as target:
            return await transfer(here, target, "test", progress=told.append)

    before = os.umask(0)
    try:
        report = asyncio.run(run())
    finally:
        os.umask(before)
    [number] = server.sessions
    guard(number)  # from here on, the tests watch for it themselves
    [record] = state.rglob("*.sqlite")
    assert number.encode() in record.read_bytes()
    for path in (record.parent, *record.parent.iterdir()):
        assert path.stat().st_mode & 0o077 == 0
    kept = Record(record).load()
    assert number in kept.begun["big"].token
    assert number not in repr(kept.begun)
    kept.close()
    repeating = b'{"error": {"message": "%s"}}' % number.encode()
    server.fail("reply", f"upload_id={number}", Reply(403, repeating))
    interrupted[0] = False
    again = asyncio.run(run())
    for value in (report.as_dict(), str(report.failures), again.as_dict(), told, caplog.text):
        assert number not in str(value)


# ---- look-alikes


@pytest.mark.asyncio
async def test_where_a_question_ends_an_upload_nothing_is_asked_and_it_begins_anew(
    fake_gcs, folder, interrupted, monkeypatch
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    path = f"gs://{fake_gcs.make_bucket()}/x"
    sizes = []
    sent_one = large.Large._send_one

    async def looking(self, *args):
        async with open_store(path) as store:
            sizes.extend([meta.size async for meta in store.list()])
        await sent_one(self, *args)

    monkeypatch.setattr(large.Large, "_send_one", looking)
    report = await upload(folder, lambda: open_store(path))
    assert isinstance(report.failures[0].error, UnavailableError)
    interrupted[0] = False
    report = await upload(folder, lambda: open_store(path))
    assert (report.copied, report.resumed, report.failures) == (1, 0, [])
    assert sizes == []  # no half of it was an object for a moment, nor was a trial left
    async with open_store(path) as store:
        assert [(meta.key, meta.size) async for meta in store.list()] == [("big", SIZE)]
