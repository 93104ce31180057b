"""The demo on every service, and what it says when something is wrong."""

import asyncio
import os
import stat
import sys
from functools import partial

import pytest

import asyncstore
from asyncstore.hub.serving import HubServer


def by_type(ended):
    return {record["type"]: record for record in ended.records}


def test_the_demo_writes_lists_reads_and_verifies(cli, root):
    ended = cli("demo", f"{root}/demo", "--chunks", "150", "--json")
    assert ended.code == 0, ended.err
    said = by_type(ended)
    assert said["wrote"]["objects"] == said["read"]["objects"] == said["verified"]["objects"] == 150
    assert said["wrote"]["bytes"] == said["read"]["bytes"] > 1_000_000
    assert said["verified"]["ok"] is True
    assert said["wrote"]["bytes_per_second"] > 0


def test_the_demo_leaves_nothing_behind(cli, root):
    assert cli("demo", f"{root}/demo", "--chunks", "20").code == 0
    assert cli("ls", "-r", f"{root}/demo").code == 3


def test_the_demo_keeps_what_it_was_told_to_keep(cli, root):
    ended = cli("demo", f"{root}/demo", "--chunks", "20", "--keep")
    assert ended.code == 0
    assert f"asyncstore ls -r {root.replace('gs://', 'gcs://')}/demo" in ended.out
    keys = cli("ls", "-r", f"{root}/demo").out.splitlines()
    assert len([key for key in keys if "/chunks/" in key]) == 20


def test_the_demo_refuses_a_place_that_is_not_empty_and_leaves_it_alone(cli, root):
    assert cli("cp", "-", f"{root}/demo/mine", stdin=b"mine").code == 0
    ended = cli("demo", f"{root}/demo", "--chunks", "20")
    assert ended.code == 5
    assert ended.out == ""
    assert cli("ls", "-r", f"{root}/demo").out == "mine\n"


def test_the_demo_says_it_in_a_few_lines_and_what_to_try_next(cli, root):
    lines = cli("demo", f"{root}/demo", "--chunks", "20").out.splitlines()
    assert [line.split()[0] for line in lines[:6]] == [
        "data",
        "wrote",
        "listed",
        "read",
        "verified",
        "removed",
    ]
    assert "MB/s" in lines[1]
    assert "objects/s" in lines[1]
    assert lines[6].startswith("next")
    assert len(lines) < 12


