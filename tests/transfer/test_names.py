"""No key leads out of the folder, and no two become one file."""

from __future__ import annotations

import os
import sys
import unicodedata

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncstore import open_store
from asyncstore.errors import InvalidPathError
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store import _transfers
from asyncstore.transfer.names import accepts, folds, refusal
from asyncstore.types import Blob, ObjectMeta, Page
from tests.transfer.conftest import tree

HOSTILE = [
    "../x",
    "a/../../x",
    "/etc/x",
    "//host/share",
    "C:/x",
    "C:x",
    "c:\\x",
    "a\\..\\..\\x",
    "a//b",
    "./a",
    "a/.",
    "",
    "a\nb",
    "a\x00b",
    "\x1b[2J",
    "\x9b",
]
WINDOWS = ["aux", "a/NUL.txt", "com1", "LPT¹", "a.", "a /b", "ab:c", "what?", "CONIN$"]
PART = st.one_of(
    st.sampled_from(["..", ".", "", "a", "A", "link", "é", "e\u0301", "C:", "..\\..", "\x00"]),
    st.text(max_size=3),
)
KEY = st.lists(PART, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_refused_on_every_platform(key):
    for windows in (True, False):
        assert refusal(key, local=True, windows=windows)


@given(st.lists(KEY | st.sampled_from([*HOSTILE, *WINDOWS, "x" * 1025]), min_size=1, max_size=3))
def test_of_many_keys_none_is_accepted_that_one_would_refuse(keys):
    for local in (True, False):
        for windows in (True, False):
            if accepts(keys, local=local, windows=windows):
                for key in keys:
                    assert refusal(key, local=local, windows=windows) is None
                    assert not key.endswith("/")


def test_what_most_keys_are_is_accepted_at_once():
    keys = ["a", "date=2026-11-26/part 0001.parquet", "train/n01440764/x_1-2.JPEG", "a.b/~c(1)+@"]
    assert accepts(keys, local=True, windows=False)
    assert accepts(["12:00", *keys], local=False, windows=False)
    for key in [*HOSTILE, "x" * 1025]:
        assert not accepts([*keys, key], local=True, windows=False)
        assert not accepts([key, *keys], local=True, windows=False)


@pytest.mark.parametrize("key", WINDOWS)
def test_what_only_windows_takes_for_something_else_is_refused_there(key):
    assert refusal(key, local=True, windows=True)
    assert refusal(key, local=True, windows=False) is None
    assert refusal(key, local=False, windows=True) is None


def test_a_folder_says_whether_it_ignores_case_and_keeps_nothing_of_it(tmp_path):
    assert folds(tmp_path / "new") is (sys.platform in ("darwin", "win32"))
    assert os.listdir(tmp_path / "new") == []


@pytest.fixture
def lying(monkeypatch):
    keys: list[str] = []

    async def list_page(self, prefix, /, **how):
        objects = [ObjectMeta(key, 1, etag='"1"') for key in keys]
        return Page([meta for meta in objects if meta.key.startswith(prefix)])

    async def get(self, key, /, **how):
        return Blob(b"x", ObjectMeta(key, 1, etag='"1"'))

    monkeypatch.setattr(MemoryProvider, "list_page", list_page)
    monkeypatch.setattr(MemoryProvider, "get", get)
    return keys


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(told=st.lists(KEY, unique=True, max_size=6))
def test_whatever_keys_a_listing_tells_nothing_is_written_outside(told, lying, tmp_path_factory):
    lying[:] = sorted(told)
    root = tmp_path_factory.mktemp("canary")
    (root / "outside").mkdir()
    (root / "outside" / "mine").write_bytes(b"mine")
    folder = root / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(root / "outside")
    (folder / "a").symlink_to(root / "outside" / "mine")

    async def run():
        async with open_store("mem://lying") as store:
            return await store.download("", folder)

    report = anyio.run(run)
    assert tree(root / "outside") == {"mine": b"mine"}
    assert sorted(os.listdir(root)) == ["folder", "outside"]
    files = {k for k, v in tree(folder).items() if k != "a"}
    failed = {failure.key for failure in report.failures}
    assert files | failed == {key for key in told if key}
    assert not files & failed
    assert report.copied == len(files)


@pytest.mark.anyio
async def test_a_planted_link_is_a_failure_for_what_lies_behind_it(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "sub").symlink_to(outside)
    (folder / "file").symlink_to(outside / "new")
    async with open_store("mem://links") as store:
        for key in ("sub/x", "file", "fine"):
            await store.put(key, b"1")
        report = await store.download("", folder)
        assert {failure.key for failure in report.failures} == {"sub/x", "file"}
        assert all(isinstance(failure.error, InvalidPathError) for failure in report.failures)
        assert os.listdir(outside) == []
        assert (folder / "fine").read_bytes() == b"1"


@pytest.mark.anyio
async def test_keys_that_a_folder_takes_for_one_are_not_mixed(tmp_path, monkeypatch):
    monkeypatch.setattr(_transfers, "folds", lambda _: True)
    async with open_store("mem://folding") as store:
        for key in ("A", "a", "b", unicodedata.normalize("NFD", "é"), "é"):
            await store.put(key, key.encode())
        report = await store.download("", tmp_path)
        assert report.copied == 3
        assert len(report.failures) == 2
        assert all(name.encode() == data for name, data in tree(tmp_path).items())


@pytest.mark.anyio
async def test_a_file_beside_a_folder_of_its_name_is_a_failure(tmp_path):
    async with open_store("mem://beside") as store:
        for key in ("k", "k/sub", "folder"):
            await store.put(key, b"1")
        report = await store.download("", tmp_path)
        assert [failure.key for failure in report.failures] == ["k"]
        assert set(tree(tmp_path)) == {"k/sub", "folder"}
