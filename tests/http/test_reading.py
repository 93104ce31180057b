"""The readers of heads and chunks, against h11 and httptools."""

from __future__ import annotations

import contextlib
import itertools

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.http import head
from asyncstore.http.chunked import ChunkedDecoder
from asyncstore.http.head import CHUNKED, UNTIL_CLOSE, is_bad_start, read_head, request_head
from asyncstore.testing.bytefake import chunked

TOKEN = "abcXYZ019!#$%&'*+-.^_`|~"
names = st.one_of(
    st.text(TOKEN, min_size=1, max_size=12),
    st.sampled_from(["Content-Type", "ETag", "x-amz-meta-é", "a b", "", "Connection"]),
)
values = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=8),
    st.sampled_from(["close", "keep-alive", "Keep-Alive, x", "\tx ", "\x80\xff"]),
)
statuses = st.sampled_from([200, 204, 206, 301, 304, 400, 404, 503, 599])
framings = st.sampled_from(
    ["", "Content-Length: 5\r\n", "content-length:0005\r\n", "Transfer-Encoding: chunked\r\n"]
)


def raw_head(version, status, framing, headers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.{version} {status} OK\r\n{framing}{lines}\r\n"


def by_h11(text):
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(text.encode("latin-1"))
    event = client.next_event()
    assert isinstance(event, h11.Response)
    headers: dict[str, str] = {}
    for name, value in event.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return event.status_code, headers


@settings(max_examples=2000, deadline=None)
@given(
    version=st.sampled_from("01"),
    status=statuses,
    framing=framings,
    headers=st.lists(st.tuples(names, values), max_size=6),
)
def test_what_we_read_is_what_h11_reads_and_what_it_refuses_we_refuse(
    version, status, framing, headers
):
    text = raw_head(version, status, framing, headers)
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return
    # A line end inside a value makes other lines of it: also good, and also compared.
    text = text[: text.index("\r\n\r\n") + 4]
    try:
        head = read_head(text, "GET")
    except IntegrityError:
        return  # we may be stricter
    theirs = by_h11(text)
    assert (head.status, head.headers) == theirs


class Collected:
    def __init__(self):
        self.headers: list[tuple[str, str]] = []

    def on_header(self, name, value):
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))


clean_names = st.text(TOKEN, min_size=1, max_size=12)
clean_values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@settings(max_examples=1000, deadline=None)
@given(statuses, st.dictionaries(clean_names.map(str.lower), clean_values, max_size=8))
def test_good_heads_are_read_as_httptools_reads_them(status, given_headers):
    headers = {"content-length": "3"} | {
        name: value
        for name, value in given_headers.items()
        if name not in ("connection", "transfer-encoding", "content-length", "upgrade")
    }
    text = raw_head(1, status, "", headers.items())
    seen = Collected()
    parser = httptools.HttpResponseParser(seen)
    with contextlib.suppress(httptools.HttpParserUpgrade):
        parser.feed_data(text.encode("latin-1"))
    head = read_head(text, "GET")
    assert head.status == parser.get_status_code() == status
    assert list(head.headers.items()) == seen.headers
    assert head.keep
    assert head.length == (0 if status in (204, 304) else 3)


@pytest.mark.parametrize(("version", "connection", "keep"), [
    (1, None, True),
    (0, None, False),
    (1, "close", False),
    (1, "Close", False),
    (1, "x, close", False),
    (0, "Keep-Alive", True),
    (0, "keep-alive, close", False),
    (1, "keep-alive", True),
])  # fmt: skip
def test_whether_a_connection_is_kept(version, connection, keep):
    headers = [] if connection is None else [("Connection", connection)]
    text = raw_head(version, 200, "content-length: 1\r\n", headers)
    assert read_head(text, "GET").keep is keep


