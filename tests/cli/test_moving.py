"""`mv -r` and what it shares with `cp -r`: what they do, say and exit with."""

from __future__ import annotations

import itertools
import json

import pytest

from asyncstore import sync
from asyncstore.cli.output import Output
from asyncstore.providers.memory import MemoryProvider

_numbers = itertools.count(1)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for key in ("cat", "dog", "old/emu"):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(f"a {key}")
    return folder


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_moved_and_each_object_and_the_sum_are_said(cli, root, photos):
    ended = cli("--json", "mv", "-r", photos, f"{root}/photos")
    assert (ended.code, ended.err) == (0, "")
    *each, last = ended.records
    assert sorted(record["target"].rpartition("photos/")[2] for record in each) == (
        ["cat", "dog", "old/emu"]
    )
    assert {record["type"] for record in ended.records} == {"moved"}
    assert last.pop("seconds") >= 0
    assert last == {
        "type": "moved",
        "objects": 3,
        "bytes": 19,
        "skipped": 0,
        "resumed": 0,
        "retries": 0,
        "failed": 0,
    }
    assert not photos.exists()
    assert cli("cat", f"{root}/photos/old/emu").out == "a old/emu"


def test_what_cannot_be_moved_stays_and_the_rest_goes(cli, photos, monkeypatch, tmp_path):
    put = MemoryProvider.put

    async def corrupting(self, key, data, /, **how):
        return await put(self, key, b"?" * len(data) if key == "dog" else data, **how)

    monkeypatch.setattr(MemoryProvider, "put", corrupting)
    ended = cli("mv", "-r", photos, "mem://moving-1", "--failures-to", tmp_path / "failed")
    monkeypatch.undo()
    assert ended.code == 1
    assert "not what was sent" in ended.err
    assert "moved 2 objects" in ended.out
    assert "1 failed" in ended.out
    assert below(photos) == ["dog"]
    assert json.loads((tmp_path / "failed").read_text())["key"] == "dog"
    ended = cli("mv", "-r", photos, "mem://moving-1", "--keys-from", tmp_path / "failed")
    assert (ended.code, ended.complaints) == (0, [])
    assert cli("cat", "mem://moving-1/dog").out == "a dog"
    assert not photos.exists()


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_rehearsal_says_what_would_be_done_and_does_nothing(cli, root, photos, command):
    verb = {"cp": "copy", "mv": "move"}[command]
    ended = cli(command, "-r", "--dry-run", photos, f"{root}/new", "--exclude", "old/*")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == [verb, verb]
    assert cli("ls", f"{root}/new").code == 3
    ended = cli("--json", command, "-n", photos / "cat", f"{root}/new")
    [planned] = ended.records
    assert planned["type"] == "planned"
    assert planned["verb"] == verb
    assert planned["target"].endswith("/new")
    assert cli(command, "-n", photos / "none", f"{root}/new").code == 3
    assert below(photos) == ["cat", "dog", "old/emu"]


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_the_plan_is_told_on_stderr_to_people_alone(cli, photos, tmp_path, command):
    target = tmp_path / "new"
    plan = "plan: 3 to copy, 0 are there, 0.0 MiB\n"
    assert cli(command, "-r", "-n", photos, target).err == plan
    for quiet in ("--quiet", "--json"):
        assert not cli(quiet, command, "-r", "-n", photos, target).err
    ended = cli(command, "-r", photos, target)
    assert ended.err == plan
    assert "plan: " not in ended.out
    assert below(target) == ["cat", "dog", "old/emu"]


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_the_plan_is_told_before_anything_is_copied(cli, photos, monkeypatch, command):
    done = []
    put, notice = MemoryProvider.put, Output.notice

    async def noted_put(self, key, /, *given, **how):
        done.append("put")
        return await put(self, key, *given, **how)

    def noted(self, text, /):
        done.append(text)
        notice(self, text)

    monkeypatch.setattr(MemoryProvider, "put", noted_put)
    monkeypatch.setattr(Output, "notice", noted)
    assert cli(command, "-r", photos, f"mem://told-{command}").code == 0
    assert done == ["plan: 3 to copy, 0 are there, 0.0 MiB", *["put"] * 3]


