"""Paths and keys are read once, strictly, and mean one place."""

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncstore.errors import InvalidPathError
from asyncstore.testing.canary import CANARY_SECRET, shows
from asyncstore.url import KEY_BYTES, StoreURL, check_key, check_prefix, check_segments

CONTROL = [chr(n) for n in (*range(32), 127, *range(128, 160), 0xD800, 0xDFFF)]
letters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\\")
parts = st.text(letters, min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
keys = st.lists(parts, min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    ("text", "scheme", "bucket", "path"),
    [
        ("s3://bucket", "s3", "bucket", ""),
        ("s3://bucket/", "s3", "bucket", ""),
        ("S3://bucket/a/b", "s3", "bucket", "a/b"),
        ("s3://bucket/a/b/", "s3", "bucket", "a/b"),
        ("s3://bucket/a b?c#d%20", "s3", "bucket", "a b?c#d%20"),
        ("gs://my_bucket/x", "gcs", "my_bucket", "x"),
        ("gcp://bucket/x", "gcs", "bucket", "x"),
        ("gcs://bucket/x", "gcs", "bucket", "x"),
        ("mem://name", "mem", "name", ""),
        ("mem://name/a", "mem", "name", "a"),
        ("hub://org/set", "hub", "org", "set"),
        ("file:///tmp/a%20b", "file", "", "/tmp/a b"),
        ("file://localhost/tmp/a", "file", "", "/tmp/a"),
        ("file:/tmp/a", "file", "", "/tmp/a"),
        ("/tmp/a%20b", "file", "", "/tmp/a%20b"),
        ("/tmp/../etc/./x", "file", "", "/etc/x"),
    ],
)
def test_a_path_is_read(text, scheme, bucket, path):
    url = StoreURL.parse(text)
    assert (url.scheme, url.bucket, url.path) == (scheme, bucket, path)
    assert StoreURL.parse(url) is url


def test_local_paths_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    here = os.getcwd()
    assert StoreURL.parse("data").path == f"{here}/data"
    assert StoreURL.parse("./s3:x").path == f"{here}/s3:x"
    assert StoreURL.parse("~/data").path == "/home/somebody/data"
    assert StoreURL.parse(Path("data")).path == f"{here}/data"
    assert StoreURL.parse(PurePosixPath("s3:/bucket/x")).path == f"{here}/s3:/bucket/x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3:/bucket/x",
        "s3:///x",
        "s3://",
        "s3://UPPER/x",
        "s3://ab/x",
        "s3://a..b/x",
        "s3://10.0.0.1/x",
        "s3://user:pass@bucket/x",
        "s3://bucket:80/x",
        "s3://bucket?x=1/y",
        "s3://../x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3://bucket/a/./b",
        "s3://bucket/a\\b",
        "s3://bucket/a\nb",
        "https://bucket/x",
        "ftp://x",
        "hub://org",
        "hub://org/",
        "mem://a b",
        "file://host/x",
        "file:relative",
        "file:///%ff",
        "file:///%00",
        "/tmp/\0",
        "~no-such-user-at-all/x",
    ],
)
def test_a_path_that_means_nothing_is_refused(text):
    with pytest.raises(InvalidPathError):
        StoreURL.parse(text)


@pytest.mark.parametrize("value", [None, 5, b"s3://bucket", object()])
def test_what_is_no_text_is_refused(value):
    with pytest.raises((InvalidPathError, TypeError)):
        StoreURL.parse(value)


@given(keys)
def test_a_urls_text_reads_back_as_the_same(key):
    assume(len(key.encode()) <= KEY_BYTES)
    for start in ("s3://bucket", "gcs://bucket", "mem://name", "hub://org"):
        url = StoreURL.parse(f"{start}/{key}")
        assert url.path == key
        assert StoreURL.parse(str(url)) == url


