"""Google's wire format as pure functions: what goes out is exact, what comes in is proven."""

import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import IntegrityError
from asyncstore.types import ObjectMeta, Span
from asyncstore.wire import gcs
from asyncstore.wire.gcs_errors import refusal
from asyncstore.wire.gcs_sign import unsigned

KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60
)
ENDS = st.none() | st.integers(-12, 12)


@given(KEYS)
def test_a_name_is_one_segment_that_decodes_to_it(key):
    for target in (
        gcs.object_target("bucket", key, alt="media"),
        gcs.rewrite_target("bucket", key, key).replace(
            f"/rewriteTo/b/bucket/o/{gcs.encode_name(key)}", ""
        ),
    ):
        path = urlsplit(f"http://host{target}").path
        segments = path.split("/")
        assert segments[:6] == ["", "storage", "v1", "b", "bucket", "o"]
        assert len(segments) == 7
        assert segments[6] not in ("", ".", "..")
        assert unquote(segments[6]) == key
        assert target.isascii()


@given(KEYS)
def test_a_path_of_the_xml_api_keeps_slashes_and_has_no_steps(key):
    path = gcs.path_target("bucket", key)
    assert unquote(path) == f"/bucket/{key}"
    assert path.count("/") == 2 + key.count("/")
    assert not {".", ".."} & set(path.split("/"))


@given(KEYS, KEYS, KEYS, st.booleans(), st.integers(1, 1000))
def test_a_listings_parameters_arrive_as_they_were(prefix, after, token, delimiter, limit):
    target = gcs.list_target(
        "bucket", prefix, page_token=token, after=after, delimiter=delimiter, limit=limit
    )
    query = parse_qs(urlsplit(f"http://host{target}").query, keep_blank_values=True)
    assert query["prefix"] == [prefix]
    assert query["startOffset"] == [after]
    assert query["pageToken"] == [token]
    assert query["maxResults"] == [str(limit)]
    assert query.get("delimiter") == (["/"] if delimiter else None)


@given(
    st.binary(max_size=200), KEYS, st.dictionaries(st.text("abc-", min_size=1), st.text(max_size=9))
)
def test_a_multipart_body_is_the_description_and_the_bytes(data, key, metadata):
    resource = gcs.insert_resource(key, content_type=None, metadata=metadata, crc32c="AAAAAA==")
    content_type, pieces = gcs.insert_body(resource, data, "b" * 32)
    assert content_type == f"multipart/related; boundary={'b' * 32}"
    body = b"".join(pieces)
    head, _, rest = body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + b"b" * 32 + b"\r\n")
    described, _, rest = rest.partition(b"\r\n--" + b"b" * 32)
    assert json.loads(described) == resource
    assert rest == (
        b"\r\ncontent-type: application/octet-stream\r\n\r\n"
        + data
        + b"\r\n--"
        + b"b" * 32
        + b"--\r\n"
    )
    assert pieces[1] is data, "the data was copied"


@given(ENDS, ENDS, st.integers(0, 10))
def test_a_range_header_means_what_the_slice_means(start, stop, size):
    span = Span(start, stop)
    low, high = span.resolve(size)
    try:
        header = gcs.range_header(span)
    except LookupError:
        assert (start or 0) < 0 or (stop is not None and stop <= (start or 0))
        return
    if header is None:
        assert (low, high) == (0, size)
        return
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        assert (low, high) == (max(0, size - int(last)), size)
    else:
        assert int(first) == (start or 0)
        wanted = size if not last else min(size, int(last) + 1)
        assert (low, high) == (min(int(first), size), max(min(int(first), size), wanted))


def media(**changes):
    headers = {
        "x-goog-generation": "17",
        "x-goog-hash": "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==",
        "content-length": "10",
        "content-type": "text/plain",
        "x-goog-meta-colour": "blue",
        "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT",
    }
    return headers | {name.replace("_", "-"): value for name, value in changes.items()}


