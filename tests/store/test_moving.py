"""A move within a store on disk or in memory is a rename; whoever may refuse writes is asked."""

from __future__ import annotations

import errno
import os
import secrets
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncstore import open_store
from asyncstore.errors import (
    AlreadyExistsError,
    DatasetLockedError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    ReadOnlyError,
)

if TYPE_CHECKING:
    from asyncstore.layers import Event

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["mem", "local"])
def path(request, tmp_path):
    return str(tmp_path) if request.param == "local" else f"mem://renaming/{secrets.token_hex(4)}"


@pytest.fixture
async def store(anyio_backend, path):
    async with open_store(path) as store:
        yield store


async def keys(store):
    return [meta.key async for meta in store.list()]


async def test_a_move_is_no_copy(store):
    before = await store.put("a/k", b"x" * 100)
    moved = await store.move("a/k", "b/c/l")
    assert moved == await store.head("b/c/l")
    assert (moved.key, moved.size) == ("b/c/l", 100)
    # Of a copy both would be others.
    assert (moved.etag, moved.modified) == (before.etag, before.modified)
    assert await keys(store) == ["b/c/l"]
    assert bytes(await store.get("b/c/l")) == b"x" * 100


async def test_a_move_replaces_what_is_there_unless_it_is_to_create(store):
    await store.put("k", b"new")
    await store.put("l", b"old")
    with pytest.raises(AlreadyExistsError):
        await store.move("k", "l", if_absent=True)
    assert [bytes(await store.get(key)) for key in "kl"] == [b"new", b"old"]
    await store.move("k", "l")
    await store.move("l", "m", if_absent=True)
    assert await keys(store) == ["m"]
    assert bytes(await store.get("m")) == b"new"


async def test_a_move_to_itself_changes_nothing(store):
    await store.put("k", b"1")
    assert (await store.move("k", "k")).size == 1
    assert await keys(store) == ["k"]


async def test_a_move_of_nothing_is_not_found(store):
    await store.put("l", b"old")
    for source in ("none", "no/k"):
        with pytest.raises(NotFoundError):
            await store.move(source, "l")
    assert bytes(await store.get("l")) == b"old"


async def test_of_many_who_move_one_object_one_succeeds(store):
    await store.put("k", b"1")
    ends = []

    async def move(n):
        try:
            await store.move("k", f"to/{n}", if_absent=n % 2 == 0)
            ends.append("moved")
        except NotFoundError:
            ends.append("gone")

    async with anyio.create_task_group() as group:
        for n in range(16):
            group.start_soon(move, n)
    assert sorted(ends) == ["gone"] * 15 + ["moved"]
    assert len(await keys(store)) == 1


async def test_who_moves_to_and_fro_waits_for_nobody(store):
    for n in range(8):
        await store.put(f"a/{n}", b"1")
        await store.put(f"b/{n}", b"1")

    async def move(source, target):
        for n in range(8):
            await store.move(f"{source}/{n}", f"{target}/from-{source}-{n}", if_absent=True)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(move, "a", "b")
            group.start_soon(move, "b", "a")
    assert len(await keys(store)) == 16


async def test_a_child_moves_to_its_parent_and_back(store):
    child = store / "below"
    await child.put("k", b"1")
    await child.move("k", "up", to=store)
    assert await keys(store) == ["up"]
    moved = await store.move("up", "k", to=child)
    assert moved.key == "k"
    assert await keys(store) == ["below/k"]


async def test_a_read_only_store_moves_nothing(store, path):
    await store.put("k", b"1")
    async with open_store(path, read_only=True) as reader:
        with pytest.raises(ReadOnlyError):
            await reader.move("k", "l")
        with pytest.raises(ReadOnlyError):
            await reader.move("k", "l", to=store)
        with pytest.raises(ReadOnlyError):
            await store.move("k", "l", to=reader)
    assert "k" in await keys(store)


class Guard:
    read_only = False
    asked = 0

    async def before_write(self):
        self.asked += 1
        raise DatasetLockedError("lost")


