"""What files add to the contract: versions, modes, folders, moves, and a loop that never waits."""

import asyncio
import errno
import os
import stat
import threading
import time
from itertools import pairwise

import pytest
from blockbuster import BlockBuster

from asyncstore.errors import (
    AlreadyExistsError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    StoreError,
)
from asyncstore.provider import Diagnoses, MovesPrefix
from asyncstore.providers.local import LocalProvider, connect, flushing, reading, threads
from asyncstore.types import Settings, Span
from asyncstore.url import StoreURL


@pytest.fixture
def provider(tmp_path):
    return LocalProvider(str(tmp_path))


@pytest.mark.asyncio
async def test_the_event_loop_never_waits_for_a_file(tmp_path):
    provider = LocalProvider(str(tmp_path / "root"))
    blockbuster = BlockBuster()
    blockbuster.activate()
    try:
        with pytest.raises(Exception, match="Blocking call"):
            os.stat(tmp_path)
        await provider.put("a/k", b"x" * 1_000_000)
        await provider.put("a/new", b"x", if_absent=True)
        meta = await provider.head("a/k")
        await provider.put("a/k", b"x" * 9_000_000, if_match=meta.etag)
        await provider.get("a/k", span=Span(-10))
        await provider.get("a/k", into=memoryview(bytearray(9_000_000)))
        async with provider.open("a/k") as stream:
            async for _ in stream:
                break
        upload = await provider.begin_upload("a/parts")
        await upload.put_part(2, b"y")
        await upload.put_part(1, b"xxx")
        await upload.complete()
        aborted = await provider.begin_upload("a/never")
        await aborted.abort()
        await provider.copy("a/k", "b/k")
        await provider.list_page("", limit=1)
        await provider.list_page("", delimiter=True)
        await provider.move_prefix("b", "c")
        await provider.delete(["a/k", "c/k", "no"])
        await provider.diagnose()
        with pytest.raises(NotFoundError):
            await provider.get("no")
        await provider.aclose()
    finally:
        blockbuster.deactivate()


@pytest.mark.asyncio
async def test_every_rewrite_changes_the_version(tmp_path):
    """However fast: the kernel's clock ticks a few hundred times a second only."""
    provider = LocalProvider(str(tmp_path), durability="deferred")
    etags = [(await provider.put("k", b"same")).etag for _ in range(500)]
    assert len(set(etags)) == 500
    assert (await provider.head("k")).etag == etags[-1]


@pytest.mark.asyncio
async def test_a_clock_that_stands_still_or_goes_back_makes_no_version_twice(
    provider, tmp_path, monkeypatch
):
    now = (await provider.head((await provider.put("k", b"x")).key)).modified
    for still in (0, -3600):
        clock = int(now.timestamp() * 1e9) + still * 10**9
        monkeypatch.setattr(time, "time_ns", lambda clock=clock: clock)
        times = []
        for _ in range(5):
            await provider.put("k", b"x")
            times.append((tmp_path / "k").stat().st_mtime_ns)
        assert [later - first for first, later in pairwise(times)] == [1] * 4


@pytest.mark.asyncio
async def test_a_file_that_others_change_in_place_changes_its_version(provider, tmp_path):
    etag = (await provider.put("k", b"1234")).etag
    (tmp_path / "k").write_bytes(b"5678")
    assert (await provider.head("k")).etag != etag