def test_without_a_path_the_demo_uses_a_hub_of_its_own_and_removes_it(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = cli("demo", "--chunks", "20", "--json")
    assert ended.code == 0, ended.err
    said = by_type(ended)
    assert said["dataset"]["url"] == "hub://demo/chunks"
    assert said["hub"]["folder"].startswith(str(tmp_path))
    assert said["verified"] == {"type": "verified", "objects": 20, "ok": True}
    assert os.listdir(tmp_path) == []


def test_the_demos_hub_can_be_kept_and_served_again(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ended = cli("demo", "--chunks", "20", "--keep")
    assert ended.code == 0, ended.err
    (folder,) = tmp_path.glob("asyncstore-demo-*")
    assert f"asyncstore hub serve --data {folder}/hub" in ended.out
    password = folder / "password.txt"
    assert f"asyncstore login --password-stdin demo < {password}" in ended.out
    assert stat.S_IMODE(password.stat().st_mode) == 0o600

    words = ("login", "--password-stdin", "demo")

    async def again():
        async with HubServer(f"{folder}/hub") as server:
            sign_in = partial(cli, *words, "--hub", server.url, stdin=password.read_bytes())
            hub = await asyncio.to_thread(sign_in)
            assert hub.code == 0, hub.err
            return await asyncstore.list("hub://demo", hub_url=server.url)

    assert asyncio.run(again()) == ["hub://demo/chunks"]


def test_without_a_hubs_packages_the_demo_uses_the_folder(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delitem(sys.modules, "asyncstore.cli.embedded", raising=False)
    monkeypatch.delitem(sys.modules, "asyncstore.hub.serving", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ended = cli("demo", "--chunks", "20", "--json")
    assert ended.code == 0, ended.err
    said = by_type(ended)
    assert said["no hub"]["missing"] == "uvicorn"
    assert said["dataset"]["url"].startswith(str(tmp_path))
    assert "left" not in said
    assert os.listdir(tmp_path) == []


def test_an_empty_folder_of_the_users_is_used_and_stays(cli, tmp_path):
    assert cli("demo", tmp_path, "--chunks", "20").code == 0
    assert tmp_path.is_dir()
    assert os.listdir(tmp_path) == []


# ---- on a folder's files


@pytest.fixture
def odd(tmp_path):
    """A folder with all that a folder may hold."""
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "void").mkdir()
    for name in ("plain", "deep/er/file", " space ", "per%20cent", "q?#&=+;", "ünï☃", ".hid", "~"):
        (folder / name).write_bytes(name.encode() * 100)
    (folder / "empty").touch()
    (folder / "large").write_bytes(os.urandom(9_000_000))
    (folder / "link").symlink_to("plain")
    os.mkfifo(folder / "pipe")
    return folder


def regular_files(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def test_a_folders_files_come_back_as_they_were(cli, root, odd, tmp_path):
    ended = cli(
        "demo", f"{root}/demo", "--source", odd, "--download-to", tmp_path / "copy", "--json"
    )
    assert ended.code == 0, ended.err
    assert regular_files(tmp_path / "copy") == regular_files(odd)
    skipped = {r["kind"]: r["count"] for r in ended.records if r["type"] == "skipped"}
    assert skipped == {"symbolic link": 1, "FIFO": 1, "empty folder": 1}


def test_a_name_that_cannot_be_a_key_is_reported_and_the_rest_goes_on(cli, root, odd, tmp_path):
    (odd / "new\nline").write_bytes(b"x")
    (odd / "back\\slash").write_bytes(b"x")
    ended = cli("demo", f"{root}/demo", "--source", odd, "--dest", tmp_path / "copy")
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 2
    assert "new\\nline" in ended.err
    assert "verified  10 of 10 files" in ended.out


def test_a_source_without_files_is_no_error(cli, root, tmp_path):
    (tmp_path / "nothing").mkdir()
    ended = cli("demo", f"{root}/demo", "--source", tmp_path / "nothing", "--json")
    assert ended.code == 0, ended.err
    assert by_type(ended)["verified"]["objects"] == 0


def test_a_download_goes_only_to_an_empty_folder(cli, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").touch()
    ended = cli("demo", tmp_path / "demo", "--chunks", "20", "--download-to", tmp_path / "copy")
    assert ended.code == 5
    assert not (tmp_path / "demo").exists()


def test_a_wrong_byte_is_found(cli, tmp_path, monkeypatch):
    from asyncstore.providers.local import LocalProvider

    right = LocalProvider.get

    async def wrong(self, key, /, **options):
        blob = await right(self, key, **options)
        if "images" in key and blob.data:
            data = bytearray(blob.data)
            data[-1] ^= 1
            blob.data = data
        return blob

    monkeypatch.setattr(LocalProvider, "get", wrong)
    ended = cli("demo", tmp_path / "demo", "--chunks", "40")
    assert ended.code == 7
    assert "what was read is not what was written" in ended.err
    assert not (tmp_path / "demo").exists() or os.listdir(tmp_path / "demo") == []


def test_a_lost_chunk_is_found(cli, tmp_path, monkeypatch):
    from asyncstore.store import Store

    right = Store.put
    dropped: list[str] = []

    async def put(self, key, data, /, **options):
        meta = await right(self, key, data, **options)
        if "images" in key and not dropped:
            dropped.append(key)
            await self.delete(key)
        return meta

    monkeypatch.setattr(Store, "put", put)
    ended = cli("demo", tmp_path / "demo", "--chunks", "40")
    assert ended.code == 7
    assert dropped[0] in ended.err
    assert "not in the listing" in ended.err
    assert "verified  39 of 40 chunks" in ended.out
