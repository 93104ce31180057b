"""Signatures, against botocore's own signer and AWS's published examples."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncstore.errors import ConfigurationError
from asyncstore.wire.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Signer,
    encode_path,
    encode_query,
    payload_sha256,
)

NOW = dt.datetime(2026, 2, 28, 23, 59, 59, tzinfo=dt.UTC)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
keys = st.one_of(
    texts, st.text("abc/ .~+%?#&=:@é☃-_*'()!$,;\\", min_size=1, max_size=40), st.just("a//b/../c/.")
)
queries = st.lists(st.tuples(texts.filter(bool), texts), max_size=5, unique_by=lambda pair: pair[0])
header_names = st.sampled_from(
    [
        "content-type",
        "range",
        "if-match",
        "if-none-match",
        "user-agent",
        "x-amz-meta-a",
        "x-amz-meta-b-c",
        "x-amz-copy-source",
        "x-amz-checksum-crc32c",
        "cache-control",
    ]
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
headers_given = st.dictionaries(header_names, header_values, max_size=5)
tokens = st.one_of(st.none(), st.text("ABCabc0123/+=", min_size=1, max_size=200))
hosts = st.sampled_from(["b.s3.eu-central-1.amazonaws.com", "127.0.0.1:9000", "[::1]:8333"])
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])


@pytest.fixture(autouse=True)
def _frozen(monkeypatch):
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None))


def url_of(host, path, query):
    return f"https://{host}{path}" + (f"?{query}" if query else "")


@settings(max_examples=2000, deadline=None)
@given(
    method=methods,
    host=hosts,
    key=keys,
    query=queries,
    headers=headers_given,
    token=tokens,
    body=st.sampled_from([None, b"", b"body"]),
)
def test_headers_are_botocores(*, method, host, key, query, headers, token, body):
    path = "/" + encode_path(key)
    text = encode_query(query)
    payload = UNSIGNED_PAYLOAD if body is None else payload_sha256(body)
    signer = Signer("AKIDEXAMPLE", "secret/+=", token, region="eu-central-1")
    ours = signer.sign(
        method, host, path, text, headers, now=NOW.timestamp() + 0.5, payload=payload
    )
    request = AWSRequest(
        method=method,
        url=url_of(host, path, text),
        data=body or b"",
        headers={**headers, "Host": host},
    )
    # botocore decides by its client's configuration whether a payload is signed.
    request.context["client_config"] = SimpleNamespace(
        s3={"payload_signing_enabled": body is not None}
    )
    theirs = auth.S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret/+=", token), "s3", "eu-central-1")
    theirs.add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-content-sha256"] == request.headers["X-Amz-Content-SHA256"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == token
    assert all(ours[name] == value for name, value in headers.items())


@settings(max_examples=1000, deadline=None)
@given(
    method=methods,
    host=hosts,
    key=keys,
    query=queries,
    token=tokens,
    expires=st.integers(1, 604_800),
)
def test_presigned_queries_are_botocores(*, method, host, key, query, token, expires):
    path = "/" + encode_path(key)
    signer = Signer("AKIDEXAMPLE", "secret/+=", token, region="eu-central-1")
    ours = signer.presign(method, host, path, query, now=NOW.timestamp(), expires=expires)
    request = AWSRequest(
        method=method, url=url_of(host, path, encode_query(query)), headers={"Host": host}
    )
    theirs = auth.S3SigV4QueryAuth(
        Credentials("AKIDEXAMPLE", "secret/+=", token), "s3", "eu-central-1", expires=expires
    )
    theirs.add_auth(request)
    expected = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    assert sorted(parse_qsl(ours, keep_blank_values=True)) == sorted(expected)


EXAMPLE = Signer(
    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
)
EXAMPLE_TIME = dt.datetime(2013, 5, 24, tzinfo=dt.UTC).timestamp()
EXAMPLE_HOST = "examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            "GET",
            "/test.txt",
            "",
            {"range": "bytes=0-9"},
            EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            "",
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            payload_sha256(b"Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle=",
            {},
            EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            {},
            EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_published_examples_come_out(*, method, path, query, headers, payload, signature):
    signed = EXAMPLE.sign(
        method, EXAMPLE_HOST, path, query, headers, now=EXAMPLE_TIME, payload=payload
    )
    assert signed["authorization"].endswith(f"Signature={signature}")


def test_the_published_presigned_example_comes_out():
    query = EXAMPLE.presign("GET", EXAMPLE_HOST, "/test.txt", now=EXAMPLE_TIME, expires=86_400)
    assert query.endswith(
        "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_the_signing_key_is_that_of_the_requests_day():
    signer = Signer("A", "s", region="r")
    day = 86_400.0
    times = [day * 3 - 1, day * 3, day * 3 - 1, day * 3 + 0.9]
    mixed = [signer.sign("GET", "h", "/", now=now) for now in times]
    apart = [Signer("A", "s", region="r").sign("GET", "h", "/", now=now) for now in times]
    assert mixed == apart
    assert mixed[0] != mixed[1] == mixed[3]


@pytest.mark.parametrize("expires", [0, -1, 604_801])
def test_a_presigned_url_lives_from_a_second_to_a_week(expires):
    with pytest.raises(ConfigurationError, match="expires="):
        EXAMPLE.presign("GET", "h", "/k", now=0, expires=expires)


def test_no_repr_shows_the_secret():
    signer = Signer("AKID", "very-secret", "very-token", region="r")
    assert "very" not in repr(signer)
