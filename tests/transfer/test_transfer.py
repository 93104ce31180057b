"""Folders and prefixes, between any two stores: right, verified, and skipped only when proven."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import Any

import pytest

from asyncstore import open_store
from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    ReadOnlyError,
    UnavailableError,
)
from asyncstore.layers import Retried
from asyncstore.providers.local import LocalProvider
from asyncstore.providers.local.flushing import Deferred, Flush
from asyncstore.providers.memory import MemoryProvider
from asyncstore.transfer import Events, large, one
from asyncstore.transfer.content import same as compared
from asyncstore.transfer.record import Record
from tests.transfer.conftest import fill, tree

pytestmark = pytest.mark.asyncio

FILES = {
    "a.txt": b"one",
    "empty": b"",
    "sub/b.bin": os.urandom(100_000),
    "sub/deep/c": b"x" * 5_000,
    "sub/deep/d é": b"y",
}


@pytest.fixture
def small(monkeypatch):
    """Take objects of more than 20,000 bytes for large, in parts of 8,000."""
    monkeypatch.setattr(one, "SMALL", 20_000)
    monkeypatch.setattr(large, "PART", 8_000)


async def filled(store, files=FILES, prefix=""):
    for key, data in files.items():
        await store.put(prefix + key, data)


async def content(store, prefix=""):
    return {
        meta.key[len(prefix) :]: bytes(await store.get(meta.key))
        async for meta in store.list(prefix)
    }


@pytest.mark.parametrize("service", ["memory", "local", "s3"])
async def test_a_folder_comes_back_as_it_went(service, request, tmp_path, small):
    fill(tmp_path / "from", FILES)
    if service == "s3":
        store = request.getfixturevalue("bucket")()
    else:
        store = open_store("mem://there" if service == "memory" else tmp_path / "store")
    async with store:
        up = await store.upload(tmp_path / "from", "data")
        assert (up.copied, up.bytes, up.failures) == (5, sum(map(len, FILES.values())), [])
        assert await content(store, "data/") == FILES
        down = await store.download("data/", tmp_path / "to")
        assert (down.copied, down.failures) == (5, [])
        assert tree(tmp_path / "to") == FILES


async def test_a_rerun_reads_nothing_and_writes_nothing(bucket, tmp_path):
    async with bucket() as store:
        await filled(store)
        await store.download("", tmp_path)
    events: list[Any] = []
    async with bucket(trace=events.append) as store:
        again = await store.download("", tmp_path)
        assert (again.copied, again.skipped) == (0, 5)
        assert {event.op for event in events} == {"list_page"}
        events.clear()
        up = await store.upload(tmp_path, "up")
        assert up.copied == 5
        events.clear()
        assert (await store.upload(tmp_path, "up")).skipped == 5
        assert {event.op for event in events} == {"list_page"}


async def test_what_is_there_unrecorded_is_compared_and_not_trusted(bucket, tmp_path, state):
    async with bucket() as store:
        await filled(store)
        await store.download("", tmp_path)
        for path in state.rglob("*.sqlite*"):
            path.unlink()
        (tmp_path / "a.txt").write_bytes(b"two")  # of the same size
        events: list[Any] = []
        async with bucket(trace=events.append) as watched:
            report = await watched.download("", tmp_path)
        assert (report.copied, report.skipped) == (1, 4)
        assert [event.url.rpartition("/")[2] for event in events if event.op == "get"] == ["a.txt"]
        assert tree(tmp_path) == FILES


@pytest.mark.parametrize("side", ["source", "target"])
async def test_what_changed_on_either_side_since_is_copied_again(bucket, tmp_path, side):
    async with bucket() as store:
        await filled(store)
        await store.download("", tmp_path)
        if side == "source":
            await store.put("a.txt", b"two")
        else:
            (tmp_path / "a.txt").write_bytes(b"two")
        report = await store.download("", tmp_path)
        assert (report.copied, report.skipped) == (1, 4)
        assert (tmp_path / "a.txt").read_bytes() == (b"two" if side == "source" else b"one")


@pytest.mark.parametrize("lost", [False, True])
async def test_what_changes_at_the_target_before_it_is_compared_is_copied(
    bucket, tmp_path, monkeypatch, lost
):
    """As where a request of a run that was killed arrives late."""

    async def late(source, here, target, there):
        await target.delete(there.key)
        if not lost:
            await target.put(there.key, bytes(here.size))
        return await compared(source, here, target, there)

    fill(tmp_path, {"k": b"right"})
    async with bucket() as store:
        await store.put("up/k", b"wrong")
        monkeypatch.setattr(one, "same", late)
        report = await store.upload(tmp_path, "up")
        assert (report.copied, report.failures) == (1, [])
        assert bytes(await store.get("up/k")) == b"right"


async def test_keys_keep_the_whole_of_their_names(tmp_path):
    async with open_store("mem://keys") as store:
        await filled(store)
        report = await store.download(["sub/b.bin", "a.txt", "missing"], tmp_path)
        assert set(tree(tmp_path)) == {"sub/b.bin", "a.txt"}
        [failure] = report.failures
        assert failure.key == "missing"
        assert isinstance(failure.error, NotFoundError)


async def test_failures_are_written_down_and_fed_back_in(tmp_path, monkeypatch):
    async with open_store("mem://feed") as store:
        await filled(store)
        get = MemoryProvider.get

        async def broken(self, key, /, **how):
            if key.startswith("sub/deep"):
                raise IntegrityError("broken on the way")
            return await get(self, key, **how)

        with monkeypatch.context() as patch:
            patch.setattr(MemoryProvider, "get", broken)
            report = await store.download("", tmp_path / "to", failures_to=tmp_path / "failed")
        assert not report.ok
        lines = [json.loads(line) for line in (tmp_path / "failed").read_text().splitlines()]
        assert {line["key"] for line in lines} == {"sub/deep/c", "sub/deep/d é"}
        assert {line["error"] for line in lines} == {"IntegrityError"}
        assert json.loads(json.dumps(report.as_dict()))["failed"] == lines
        again = await store.download("", tmp_path / "to", keys_from=tmp_path / "failed")
        assert (again.copied, again.skipped, again.failures) == (2, 0, [])
        assert tree(tmp_path / "to") == FILES


async def test_sync_deletes_last_and_only_where_all_else_succeeded(tmp_path, monkeypatch):
    async with open_store("mem://from") as source, open_store("mem://to") as target:
        await filled(source)
        await target.put("stranger", b"s")
        await target.put("kept.log", b"k")

        async def broken(*_, **__):
            raise IntegrityError("broken on the way")

        with monkeypatch.context() as patch:
            patch.setattr(MemoryProvider, "get", broken)
            report = await source.sync(target, delete=True)
        assert (report.deleted, len(report.failures)) == (0, 5)
        assert set(await content(target)) == {"stranger", "kept.log"}
        report = await source.sync(target, delete=True, exclude=["*.log"])
        assert (report.deleted, report.failures) == (1, [])
        assert await content(target) == FILES | {"kept.log": b"k"}


async def test_nothing_is_deleted_from_a_listing_that_was_cut(tmp_path, monkeypatch):
    async with open_store("mem://from2") as source, open_store("mem://to2") as target:
        await filled(target)
        page = MemoryProvider.list_page

        async def cut(self, prefix, /, **how):
            if self.locate("") == source.provider.locate(""):
                raise IntegrityError("the listing contradicts itself")
            return await page(self, prefix, **how)

        monkeypatch.setattr(MemoryProvider, "list_page", cut)
        with pytest.raises(IntegrityError):
            await source.sync(target, delete=True)
        monkeypatch.undo()
        assert await content(target) == FILES


async def test_a_dry_run_changes_nothing_and_tells_the_plan(tmp_path):
    async with open_store("mem://dry") as store:
        await filled(store)
        report = await store.download("", tmp_path / "to", dry_run=True, include=["*.txt"])
        assert report.planned == [("copy", "a.txt")]
        assert not (tmp_path / "to").exists()


async def test_sync_of_a_folder_of_both_sides_leaves_the_rest(tmp_path):
    async with open_store("mem://part") as source, open_store(tmp_path) as target:
        await filled(source)
        await target.put("other", b"o")
        report = await source.sync(target, "sub", delete=True)
        assert report.copied == 3
        wanted = {key: data for key, data in FILES.items() if key.startswith("sub/")}
        assert tree(tmp_path) == wanted | {"other": b"o"}


@pytest.mark.parametrize("size", [100, 50_000])
async def test_a_source_that_changes_is_an_error_for_that_file(size, tmp_path, monkeypatch, small):
    async with open_store("mem://moving") as store:
        await store.put("k", b"1" * size)
        await store.put("still", b"2")
        get = MemoryProvider.get
        count = 0

        async def changing(self, key, /, **how):
            nonlocal count
            if key == "k":
                count += 1
                if count == (1 if size == 100 else 3):
                    await self.put("k", b"3" * size)
            return await get(self, key, **how)

        monkeypatch.setattr(MemoryProvider, "get", changing)
        report = await store.download("", tmp_path)
        [failure] = report.failures
        assert failure.key == "k"
        assert isinstance(failure.error, ObjectChangedError)
        assert tree(tmp_path) == {"still": b"2"}


async def test_progress_is_told_to_programs_and_to_people(tmp_path, capsys):
    told: list[Any] = []
    async with open_store("mem://told") as store:
        await filled(store)
        await store.download("", tmp_path / "a", progress=told.append)
        await store.download("", tmp_path / "b", progress=True)
    last = told[-1]
    total = sum(map(len, FILES.values()))
    assert (last.files, last.files_total, last.bytes, last.bytes_total) == (5, 5, total, total)
    assert (last.failed, last.under_way) == (0, 0)
    assert last.width > 0
    assert last.report.copied == 5
    planned = next(now for now in told if now.plan)
    assert (planned.files, planned.plan.copy, planned.plan.bytes) == (0, 5, total)
    assert last.rate > 0
    assert "5/5 files" in capsys.readouterr().err


async def test_progress_is_an_async_stream_that_tells_failures_and_ends(tmp_path, monkeypatch):
    get = MemoryProvider.get

    async def broken(self, key, /, **how):
        if key == "empty":
            raise IntegrityError("broken on the way")
        return await get(self, key, **how)

    monkeypatch.setattr(MemoryProvider, "get", broken)
    async with open_store("mem://stream") as store:
        await filled(store)
        events = Events()
        task = asyncio.create_task(store.download("", tmp_path, progress=events))
        seen = [now async for now in events]
        report = await task
    assert seen[-1].report is report
    assert [failure.key for now in seen for failure in now.failures] == ["empty"]
    assert seen[-1].failed == 1


@pytest.mark.parametrize("target", ["s3://bucket/x", "inside"])
async def test_the_stream_of_progress_ends_also_where_nothing_begins(tmp_path, target):
    events = Events()
    async with open_store(tmp_path) as store:
        folder = tmp_path / target if target == "inside" else target
        task = asyncio.create_task(store.download("", folder, progress=events))
        async with asyncio.timeout(60):
            assert [now async for now in events] == []
        with pytest.raises(InvalidPathError):
            await task


async def test_a_listing_out_of_order_is_an_error_and_nothing_is_deleted(tmp_path, monkeypatch):
    async with open_store("mem://order1") as source, open_store("mem://order2") as target:
        await filled(source)
        await target.put("stranger", b"s")
        page = MemoryProvider.list_page

        async def shuffled(self, prefix, /, **how):
            found = await page(self, prefix, **how)
            return replace(found, objects=[*reversed(found.objects)])

        monkeypatch.setattr(MemoryProvider, "list_page", shuffled)
        with pytest.raises(IntegrityError, match="out of order"):
            await source.sync(target, delete=True)
        monkeypatch.undo()
        assert set(await content(target)) == {"stranger"}


async def test_the_report_counts_the_requests_that_were_made_again(tmp_path, monkeypatch):
    get = MemoryProvider.get
    failed = set()

    async def shaky(self, key, /, **how):
        if key not in failed:
            failed.add(key)
            raise UnavailableError("a hiccup")
        return await get(self, key, **how)

    monkeypatch.setattr(MemoryProvider, "get", shaky)
    async with open_store("mem://shaky") as store:
        await filled(store)
        report = await store.download("", tmp_path)
    assert (report.copied, report.retries, report.failures) == (5, 5, [])
    assert "5 retries" in str(report)


@pytest.mark.parametrize("durability", ["deferred", "full"])
async def test_what_is_on_record_was_flushed_before_once_or_per_file(
    tmp_path, monkeypatch, durability
):
    order: list[str] = []
    for kind, finish in ((Deferred, Deferred.finish), (Flush, Flush.file)):
        name = finish.__name__

        def told(self, *rest, finish=finish, name=name):
            order.append(name)
            return finish(self, *rest)

        monkeypatch.setattr(kind, name, told)
    flushed = Record.flushed

    def record(self):
        order.append("record")
        return flushed(self)

    monkeypatch.setattr(Record, "flushed", record)
    async with open_store("mem://flush") as store:
        await filled(store)
        await store.download("", tmp_path, durability=durability)
        if durability == "deferred":
            assert order.count("finish") >= 1
            assert order.index("finish") < order.index("record")
            assert "file" not in order
        else:
            assert order.index("record") == 5
            assert order.count("file") == 5


async def test_a_folder_whose_owner_deferred_flushing_is_flushed_by_sync(tmp_path, monkeypatch):
    finished: list[int] = []
    finish = Deferred.finish

    def told(self):
        finished.append(len(os.listdir(tmp_path)))
        return finish(self)

    monkeypatch.setattr(Deferred, "finish", told)
    async with (
        open_store("mem://owner") as source,
        open_store(tmp_path, durability="deferred") as target,
    ):
        await filled(source)
        await source.sync(target)
        assert finished == [3]


async def test_metadata_goes_along_where_both_sides_have_it():
    async with open_store("mem://meta1") as source, open_store("mem://meta2") as target:
        await source.put("k", b"1", content_type="text/plain", metadata={"a": "b"})
        await source.sync(target)
        meta = await target.head("k")
        assert (meta.content_type, meta.metadata) == ("text/plain", {"a": "b"})


async def test_wrong_arguments_are_told_before_anything_is_done(tmp_path):
    async with open_store(tmp_path / "s") as store:
        await store.put("d/k", b"1")
        with pytest.raises(InvalidPathError, match="lies in"):
            await store.sync(store / "d")
        with pytest.raises(InvalidPathError, match="lies in"):
            await store.download("", tmp_path / "s" / "d")
        with pytest.raises(InvalidPathError, match="no local folder"):
            await store.download("", "s3://bucket/x")
        with pytest.raises(NotFoundError):
            await store.upload(tmp_path / "nowhere")
        with pytest.raises(ConfigurationError, match="lists"):
            await store.download("", tmp_path / "t", include="*.txt")
        with pytest.raises(ConfigurationError, match="keys_from"):
            await store.download("", tmp_path / "t", keys_from=tmp_path / "missing")
        with pytest.raises(ConfigurationError, match="failures_to"):
            await store.download("", tmp_path / "t", failures_to=tmp_path / "no" / "folder")
        wrongs: list[dict[str, Any]] = [{"include": [1]}, {"progress": "yes"}, {"width": 0}]
        for wrong in wrongs:
            with pytest.raises(ConfigurationError, match=next(iter(wrong))):
                await store.download("", tmp_path / "t", **wrong)
        keys: list[Any] = [5, ["k", 5], [b"k"]]
        for some in keys:
            with pytest.raises(ConfigurationError, match="keys"):
                await store.download(some, tmp_path / "t")
        path: Any = "s3://bucket"
        with pytest.raises(ConfigurationError, match="open_store"):
            await store.sync(path)
        assert not (tmp_path / "t").exists()
        (tmp_path / "keys").write_text("k\n")
        async with open_store(tmp_path / "t") as other:
            with pytest.raises(ConfigurationError, match="delete"):
                await store.sync(other, delete=True, keys_from=tmp_path / "keys")


async def test_without_a_place_for_the_record_content_is_compared(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    fill(tmp_path / "from", FILES)
    async with open_store(tmp_path / "to") as store:
        assert (await store.upload(tmp_path / "from")).copied == 5
        again = await store.upload(tmp_path / "from")
        assert (again.copied, again.skipped) == (0, 5)
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("kind", [PermissionDeniedError, NotSupportedError, IntegrityError])
async def test_who_cannot_look_at_an_upload_begins_anew(tmp_path, monkeypatch, small, kind):
    fill(tmp_path / "from", FILES)
    source = LocalProvider.get
    refused = kind("not to be seen, or not to be understood")

    async def failing(self, key, /, **how):
        if key.endswith("b.bin") and how["span"].start:
            raise UnavailableError("the network is down")
        return await source(self, key, **how)

    async with open_store(tmp_path / "to") as store:
        with monkeypatch.context() as patch:
            patch.setattr(LocalProvider, "get", failing)
            patch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
            report = await store.upload(tmp_path / "from")
        assert [failure.key for failure in report.failures] == ["sub/b.bin"]
        assert any(name.endswith(".part") for name in tree(tmp_path / "to"))
        resume = LocalProvider.resume_upload

        async def blind(self, key, token, /, **how):
            if token:
                raise refused
            return await resume(self, key, token, **how)

        with monkeypatch.context() as patch:
            patch.setattr(LocalProvider, "resume_upload", blind)
            report = await store.upload(tmp_path / "from")
        assert (report.copied, report.resumed, report.failures) == (1, 0, [])
    assert tree(tmp_path / "to") == FILES


async def test_what_cannot_be_written_with_others_is_written_alone_or_tells_why(tmp_path):
    there = {f"d/{n}": os.urandom(100) for n in range(300)}
    fill(tmp_path / "from", there)
    (tmp_path / "to" / "d" / "7").mkdir(parents=True)  # empty: it may go
    (tmp_path / "to" / "d" / "8").mkdir()
    (tmp_path / "to" / "d" / "8" / "below").write_bytes(b"")
    os.symlink("5", tmp_path / "to" / "d" / "9")
    async with open_store(tmp_path / "from") as store:
        report = await store.download("", tmp_path / "to")
        failed = {failure.key: type(failure.error) for failure in report.failures}
        assert failed == {"d/8": NotSupportedError, "d/9": InvalidPathError}
        assert (report.copied, report.bytes) == (298, 29_800)
        assert os.readlink(tmp_path / "to" / "d" / "9") == "5"
        os.unlink(tmp_path / "to" / "d" / "9")
        os.unlink(tmp_path / "to" / "d" / "8" / "below")
        report = await store.download("", tmp_path / "to")
        assert (report.copied, report.skipped, report.failures) == (2, 298, [])
    assert tree(tmp_path / "to") == there


async def test_a_file_of_a_group_that_is_not_what_was_read_is_told_and_not_on_record(
    tmp_path, monkeypatch
):
    fill(tmp_path / "from", {f"{n}": b"12345" for n in range(9)})
    put_group = LocalProvider.put_group

    async def cutting(self, items, /):
        found = await put_group(self, items)
        return [meta.replace(size=4) if meta and meta.key == "3" else meta for meta in found]

    async with open_store(tmp_path / "from") as store:
        with monkeypatch.context() as patch:
            patch.setattr(LocalProvider, "put_group", cutting)
            report = await store.download("", tmp_path / "to")
        assert [(one.key, type(one.error)) for one in report.failures] == [("3", IntegrityError)]
        assert (report.copied, report.bytes) == (8, 40)
        report = await store.download("", tmp_path / "to", dry_run=True)
        assert [key for verb, key in report.planned if verb != "skip"] == ["3"]


async def test_a_group_of_files_passes_the_layers_of_its_store(tmp_path):
    fill(tmp_path / "from", FILES)
    events: list[Any] = []
    async with (
        open_store(tmp_path / "from") as store,
        open_store(tmp_path / "to", read_only=True) as refused,
        open_store(tmp_path / "to", trace=events.append) as traced,
    ):
        report = await store.sync(refused)
        assert {type(failure.error) for failure in report.failures} == {ReadOnlyError}
        assert len(report.failures) == len(FILES)
        assert not (tmp_path / "to").exists() or tree(tmp_path / "to") == {}
        assert (await store.sync(traced)).ok
    [put] = [event for event in events if event.op == "put"]
    assert put.bytes == sum(map(len, FILES.values()))
    assert tree(tmp_path / "to") == FILES


async def test_what_failed_for_a_passing_reason_goes_on_where_it_was(tmp_path, monkeypatch, small):
    fill(tmp_path / "from", FILES)
    get = LocalProvider.get
    read = []

    async def counting(self, key, /, **how):
        if "from" in self.locate(key) and key.endswith("b.bin"):
            read.append(how["span"].start)
            if len(read) == 5:
                raise UnavailableError("the network is down")
        return await get(self, key, **how)

    monkeypatch.setattr(LocalProvider, "get", counting)
    monkeypatch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
    async with open_store(tmp_path / "to") as store:
        assert not (await store.upload(tmp_path / "from")).ok
        first = len(read)
        report = await store.upload(tmp_path / "from")
        assert (report.copied, report.resumed, report.failures) == (1, 1, [])
        assert len(read) - first < 13  # of 13 parts
    assert tree(tmp_path / "to") == FILES


async def test_parts_of_another_version_are_never_gone_on_with(tmp_path, monkeypatch, small):
    fill(tmp_path / "from", FILES)
    get = LocalProvider.get
    down = True

    async def failing(self, key, /, **how):
        if down and key.endswith("b.bin") and how["span"].start == 48_000:
            raise UnavailableError("the network is down")
        return await get(self, key, **how)

    async def undropped(*_, **__):
        raise PermissionDeniedError("not allowed")

    monkeypatch.setattr(LocalProvider, "get", failing)
    monkeypatch.setattr(LocalProvider, "drop_uploads", undropped)
    monkeypatch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
    async with open_store(tmp_path / "to") as store:
        assert not (await store.upload(tmp_path / "from")).ok
        down = False
        other = os.urandom(100_000)
        (tmp_path / "from" / "sub" / "b.bin").write_bytes(other)
        report = await store.upload(tmp_path / "from")
        assert (report.copied, report.resumed, report.failures) == (1, 0, [])
    assert tree(tmp_path / "to") == FILES | {"sub/b.bin": other}