def test_a_rehearsed_move_says_which_sources_would_only_go(cli, root, photos):
    assert cli("cp", "-r", photos, f"{root}/new").code == 0
    ended = cli("--json", "mv", "-r", "-n", photos, f"{root}/new")
    verbs = {record["verb"] for record in ended.records}
    assert verbs == ({"compare"} if root.startswith("mem") else {"delete"})
    assert cli("mv", "-r", photos, f"{root}/new").code == 0
    assert not photos.exists()


def test_some_of_a_folder_is_moved(cli, root, photos):
    assert cli("mv", "-r", photos, f"{root}/some", "--include", "*o*").code == 0
    assert below(photos) == ["cat"]
    assert sorted(cli("ls", "-r", f"{root}/some").out.split()) == ["dog", "old/emu"]


def test_several_folders_and_objects_keep_their_names(cli, root, photos, tmp_path):
    (tmp_path / "single").write_text("one")
    assert cli("mv", "-r", photos, tmp_path / "single", f"{root}/all").code == 0
    assert sorted(cli("ls", "-r", f"{root}/all").out.split()) == (
        ["photos/cat", "photos/dog", "photos/old/emu", "single"]
    )
    assert not (tmp_path / "single").exists()
    for option in ("--keys-from", "--failures-to"):
        assert cli("cp", "-r", tmp_path, photos, f"{root}/x", option, tmp_path / "f").code == 2


@pytest.mark.parametrize("command", ["cp", "mv"])
@pytest.mark.parametrize("option", ["--include", "--exclude", "--keys-from", "--failures-to"])
def test_choices_are_for_folders(cli, photos, tmp_path, command, option):
    ended = cli(command, photos / "cat", tmp_path / "to", option, "x")
    assert ended.code == 2
    assert option in ended.err
    assert (photos / "cat").exists()


def test_a_folder_that_is_behind_a_link_is_moved_and_the_link_stays(cli, photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    assert cli("mv", "-r", tmp_path / "link", tmp_path / "to").code == 0
    assert below(tmp_path / "to") == ["cat", "dog", "old/emu"]
    assert (tmp_path / "link").is_symlink()


def test_a_link_in_the_source_stays_and_is_said(cli, photos, tmp_path):
    (photos / "link").symlink_to(tmp_path)
    ended = cli("mv", "-r", photos, tmp_path / "to")
    assert (ended.code, below(tmp_path / "to")) == (0, ["cat", "dog", "old/emu"])
    assert "symbolic link" in ended.err
    assert (photos / "link").is_symlink()


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_of_several_sources_one_that_is_absent_is_a_failure_and_the_others_go_on(
    cli, root, photos, command
):
    ended = cli("--json", command, "-r", f"{root}/absent", photos, f"{root}/all")
    assert ended.code == 1
    assert [error["type"] for error in ended.errors] == ["NotFoundError"]
    assert (ended.records[-1]["objects"], ended.records[-1]["failed"]) == (3, 1)
    assert cli("cat", f"{root}/all/photos/dog").out == "a dog"


@pytest.fixture
def hub(real_hub, monkeypatch):
    """A data set of a hub that the environment leads to."""
    monkeypatch.setenv("ASYNCSTORE_HUB_URL", real_hub.url)
    monkeypatch.setenv("ACTIVELOOP_TOKEN", real_hub.person("mover"))
    path = f"hub://mover/animals-{next(_numbers)}"
    sync.empty(path).close()
    return path


def test_folders_go_to_a_hub_and_on_to_a_bucket_and_back(cli, hub, s3, photos, tmp_path):
    bucket = f"s3://{s3()}/from-a-hub"
    for command in (
        ("cp", "-r", photos, f"{hub}/a"),
        ("verify", photos, f"{hub}/a"),
        ("sync", f"{hub}/a", bucket),
        ("mv", "-r", bucket, f"{hub}/b"),
        ("mv", "-r", f"{hub}/b", f"{hub}/c"),
        ("verify", f"{hub}/a", f"{hub}/c"),
        ("mv", "-r", f"{hub}/c", tmp_path / "back"),
        ("sync", "--delete", tmp_path / "back", f"{hub}/a"),
    ):
        ended = cli(*command)
        assert (ended.code, ended.complaints) == (0, []), command
    assert below(tmp_path / "back") == ["cat", "dog", "old/emu"]
    for emptied in (bucket, f"{hub}/b", f"{hub}/c"):
        assert cli("ls", "-r", emptied).out == ""
    assert cli("sync", f"{hub}/typo", tmp_path / "back", "--delete").code == 3
