"""A transfer watched without `await`: to its end, left half-way, and where it fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncstore import sync
from asyncstore.errors import ConfigurationError, IntegrityError, InvalidPathError
from asyncstore.providers.memory import MemoryProvider
from tests.transfer.conftest import tree

FILES = {f"d/{n:02}": b"x" * n for n in range(40)}


@pytest.fixture
def store():
    with sync.open_store(f"mem://watching-{threading.get_native_id()}") as store:
        store.delete_prefix("")
        for key, data in FILES.items():
            store.put(key, data)
        yield store


def held(monkeypatch, key):
    """Let reads of one object wait for ever; return what tells that one does."""
    get = MemoryProvider.get
    reached, ended = threading.Event(), threading.Event()

    async def waiting(self, name, /, **how):
        if name == key:
            reached.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()
        return await get(self, name, **how)

    monkeypatch.setattr(MemoryProvider, "get", waiting)
    return reached, ended


@pytest.mark.parametrize("way", ["download", "upload", "sync"])
def test_every_transfer_is_watched_to_its_end(store, tmp_path, way):
    with sync.open_store(tmp_path / "there") as other:
        if way == "upload":
            store.download("", tmp_path / "from")
            watched = sync.watch(store.upload, tmp_path / "from", "up", exclude=["d/00"])
        elif way == "sync":
            watched = sync.watch(store.sync, other, exclude=["d/00"])
        else:
            keys = (key for key in FILES if key != "d/00")
            watched = sync.watch(store.download, keys, tmp_path / "there")
        with watched as events:
            seen = list(events)
            assert list(events) == []
    assert events.report is seen[-1].report
    assert (events.report.copied, events.report.failures) == (39, [])
    assert any(now.plan and now.plan.copy == 39 and now.files == 0 for now in seen)
    assert [now.bytes for now in seen] == sorted(now.bytes for now in seen)


def test_leaving_half_way_cancels_the_transfer(store, tmp_path, monkeypatch):
    reached, ended = held(monkeypatch, "d/07")
    with sync.watch(store.download, "", tmp_path) as events:
        for _ in events:
            assert reached.wait(10)
            break
    assert ended.is_set()
    with pytest.raises(RuntimeError, match="no report"):
        _ = events.report
    assert all(not name.endswith(".tmp") for name in tree(tmp_path))
    monkeypatch.undo()
    assert store.download("", tmp_path).ok
    assert tree(tmp_path) == FILES


def test_an_error_in_the_loop_cancels_the_transfer_and_is_raised(store, tmp_path, monkeypatch):
    _, ended = held(monkeypatch, "d/07")
    watched = sync.watch(store.download, "", tmp_path)
    with pytest.raises(ZeroDivisionError), watched as events:
        next(events).files / 0
    assert ended.is_set() or not tree(tmp_path)


def test_what_fails_for_single_objects_is_told_as_it_comes(store, tmp_path, monkeypatch):
    get = MemoryProvider.get

    async def broken(self, name, /, **how):
        if name == "d/07":
            raise IntegrityError("broken on the way")
        return await get(self, name, **how)

    monkeypatch.setattr(MemoryProvider, "get", broken)
    with sync.watch(store.download, "", tmp_path) as events:
        failures = [failure.key for now in events for failure in now.failures]
    assert failures == ["d/07"]
    assert [failure.key for failure in events.report.failures] == ["d/07"]


def test_what_ends_the_transfer_is_raised_where_the_iteration_ends(store, tmp_path):
    with pytest.raises(InvalidPathError), sync.watch(store.download, "", "s3://b/x") as events:
        list(events)
    with sync.watch(store.download, "", "s3://b/x") as events, pytest.raises(InvalidPathError):
        list(events)  # told once
    with pytest.raises(IntegrityError):
        _fails_unseen(store, tmp_path)


def _fails_unseen(store, tmp_path):
    with pytest.MonkeyPatch.context() as patch:

        async def broken(*_, **__):
            raise IntegrityError("the listing contradicts itself")

        patch.setattr(MemoryProvider, "list_page", broken)
        with sync.watch(store.download, "", tmp_path) as events:
            assert events._running is not None
            events._held.run(lambda: _ended(events._running))


async def _ended(running):
    await asyncio.wait([running._task])


def test_what_cannot_be_watched_is_told(store, tmp_path):
    wrongs: list[Any] = [store.get, print, sync.Store.download]
    for wrong in wrongs:
        with pytest.raises(TypeError, match=r"store\.download"):
            sync.watch(wrong, "d")
    with pytest.raises(TypeError, match="progress"):
        sync.watch(store.download, "", tmp_path, progress=True)
    with pytest.raises(RuntimeError, match="with"):
        next(sync.watch(store.download, "", tmp_path))


def test_wrong_arguments_are_told_as_by_the_async_methods(store, tmp_path):
    wrong: Any = 5
    with pytest.raises(ConfigurationError, match="keys"):
        store.download(wrong, tmp_path)
    with pytest.raises(ConfigurationError, match="open_store"):
        store.sync(wrong)


INTERRUPTED = """
import os, signal, sys
from asyncstore import sync
from asyncstore.providers.memory import MemoryProvider
import anyio

async def waiting(self, key, /, **how):
    os.kill(os.getpid(), signal.SIGINT)
    await anyio.sleep_forever()

with sync.open_store("mem://interrupted") as store:
    store.put("k", b"1")
    MemoryProvider.get = waiting
    try:
        with sync.watch(store.download, "", sys.argv[1]) as events:
            for now in events:
                pass
    except KeyboardInterrupt:
        print("interrupted", os.listdir(sys.argv[1]))
"""


def test_ctrl_c_ends_the_loop_and_the_transfer(tmp_path, state):
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.stdout, ended.stderr) == ("interrupted []\n", "")