def test_media_headers_tell_the_object():
    meta, start, stop = gcs.parse_media("key", 200, media(), Span())
    assert (start, stop) == (0, 10)
    assert meta == ObjectMeta(
        "key",
        10,
        etag="17",
        version="17",
        modified=datetime(2026, 1, 1, tzinfo=UTC),
        content_type="text/plain",
        metadata={"colour": "blue"},
        checksums={"crc32c": "AAAAAA==", "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    )


@given(ENDS, ENDS, st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))
def test_only_the_range_that_was_asked_for_is_taken(start, stop, first, last, size):
    span = Span(start, stop)
    headers = media(content_range=f"bytes {first}-{last}/{size}")
    right = first <= last < size and (first, last + 1) == span.resolve(size)
    if right:
        meta, low, high = gcs.parse_media("key", 206, headers, span)
        assert (meta.size, low, high) == (size, *span.resolve(size))
    else:
        with pytest.raises(IntegrityError):
            gcs.parse_media("key", 206, headers, span)


@pytest.mark.parametrize(
    ("text", "held"), [(None, 0), ("bytes=0-0", 1), ("bytes=0-262143", 262_144)]
)
def test_a_session_tells_how_much_it_holds(text, held):
    assert gcs.committed({} if text is None else {"range": text}) == held


@given(st.text(max_size=30))
def test_a_session_that_tells_something_else_is_refused(text):
    try:
        held = gcs.committed({"range": text})
    except IntegrityError:
        return
    assert re.fullmatch(f"bytes=0-0*{held - 1}", text.strip())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "items", "prefixes", "nextPageToken", "name", "size", "generation"]
            ),
            inner,
            max_size=6,
        )
    ),
)


@given(JSON)
def test_no_json_is_worse_than_an_integrity_error(value):
    body = json.dumps(value).encode()
    for parse in (
        lambda: gcs.parse_page(body, "", page_token=None, after=None, limit=5),
        lambda: gcs.parse_ack(body, "key"),
        lambda: gcs.parse_rewrite(body, "key"),
    ):
        with suppress(IntegrityError):
            parse()


@given(st.integers(200, 599), st.binary(max_size=50) | JSON.map(lambda v: json.dumps(v).encode()))
def test_every_refusal_is_an_error_of_ours_without_what_is_to_be_hidden(status, body):
    error = refusal(status, {"retry-after": "x"}, b'{"error": {"message": "see hidden"}}' + body)
    assert error.status == status
    error = refusal(status, {}, b'{"error": {"message": "see hidden"}}', hide=["hidden"])
    assert "hidden" not in str(error)


def test_after_is_left_out_and_folders_that_go_on_stay():
    items = [{"name": name, "size": "0", "generation": "1"} for name in ("a/b", "a/c")]
    body = json.dumps(
        {"kind": "storage#objects", "items": items, "prefixes": ["A/", "a/b/", "a/", "b/"]}
    ).encode()
    page = gcs.parse_page(body, "", page_token=None, after="a/b", limit=9)
    assert [meta.key for meta in page.objects] == ["a/c"]
    assert list(page.prefixes) == ["a/b/", "a/", "b/"]


def test_what_is_signed_is_the_canonical_request():
    waiting = unsigned(
        "PUT",
        "https://storage.googleapis.com",
        "bucket",
        "a folder/ké~y",
        account="robot@project.iam.gserviceaccount.com",
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        expires=60,
        headers={"Content-Type": " text/plain;  x=1 "},
    )
    query = (
        "X-Goog-Algorithm=GOOG4-RSA-SHA256"
        "&X-Goog-Credential=robot%40project.iam.gserviceaccount.com%2F20260102%2Fauto%2Fstorage"
        "%2Fgoog4_request"
        "&X-Goog-Date=20260102T030405Z&X-Goog-Expires=60"
        "&X-Goog-SignedHeaders=content-type%3Bhost"
    )
    assert waiting.canonical == (
        f"PUT\n/bucket/a%20folder/k%C3%A9~y\n{query}\n"
        "content-type:text/plain; x=1\nhost:storage.googleapis.com\n\n"
        "content-type;host\nUNSIGNED-PAYLOAD"
    )
    digest = hashlib.sha256(waiting.canonical.encode()).hexdigest()
    assert waiting.text.decode() == (
        f"GOOG4-RSA-SHA256\n20260102T030405Z\n20260102/auto/storage/goog4_request\n{digest}"
    )
    assert waiting.signed(b"\x01\xff") == (
        f"https://storage.googleapis.com/bucket/a%20folder/k%C3%A9~y?{query}&X-Goog-Signature=01ff"
    )


def test_a_waiting_url_shows_no_signature():
    assert "Signature" not in repr(
        unsigned(
            "GET",
            "https://storage.googleapis.com",
            "b",
            "k",
            account="a",
            at=datetime(2026, 1, 2, tzinfo=UTC),
            expires=1,
        )
    )
