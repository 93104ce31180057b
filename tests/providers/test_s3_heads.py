"""The heads of signed requests: as they come out in one go, and as they do step by step."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncstore.errors import ConfigurationError
from asyncstore.http.head import request_head
from asyncstore.providers.s3.heads import HeadWriter
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.wire.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Signer,
    encode_path,
    encode_query,
)

HOST = "127.0.0.1:9000"
NOW = 1_767_225_599.0  # the last second of a day

names = st.sampled_from(
    ["range", "if-match", "content-type", "x-amz-meta-a", "x-amz-meta-%s", "x-amz-meta-zz", "date"]
)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
moments = st.sampled_from([NOW - 0.5, NOW, NOW + 0.999, NOW + 1, NOW + 2, NOW - 86_400])


def step_by_step(signer, method, path, query, headers, *, now, length, payload):
    signed = signer.sign(method, HOST, path, query, headers, now=now, payload=payload)
    target = f"{path}?{query}" if query else path
    return request_head(method, target, HOST, signed, length or 0)


def parsed(head):
    lines = head.decode().split("\r\n")
    assert lines[-2:] == ["", ""]
    return lines[0], sorted(lines[1:-2])


@settings(max_examples=500, deadline=None)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(["GET", "PUT", "POST"]),
            st.text(max_size=12),
            st.dictionaries(names, values, max_size=4),
            st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
            moments,
            st.sampled_from([UNSIGNED_PAYLOAD, EMPTY_SHA256]),
        ),
        min_size=1,
        max_size=8,
    ),
    token=st.sampled_from([None, "to%ken"]),
)
def test_a_head_in_one_go_is_the_one_made_step_by_step(asked, token):
    signer = Signer("AKID%EXAMPLE", "secret", token, region="eu-central-1")
    apart = Signer("AKID%EXAMPLE", "secret", token, region="eu-central-1")
    writer = HeadWriter(signer, HOST)
    for method, key, headers, query, now, payload in asked:
        path, text = "/" + encode_path(key), encode_query(query)
        length = None if method == "GET" else len(key)
        how = {"now": now, "length": length, "payload": payload}
        ours = writer.write(method, path, text, headers, **how)
        theirs = step_by_step(apart, method, path, text, headers, **how)
        assert parsed(ours) == parsed(theirs)


@settings(max_examples=300, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.text(max_size=12), st.none() | values, moments), min_size=1, max_size=8
    ),
    token=st.sampled_from([None, "to%ken"]),
    read=st.sampled_from([{}, {"x-amz-checksum-mode": "ENABLED"}]),
)
def test_a_plain_read_is_the_one_made_step_by_step(asked, token, read):
    signer = Signer("AKID%EXAMPLE", "secret", token, region="eu-central-1")
    apart = Signer("AKID%EXAMPLE", "secret", token, region="eu-central-1")
    writer = HeadWriter(signer, HOST, read)
    for key, version, now in asked:
        path = "/" + encode_path(key)
        headers = read if version is None else {**read, "if-match": version}
        theirs = step_by_step(
            apart, "GET", path, "", headers, now=now, length=None, payload=UNSIGNED_PAYLOAD
        )
        [head] = writer.write_reads([path], [version], now)
        assert parsed(head) == parsed(theirs)
        if version is None:
            assert writer.write_read(path, now) == head


def test_another_use_of_the_signer_in_between_changes_nothing():
    signer = Signer("A", "s", region="r")
    writer = HeadWriter(signer, HOST)
    first = writer.write("GET", "/k", now=NOW)
    signer.presign("GET", HOST, "/k", now=NOW + 5, expires=60)
    assert writer.write("GET", "/k", now=NOW) == first


@pytest.mark.parametrize(
    "headers", [{"x-amz-meta-a": "b\r\nc: d"}, {"x-amz-meta-a": "é"}, {"a b": "c"}, {"host": "x"}]
)
def test_what_would_end_its_line_is_refused_each_time(headers):
    writer = HeadWriter(Signer("A", "s", region="r"), HOST)
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            writer.write("GET", "/k", headers=headers, now=NOW)


def test_the_token_that_is_sent_is_not_shown():
    writer = HeadWriter(Signer("A", "s", CANARY_TOKEN, region="r"), HOST)
    assert CANARY_TOKEN.encode() in writer.write("GET", "/k", now=NOW)
    form = writer._forms["GET", True]
    assert CANARY_TOKEN in form.head
    assert CANARY_TOKEN not in f"{form} {form!r} {writer!r}"


def test_users_names_do_not_fill_the_memory():
    writer = HeadWriter(Signer("A", "s", region="r"), HOST)
    for number in range(2_000):
        writer.write("GET", "/k", headers={f"x-amz-meta-{number}": "v"}, now=NOW)
    assert len(writer._forms) <= 256
