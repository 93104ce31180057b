"""Objects as columns are a sequence of objects like any other."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from asyncstore.columns import Columns
from asyncstore.types import ObjectMeta

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["p/", "p/a", "p/b", "p/p/"]),
        st.integers(0, 9),
        st.sampled_from(["e", None]),
        st.sampled_from(["2026-01-02T03:04:05.000Z", 1_700_000_000_000_000_000, None]),
    ),
    max_size=4,
)


def columns_of(rows, *, timed=True):
    keys, sizes, etags, times = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
    return Columns(keys, sizes, etags, times if timed else None)


def metas_of(rows, *, timed=True):
    return [
        ObjectMeta(key, size, etag=etag, modified=time if timed else None)
        for key, size, etag, time in rows
    ]


@given(ROWS, st.booleans(), st.integers(-5, 5), st.integers(-5, 5))
def test_each_object_and_each_slice_is_what_a_list_would_give(rows, timed, start, stop):
    columns, metas = columns_of(rows, timed=timed), metas_of(rows, timed=timed)
    for made in (columns, Columns.of(metas)):
        assert list(made) == metas
        assert [made[at] for at in range(len(made))] == metas
        part = made[start:stop]
        assert list(part) == metas[start:stop]
        assert [part.keys, part.sizes, part.etags] == [
            [meta.key for meta in metas[start:stop]],
            [meta.size for meta in metas[start:stop]],
            [meta.etag for meta in metas[start:stop]],
        ]


@given(ROWS, st.booleans())
def test_what_is_below_a_prefix_has_shorter_keys_and_not_the_folder_itself(rows, timed):
    expected = [meta for meta in metas_of(rows, timed=timed) if meta.key != "p/"]
    for meta in expected:
        meta.key = meta.key.removeprefix("p/")
    assert list(columns_of(rows, timed=timed).below("p/")) == expected
    assert list(columns_of(rows).below("")) == metas_of(rows)


@given(ROWS, st.booleans())
def test_objects_by_other_keys_are_the_same_else(rows, timed):
    expected = metas_of(rows, timed=timed)
    for meta in expected:
        meta.key = f"to/{meta.key}"
    columns = columns_of(rows, timed=timed)
    assert list(columns.named([f"to/{key}" for key in columns.keys])) == expected


def test_objects_that_say_more_than_the_columns_keep_it():
    meta = ObjectMeta("k", 1, etag="e", version="v", checksums={"crc32c": "AAAA"})
    columns = Columns.of([meta])
    assert columns[0] is meta
    assert columns[:1][0] is meta
    assert not columns.is_all
    assert Columns.of(columns) is columns
    assert Columns(["k"], [1], ["e"]).is_all


def test_an_object_tells_its_time_as_any_other_does():
    [text, number] = Columns(["a", "b"], [1, 1], [None, None], ["2026-01-02T03:04:05Z", 10**18])
    assert text.modified == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert number.modified == datetime.fromtimestamp(10**9, UTC)


def test_columns_are_as_the_list_of_their_objects():
    columns = Columns(["a"], [1], ["e"])
    assert columns == [ObjectMeta("a", 1, etag="e")] == columns
    assert columns != [ObjectMeta("a", 2, etag="e")]
    assert Columns([], [], []) == []
    assert columns != "a"
