"""Objects that are moved: a source goes when its bytes are at the target, and never before."""

from __future__ import annotations

import os
from typing import Any

import pytest

from asyncstore import open_store
from asyncstore.errors import IntegrityError, ObjectChangedError, UnavailableError
from asyncstore.layers import Retried
from asyncstore.providers.local import LocalProvider
from asyncstore.providers.local.flushing import Deferred
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store._transfers import transfer
from tests.transfer.conftest import fill, tree
from tests.transfer.test_transfer import FILES, content, filled

pytestmark = pytest.mark.asyncio


async def moved(source, target, **how):
    return await transfer(source, target, "moved", move=True, **how)


async def test_everything_is_moved_and_told(bucket, tmp_path):
    fill(tmp_path, FILES)
    told = []

    def settled(step, meta, error):
        told.append((step.key, meta.size, error))

    async with open_store(tmp_path) as here, bucket() as there:
        report = await moved(here, there, settled=settled)
        assert (report.copied, report.moved, report.failures) == (5, 5, [])
        assert await content(there) == FILES
    assert tree(tmp_path) == {}
    assert sorted(told) == [(key, len(data), None) for key, data in sorted(FILES.items())]
    assert "5 moved" in str(report)


@pytest.mark.parametrize("service", ["file", "mem"])
async def test_within_one_disk_or_memory_no_byte_is_read(service, tmp_path, monkeypatch):
    async def never(*_, **__):
        raise AssertionError("read")

    path = "mem://renamed" if service == "mem" else tmp_path
    async with open_store(path) as store:
        await filled(store, prefix="a/")
        for provider in (MemoryProvider, LocalProvider):
            for name in ("get", "open", "copy"):
                monkeypatch.setattr(provider, name, never)
        report = await moved(store / "a", store / "b/c")
        monkeypatch.undo()
        assert (report.copied, report.moved, report.failures) == (5, 5, [])
        assert await content(store) == {f"b/c/{key}": data for key, data in FILES.items()}


async def test_within_one_bucket_the_service_copies(bucket):
    events: list[Any] = []
    async with bucket(trace=events.append) as store:
        await filled(store, prefix="a/")
        events.clear()
        report = await moved(store / "a", store / "b")
        assert (report.moved, report.failures) == (5, [])
        assert {event.op for event in events} == {"list_page", "copy", "head", "delete"}
        assert await content(store) == {f"b/{key}": data for key, data in FILES.items()}


async def test_what_reads_back_otherwise_stays_at_the_source(tmp_path, monkeypatch):
    fill(tmp_path, FILES)
    put = MemoryProvider.put

    async def corrupting(self, key, data, /, **how):
        return await put(self, key, b"?" * len(data) if key == "a.txt" else data, **how)

    monkeypatch.setattr(MemoryProvider, "put", corrupting)
    async with open_store(tmp_path) as here, open_store("mem://moved-1") as there:
        report = await moved(here, there)
    [failure] = report.failures
    assert (failure.key, type(failure.error)) == ("a.txt", IntegrityError)
    assert "not what was sent" in str(failure.error)
    assert tree(tmp_path) == {"a.txt": b"one"}
    assert report.moved == 4


async def test_a_source_that_changed_after_it_was_copied_stays(tmp_path, monkeypatch):
    fill(tmp_path, FILES)
    put = MemoryProvider.put

    async def changing(self, key, data, /, **how):
        meta = await put(self, key, data, **how)
        if key == "sub/deep/d é":
            (tmp_path / "a.txt").write_bytes(b"two")
        return meta

    monkeypatch.setattr(MemoryProvider, "put", changing)
    async with open_store(tmp_path) as here, open_store("mem://moved-2") as there:
        report = await moved(here, there, width=1)
    [failure] = report.failures
    assert (failure.key, type(failure.error)) == ("a.txt", ObjectChangedError)
    assert tree(tmp_path) == {"a.txt": b"two"}


async def test_nothing_is_deleted_before_the_target_is_on_the_disk(tmp_path, monkeypatch):
    order = []
    finish, delete = Deferred.finish, MemoryProvider.delete

    def finished(self):
        order.append("flushed")
        return finish(self)

    async def deleting(self, keys, /):
        order.append("deleted")
        return await delete(self, keys)

    monkeypatch.setattr(Deferred, "finish", finished)
    monkeypatch.setattr(MemoryProvider, "delete", deleting)
    async with (
        open_store("mem://moved-3") as here,
        open_store(tmp_path, durability="deferred") as there,
    ):
        await filled(here)
        assert (await moved(here, there)).moved == 5
        assert order[0] == "flushed"
        assert set(order[1:]) == {"deleted"}


async def test_what_an_earlier_run_copied_is_deleted_without_being_copied_again(
    bucket, tmp_path, monkeypatch
):
    fill(tmp_path, FILES)

    async def down(*_, **__):
        raise UnavailableError("the disk went away")

    events: list[Any] = []
    async with open_store(tmp_path) as here, bucket(trace=events.append) as there:
        with monkeypatch.context() as patch:
            patch.setattr(LocalProvider, "delete", down)
            patch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
            report = await moved(here, there)
        assert (report.copied, report.moved, len(report.failures)) == (5, 0, 5)
        assert tree(tmp_path) == FILES
        events.clear()
        report = await moved(here, there)
        assert (report.copied, report.skipped, report.moved) == (0, 5, 5)
        assert {event.op for event in events} == {"list_page"}
        assert tree(tmp_path) == {}


async def test_create_only_leaves_both_sides_of_what_is_there(tmp_path):
    fill(tmp_path, FILES)
    async with open_store(tmp_path) as here, open_store("mem://moved-4") as there:
        await there.put("a.txt", b"one")
        report = await moved(here, there, if_absent=True)
        assert [failure.key for failure in report.failures] == ["a.txt"]
        assert tree(tmp_path) == {"a.txt": b"one"}


async def test_a_rehearsal_and_what_takes_no_part_change_nothing(tmp_path):
    fill(tmp_path, FILES)
    async with open_store(tmp_path) as here, open_store("mem://moved-5") as there:
        assert len((await moved(here, there, dry_run=True)).planned) == 5
        assert tree(tmp_path) == FILES
        assert (await moved(here, there, include=["*.txt"])).moved == 1
        assert tree(tmp_path).keys() == FILES.keys() - {"a.txt"}


async def test_what_is_hoisted_never_replaces_what_is_still_to_be_moved(tmp_path):
    fill(tmp_path, {"a/b/x": b"inner", "a/x": b"outer", "a/y": b"y", "y": b"old"})
    async with open_store(tmp_path) as store:
        report = await moved(store / "a", store)
    assert [failure.key for failure in report.failures] == []
    assert tree(tmp_path) == {"b/x": b"inner", "x": b"outer", "y": b"y"}
    fill(tmp_path, {"a/a/x": b"inner", "a/x": b"outer"})
    os.unlink(tmp_path / "x")
    async with open_store(tmp_path) as store:
        report = await moved(store / "a", store)
    assert [failure.key for failure in report.failures] == ["a/x"]
    assert tree(tmp_path) == {"a/a/x": b"inner", "b/x": b"inner", "x": b"outer", "y": b"y"}
