"""What is put aside comes back as it was, in order, and is not in memory meanwhile."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncstore.columns import Columns
from asyncstore.transfer import put_aside, spill
from asyncstore.transfer.plan import Step, order
from asyncstore.transfer.put_aside import Firsts, Steps
from asyncstore.transfer.spill import Sorter
from asyncstore.types import ObjectMeta

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=3)


def taken(sorter):
    found = []
    while some := sorter.some():
        found += some
    sorter.close()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=40), st.integers(1, 7))
def test_a_sorter_gives_each_key_once_by_its_bytes_with_what_came_last(given_pairs, run):
    before, spill._RUN, spill._CHUNK = (spill._RUN, spill._CHUNK), run, 3
    try:
        sorter = Sorter()
        for key, size in given_pairs:
            sorter.add(Columns.of([ObjectMeta(key, size)]))
        found = taken(sorter)
    finally:
        spill._RUN, spill._CHUNK = before
    wanted = dict(given_pairs)
    assert [(meta.key, meta.size) for meta in found] == [
        (key, wanted[key]) for key in sorted(wanted, key=order)
    ]


def test_what_is_put_aside_is_as_it_was_and_out_of_memory():
    meta = ObjectMeta("k", 3, etag='"e"', version="v", checksums={"crc32c": "AAAA"})
    assert spill.meta_of(spill.row_of(meta)) == meta
    sorter = Sorter()
    tracemalloc.start()
    try:
        for n in range(0, 100_000, 1000):
            made = [ObjectMeta(f"{m:08}", m, etag=f'"{m:032x}"') for m in range(n, n + 1000)]
            sorter.add(Columns.of(made))
        count = 0
        while some := sorter.some():
            count += len(some)
        assert count == 100_000
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
        sorter.close()


def test_of_names_that_are_taken_for_one_the_first_is_told():
    with Firsts(str.casefold) as firsts:
        assert [firsts.first(key) for key in ("A", "a", "b", "A", "B")] == ["A", "A", "b", "A", "b"]


@pytest.mark.asyncio
async def test_steps_come_back_in_order_from_memory_and_from_the_file_behind_it(monkeypatch):
    monkeypatch.setattr(put_aside, "_KEPT", 80)
    there = ObjectMeta("0", 1, etag='"e"', checksums={"crc32": "AAAAAA=="})
    some = [
        Step("copy", f"{n}", ObjectMeta(f"{n}", n, etag=f'"{n}"'), "why", there if n % 2 else None)
        for n in range(40)
    ]
    with Steps() as steps:
        for at in range(0, 40, 4):
            await steps.add(some[at : at + 4])
        await steps.add([])
        assert steps.count == 40
        for _ in range(2):
            assert [step async for step in steps.all()] == some
        chunks = steps.chunks()
        kept = [[*await chunks.some()] for _ in range(3)]
        assert kept[0] == some[:4]
        assert kept[1][0] is some[4]
        assert kept[2][0] is not some[8]


@pytest.mark.asyncio
@pytest.mark.parametrize("told", [Columns, Columns.of])
async def test_what_is_new_comes_back_as_steps_that_copy_it(monkeypatch, told):
    monkeypatch.setattr(put_aside, "_KEPT", 10)
    metas = [
        ObjectMeta(f"{n}", n, etag=f'"{n}"' if n % 3 else None, checksums={"crc32": "AAAAAA=="})
        for n in range(40)
    ]
    if told is Columns:
        metas = [ObjectMeta(meta.key, meta.size, etag=meta.etag) for meta in metas]
    by_hand = Step("compare", "x", ObjectMeta("x", 1), "why", ObjectMeta("x", 2))
    with Steps() as steps:
        for at in range(0, 40, 4):
            some = metas[at : at + 4]
            keys, sizes = [meta.key for meta in some], [meta.size for meta in some]
            etags = [meta.etag for meta in some]
            await steps.add_new(Columns(keys, sizes, etags) if told is Columns else told(some))
        await steps.add([by_hand])
        assert steps.count == 41
        expected = [Step("copy", meta.key, meta, "not at the target") for meta in metas]
        for _ in range(2):
            assert [step async for step in steps.all()] == [*expected, by_hand]
