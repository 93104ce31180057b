"""Plans are arithmetic: every wanted byte once, no fetch larger or wider than it may be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import NotSupportedError
from asyncstore.plan import coalesce, cut, part_size
from asyncstore.types import Limits, MiB

spans = st.tuples(st.integers(0, 5_000), st.integers(0, 700)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(spans), st.integers(0, 600), st.integers(1, 4_000))
def test_every_wanted_span_is_in_exactly_one_fetch(wanted, gap, ceiling):
    fetches = coalesce(wanted, gap=gap, ceiling=ceiling)
    members = [index for fetch in fetches for index in fetch.members]
    assert sorted(members) == [n for n, (start, stop) in enumerate(wanted) if start < stop]
    for fetch in fetches:
        for index in fetch.members:
            assert fetch.start <= wanted[index][0] <= wanted[index][1] <= fetch.stop


@given(st.lists(spans), st.integers(0, 600), st.integers(1, 4_000))
def test_fetches_are_sorted_and_bounded_and_read_no_wide_gap(wanted, gap, ceiling):
    fetches = coalesce(wanted, gap=gap, ceiling=ceiling)
    assert [f.start for f in fetches] == sorted(f.start for f in fetches)
    for fetch in fetches:
        inside = sorted(wanted[index] for index in fetch.members)
        assert (fetch.start, fetch.stop) == (inside[0][0], max(stop for _, stop in inside))
        assert fetch.stop - fetch.start <= ceiling or len(inside) == 1
        reach = inside[0][1]
        for start, stop in inside[1:]:
            assert start - reach <= gap
            reach = max(reach, stop)


@given(st.lists(spans), st.integers(0, 600))
def test_neighbours_are_merged_where_nothing_forbids_it(wanted, gap):
    fetches = coalesce(wanted, gap=gap, ceiling=1 << 40)
    for one, other in pairwise(fetches):
        assert other.start - one.stop > gap


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(1, 900))
def test_cut_parts_join_to_the_whole(start, length, part):
    parts = cut(start, start + length, part=part)
    assert [byte for low, high in parts for byte in range(low, high)] == list(
        range(start, start + length)
    )
    assert all(high - low == part for low, high in parts[:-1])
    assert all(0 < high - low <= part for low, high in parts)


AWS = Limits()


@given(st.integers(0, AWS.object_max), st.integers(1, 1 << 30))
def test_parts_of_a_known_size_fit_the_limits(size, preferred):
    part = part_size(size, AWS, preferred=preferred)
    assert AWS.part_min <= part <= AWS.part_max
    assert -(-size // part) <= AWS.parts
    assert part >= min(preferred, AWS.part_max)
    # No larger than it must be: rounded up to a mebibyte at most.
    assert part <= max(preferred, AWS.part_min, -(-size // AWS.parts) + MiB)


def test_parts_of_an_unknown_size_grow_until_the_largest_object_fits():
    sizes = [part_size(None, AWS, number=number) for number in range(1, AWS.parts + 1)]
    assert sizes[:1000] == [8 * MiB] * 1000
    assert sizes == sorted(sizes)
    assert max(sizes) <= AWS.part_max
    assert sum(sizes) >= 5 << 40
    with pytest.raises(NotSupportedError, match="more than 10000 parts"):
        part_size(None, AWS, number=AWS.parts + 1)


def test_what_no_parts_can_hold_is_refused():
    with pytest.raises(NotSupportedError, match="in one object"):
        part_size(AWS.object_max + 1, AWS)
    small = Limits(part_min=1, part_max=10, parts=3)
    assert part_size(30, small, preferred=1) == 10
    with pytest.raises(NotSupportedError, match="in 3 parts"):
        part_size(31, small, preferred=1)
