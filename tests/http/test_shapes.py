"""Heads that are read by what is different in them come to what the book says of each."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncstore.errors import IntegrityError
from asyncstore.http import shapes
from asyncstore.http.head import read_fields
from asyncstore.http.shapes import Shapes

VALUES = {
    "Content-Length": ["0", "12", "4096", "+1", "1" * 19, "", " 7", "7 "],
    "content-length": ["5"],
    "Transfer-Encoding": ["chunked", "gzip"],
    "Connection": ["close", "keep-alive"],
    "ETag": ['"a"', '"b"', "", "a b", "\u00e9", "x\t", "\x0b", " lead", "trail ", "a:b"],
    "Date": ["Thu, 26 Nov 2026 10:00:00 GMT", "Thu, 26 Nov 2026 10:00:01 GMT"],
    "x-n": ["1", "2", "\x7f"],
}
LINE = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.sampled_from([f"{name}: {value}" for value in VALUES[name]])
)
OK = "HTTP/1.1 200 OK"
TURNS = ("close", "keep-alive", "close", "keep-alive")
STATUS = st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 206 Partial", "HTTP/1.0 200 OK"])


def by_the_book(text, method):
    try:
        return read_fields(text, method)
    except IntegrityError as error:
        return str(error)


def by_shape(known, text, method):
    try:
        return known.read(text, method)
    except IntegrityError as error:
        return str(error)


@settings(max_examples=400)
@given(
    st.lists(LINE, max_size=5),
    st.lists(
        st.tuples(STATUS, st.lists(st.tuples(st.integers(0, 4), LINE), max_size=2)), max_size=8
    ),
    st.sampled_from(["GET", "HEAD"]),
)
@example(["ETag: a", "x-n: 1"], [("HTTP/1.1 200 OK", [(0, "ETag: b")])] * 4, "GET")
@example(["content-length: 5"], [("HTTP/1.1 200 OK", [])] * 2, "GET")
@example(
    ["Connection: close", "content-length: 5"],
    [(OK, [(0, f"Connection: {c}")]) for c in TURNS],
    "GET",
)
@example(["ETag: ab "], [(OK, [(0, f"ETag: {e}")]) for e in ("ab ", "ac ", "ad", "ad")], "GET")
@example(["x-n: 1"] * 2, [(OK, [(0, f"x-n: {n}")]) for n in (1, 2, 3, 1)], "GET")
@example([], [("HTTP/1.1 200 OK", []), *[("HTTP/1.1 200 Fine", [])] * 3], "GET")
def test_each_head_comes_to_what_the_book_says(lines, changes, method):
    known = Shapes()
    for status, changed in changes:
        now = list(lines)
        for at, line in changed:
            now[at : at + 1] = [line]
        text = "\r\n".join([status, *now, "", ""])
        assert by_shape(known, text, method) == by_the_book(text, method)


ALIKE = """HTTP/1.1 200 OK
Server: s
Date: Thu, 26 Nov 2026 10:00:0{n} GMT
Content-Length: 4{n}
ETag: "{n}{n}"
Connection: keep-alive
x-amz-checksum-crc32: {n}AAA

"""
HEADS = [ALIKE.replace("\n", "\r\n").replace("{n}", n) for n in "123"]


def test_what_has_nearly_the_shape_comes_to_what_the_book_says():
    rng = random.Random(7)
    known = Shapes()
    for head in HEADS:
        known.read(head, "GET")
    [shape] = known._shapes.values()
    assert shape.places == {"date", "content-length", "etag", "x-amz-checksum-crc32"}
    for _ in range(20_000):
        text = list(rng.choice(HEADS))
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(text) - 4)
            some = rng.choice(
                ["", "\r\n", "\n", "\r", " ", ":", "\0", "\x80", "0", "A", '"', "\r\nx: "]
            )
            text[at : at + rng.choice([0, 1])] = some
        spoilt = "".join(text)
        if "\r\n\r\n" in spoilt[:-4]:
            continue  # a head ends there
        again = Shapes()
        again._shapes = {("GET", HEADS[0][:12]): shape}
        assert by_shape(again, spoilt, "GET") == by_the_book(spoilt, "GET"), spoilt


def read_by_the_book(monkeypatch):
    read = []

    def noted(*told):
        read.append(told)
        return read_fields(*told)

    monkeypatch.setattr(shapes, "read_fields", noted)
    return read


def test_heads_that_are_alike_are_read_by_the_book_until_their_places_are_known(monkeypatch):
    read = read_by_the_book(monkeypatch)
    known = Shapes()
    for head in HEADS * 10:
        known.read(head, "GET")
    assert len(read) == 2
    seen = known.read(HEADS[0].replace("10:00:01", "11:00:00"), "GET")
    assert seen[1]["date"] == "Thu, 26 Nov 2026 11:00:00 GMT"
    assert len(read) == 2
    for _ in range(3):  # a value that never changed before: a place from now on
        for name in ("s", "t", "u"):
            found = known.read(HEADS[1].replace("Server: s", f"Server: {name}"), "GET")
            assert found[1]["server"] == name
    for head in HEADS:
        known.read(head.replace("Server: s", "Server: v"), "GET")
    assert len(read) == 3


def test_heads_of_two_kinds_in_turn_do_not_drive_out_each_other(monkeypatch):
    known = Shapes()
    for head in HEADS:
        known.read(head, "GET")
    read = read_by_the_book(monkeypatch)
    for head in HEADS * 3:
        known.read(head, "GET")
        known.read(head.replace("Server", "Via"), "GET")
    assert len(read) == 9


@pytest.mark.parametrize("number", [shapes._SHAPES_MAX * 3])
def test_what_is_kept_is_bounded_and_shows_no_value(number):
    known = Shapes()
    for n in "12":
        known.read(f"HTTP/1.1 200 \r\nx: {'long' * 9999}{n}\r\n\r\n", "GET")
    for status in range(200, 200 + number):
        for n in "123":
            known.read(
                f"HTTP/1.1 {status} \r\nlocation: secret{n}\r\ncontent-length: 0\r\n\r\n", "PUT"
            )
    assert len(known._shapes) <= shapes._SHAPES_MAX
    assert len(known._latest) <= shapes._SHAPES_MAX
    assert all(len(shape.text) < 100 for shape in known._shapes.values())
    assert "secret" not in repr(known)
