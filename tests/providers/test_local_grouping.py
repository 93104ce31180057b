"""Files that are put in groups are as those that are put alone, and what is unusual is left."""

import asyncio
import errno
import fcntl
import os
import threading
import time

import pytest

from asyncstore.provider import PutsGroup
from asyncstore.providers.local import LocalProvider, writing
from tests.transfer.conftest import tree

pytestmark = pytest.mark.asyncio

ITEMS = [(f"d{n % 3}/e/{n}" if n % 4 else f"{n}", os.urandom(n * 7)) for n in range(40)]


@pytest.fixture
def provider(tmp_path):
    return LocalProvider(str(tmp_path), durability="deferred")


@pytest.mark.parametrize("durability", ["full", "deferred"])
async def test_a_group_is_written_as_each_alone_would_be(tmp_path, durability):
    provider = LocalProvider(str(tmp_path), durability=durability)
    assert isinstance(provider, PutsGroup)
    found = await provider.put_group(ITEMS)
    assert list(found) == [await provider.head(key) for key, _ in ITEMS]
    assert tree(tmp_path) == dict(ITEMS)
    alone = await provider.put("alone", b"")
    assert len({meta.etag for meta in found if meta} | {alone.etag}) == len(ITEMS) + 1
    modes = {os.stat(tmp_path / key).st_mode for key in ("alone", *dict(ITEMS))}
    assert len(modes) == 1
    await provider.aclose()


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="platform: a file has a name")
async def test_a_file_has_no_name_until_it_is_whole(tmp_path, provider, monkeypatch):
    """A kill then leaves nothing; names that are there are replaced by way of temporary ones."""
    seen = []

    def looking(fd, **how):
        seen.append(sorted(os.listdir(tmp_path)))
        return utime(fd, **how)

    utime = os.utime
    monkeypatch.setattr(os, "utime", looking)
    assert None not in await provider.put_group([("a", b"a"), ("b", b"b")])
    assert seen == [[], ["a"]]
    assert None not in await provider.put_group([("c", b"c"), ("a", b"new"), ("d", b"d")])
    assert [len(names) for names in seen[2:]] == [2, 3, 4, 5]
    assert tree(tmp_path) == {"a": b"new", "b": b"b", "c": b"c", "d": b"d"}


async def test_where_files_must_have_a_name_a_group_is_written_all_the_same(
    tmp_path, provider, monkeypatch
):
    opened, nameless = os.open, getattr(os, "O_TMPFILE", -1)

    def refusing(path, flags, *mode, **how):
        if flags & nameless == nameless:
            raise OSError(errno.EOPNOTSUPP, "no files without a name here")
        return opened(path, flags, *mode, **how)

    monkeypatch.setattr(os, "open", refusing)
    assert None not in await provider.put_group(ITEMS)
    assert tree(tmp_path) == dict(ITEMS)


async def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, provider):
    await provider.put("private", b"old")
    os.chmod(tmp_path / "private", 0o600)
    before = await provider.head("private")
    [meta, _] = await provider.put_group([("private", b"new"), ("public", b"")])
    assert meta.etag != before.etag
    assert tree(tmp_path) == {"private": b"new", "public": b""}
    assert os.stat(tmp_path / "private").st_mode & 0o777 == 0o600


async def test_what_is_unusual_is_left_to_be_put_alone_and_nothing_of_it_stays(tmp_path, provider):
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    for folder in (outside, root / "empty", root / "full"):
        folder.mkdir(parents=True)
    (root / "full" / "inner").write_bytes(b"inner")
    (root / "file").write_bytes(b"file")
    (outside / "secret").write_bytes(b"secret")
    os.symlink(outside / "secret", root / "link")
    os.symlink(outside, root / "door")
    os.mkfifo(root / "pipe")
    provider = LocalProvider(str(root), durability="deferred")
    keys = ["link", "door/secret", "door/new", "pipe", "empty", "full", "file/below"]
    keys += [
        "../up",
        "a//b",
        "new/" + "x" * 300,
        "x/.asyncstore-0123456789abcdef.tmp",
        "\udcff/a\0",
    ]
    items = [(key, b"changed") for key in keys]
    found = await provider.put_group([*items, ("well", b"well"), ("full/well", b"well")])
    assert [meta is not None for meta in found] == [False] * len(keys) + [True] * 2
    os.unlink(root / "pipe")
    assert tree(outside) == {"secret": b"secret"}
    assert (root / "link").is_symlink()
    assert (root / "door").is_symlink()
    os.unlink(root / "link")
    left = {"full/inner": b"inner", "file": b"file", "well": b"well", "full/well": b"well"}
    assert tree(root) == left
    assert sorted(os.listdir(root)) == ["door", "empty", "file", "full", "well"]


async def test_a_name_that_is_taken_between_writing_and_naming_is_not_lost(
    tmp_path, provider, monkeypatch
):
    """One that gets no name is told, and its bytes are gone; the others are there."""
    rename = os.rename

    def failing(source, target, **how):
        if target == "b":
            raise PermissionError(1, "no")
        rename(source, target, **how)

    def refusing(source, target, **how):
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "link", refusing)
    monkeypatch.setattr(os, "rename", failing)
    found = await provider.put_group([("d/a", b"a"), ("d/b", b"b"), ("d/c", b"c")])
    assert [meta is not None for meta in found] == [True, False, True]
    assert tree(tmp_path) == {"d/a": b"a", "d/c": b"c"}


async def test_who_compares_a_version_first_has_the_folder_alone(tmp_path, provider):
    await provider.put("k", b"old")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    group = asyncio.create_task(provider.put_group([("k", b"new")]))
    await asyncio.wait([group], timeout=0.1)
    assert (tmp_path / "k").read_bytes() == b"old"
    os.close(folder)
    assert await group == [await provider.head("k")]


async def test_a_group_that_is_cancelled_ends_and_leaves_nothing(tmp_path, provider, monkeypatch):
    begun, go = threading.Event(), threading.Event()

    def waiting(fd, **how):
        begun.set()
        go.wait(60)
        return utime(fd, **how)

    utime = os.utime
    monkeypatch.setattr(os, "utime", waiting)
    group = asyncio.create_task(provider.put_group([("d/a", b"a"), ("d/b", b"b")]))
    await asyncio.to_thread(begun.wait)
    group.cancel()
    await asyncio.sleep(0)
    assert not group.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await group
    assert os.listdir(tmp_path) == []


async def test_more_threads_write_where_the_disk_is_slow(tmp_path, provider, monkeypatch):
    threads = set()

    def slowly(fd, **how):
        threads.add(threading.get_ident())
        time.sleep(0.004)  # the disk
        return utime(fd, **how)

    utime = os.utime
    monkeypatch.setattr(os, "utime", slowly)
    await provider.put_group(ITEMS[:4])
    assert len(threads) == 1
    found = await provider.put_group(ITEMS)
    assert len(threads) > 2
    assert None not in found
    assert tree(tmp_path) == dict(ITEMS)


async def test_a_disk_that_is_full_leaves_no_piece_of_a_file(tmp_path, provider, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:50]))
    found = await provider.put_group([("d/short", b"a" * 50), ("d/long", b"b" * 51)])
    assert [meta is not None for meta in found] == [True, False]
    assert tree(tmp_path) == {"d/short": b"a" * 50}


async def test_no_stamp_is_given_twice_however_slow_the_clock(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    given = [*writing.stamps(3), *writing.stamps(2), *writing.stamps(1)]
    assert sorted(set(given)) == given
