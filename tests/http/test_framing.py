"""Answers that lie about where they end, and answers that are cut."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest

from asyncstore.errors import IntegrityError, UnavailableError
from asyncstore.http import Engine, EngineOptions, Origin, Request
from asyncstore.http.connection import Connection
from asyncstore.http.head import HEAD_MAX
from asyncstore.http.shapes import Shapes
from asyncstore.testing.bytefake import OK, ByteFake, answers, chunked

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("raw", [
    HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    HEAD + b"content-length: 2\r\nContent-Length: 2\r\n\r\nok",
    HEAD + b"content-length: 2, 2\r\n\r\nok",
    HEAD + b"content-length: +2\r\n\r\nok",
    HEAD + b"content-length: -2\r\n\r\nok",
    HEAD + b"content-length: 0x2\r\n\r\nok",
    HEAD + b"content-length: 2 \x0b\r\n\r\nok",
    HEAD + b"content-length:\r\n\r\nok",
    HEAD + b"content-length: \xb2\r\n\r\nok",
    HEAD + b"content-length: 99999999999999999999\r\n\r\nok",
    HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n" + chunked([b"ok"]),
    HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + chunked([b"ok"]),
    HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + chunked([b"ok"]),
    HEAD + b"transfer-encoding: identity\r\n\r\nok",
    HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n" + chunked([b"ok"]),
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked([b"ok"]),
    HEAD + b"content-length : 2\r\n\r\nok",
    HEAD + b" content-length: 2\r\n\r\nok",
    HEAD + b"a: b\r\n content-length: 2\r\n\r\nok",
    HEAD + b"content-length: 2\n\r\nok",
    HEAD + b"a: b\rcontent-length: 5\r\ncontent-length: 2\r\n\r\nok",
    HEAD + b"a: b\0\r\ncontent-length: 2\r\n\r\nok",
    HEAD + b"no colon\r\ncontent-length: 2\r\n\r\nok",
    HEAD + b": no name\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    b"HTTP/2 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"ICY 200 OK\r\n\r\n",
    b"<html>502</html>",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 40 + OK,
    HEAD + b"a: " + b"b" * 70_000 + b"\r\n\r\n",
    HEAD + b"a: b\r\n" * 300 + b"content-length: 2\r\n\r\nok",
    HEAD + b"transfer-encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nokX\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n2;" + b"x" * 9000 + b"\r\nok\r\n0\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100 + b"\r\n",
])  # fmt: skip
async def test_an_answer_that_can_be_read_in_two_ways_is_refused(raw):
    async with ByteFake(answers(raw), answers(OK)) as fake:
        engine = Engine()
        with pytest.raises(IntegrityError):
            await engine.send(Request("GET", fake.origin, "/k"))
        # And its connection serves nobody else.
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        assert fake.connections == 2
        await engine.aclose()


async def send_twice(first, **more):
    """Send two requests, the first with `more`, to a server whose first answer is `first`."""
    async with ByteFake(first, answers(OK)) as fake:
        engine = Engine()
        one = await engine.send(Request("GET", fake.origin, "/k", **more))
        two = await engine.send(Request("GET", fake.origin, "/k"))
        await engine.aclose()
        return bytes(one.body), bytes(two.body), fake.connections


@pytest.mark.parametrize("size", [2, 100_000])
@pytest.mark.parametrize("into", [True, False])
async def test_bytes_behind_the_answer_are_never_the_next_answer(size, into):
    body = b"x" * size
    wrong = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"
    raw = HEAD + b"content-length: %d\r\n\r\n" % size + body + wrong
    more = {"into": memoryview(bytearray(size))} if into else {}
    assert await send_twice(answers(raw), **more) == (body, b"ok", 2)


async def test_bytes_behind_the_last_chunk_are_never_the_next_answer():
    wrong = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"
    raw = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked([b"abc"]) + wrong
    assert await send_twice(answers(raw)) == (b"abc", b"ok", 2)


async def test_bytes_that_nobody_asked_for_close_an_idle_connection():
    spoken = asyncio.Event()

    async def script(wire):
        await wire.request()
        await wire.send(OK)
        await spoken.wait()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong")
        await wire.gone()
        closed.set()

    closed = asyncio.Event()
    async with ByteFake(script, answers(OK)) as fake:
        engine = Engine(EngineOptions(idle_timeout=3600))
        await engine.send(Request("GET", fake.origin, "/k"))
        spoken.set()
        async with asyncio.timeout(10):
            await closed.wait()
        assert (await engine.send(Request("GET", fake.origin, "/k"))).body == b"ok"
        assert fake.connections == 2
        await engine.aclose()


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_success_that_does_not_say_how_long_it_is_is_refused(method):
    async with ByteFake(answers(HEAD + b"\r\nhalf", close=True)) as fake:
        engine = Engine()
        with pytest.raises(IntegrityError, match="how long"):
            await engine.send(Request(method, fake.origin, "/k"))
        await engine.aclose()


async def test_a_body_that_ends_with_the_connection_is_taken_where_its_length_is_known():
    async with ByteFake(answers(HEAD + b"\r\nwhole", close=True)) as fake:
        engine = Engine()
        request = Request("GET", fake.origin, "/k", length=5)
        assert (await engine.send(request)).body == b"whole"
        request.length = 6
        with pytest.raises(UnavailableError, match="5 bytes, not the expected 6"):
            await engine.send(request)
        request.length = 4
        with pytest.raises(IntegrityError, match="longer than 4"):
            await engine.send(request)
        await engine.aclose()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_another_length_than_the_expected_is_refused(framing):
    raw = HEAD + b"content-length: 5\r\n\r\nwhole"
    if framing == "chunked":
        # Properly ended, early.
        raw = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked([b"whole"])
    async with ByteFake(answers(raw)) as fake:
        engine = Engine()
        assert (await engine.send(Request("GET", fake.origin, "/k", length=5))).body == b"whole"
        for wrong in (4, 6):
            with pytest.raises((IntegrityError, UnavailableError)):
                await engine.send(Request("GET", fake.origin, "/k", length=wrong))
        await engine.aclose()


BODY = random.Random(1).randbytes(300)
FRAMED = {
    "length": HEAD + b"content-length: 300\r\n\r\n" + BODY,
    "chunked": HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked([BODY[:200], BODY[200:]]),
}


@pytest.mark.parametrize("how", ["cut", "reset"])
@pytest.mark.parametrize("framing", FRAMED)
async def test_an_answer_cut_at_any_byte_is_an_error_and_never_a_short_success(framing, how):
    raw = FRAMED[framing]
    counter = iter(range(len(raw)))

    async def script(wire):
        await wire.request()
        await wire.send(raw[: next(counter)])
        getattr(wire, how)()

    async with ByteFake(script) as fake:
        engine = Engine()
        for _ in range(len(raw)):
            with pytest.raises(UnavailableError) as caught:
                await engine.send(Request("PUT", fake.origin, "/k", body=b"x"))
            assert caught.value.outcome == "unknown"
        assert fake.connections == len(raw)
        await engine.aclose()


async def test_the_outcome_of_a_read_is_never_unknown():
    async def script(wire):
        await wire.request()

    async with ByteFake(script) as fake:
        engine = Engine()
        with pytest.raises(UnavailableError) as caught:
            await engine.send(Request("GET", fake.origin, "/k"))
        assert caught.value.outcome == "not_applied"
        await engine.aclose()


@pytest.mark.parametrize("piece", [3, 40, None])
async def test_answers_that_come_in_pieces_at_once_do_not_mix(piece):
    """Connections receive into one buffer, but for those that are in the middle of a head."""

    async def script(wire):
        while True:
            received = await wire.request()
            body = f"{received.target} on {wire.number}".encode() * 40
            head = b"HTTP/1.1 200 OK\r\nx-n: %d\r\ncontent-length: %d\r\n\r\n"
            last = received.target.startswith("/2/")
            await wire.send(head % (wire.number, len(body)) + body, piece=None if last else piece)

    async with ByteFake(script) as fake:
        engine = Engine()
        for turn in range(3):
            requests = [Request("GET", fake.origin, f"/{turn}/{number}") for number in range(16)]
            found = await asyncio.gather(*map(engine.send, requests))
            for request, response in zip(requests, found, strict=True):
                number = response.headers["x-n"]
                assert response.body == f"{request.target} on {number}".encode() * 40
        [pool] = engine._pools.values()
        assert len(pool.connections) == 16
        assert len({id(connection._scratch) for connection in pool.connections}) == 1
        await engine.aclose()


@pytest.mark.parametrize("piece", [1, 2, 3, 50])
async def test_an_answer_may_come_in_any_pieces(piece):
    async def script(wire):
        while True:
            for raw in FRAMED.values():
                await wire.request()
                await wire.send(raw, piece=piece)

    async with ByteFake(script) as fake:
        engine = Engine(EngineOptions(connections=1))
        for _ in range(4):
            assert (await engine.send(Request("GET", fake.origin, "/k"))).body == BODY
        assert fake.connections == 1
        await engine.aclose()


@pytest.mark.parametrize("status", [b"403 Forbidden", b"503 Slow Down", b"413 Too Large"])
@pytest.mark.parametrize("how", ["stays", "resets"])
async def test_a_refusal_in_the_middle_of_an_upload_is_what_the_caller_sees(status, how):
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 %s\r\ncontent-length: 4\r\n\r\nwhy!" % status)
        if how == "resets":
            wire.close()  # with much unread, so the system sends a reset
        else:
            await wire.stall()

    async with ByteFake(script, buffer=16_384) as fake:
        engine = Engine()
        body = bytes(20 << 20)
        for _ in range(3):
            answer = await engine.send(Request("PUT", fake.origin, "/k", body=body))
            assert (answer.status, answer.body) == (int(status[:3]), b"why!")
        assert fake.connections == 3
        await engine.aclose()


async def test_a_success_before_the_upload_is_complete_is_not_believed():
    async def script(wire):
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await wire.stall()

    async with ByteFake(script, buffer=16_384) as fake:
        engine = Engine()
        with pytest.raises(IntegrityError, match="before it had the whole request") as caught:
            await engine.send(Request("PUT", fake.origin, "/k", body=bytes(20 << 20)))
        assert caught.value.outcome == "unknown"
        await engine.aclose()


class BrokenTransport:
    """A transport whose write has failed, with an answer unread in its socket."""

    def __init__(self, sock, *, tls=None):
        self.extra = {"socket": sock, "sslcontext": tls}

    def write(self, data):
        pass

    def abort(self):
        pass

    def is_closing(self):
        return True

    def get_write_buffer_size(self):
        return 1_000_000

    def get_extra_info(self, name):
        return self.extra[name]


async def test_an_answer_behind_a_failed_write_is_read_all_the_same():
    """The refusal may come between the look for something to read and the write that fails."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nwhy!")
        scratch = bytearray(HEAD_MAX)
        connection = Connection(
            EngineOptions(), lambda _: None, lambda _: None, scratch=scratch, shapes=Shapes()
        )
        transport: Any = BrokenTransport(ours)
        connection.connection_made(transport)
        request = Request("PUT", Origin("http", "h", 80), "/k", body=bytes(1_000_000))
        future = asyncio.get_running_loop().create_future()
        connection.begin(request, b"head", None, future)
        connection.connection_lost(BrokenPipeError())
        answer = await future
        assert (answer.status, answer.body) == (403, b"why!")
