"""Reads that no task waits for, beside the same reads awaited: whatever the service answers.

Each case is asked of two fakes alike: `Store.get` of one, `get_many` of the other. What comes of
it is the same, and so is every request that was sent.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import asynccontextmanager
from email.utils import formatdate
from hashlib import md5
from time import time
from typing import Any

import pytest
from awscrt import checksums as crt

from asyncstore import RetryPolicy, open_store
from asyncstore.errors import DeadlineError, IntegrityError, ObjectChangedError
from asyncstore.layers import Limited
from asyncstore.provider import ability
from asyncstore.providers.s3 import S3Provider, reading
from asyncstore.testing.bytefake import ByteFake, answers, chunked
from asyncstore.testing.canary import CANARY_SECRET
from asyncstore.types import ObjectMeta
from tests.providers.beside import awaited, begun, came_of, nothing_is_left

pytestmark = pytest.mark.asyncio

KEYS = {"aws_access_key_id": "AKIATESTTESTTEST", "aws_secret_access_key": CANARY_SECRET}
DATA = b"twelve bytes"
LARGE = bytes(300_000)


def reply(status=200, body=DATA, **headers):
    told = {"etag": '"e1"', "content-length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value is not None)
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


def crc(data=DATA):
    return {"x_amz_checksum_crc64nvme": b64encode(crt.crc64nvme(data).to_bytes(8)).decode()}


def error(status, code, **headers):
    return reply(status, f"<Error><Code>{code}</Code></Error>".encode(), **headers)


GOOD = reply(**crc())
CUT = reply(content_length="100")
LATE = {"date": formatdate(time() + 7200, usegmt=True)}
COMPOSITE = b64encode(crt.crc64nvme(crt.crc64nvme(DATA).to_bytes(8)).to_bytes(8)).decode() + "-1"

CASES = {
    "verified": [GOOD],
    "no checksum": [reply()],
    "crc32": [reply(x_amz_checksum_crc32=b64encode(crt.crc32(DATA).to_bytes(4)).decode())],
    "md5": [reply(etag=f'"{md5(DATA, usedforsecurity=False).hexdigest()}"')],
    "another md5": [reply(etag=f'"{"0" * 32}"')],
    "etag without quotes": [reply(etag="e1")],
    "metadata": [reply(x_amz_meta_a="b", content_type="text/plain", x_amz_version_id="v")],
    "empty": [reply(body=b"", **crc(b""))],
    "of parts": [reply(x_amz_checksum_crc64nvme=COMPOSITE, x_amz_checksum_type="COMPOSITE")],
    "in chunks": [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
        + f"x-amz-checksum-crc64nvme: {crc()['x_amz_checksum_crc64nvme']}\r\n\r\n".encode()
        + chunked([DATA[:5], DATA[5:]])
    ],
    "wrong sum": [reply(**crc(b"other"))],
    "wrong sum once": [reply(**crc(b"other")), GOOD],
    "a sum that is none": [reply(x_amz_checksum_crc64nvme="x")],
    "missing": [error(404, "NoSuchKey")],
    "forbidden": [error(403, "AccessDenied")],
    "busy once": [error(503, "SlowDown"), GOOD],
    "busy for ever": [error(503, "SlowDown")],
    "broken once": [error(500, "InternalError"), GOOD],
    "another clock": [error(403, "RequestTimeTooSkewed", **LATE), GOOD],
    "another region": [
        error(400, "AuthorizationHeaderMalformed", x_amz_bucket_region="eu-west-3"),
        GOOD,
    ],
    "moved": [reply(301, b"", location="http://127.0.0.1:1/")],
    "a part": [reply(206, content_range="bytes 0-11/24")],
    "more than was told": [GOOD + b"surplus", GOOD],
    "nonsense": [b"SSH-2.0-x\r\n\r\n"],
    "larger than was guessed": [
        reply(body=LARGE, **crc(LARGE)),
        reply(body=LARGE, **crc(LARGE)),
    ],
    "large and verified": [reply(body=LARGE[:200_000], **crc(LARGE[:200_000]))],
}


@asynccontextmanager
async def served(*replies, scripts=(), **options):
    """A store on a fake, with a connection that has served before."""

    async def script(wire):
        await wire.request()
        await wire.send(GOOD)
        await (scripts[0] if scripts else answers(*replies))(wire)

    rest = scripts[1:] or [answers(*replies)] if replies else scripts[1:]
    async with ByteFake(script, *rest) as fake:
        options = {"retry": RetryPolicy(attempts=3, base=0)} | options
        url = str(fake.origin)
        async with open_store("s3://bucket/p", creds=KEYS, endpoint_url=url, **options) as store:
            await store.get("first")
            yield store, fake


@pytest.mark.parametrize("name", CASES)
async def test_what_is_answered_comes_to_the_same(name):
    found = []
    for read in (awaited, begun):
        async with served(*CASES[name]) as (store, fake):
            found.append(await came_of(read, store, fake, "k"))
    (one, asked_one), (other, asked_other) = found
    assert other == one
    if name != "larger than was guessed":  # where the size is asked for by the first request
        assert asked_other == asked_one


@pytest.mark.parametrize(
    ("answer", "comes"),
    [
        (GOOD, DATA),
        (reply(etag='"e2"', **crc()), IntegrityError),
        (error(412, "PreconditionFailed"), ObjectChangedError),
    ],
)
async def test_a_listed_version_is_the_one_that_is_read(answer, comes):
    found = []
    for read in (awaited, begun):
        async with served(answer) as (store, fake):
            item = ObjectMeta("k", 12, etag='"e1"')
            found.append(await came_of(read, store, fake, item))
            assert fake.requests[1].headers["if-match"] == '"e1"'
    assert found[0] == found[1]
    assert found[0][0][0] == comes


async def hang_up(wire):
    await wire.request()
    wire.close()


async def cut(wire):
    await wire.request()
    await wire.send(CUT)
    wire.close()


async def say_nothing(wire):
    await wire.request()
    await wire.gone()


@pytest.mark.parametrize("first", [hang_up, cut])
async def test_a_connection_that_breaks_costs_the_same(first):
    found = []
    for read in (awaited, begun):
        async with served(scripts=[first, answers(GOOD)]) as (store, fake):
            found.append((await came_of(read, store, fake, "k"), fake.connections))
    assert found[0] == found[1]
    (_, asked), connections = found[1]
    assert (len(asked), connections) == (2, 2)


async def test_a_stale_connection_costs_one_replay_on_a_fresh_one_and_no_more():
    both = asyncio.Barrier(2)

    async def serve_once(wire):
        await wire.request()
        await both.wait()
        await wire.send(GOOD)
        await hang_up(wire)

    async with (
        ByteFake(serve_once, serve_once, answers(GOOD)) as fake,
        open_store("s3://bucket", creds=KEYS, endpoint_url=str(fake.origin)) as store,
    ):
        await asyncio.gather(store.get("1"), store.get("2"))
        await begun(store, "k")
        assert [request.target for request in fake.requests[2:]] == ["/bucket/k"] * 2
        assert fake.connections == 3


async def test_a_deadline_holds_for_reads_that_no_task_waits_for():
    async with served(scripts=[say_nothing], deadline=0.2) as (store, _):
        with pytest.raises(DeadlineError, match="deadline passed"):
            await begun(store, "k")
        nothing_is_left(store)


async def test_leaving_a_batch_closes_the_connections_of_what_was_under_way():
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def wait(wire):
        await wire.request()
        asked.set()
        await wire.gone()
        closed.set()

    async with served(scripts=[wait]) as (store, fake):
        async with asyncio.timeout(30):
            async with store.get_many(["k"]):
                await asked.wait()
            await closed.wait()
        nothing_is_left(store)
        assert len(fake.requests) == 2


async def test_a_bug_on_the_way_is_raised_and_not_waited_for(monkeypatch):
    async with served(GOOD) as (store, _):
        monkeypatch.setattr(reading, "quickly", lambda *_: 1 / 0)
        async with asyncio.timeout(30):
            with pytest.raises(ZeroDivisionError):
                await begun(store, "k")
        nothing_is_left(store)


async def test_a_burst_of_refusals_halves_the_width_once():
    """However many were under way when the service had enough: they are one sign."""
    count = 16
    together = asyncio.Barrier(count)

    async def script(wire):
        await wire.request()
        await together.wait()
        await wire.send(GOOD)
        await wire.request()
        await together.wait()
        await wire.send(error(503, "SlowDown"))
        await answers(GOOD)(wire)

    async with ByteFake(script) as fake:
        options: dict[str, Any] = {
            "creds": KEYS,
            "endpoint_url": str(fake.origin),
            "concurrency": count,
        }
        async with open_store("s3://bucket", retry=RetryPolicy(base=0), **options) as store:
            limited: Any = ability(store.provider, Limited)
            width = limited.reads.width
            async with asyncio.timeout(30):
                async with store.get_many([f"{n}" for n in range(count)]) as got:
                    assert len([outcome.result() async for outcome in got]) == count
                assert width.allowed == count
                async with store.get_many([f"{n}" for n in range(count)]) as got:
                    assert len([outcome.result() async for outcome in got]) == count
            assert width.allowed >= count // 2
            assert fake.connections == count
            nothing_is_left(store)


async def test_no_task_waits_for_what_comes_as_it_should(monkeypatch):
    count = 200
    async with (
        ByteFake(answers(GOOD)) as fake,
        open_store("s3://bucket", creds=KEYS, endpoint_url=str(fake.origin)) as store,
    ):
        await asyncio.gather(*(store.get(f"{n}") for n in range(8)))
        provider: Any = ability(store.provider, S3Provider)
        monkeypatch.setattr(provider, "get", None)
        async with store.get_many((f"{n}" for n in range(count)), width=8) as got:
            assert len([outcome.result() async for outcome in got]) == count
        assert fake.connections == 8


@pytest.mark.parametrize("checked", [True, False])
async def test_reads_that_no_task_waits_for_ask_for_checksums_or_do_not(checked):
    async with served(GOOD, checksums=checked) as (store, fake):
        await begun(store, "k")
        assert ("x-amz-checksum-mode" in fake.requests[1].headers) is checked
