"""The dataset functions without `await`: in a script, a notebook's running loop, a thread."""

import asyncio
import pickle
import threading

import pytest

from asyncstore import sync
from asyncstore.datasets import lock as lock_module
from asyncstore.errors import DatasetExistsError, ReadOnlyError

LOCK = "dataset_lock.lock"


def test_a_datasets_life_in_a_script(tmp_path):
    with sync.empty(tmp_path / "ds") as ds:
        assert not ds.read_only
        assert (ds.mode, ds.branch, ds.branches, ds.commit_id) == ("a", "main", ["main"], None)
        ds.store.put("x/chunks/1", b"one")
        assert (tmp_path / "ds" / LOCK).exists()
    assert not (tmp_path / "ds" / LOCK).exists()
    assert sync.exists(tmp_path / "ds")
    with pytest.raises(DatasetExistsError):
        sync.empty(tmp_path / "ds")
    with sync.load(tmp_path / "ds", read_only=True) as ds:
        assert bytes(ds.store.get("x/chunks/1")) == b"one"
        with pytest.raises(ReadOnlyError):
            ds.store.put("k", b"")
        made = sync.copy(ds, tmp_path / "ds2", progressbar=False)
    assert made.path == str(tmp_path / "ds2")
    assert sync.rename(tmp_path / "ds2", "ds3").path == str(tmp_path / "ds3")
    assert sync.list(tmp_path) == [str(tmp_path / "ds"), str(tmp_path / "ds3")]
    sync.delete(tmp_path / "ds3")
    ds = sync.dataset(tmp_path / "ds")
    ds.store.put("y", b"")
    ds.close()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "1",
        "dataset_meta.json",
        "version_control_info.json",
        "y",
    ]


def test_the_lock_is_renewed_while_the_script_does_something_else(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_AFTER", 0.02)
    renewed = threading.Event()
    renew = lock_module.WriteLock._renew

    async def watched(self):
        await renew(self)
        renewed.set()

    monkeypatch.setattr(lock_module.WriteLock, "_renew", watched)
    with sync.empty(tmp_path / "ds") as ds:
        before = (tmp_path / "ds" / LOCK).read_bytes()
        assert renewed.wait(20)
        assert (tmp_path / "ds" / LOCK).read_bytes() != before
        ds.store.put("k", b"")


def test_it_works_under_a_running_loop(tmp_path):
    async def cell():
        with sync.empty(tmp_path / "ds") as ds:
            ds.store.put("k", b"1")
        with sync.load(tmp_path / "ds") as ds:
            return bytes(ds.store.get("k"))

    assert asyncio.run(cell()) == b"1"


def test_a_pickled_dataset_is_read_only(tmp_path):
    with sync.empty(tmp_path / "ds") as ds:
        ds.store.put("k", b"1")
        again = pickle.loads(pickle.dumps(ds))
    assert again.read_only
    assert bytes(again.store.get("k")) == b"1"
    again.close()


def test_the_bodys_error_comes_out_as_it_is_and_the_lock_is_given_back(tmp_path):
    with pytest.raises(KeyError, match="mine"), sync.empty(tmp_path / "ds"):
        raise KeyError("mine")
    assert not (tmp_path / "ds" / LOCK).exists()