@given(keys, keys)
def test_joining_and_parent_are_inverse(first, second):
    for url in (StoreURL.parse("mem://name"), StoreURL.parse("/data/x")):
        joined = url.join(first)
        assert joined.join(second).path == f"{joined.path}/{second}"
        assert url.join(f"{first}/name").parent == joined
        assert joined.join("name").name == "name"


def test_a_bucket_has_no_parent_and_names_itself():
    assert StoreURL.parse("s3://bucket").name == "bucket"
    with pytest.raises(InvalidPathError):
        _ = StoreURL.parse("s3://bucket").parent


def test_a_prefix_ends_in_a_slash_or_is_none():
    assert StoreURL.parse("s3://bucket/a/b").prefix == "a/b/"
    assert StoreURL.parse("s3://bucket").prefix == ""
    assert StoreURL.parse("/data").prefix == ""


@given(keys)
def test_a_legal_key_is_kept_as_it_is(key):
    assume(len(key.encode()) <= KEY_BYTES)
    assert check_key(key) is key


@given(st.text(max_size=30))
def test_a_key_is_legal_or_refused_and_never_changed(text):
    try:
        assert check_key(text) == text
    except InvalidPathError:
        return
    assert text
    assert not set(text) & {*CONTROL, "\\"}
    assert not {"", ".", ".."} & set(text.split("/"))


@pytest.mark.parametrize("char", CONTROL)
def test_a_key_has_no_control_character_and_no_surrogate(char):
    for key in (char, f"a{char}", f"{char}a", f"a/{char}/b"):
        with pytest.raises(InvalidPathError):
            check_key(key)
        with pytest.raises(InvalidPathError):
            check_prefix(key)


@pytest.mark.parametrize(
    "key", ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\\b", "C:\\x"]
)
def test_a_key_that_means_another_place_is_refused(key):
    with pytest.raises(InvalidPathError):
        check_key(key)


def test_a_key_has_at_most_1024_bytes():
    for char in ("a", "é", "日"):
        size = len(char.encode())
        assert check_key(char * (KEY_BYTES // size))
        with pytest.raises(InvalidPathError):
            check_key(char * (KEY_BYTES // size) + "xxx")


@pytest.mark.parametrize("key", [None, 5, b"a", ["a"]])
def test_a_key_is_a_text(key):
    with pytest.raises(InvalidPathError):
        check_key(key)
    with pytest.raises(InvalidPathError):
        check_prefix(key)


@given(keys, st.data())
def test_every_beginning_of_a_key_is_a_prefix(key, data):
    assume(len(key.encode()) <= KEY_BYTES)
    cut = data.draw(st.integers(0, len(key)))
    assert check_prefix(key[:cut]) == key[:cut]


@pytest.mark.parametrize("prefix", ["/", "a//", "../", "a/../b", "./a"])
def test_what_begins_no_key_is_no_prefix(prefix):
    with pytest.raises(InvalidPathError):
        check_prefix(prefix)


def test_a_part_longer_than_a_file_name_is_refused():
    check_segments("a" * 255 + "/" + "é" * 127, 255)
    for key in ("a" * 256, "x/" + "é" * 128):
        with pytest.raises(InvalidPathError):
            check_segments(key, 255)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAEXAMPLE:{}@bucket/x",
        "s3://AKIAEXAMPLE:{}/and+more@bucket/x",
        "gs://{}@bucket/x",
        "hub://me:{}@org/set",
        "s3:/AKIAEXAMPLE:{}@bucket/x",
        "https://me:{}@service.example/bucket/x",
        "https://bucket.service.example/x?X-Amz-Signature={}",
    ],
)
def test_a_secret_in_a_path_is_refused_and_not_repeated(text):
    with pytest.raises(InvalidPathError) as caught:
        StoreURL.parse(text.format(CANARY_SECRET))
    assert shows(caught.value) is None


def test_an_address_in_a_path_is_told_where_it_belongs():
    with pytest.raises(InvalidPathError, match="endpoint_url="):
        StoreURL.parse("s3://localhost:9000/bucket/x")
