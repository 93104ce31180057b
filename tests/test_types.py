"""Spans mean slices; values keep what they are given."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import InvalidSpanError
from asyncstore.types import WHOLE, Blob, Limits, ObjectMeta, Settings, Span

ends = st.none() | st.integers(-40, 40) | st.integers(-(2**70), 2**70)


@given(ends, ends, st.binary(max_size=30))
def test_a_span_means_what_a_slice_means(start, stop, data):
    begin, end = Span(start, stop).resolve(len(data))
    assert 0 <= begin <= end <= len(data)
    assert data[begin:end] == data[start:stop]


@given(ends, ends)
def test_a_span_is_read_from_what_looks_like_one(start, stop):
    span = Span(start, stop)
    assert Span.of(span) is span
    assert Span.of((start, stop)) == span
    assert Span.of(slice(start, stop)) == span


def test_a_range_is_a_span():
    assert Span.of(range(3, 9)) == Span(3, 9)


@pytest.mark.parametrize(
    "value",
    [slice(0, 9, 2), range(0, 9, 3), (1,), (1, 2, 3), [1, 2], 5, "1-2", None, b"12", {1, 2}],
)
def test_what_is_no_span_is_refused(value):
    with pytest.raises(InvalidSpanError):
        Span.of(value)


@pytest.mark.parametrize("end", [1.5, "1", True, b"1", float("nan")])
def test_a_spans_ends_are_integers(end):
    with pytest.raises(InvalidSpanError):
        Span(end, None)
    with pytest.raises(InvalidSpanError):
        Span(None, end)


@pytest.mark.parametrize(
    ("span", "whole"), [(WHOLE, True), (Span(0), True), (Span(0, 5), False), (Span(1), False)]
)
def test_a_span_knows_whether_it_is_the_whole(span, whole):
    assert span.is_whole is whole


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T12:30:00Z",
        "2024-02-29T12:30:00.000Z",
        "2024-02-29T13:30:00+01:00",
        "Thu, 29 Feb 2024 12:30:00 GMT",
    ],
)
def test_a_services_time_is_read_as_utc(text):
    meta = ObjectMeta("k", 0, modified=text)
    assert meta.modified == datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    assert meta.modified.utcoffset() == timedelta(0)


def test_a_time_that_is_none_is_not_known():
    assert ObjectMeta("k", 0, modified="yesterday").modified is None
    assert ObjectMeta("k", 0).modified is None


def test_an_objects_metadata_compares_copies_and_pickles():
    meta = ObjectMeta("k", 3, etag="e", modified="2024-02-29T12:30:00Z", metadata={"a": "b"})
    assert pickle.loads(pickle.dumps(meta)) == meta
    assert meta.replace(key="other").key == "other"
    assert meta.replace(key="other") != meta
    assert meta.replace() == meta
    assert meta.modified == datetime(2024, 2, 29, 13, 30, tzinfo=timezone(timedelta(hours=1)))


def test_a_blob_is_its_bytes():
    blob = Blob(memoryview(b"abc"), ObjectMeta("k", 9), start=4)
    assert bytes(blob) == b"abc"
    assert len(blob) == 3
    assert repr(blob) == "Blob('k', 4:7)"


def test_settings_show_no_credentials():
    settings = Settings(creds={"aws_secret_access_key": "canary"}, token="canary")
    assert "canary" not in repr(settings)
    assert settings.replace(region="eu-west-1").region == "eu-west-1"
    assert settings.replace(region="eu-west-1").token == "canary"


def test_limits_are_a_services_usual_ones():
    assert Limits().part_min == 5 << 20
    assert Limits().parts == 10_000