@pytest.mark.asyncio
@pytest.mark.parametrize("change", ["longer", "shorter", "same"])
async def test_a_file_changed_during_a_read_is_noticed(provider, tmp_path, monkeypatch, change):
    size = 20_000_000
    await provider.put("k", bytes(size))
    real = os.preadv
    contents = {"longer": bytes(size + 1), "shorter": bytes(size // 2), "same": b"\1" * size}

    def changing(*args):
        monkeypatch.setattr(os, "preadv", real)
        (tmp_path / "k").write_bytes(contents[change])
        return real(*args)

    monkeypatch.setattr(os, "preadv", changing)
    with pytest.raises(ObjectChangedError):
        await provider.get("k")
    assert len(await provider.get("k")) == len(contents[change])


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [b"short", b"\1" * 40_000_000], ids=["shorter", "same size"])
async def test_a_file_changed_during_a_stream_is_noticed(provider, tmp_path, content):
    await provider.put("k", bytes(40_000_000))
    async with provider.open("k") as stream:
        await anext(stream)
        (tmp_path / "k").write_bytes(content)
        with pytest.raises(ObjectChangedError):
            async for _ in stream:
                pass


@pytest.mark.asyncio
async def test_a_cancellation_while_a_stream_is_closed_is_not_lost(provider, monkeypatch):
    await provider.put("k", b"x")
    closing, go_on = threading.Event(), threading.Event()
    close = reading.Source.close

    def slow(source):
        closing.set()
        assert go_on.wait(60)
        close(source)

    monkeypatch.setattr(reading.Source, "close", slow)

    async def use():
        async with provider.open("k"):
            pass

    task = asyncio.create_task(use())
    assert await asyncio.to_thread(closing.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_what_must_be_done_is_done_though_it_was_cancelled_before_it_began(monkeypatch):
    monkeypatch.setattr(threads, "WORKERS", 1)
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    go_on = threading.Event()
    others = threads.start(lambda: go_on.wait(60))
    done: list[int] = []
    task = asyncio.create_task(threads.run(lambda: done.append(1), sure=True))
    await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]
    await others.outlast()


@pytest.mark.asyncio
async def test_a_file_replaced_during_a_stream_is_read_to_its_end(provider):
    await provider.put("k", b"\1" * 9_000_000)
    async with provider.open("k") as stream:
        arrived = bytearray(await anext(stream))
        await provider.put("k", b"\2" * 9_000_000)
        async for view in stream:
            arrived += view
    assert arrived == b"\1" * 9_000_000


@pytest.mark.asyncio
async def test_a_source_changed_during_a_copy_is_noticed(provider, tmp_path, monkeypatch):
    await provider.put("k", bytes(1000))
    real = os.copy_file_range

    def changing(*args):
        monkeypatch.setattr(os, "copy_file_range", real)
        (tmp_path / "k").write_bytes(b"\1" * 1000)
        return real(*args)

    monkeypatch.setattr(os, "copy_file_range", changing)
    with pytest.raises(ObjectChangedError):
        await provider.copy("k", "copied")
    assert os.listdir(tmp_path) == ["k"]


@pytest.mark.asyncio
async def test_a_copy_works_where_the_system_cannot_help(provider, monkeypatch):
    data = os.urandom(3_000_000)
    await provider.put("k", data)

    def cannot(*_):
        raise OSError(errno.EXDEV, "cannot")

    monkeypatch.setattr(os, "copy_file_range", cannot)
    await provider.copy("k", "copied")
    assert bytes(await provider.get("copied")) == data


@pytest.mark.asyncio
async def test_files_get_the_mode_that_the_user_wants(provider, tmp_path):
    wanted = os.open(tmp_path / "wanted", os.O_CREAT | os.O_WRONLY, 0o666)
    os.close(wanted)
    await provider.put("k", b"x")
    await provider.copy("k", "copied")

    def mode(name):
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert mode("k") == mode("copied") == mode("wanted")
    (tmp_path / "k").chmod(0o640)
    await provider.put("k", b"y")
    assert mode("k") == 0o640, "a rewrite opened the file to others"


@pytest.mark.asyncio
async def test_a_file_being_written_is_nobody_elses(provider, tmp_path):
    upload = await provider.begin_upload("d/k")
    await upload.put_part(1, b"private")
    (temp,) = (tmp_path / "d").iterdir()
    assert stat.S_IMODE(temp.stat().st_mode) == 0o600
    await upload.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.asyncio
async def test_folders_go_with_their_last_object_and_no_sooner(provider, tmp_path):
    await provider.put("a/b/c/k", b"x")
    await provider.put("a/b/other", b"x")
    await provider.delete(["a/b/c/k"])
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["other"]
    await provider.delete(["a/b/other"])
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.is_dir()


@pytest.mark.asyncio
async def test_an_empty_folder_is_no_object_and_in_nobodys_way(provider, tmp_path):
    (tmp_path / "k").mkdir()
    with pytest.raises(NotFoundError):
        await provider.get("k")
    await provider.put("k", b"x")
    assert (tmp_path / "k").read_bytes() == b"x"
    (tmp_path / "full" / "inner").mkdir(parents=True)
    with pytest.raises(NotSupportedError):
        await provider.put("full", b"x")


@pytest.mark.asyncio
async def test_writers_and_removers_of_one_folder_do_not_disturb_each_other(tmp_path):
    """A folder that is tidied away under a writer's hands is made again."""
    provider = LocalProvider(str(tmp_path), durability="deferred")

    async def come_and_go(n):
        for _ in range(60):
            await provider.put(f"a/b/{n}", b"x")
            assert bytes(await provider.get(f"a/b/{n}")) == b"x"
            assert not await provider.delete([f"a/b/{n}"])

    await asyncio.gather(*(come_and_go(n) for n in range(8)))
    assert list(tmp_path.iterdir()) == []
    await provider.aclose()


@pytest.mark.asyncio
async def test_a_prefix_moves_at_once(provider, tmp_path):
    for key in ("old/a", "old/d/b", "older"):
        await provider.put(key, key.encode())
    etag = (await provider.head("old/a")).etag
    await provider.move_prefix("old", "x/new")
    keys = [meta.key for meta in (await provider.list_page("")).objects]
    assert keys == ["older", "x/new/a", "x/new/d/b"]
    assert (await provider.head("x/new/a")).etag == etag
    assert isinstance(provider, MovesPrefix)


@pytest.mark.asyncio
async def test_a_move_clobbers_nothing_and_invents_nothing(provider, tmp_path):
    for key in ("old/a", "there/b", "file"):
        await provider.put(key, key.encode())
    for target in ("there", "file"):
        with pytest.raises(AlreadyExistsError):
            await provider.move_prefix("old", target)
    for source in ("no", "file", "no/no"):
        with pytest.raises(NotFoundError):
            await provider.move_prefix(source, "x")
    with pytest.raises(InvalidPathError):
        await provider.move_prefix("old", "old/inner")
    with pytest.raises(NotSupportedError):
        await provider.move_prefix("old", "file/inner")
    keys = [meta.key for meta in (await provider.list_page("")).objects]
    assert keys == ["file", "old/a", "there/b"]
    (tmp_path / "empty").mkdir()
    await provider.move_prefix("old", "empty")
    assert bytes(await provider.get("empty/a")) == b"old/a"


@pytest.mark.asyncio
async def test_what_a_deferred_flush_could_not_write_is_told_when_closing(tmp_path, monkeypatch):
    provider = LocalProvider(str(tmp_path), durability="deferred")
    await provider.put("k", b"x")

    def failing(_):
        raise OSError(errno.EIO, "failed")

    monkeypatch.setattr(flushing, "_syncfs", failing)
    with pytest.raises(StoreError, match="EIO"):
        await provider.aclose()


@pytest.mark.asyncio
async def test_it_tells_doctor_what_it_is(provider, tmp_path):
    assert isinstance(provider, Diagnoses)
    facts = await provider.diagnose()
    assert facts["endpoint"] == str(tmp_path)
    assert facts["exists"] is True
    assert facts["capabilities"]["conditional_put"] is True
    assert facts["capabilities"]["writable"] is True


def test_it_is_made_from_a_url_without_touching_the_disk(tmp_path):
    url = StoreURL.parse(tmp_path / "not there")
    provider = connect(url, Settings(durability="deferred"))
    assert provider.locate("a/b") == f"{tmp_path}/not there/a/b"
    assert LocalProvider("/").locate("a") == "/a"
    assert not (tmp_path / "not there").exists()


@pytest.mark.asyncio
async def test_large_reads_are_cut_into_pieces_that_can_be_cancelled(provider, monkeypatch):
    monkeypatch.setattr(reading, "PIECE", 1000)
    data = os.urandom(100_001)
    await provider.put("k", data)
    assert bytes(await provider.get("k")) == data
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    calls = 0
    real = os.preadv

    def counted(*args):
        nonlocal calls
        calls += 1
        loop.call_soon_threadsafe(started.set)
        while not task.cancelling():
            pass
        return real(*args)

    monkeypatch.setattr(os, "preadv", counted)
    buffer = bytearray(100_001)
    task = asyncio.create_task(provider.get("k", into=memoryview(buffer)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = bytes(buffer)
    assert calls < 50
    await provider.head("k")
    assert bytes(buffer) == before, "the buffer was filled after the call had ended"