def test_what_frames_a_body():
    assert read_head("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", "GET").length == 7
    assert read_head("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", "HEAD").length == 0
    assert read_head("HTTP/1.1 304 x\r\ncontent-length: 7\r\n\r\n", "GET").length == 0
    text = "HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n"
    assert read_head(text, "GET").length == CHUNKED
    head = read_head("HTTP/1.1 200 \r\n\r\n", "GET")
    assert (head.length, head.keep) == (UNTIL_CLOSE, False)


def decode(data, cuts):
    decoder = ChunkedDecoder()
    out = b""
    used = 0
    bounds = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    for start, stop in itertools.pairwise(bounds):
        pieces, count = decoder.feed(memoryview(data)[start:stop])
        out += b"".join(bytes(piece) for piece in pieces)
        used += count
        if decoder.done:
            break
    return out, used, decoder.done


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(0, 300), max_size=20),
    st.binary(max_size=20),
)
def test_chunks_are_the_same_in_whatever_pieces_they_come(pieces, cuts, surplus):
    data = chunked(pieces)
    assert decode(data + surplus, cuts) == (b"".join(pieces), len(data), True)


@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(
        st.lists(
            st.sampled_from([b"3", b"a", b"0", b"\r\n", b"\n", b"\r", b"abc", b";x", b" ", b":"]),
            max_size=14,
        ).map(b"".join),
        st.binary(max_size=30),
    ),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_chunks_that_we_take_are_those_that_h11_takes(data, cuts):
    try:
        ours = decode(data, cuts)
    except IntegrityError:
        with pytest.raises(IntegrityError):
            decode(data, [])
        return
    assert ours == decode(data, [])
    body, _, done = ours
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data)
    theirs = b""
    while isinstance(event := client.next_event(), h11.Response | h11.Data):
        if isinstance(event, h11.Data):
            theirs += bytes(event.data)
    assert theirs == body
    assert isinstance(event, h11.EndOfMessage) == done


@given(st.binary(max_size=30))
def test_a_bad_start_never_becomes_a_good_head(data):
    if is_bad_start(data):
        text = data.decode("latin-1") + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        with pytest.raises(IntegrityError):
            read_head(text, "GET")


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["GET", "PUT"]),
    st.dictionaries(clean_names, st.text(max_size=20), max_size=4),
    st.text(max_size=20),
)
def test_a_request_reads_as_what_was_asked_or_is_refused(method, headers, rest):
    target = f"/{rest}"
    try:
        raw = request_head(method, target, "host:1", headers, 7)
    except ConfigurationError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(raw)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (method.encode(), target.encode())
    expected = {"host": "host:1", **headers, "content-length": "7"}
    assert [name.decode() for name, _ in event.headers] == list(expected)
    assert [value.decode() for _, value in event.headers] == [
        value.strip(" \t") for value in expected.values()
    ]


def test_a_head_may_not_be_smuggled_in_through_a_long_list_of_good_names():
    """Names once seen are not looked at again; a bad one beside good ones still is."""
    good = {f"x-{number}": "v" for number in range(3)}
    request_head("GET", "/", "h", good, 0)
    with pytest.raises(ConfigurationError):
        request_head("GET", "/", "h", good | {"a\r\nb": "c"}, 0)


def test_lines_that_were_read_before_are_read_the_same_and_few_are_remembered():
    def answer(number):
        lines = ["Server: s", f"X-Id: {number} ", "Content-Length: 0", f"x-long: {'v' * 300}"]
        return "HTTP/1.1 200 OK\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"

    wanted = {"server": "s", "content-length": "0", "x-long": "v" * 300}
    for number in [*range(2000), *range(2000)]:
        found = read_head(answer(number), "GET")
        assert found.headers == wanted | {"x-id": str(number)}
    assert len(head._lines) <= 512
    assert len(head._names) <= 512
    assert all(len(line) <= 256 for line in head._lines)


def test_a_bad_line_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(IntegrityError):
            read_head("HTTP/1.1 200 OK\r\nserver : s\r\n\r\n", "GET")
