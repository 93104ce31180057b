"""Both sides and the record, key by key: in order, in bounded memory, and nothing made up."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from asyncstore import columns, open_store
from asyncstore.errors import UnavailableError
from asyncstore.layers import Retried
from asyncstore.providers.memory import MemoryProvider
from asyncstore.transfer import sides
from asyncstore.transfer.plan import Done
from asyncstore.transfer.record import Record
from asyncstore.transfer.sides import Chosen, Listed, heads
from asyncstore.transfer.spill import Sorter
from asyncstore.transfer.stretch import Stretch
from asyncstore.types import ObjectMeta, Page

pytestmark = pytest.mark.asyncio


async def rows_of(listed):
    rows = []
    while some := await listed.some():
        rows += some
    await listed.aclose()
    return [
        (
            (row.source or row.target).key,
            row.source is not None,
            row.target is not None,
            row.done is not None,
        )
        for row in rows
    ]


@pytest.fixture
def paged(monkeypatch):
    """Let pages hold two objects."""
    page = MemoryProvider.list_page

    async def short(self, prefix, /, *, limit=1000, **how):
        return await page(self, prefix, limit=2, **how)

    monkeypatch.setattr(MemoryProvider, "list_page", short)


@pytest.fixture
def record(tmp_path):
    made = Record(tmp_path / "record.sqlite").load()
    yield made
    made.close()


@pytest.mark.parametrize("whole", [True, False])
async def test_rows_hold_what_each_side_and_the_record_say_of_a_key(paged, record, whole):
    async with open_store("mem://rows1") as source, open_store("mem://rows2") as target:
        for key in ("a", "b", "c", "e", "f"):
            await source.put(key, b"1")
        for key in ("b", "c", "d", "f", "z"):
            await target.put(key, b"1")
        for key in ("c", "e", "gone"):
            record.add([(key, *Done("s", 1, "t"))])
        record.save()
        rows = await rows_of(Listed(source, target, record, whole=whole))
        assert rows[:5] == [
            ("a", True, False, False),
            ("b", True, True, False),
            ("c", True, True, True),
            ("d", False, True, False),
            ("e", True, False, True),
        ]
        assert (("z", False, True, False) in rows) == whole
        record.save()
        assert ("gone" in record.find(["gone"])) != whole


async def test_a_target_that_holds_far_more_is_asked_key_by_key(paged, record, monkeypatch):
    monkeypatch.setattr(sides, "_SPARE", 4)
    async with open_store("mem://few") as source, open_store("mem://far-more") as target:
        for key in ("b500", "b900", "c"):
            await source.put(key, b"1")
        for n in range(1000):
            await target.put(f"b{n:03}", b"1")
        pages = 0
        page = MemoryProvider.list_page

        async def counted(self, prefix, /, **how):
            nonlocal pages
            pages += 1
            return await page(self, prefix, **how)

        monkeypatch.setattr(MemoryProvider, "list_page", counted)
        rows = await rows_of(Listed(source, target, record, whole=False))
        assert [row for row in rows if row[1]] == [
            ("b500", True, True, False),
            ("b900", True, True, False),
            ("c", True, False, False),
        ]
        assert pages < 20


async def test_an_error_of_the_target_that_is_asked_is_no_absence(monkeypatch):
    async with open_store("mem://asked1") as source, open_store("mem://asked2") as target:
        await source.put("k", b"1")

        async def down(*_, **__):
            raise UnavailableError("down")

        monkeypatch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
        monkeypatch.setattr(MemoryProvider, "head", down)
        with pytest.raises(UnavailableError):
            await heads(target, ["k"])
        missing: list[Any] = []
        chosen = Chosen(
            source, target, None, ["k"], lambda key, error: missing.append((key, error))
        )
        assert await chosen.some() == []
        assert [(key, type(error)) for key, error in missing] == [("k", UnavailableError)]


async def test_any_number_of_keys_passes_in_bounded_memory(record, monkeypatch):
    # The listings are made up: objects in memory would be what is measured.
    total, size = 60_000, 1000

    async def list_page(self, prefix, /, *, cursor=None, **_):
        start = int(cursor or 0)
        made = [ObjectMeta(f"{n:08}", 1, etag='"1"') for n in range(start, start + size)]
        return Page(made, cursor=str(start + size) if start + size < total else None)

    monkeypatch.setattr(MemoryProvider, "list_page", list_page)
    async with open_store("mem://m1") as source, open_store("mem://m2") as target:
        count = 0
        listed = Listed(source, target, record, whole=True)
        tracemalloc.start()
        try:
            while rows := await listed.some():
                count += len(rows)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        await listed.aclose()
    assert count == total


async def test_what_is_listed_unsorted_is_merged_all_the_same(record, monkeypatch):
    async with open_store("mem://un1") as source, open_store("mem://un2") as target:
        for key in ("a", "b", "c"):
            await source.put(key, b"1")
            await target.put(key, b"1")
        page = MemoryProvider.list_page

        async def shuffled(self, prefix, /, **how):
            found = await page(self, prefix, **how)
            return replace(found, objects=[*reversed(found.objects)])

        monkeypatch.setattr(MemoryProvider, "list_page", shuffled)
        monkeypatch.setattr(MemoryProvider, "limits", replace(MemoryProvider.limits, sorted=False))
        rows = await rows_of(Listed(source, target, record, whole=True))
        assert rows == [(key, True, True, False) for key in "abc"]


async def test_both_listings_are_closed_though_the_closing_is_cancelled_at_once(monkeypatch):
    monkeypatch.setattr(MemoryProvider, "limits", replace(MemoryProvider.limits, sorted=False))
    closed: list[Sorter] = []
    close = Sorter.close

    def noted(self):
        closed.append(self)
        close(self)

    monkeypatch.setattr(Sorter, "close", noted)
    async with open_store("mem://cl1") as source, open_store("mem://cl2") as target:
        await source.put("a", b"1")
        await target.put("b", b"1")
        listed = Listed(source, target, None, whole=True)
        await listed.some()
        closing = asyncio.create_task(listed.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert len(closed) == 2


async def proven(source, target, record, keys):
    """Put the same objects at both sides and on record."""
    for key in keys:
        here, there = await source.put(key, b"1"), await target.put(key, b"1")
        record.add([(key, *Done(here.etag, 1, there.etag))])
    record.save()


async def test_what_is_proven_comes_as_stretches_however_the_pages_lie(paged, record):
    async with open_store("mem://st1") as source, open_store("mem://st2") as target:
        await proven(source, target, record, "abcdefg")
        await target.put("0", b"only here")  # from now on, its pages end elsewhere
        await source.put("d", b"2")
        listed = Listed(source, target, record, whole=True)
        found: list[tuple[str, Any]] = []
        while rows := await listed.some():
            kind = "proven" if isinstance(rows, Stretch) else "rows"
            found += [(kind, (row.source or row.target).key) for row in rows]  # type: ignore[union-attr]
        await listed.aclose()
    assert [key for _, key in found] == [*"0abcdefg"]
    assert {key for kind, key in found if kind == "proven"} >= {*"bcefg"}
    assert ("rows", "d") in found


async def test_no_object_is_made_of_what_is_proven(record, monkeypatch, tmp_path):
    async with open_store(tmp_path / "one") as source, open_store(tmp_path / "other") as target:
        await proven(source, target, record, [f"{n // 9}/{n}" for n in range(30)])
        made = []
        monkeypatch.setattr(columns, "_made", lambda *told: made.append(told))
        listed = Listed(source, target, record, whole=True)
        assert len(await listed.some()) == 30
        assert not await listed.some()
        await listed.aclose()
    assert not made
