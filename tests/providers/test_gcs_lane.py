"""Google's reads that no task waits for, beside the same reads awaited: whatever it answers."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Any

import google_crc32c
import pytest

from asyncstore import RetryPolicy, open_store
from asyncstore.errors import IntegrityError, NotFoundError, ObjectChangedError
from asyncstore.providers.gcs.reads import Reader
from asyncstore.testing.bytefake import ByteFake, answers
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.types import ObjectMeta
from tests.providers.beside import awaited, begun, came_of, nothing_is_left

pytestmark = pytest.mark.asyncio

DATA = b"twelve bytes"
LARGE = bytes(300_000)


def crc(data=DATA):
    return "crc32c=" + b64encode(google_crc32c.value(data).to_bytes(4)).decode()


def reply(status=200, body=DATA, **headers):
    told = {"x-goog-generation": "7", "content-length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value is not None)
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


GOOD = reply(x_goog_hash=crc())
CUT = reply(content_length="100")
MD5 = "md5=" + b64encode(md5(DATA, usedforsecurity=False).digest()).decode()

CASES = {
    "verified": [GOOD],
    "no checksum": [reply()],
    "md5": [reply(x_goog_hash=MD5)],
    "metadata": [reply(x_goog_hash=crc(), x_goog_meta_a="b", content_type="text/plain")],
    "empty": [reply(body=b"", x_goog_hash=crc(b""))],
    "stored compressed": [
        reply(x_goog_hash=crc(), content_encoding="gzip", x_goog_stored_content_encoding="gzip")
    ],
    "decoded": [reply(x_goog_stored_content_encoding="gzip")],
    "wrong sum": [reply(x_goog_hash=crc(b"other"))],
    "wrong sum once": [reply(x_goog_hash=crc(b"other")), GOOD],
    "no generation": [reply(x_goog_generation=None)],
    "missing": [reply(404, b"{}")],
    "not known": [reply(401, b"{}")],
    "forbidden": [reply(403, b"{}")],
    "busy once": [reply(503, b"{}"), GOOD],
    "too much for ever": [reply(429, b"{}")],
    "a part": [reply(206, content_range="bytes 0-11/24")],
    "moved": [reply(308, b"", location="http://127.0.0.1:1/")],
    "nonsense": [b"SSH-2.0-x\r\n\r\n"],
    "cut": [CUT[:-2]],
}


@asynccontextmanager
async def served(*replies, close=False, creds=None):
    """A store on a fake, with a connection that has served before."""

    async def script(wire):
        await wire.request()
        await wire.send(GOOD)
        await answers(*replies, close=close)(wire)

    creds = creds or {"gcs_oauth_token": CANARY_TOKEN}
    async with ByteFake(script, answers(*replies, close=close)) as fake:
        options: dict[str, Any] = {
            "endpoint_url": str(fake.origin),
            "retry": RetryPolicy(attempts=3, base=0),
        }
        async with open_store("gcs://bucket/p", creds=creds, **options) as store:
            await store.get("first")
            yield store, fake
            nothing_is_left(store)


@pytest.mark.parametrize("name", CASES)
async def test_what_is_answered_comes_to_the_same(name):
    found = []
    for read in (awaited, begun):
        async with served(*CASES[name], close=name == "cut") as (store, fake):
            found.append(await came_of(read, store, fake, "k"))
    assert found[0] == found[1]


async def test_what_is_larger_than_was_guessed_is_read_all_the_same():
    async with served(reply(body=LARGE, x_goog_hash=crc(LARGE))) as (store, _):
        assert bytes(await begun(store, "k")) == LARGE


@pytest.mark.parametrize(
    ("answer", "comes"),
    [
        (GOOD, DATA),
        (reply(x_goog_hash=crc(), x_goog_generation="8"), ObjectChangedError),
        (reply(412, b"{}"), ObjectChangedError),
    ],
)
async def test_a_listed_version_is_the_one_that_is_read(answer, comes):
    found = []
    for read in (awaited, begun):
        async with served(answer) as (store, fake):
            found.append(await came_of(read, store, fake, ObjectMeta("k", 12, etag="7")))
    assert found[0] == found[1]
    assert found[0][0][0] == comes


async def test_a_version_that_is_none_reads_nothing_and_stops_no_other():
    async with served(GOOD) as (store, fake):
        async with store.get_many([ObjectMeta("k", 12, etag="x"), "other"], ordered=True) as got:
            bad, good = [outcome async for outcome in got]
        assert isinstance(bad.error, ObjectChangedError)
        assert bytes(good.result()) == DATA
        assert len(fake.requests) == 2


async def test_a_token_that_is_refused_is_renewed_and_the_read_sent_again():
    tokens = iter([f"{CANARY_TOKEN}1", f"{CANARY_TOKEN}2"])
    async with served(reply(401, b"{}"), GOOD, creds=lambda: {"gcs_oauth_token": next(tokens)}) as (
        store,
        fake,
    ):
        assert bytes(await begun(store, "k")) == DATA
        sent = [request.headers["authorization"][-1] for request in fake.requests]
        assert sent == ["1", "1", "2"]


async def test_an_error_says_what_it_is_about():
    async with served(reply(404, b"{}")) as (store, _):
        with pytest.raises(NotFoundError) as caught:
            await begun(store, "k")
        assert (caught.value.op, caught.value.url) == ("get", "gcs://bucket/p/k")


async def test_what_was_altered_on_its_way_is_never_handed_out():
    async with served(reply(x_goog_hash=crc(b"other"))) as (store, fake):
        with pytest.raises(IntegrityError):
            await begun(store, "k")
        assert len(fake.requests) == 2


async def test_no_task_waits_for_what_comes_as_it_should(monkeypatch):
    async with served(GOOD) as (store, fake):
        await asyncio.gather(*(store.get(f"{n}") for n in range(8)))
        opened = fake.connections
        monkeypatch.setattr(Reader, "get", None)
        async with store.get_many((f"{n}" for n in range(100)), width=8) as got:
            assert len([outcome.result() async for outcome in got]) == 100
        assert fake.connections == opened


async def test_a_bug_on_the_way_is_raised_and_not_waited_for(monkeypatch):
    async with served(GOOD) as (store, _):
        monkeypatch.setattr(Reader, "quickly", lambda *_: 1 / 0)
        async with asyncio.timeout(30):
            with pytest.raises(ZeroDivisionError):
                await begun(store, "k")
