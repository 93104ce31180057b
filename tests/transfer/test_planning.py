"""The plan: of listings in any order the same one, and nothing is told of one that was given up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from asyncstore import open_store
from asyncstore.provider import ability
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store import _transfers
from asyncstore.store._transfers import transfer
from asyncstore.transfer import sides
from asyncstore.transfer.record import Record
from asyncstore.transfer.spill import Sorter
from tests.transfer.conftest import tree

pytestmark = pytest.mark.asyncio

KEYS = ["a", "b/", "c/d", "c/e", "f/../g", "h", "i", "j"]


@pytest.fixture
def unsorted(monkeypatch):
    """Let memory promise no order, and list two objects on a page; return what spoils the order."""
    monkeypatch.setattr(MemoryProvider, "limits", replace(MemoryProvider.limits, sorted=False))
    page = MemoryProvider.list_page
    late: set[str] = set()

    async def listed(self, prefix, /, *, cursor=None, **_):
        everything = (await page(self, prefix)).objects
        rest = [meta for meta in everything if meta.key not in late]
        rest += [meta for meta in everything if meta.key in late]
        start = int(cursor or 0)
        more = str(start + 2) if start + 2 < len(rest) else None
        return replace(await page(self, prefix), objects=rest[start : start + 2], cursor=more)

    monkeypatch.setattr(MemoryProvider, "list_page", listed)
    return late


@pytest.fixture
def sorters(monkeypatch):
    """Count how often objects are sorted."""
    made: list[object] = []

    class Counted(Sorter):
        def __init__(self):
            made.append(self)
            super().__init__()

    monkeypatch.setattr(sides, "Sorter", Counted)
    return made


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Keep a record of what is in memory, too."""
    monkeypatch.setattr(_transfers, "_record", lambda *_: Record(tmp_path / "record.sqlite"))


@asynccontextmanager
async def filled(name):
    async with open_store(f"mem://{name}") as store:
        provider = ability(store.provider, MemoryProvider)
        assert provider is not None
        for key in KEYS:
            await provider.put(key, b"" if key.endswith("/") else b"1")
        yield store


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("late", [[], ["a"], ["c/d", "h"], [*"ahij"]])
@pytest.mark.parametrize("twice", [False, True])
async def test_the_plan_is_the_same_in_whatever_order_objects_are_listed(
    unsorted, sorters, tmp_path, late, twice
):
    async with filled("planned") as store:
        told: list[tuple[str, str]] = []

        def settled(step, *_):
            told.append((step.verb, step.key))

        async with open_store(tmp_path / "there") as there:
            if twice:
                await transfer(store, there, "before")
            unsorted.update(late)
            report = await transfer(store, there, "planned", settled=settled)
            rehearsal = await transfer(store, there, "rehearsed", dry_run=True)
    assert (report.copied, report.skipped) == ((0, 6) if twice else (6, 0))
    plan = report.plan
    assert (plan.copy, plan.skip, plan.refuse) == (report.copied, report.skipped, 1)
    assert [failure.key for failure in report.failures] == ["f/../g"]
    files = ["a", "c/d", "c/e", "h", "i", "j"]
    copied = [] if twice else [("copy", key) for key in files]
    assert sorted(told) == [*copied, ("pass", "b/"), ("refuse", "f/../g")]
    assert sorted(tree(tmp_path / "there")) == files
    planned = [*(("skip", key) for key in files), ("refuse", "f/../g")]
    assert sorted(rehearsal.planned) == sorted(planned)
    assert len(sorters) == 2 * bool(late)  # one of each of these


async def test_what_a_target_lists_late_is_skipped_or_deleted_all_the_same(unsorted, sorters):
    async with open_store("mem://late1") as here, open_store("mem://late2") as there:
        await here.put("j", b"1")
        await here.put("new", b"2")
        for key in ("a", "c/d", "c/e", "j", "old"):
            await there.put(key, b"1")
        unsorted.update(["a", "j"])
        report = await here.sync(there, delete=True)
        assert (report.copied, report.skipped, report.deleted) == (1, 1, 4)
        assert [meta.key async for meta in there.list()] == ["new", "j"]
    assert len(sorters) == 2
