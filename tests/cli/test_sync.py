"""`sync` and `verify`: what they do, say and exit with."""

import json

import pytest


def report(ended):
    """Return what the report said; the plan is told before."""
    assert [record["type"] for record in ended.records[:1]] == ["plan"]
    [found] = [record for record in ended.records if record["type"] == "report"]
    return found


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for key in ("cat", "dog", "old/emu"):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(f"a {key}")
    return folder


def test_a_folder_goes_and_comes_and_is_not_sent_twice(cli, root, photos, tmp_path):
    there = f"{root}/photos"
    first = cli("--json", "sync", photos, there)
    assert (first.code, first.err) == (0, "")
    assert (report(first)["copied"], report(first)["failed"]) == (3, 0)
    assert first.records[0] == {
        "type": "plan",
        "copy": 3,
        "compare": 0,
        "skip": 0,
        "delete": 0,
        "refuse": 0,
        "bytes": 19,
    }
    again = report(cli("--json", "sync", photos, there))
    assert (again["copied"], again["skipped"]) == (0, 3)
    assert cli("sync", there, tmp_path / "back").code == 0
    assert (tmp_path / "back" / "old" / "emu").read_text() == "a old/emu"
    assert cli("verify", there, tmp_path / "back").code == 0


def test_verify_tells_what_differs_is_missing_or_too_much_and_changes_nothing(
    cli, root, photos, tmp_path
):
    there = f"{root}/photos"
    assert cli("sync", photos, there).code == 0
    (photos / "cat").write_text("a bat")
    (photos / "dog").unlink()
    (photos / "new").write_text("n")
    ended = cli("--json", "verify", photos, there, "--failures-to", tmp_path / "failed")
    assert ended.code == 1
    assert {error["message"] for error in ended.errors} == {
        "the bytes differ",
        "not at the source",
        "not at the target",
    }
    failed = [json.loads(line)["key"] for line in (tmp_path / "failed").read_text().splitlines()]
    assert sorted(failed) == ["cat", "dog", "new"]
    assert cli("cat", f"{there}/cat").out == "a cat"


def test_sync_deletes_only_when_asked_and_a_rehearsal_changes_nothing(cli, root, photos):
    there = f"{root}/photos"
    assert cli("sync", photos, there).code == 0
    (photos / "dog").unlink()
    assert cli("sync", photos, there).code == 0
    assert cli("cat", f"{there}/dog").code == 0
    rehearsed = cli("sync", "--delete", "--dry-run", photos, there)
    assert "delete dog" in rehearsed.out.splitlines()
    assert cli("cat", f"{there}/dog").code == 0
    assert cli("sync", "--delete", "--exclude", "d*", photos, there).code == 0
    assert cli("cat", f"{there}/dog").code == 0
    assert cli("sync", "--delete", photos, there).code == 0
    assert cli("cat", f"{there}/dog").code == 3


def test_what_failed_is_fed_back_in(cli, photos, tmp_path):
    to = tmp_path / "to"
    (to / "cat").mkdir(parents=True)
    (to / "cat" / "in the way").write_text("")
    ended = cli("sync", photos, to, "--failures-to", tmp_path / "failed")
    assert ended.code == 1
    assert "cat" in ended.err
    (to / "cat" / "in the way").unlink()
    ended = cli("--json", "sync", photos, to, "--keys-from", tmp_path / "failed")
    assert (ended.code, report(ended)["copied"]) == (0, 1)


@pytest.mark.parametrize("name", ["sync", "verify"])
def test_a_source_that_is_no_folder_is_told(cli, name, photos, tmp_path):
    assert cli(name, photos / "cat", tmp_path / "to").code == 3
    assert cli(name, photos / "nowhere", tmp_path / "to").code == 3
    assert cli(name, photos, photos / "old").code == 2
    assert not (tmp_path / "to").exists()


def test_a_source_that_holds_nothing_is_not_there_and_deletes_nothing(cli, root, photos, tmp_path):
    there = f"{root}/photos"
    assert cli("sync", photos, there).code == 0
    for name in (f"{root}/phtos", f"{root}/photos/cat"):
        for command in (("sync", "--delete"), ("verify",)):
            ended = cli(*command, name, tmp_path / "photos")
            assert (ended.code, ended.out) == (3, "")
    assert (photos / "cat").read_text() == "a cat"


def test_a_whole_store_may_be_empty(cli, photos):
    assert cli("sync", "--delete", "mem://sync-empty", photos).code == 0
    assert not (photos / "cat").exists()


def test_where_failures_cannot_be_written_is_told_before_anything_is_done(cli, photos, tmp_path):
    to = tmp_path / "to"
    for place in (tmp_path / "no" / "folder", tmp_path):
        assert cli("sync", photos, to, "--failures-to", place).code == 2
    assert cli("sync", photos, to, "--keys-from", tmp_path / "absent").code == 2
    assert not to.exists()


def test_a_file_of_failures_is_fed_back_in_and_written_anew(cli, photos, tmp_path):
    failed = tmp_path / "failed"
    failed.write_text("cat\nabsent\n")
    ended = cli("sync", photos, tmp_path / "to", "--keys-from", failed, "--failures-to", failed)
    assert ended.code == 1
    assert [json.loads(line)["key"] for line in failed.read_text().splitlines()] == ["absent"]
    assert (tmp_path / "to" / "cat").exists()


def test_what_is_no_object_is_said(cli, root, photos):
    (photos / "link").symlink_to("cat")
    for command in ("sync", "verify"):
        ended = cli(command, photos, f"{root}/photos")
        assert ended.code == 0
        assert ended.err == f"asyncstore: skipped {photos / 'link'}: a symbolic link\n"


def test_a_rehearsal_says_the_plan_and_each_step_and_no_more(cli, root, photos):
    said = cli("sync", "-n", photos, f"{root}/photos").out.splitlines()
    assert said == ["plan: 3 to copy, 0 are there, 0.0 MiB", "copy cat", "copy dog", "copy old/emu"]
    records = cli("--json", "sync", "-n", photos, f"{root}/photos").records
    assert [record["type"] for record in records] == ["plan", *["planned"] * 3]


def test_verify_says_how_many_are_the_same(cli, root, photos):
    assert cli("sync", photos, f"{root}/photos", "--workers", 2).code == 0
    assert cli("verify", photos, f"{root}/photos").out.startswith("3 objects the same, in ")
    (photos / "cat").write_text("a bat")
    ended = cli("verify", photos, f"{root}/photos")
    assert ended.out.startswith("2 objects the same, 1 are not, in ")
    assert ended.err == f"asyncstore: verify {photos / 'cat'}: the bytes differ\n"


def test_the_report_has_the_rate(cli, photos, tmp_path):
    found = report(cli("--json", "sync", photos, tmp_path / "to"))
    assert found["rate"] > 0
