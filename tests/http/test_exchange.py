"""One request, one answer."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING

import pytest

from asyncstore.errors import ConfigurationError, IntegrityError, InvalidSpanError
from asyncstore.http import Engine, EngineOptions, Origin, Request
from asyncstore.testing.bytefake import EMPTY, OK, ByteFake, answers, chunked

if TYPE_CHECKING:
    from asyncstore.types import Buffer

pytestmark = pytest.mark.anyio


def reply(body, *, status="200 OK", headers=""):
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


async def exchange(script, *requests, **options):
    async with ByteFake(script) as fake:
        engine = Engine(EngineOptions(**options))
        try:
            out = [await engine.send(make(fake.origin)) for make in requests]
        finally:
            await engine.aclose()
        return fake, out


def get(target="/k", **more):
    return lambda origin: Request("GET", origin, target, **more)


def put(body, target="/k", **more):
    return lambda origin: Request("PUT", origin, target, body=body, **more)


async def test_a_get_sends_the_request_and_nothing_else():
    fake, [answer] = await exchange(answers(OK), get("/a%20b?x=1", headers={"range": "bytes=0-1"}))
    host = fake.requests[0].headers["host"]
    assert fake.requests[0].raw == (
        f"GET /a%20b?x=1 HTTP/1.1\r\nhost: {host}\r\nrange: bytes=0-1\r\n\r\n".encode()
    )
    assert (answer.status, answer.body) == (200, b"ok")


async def test_names_of_headers_are_lower_case_and_repeated_ones_are_joined():
    raw = reply(b"", headers='ETag: "a"\r\nX-Amz-Meta-A:  b \t\r\nvary: x\r\nVary: y\r\n')
    _, [answer] = await exchange(answers(raw), get())
    assert answer.headers["etag"] == '"a"'
    assert answer.headers["x-amz-meta-a"] == "b"
    assert answer.headers["vary"] == "x, y"


@pytest.mark.parametrize("size", [0, 1, 4096, 60_000, 70_000, 200_000, 3_000_000])
async def test_a_body_of_any_size_arrives_and_leaves_whole(size):
    body = random.Random(size).randbytes(size)

    async def echo(wire):
        while True:
            received = await wire.request()
            await wire.send(reply(received.body))

    mine = bytearray(size + 10)
    _, out = await exchange(echo, put(body), put(body, into=memoryview(mine)), put(body))
    assert [bytes(answer.body) for answer in out] == [body] * 3
    assert mine == body + bytes(10)
    assert isinstance(out[1].body, memoryview)
    assert out[1].body.obj is mine


async def test_a_body_of_several_buffers_is_sent_in_their_order():
    pieces: list[Buffer] = [b"a" * 300_000, bytearray(b"b" * 5), memoryview(b"c" * 70_000), b""]
    fake, _ = await exchange(answers(EMPTY), put(pieces))
    assert fake.requests[0].body == b"".join(pieces)
    assert fake.requests[0].headers["content-length"] == str(370_005)


async def test_an_upload_says_its_length_and_never_expects_100_continue():
    fake, _ = await exchange(answers(EMPTY), put(b"x" * 3_000_000), put(b""))
    assert [received.headers["content-length"] for received in fake.requests] == ["3000000", "0"]
    assert all("expect" not in received.headers for received in fake.requests)


async def test_interim_answers_are_passed_over():
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    _, out = await exchange(answers(interim + OK), get(), get())
    assert [answer.body for answer in out] == [b"ok"] * 2


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_answer_and_is_not_followed(status):
    async with ByteFake(answers(EMPTY)) as other:
        raw = reply(b"", status=status, headers=f"location: http://127.0.0.1:{other.port}/k\r\n")
        _, [answer] = await exchange(
            answers(raw), put(b"secret", headers={"x-amz-security-token": "t"})
        )
        assert answer.status == int(status[:3])
        assert other.connections == 0


async def test_a_stored_gzip_comes_as_it_is_stored():
    stored = gzip.compress(bytes(100_000))
    raw = reply(stored, headers="content-encoding: gzip\r\n")
    fake, [answer] = await exchange(answers(raw), get())
    assert bytes(answer.body) == stored
    assert "accept-encoding" not in fake.requests[0].headers


async def test_an_answer_to_head_has_no_body_whatever_it_says():
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    fake, out = await exchange(
        answers(raw), lambda o: Request("HEAD", o, "/k"), lambda o: Request("HEAD", o, "/k")
    )
    assert [answer.body for answer in out] == [b""] * 2
    assert out[0].headers["content-length"] == "1000"
    assert fake.connections == 1


async def test_204_and_304_have_no_body():
    raw = b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"
    fake, out = await exchange(answers(*raw), get(), get())
    assert [(answer.status, answer.body) for answer in out] == [(204, b""), (304, b"")]
    assert fake.connections == 1


@pytest.mark.parametrize("piece", [None, 1, 7])
async def test_chunks_are_joined(piece):
    body = chunked([b"abc", b"d" * 20, b"e"])[:-2] + b"x-trailer: 1\r\n\r\n"
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + body

    async def script(wire):
        while True:
            await wire.request()
            await wire.send(raw, piece=piece)

    mine = bytearray(30)
    fake, out = await exchange(script, get(), get(into=memoryview(mine)), get(length=24))
    assert [bytes(answer.body) for answer in out] == [b"abc" + b"d" * 20 + b"e"] * 3
    assert out[1].body.obj is mine
    assert fake.connections == 1


@pytest.mark.parametrize("raw", [
    b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 2\r\n\r\nok",
])  # fmt: skip
@pytest.mark.parametrize("close", [True, False])
async def test_a_connection_that_ends_with_its_answer_is_not_used_again(raw, close):
    fake, out = await exchange(answers(raw, close=close), get(), get(), get())
    assert [answer.body for answer in out] == [b"ok"] * 3
    assert fake.connections == 3


async def test_a_connection_is_kept_for_the_next_request():
    fake, _ = await exchange(answers(OK), get(), get(), get())
    assert fake.connections == 1


async def test_http_1_0_may_keep_its_connection_by_saying_so():
    raw = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"
    fake, _ = await exchange(answers(raw), get(), get())
    assert fake.connections == 1


async def test_an_errors_body_is_cut_at_64_kib_and_the_connection_kept():
    fake, out = await exchange(answers(reply(b"e" * 300_000, status="500 Oops"), OK), get(), get())
    assert out[0].body == b"e" * (64 << 10)
    assert out[1].body == b"ok"
    assert fake.connections == 1


@pytest.mark.parametrize("kind", ["length", "chunked", "close"])
async def test_an_endless_error_body_is_given_up_after_a_mebibyte(kind):
    framing = {
        "length": b"content-length: 99999999999\r\n",
        "chunked": b"transfer-encoding: chunked\r\n",
        "close": b"",
    }[kind]
    sent = 0

    async def script(wire):
        nonlocal sent
        await wire.request()
        await wire.send(b"HTTP/1.1 503 Slow Down\r\n" + framing + b"\r\n")
        while not wire.writer.is_closing():
            await wire.send(
                chunked([b"e" * 65_536], last=False) if kind == "chunked" else b"e" * 65_536
            )
            sent += 65_536

    mine = bytearray(10)
    _, out = await exchange(script, get(into=memoryview(mine)))
    assert out[0].status == 503
    assert out[0].body == b"e" * (64 << 10)
    assert mine == bytes(10)
    assert sent < 30_000_000


async def test_an_error_whose_body_ends_with_the_connection_is_read():
    _, [answer] = await exchange(
        answers(b"HTTP/1.1 503 Slow Down\r\n\r\nslow down", close=True), get()
    )
    assert (answer.status, answer.body) == (503, b"slow down")


async def test_a_buffer_too_small_for_the_answer_is_left_alone():
    mine = bytearray(1)
    with pytest.raises(InvalidSpanError, match="2 bytes, the buffer room for 1") as caught:
        await exchange(answers(OK), get(into=memoryview(mine)))
    assert caught.value.status == 200
    assert mine == b"\0"


@pytest.mark.parametrize("size", [3, 100_000])
async def test_a_body_over_the_limit_is_refused(size):
    body = b"x" * size
    with pytest.raises(IntegrityError, match=f"longer than {size - 1}"):
        await exchange(answers(reply(body)), get(limit=size - 1))
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked([body])
    with pytest.raises(IntegrityError, match=f"longer than {size - 1}"):
        await exchange(answers(raw), get(limit=size - 1))


@pytest.mark.parametrize("bad", [
    {"headers": {"x-a": "b\r\nx-c: d"}},
    {"headers": {"x-a": "b\nx"}},
    {"headers": {"x-a": "b\0"}},
    {"headers": {"x-a": "é"}},
    {"headers": {"x-a\r\nb": "c"}},
    {"headers": {"x a": "c"}},
    {"headers": {"x-a:": "c"}},
    {"headers": {"": "c"}},
    {"headers": {"X-A": "c"}},
    {"headers": {"host": "other"}},
    {"headers": {"content-length": "1"}},
    {"headers": {"transfer-encoding": "chunked"}},
    {"headers": {"expect": "100-continue"}},
    {"target": "/a b"},
    {"target": "/a\r\nx: y"},
    {"target": "/é"},
    {"target": "k"},
    {"target": "http://other/k"},
    {"target": ""},
])  # fmt: skip
async def test_what_would_break_out_of_its_line_is_refused_before_anything_is_sent(bad):
    async with ByteFake(answers(OK)) as fake:
        engine = Engine()
        with pytest.raises(ConfigurationError):
            await engine.send(Request("GET", fake.origin, **({"target": "/k"} | bad)))
        await engine.aclose()
        assert fake.connections == 0


@pytest.mark.parametrize("secret", [
    {"headers": {"authorization": "AWS4"}},
    {"headers": {"x-amz-security-token": "t"}},
    {"target": "/k?X-Amz-Signature=s"},
    {"target": "/k?a=b&X-Goog-Signature=s"},
])  # fmt: skip
async def test_a_secret_does_not_travel_in_clear_beyond_this_machine(secret):
    engine = Engine(EngineOptions(connect_timeout=0.2))
    request = Request("GET", Origin("http", "192.0.2.1", 80), **({"target": "/k"} | secret))
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        await engine.send(request)
    assert engine.counters().requests == 0
    await engine.aclose()


async def test_counters_count():
    async with ByteFake(answers(OK)) as fake:
        engine = Engine()
        for _ in range(3):
            await engine.send(Request("PUT", fake.origin, "/k", body=b"12345"))
        counters = engine.counters()
        assert (counters.requests, counters.opened, counters.reused) == (3, 1, 2)
        assert (counters.open, counters.replays) == (1, 0)
        assert counters.received == 3 * len(OK)
        assert counters.sent == sum(len(r.raw) + len(r.body) for r in fake.requests)
        await engine.aclose()
        assert engine.counters().open == 0