async def test_a_guard_is_asked_and_may_refuse_a_move(store):
    await store.put("k", b"1")
    guard = Guard()
    with pytest.raises(DatasetLockedError, match="l: lost"):
        await store.guarded(guard).move("k", "l")
    assert guard.asked == 1
    assert await keys(store) == ["k"]


async def test_a_move_is_told_as_one_call(path):
    events: list[Event] = []
    async with open_store(path, trace=events.append) as store:
        await store.put("k", b"1")
        await store.move("k", "l")
    assert [event.op for event in events] == ["put", "move"]


# Files.


@pytest.fixture
async def files(anyio_backend, tmp_path):
    async with open_store(tmp_path / "root") as store:
        yield store, tmp_path / "root"


async def test_folders_come_and_go_with_a_moved_file(files):
    store, root = files
    await store.put("a/b/k", b"1")
    await store.move("a/b/k", "c/d/k")
    assert sorted(path.name for path in root.rglob("*")) == ["c", "d", "k"]
    with pytest.raises(NotFoundError):
        await store.move("a/none", "new/folder/k")
    assert sorted(path.name for path in root.rglob("*")) == ["c", "d", "k"]


async def test_a_file_moves_over_an_empty_folder_and_over_none_with_objects(files):
    store, root = files
    await store.put("k", b"1")
    await store.put("full/k", b"2")
    with pytest.raises(NotSupportedError):
        await store.move("k", "full")
    with pytest.raises(NotSupportedError):
        await store.move("k", "full/k/deeper")
    (root / "hollow").mkdir()
    await store.move("k", "hollow")
    assert await keys(store) == ["full/k", "hollow"]


async def test_no_link_is_moved_or_replaced(files, tmp_path):
    store, root = files
    (tmp_path / "outside").write_bytes(b"secret")
    await store.put("k", b"1")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "up").symlink_to(tmp_path)
    for source, target in (("link", "l"), ("k", "link"), ("k", "up/l"), ("up/outside", "l")):
        with pytest.raises(InvalidPathError):
            await store.move(source, target)
    assert sorted(os.listdir(root)) == ["k", "link", "up"]
    assert (tmp_path / "outside").read_bytes() == b"secret"


async def test_two_names_of_one_file_become_one(files):
    store, root = files
    await store.put("k", b"1")
    os.link(root / "k", root / "l")
    await store.move("k", "l")
    assert await keys(store) == ["l"]


async def test_between_two_file_systems_the_object_is_copied(files, monkeypatch):
    store, _ = files
    await store.put("a/k", b"1")

    def rename(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", Renaming(rename))
    await store.move("a/k", "b/l")
    assert await keys(store) == ["b/l"]


class Renaming:
    """Fails the first time: the copy renames its own file, which is beside its name."""

    def __init__(self, fail):
        self._fail = fail
        self._real = os.rename

    def __call__(self, *args, **options):
        fail, self._fail = self._fail, self._real
        return fail(*args, **options)


async def test_the_file_is_on_the_disk_before_its_name_and_then_both_folders(files, monkeypatch):
    store, root = files
    await store.put("a/k", b"1")
    await store.put("b/other", b"1")
    told = []
    names = {os.stat(root / name).st_ino: name for name in ("a", "b", "a/k")}

    def noting(name, real):
        def call(*args, **options):
            state = os.fstat(args[0]) if name == "fsync" else None
            told.append(name if state is None else f"{name} {names.get(state.st_ino)}")
            return real(*args, **options)

        return call

    for name in ("fsync", "rename", "link", "unlink"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    await store.move("a/k", "b/k")
    assert told[-4:] == ["fsync a/k", "rename", "fsync b", "fsync a"]
    await store.put("a/l", b"")
    names |= {os.stat(root / "a").st_ino: "a", os.stat(root / "b/k").st_ino: "b/k"}
    await store.move("b/k", "a/k", if_absent=True)
    assert told[-5:] == ["fsync b/k", "link", "unlink", "fsync a", "fsync b"]
