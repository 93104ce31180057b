"""What must not happen: a lost source, a file outside the target, a bug that hides or chatters."""

import os
import subprocess
import sys

import pytest

from asyncstore.providers.memory import MemoryProvider
from asyncstore.store import Store
from asyncstore.types import ObjectMeta, Page


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(b"the only copy")
    return path


def corrupting(right):
    async def put_stream(self, key, source, /, **options):
        async def wrong():
            async for view in source:
                yield bytes(view)[:-1] + b"?"

        return await right(self, key, wrong(), **options)

    return put_stream


def test_mv_keeps_the_source_where_the_target_reads_back_otherwise(cli, photo, monkeypatch):
    monkeypatch.setattr(Store, "put_stream", corrupting(Store.put_stream))
    ended = cli("mv", photo, "mem://safety-1/photo")
    assert ended.code == 7
    assert "not what was sent" in ended.err
    assert photo.read_bytes() == b"the only copy"


def test_mv_keeps_a_source_that_changed_meanwhile(cli, photo, monkeypatch):
    right = Store.put_stream

    async def put_stream(self, key, source, /, **options):
        meta = await right(self, key, source, **options)
        photo.write_bytes(b"something newer")
        return meta

    monkeypatch.setattr(Store, "put_stream", put_stream)
    ended = cli("mv", photo, "mem://safety-2/photo")
    assert ended.code == 7
    assert photo.read_bytes() == b"something newer"


def test_mv_keeps_the_source_where_the_copy_fails(cli, photo, tmp_path):
    ended = cli("mv", photo, tmp_path / "photo" / "below-a-file")
    assert ended.code != 0
    assert photo.read_bytes() == b"the only copy"


@pytest.mark.parametrize("key", ["../evil", "a/../../evil", "/etc/evil", "a//evil", "a/./evil"])
def test_a_hostile_listing_writes_nothing_outside_the_target(cli, tmp_path, monkeypatch, key):
    async def listing(self, prefix, /, **_):
        return Page(sorted([ObjectMeta(f"tree/{key}", 4), good], key=lambda meta: meta.key))

    assert cli("cp", "-", "mem://hostile/tree/good", stdin=b"good").code == 0
    good = ObjectMeta("tree/good", 4)
    monkeypatch.setattr(MemoryProvider, "list_page", listing)
    target = tmp_path / "in" / "target"
    ended = cli("cp", "-r", "mem://hostile/tree", target)
    assert ended.code == 1
    assert len(ended.complaints) == 1
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == (
        ["in/target/good"]
    )


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_folder_is_not_copied_into_itself(cli, tmp_path, command):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    assert cli("cp", "-", "mem://inside/a/file", stdin=b"x").code == 0
    for source, target in (
        (tmp_path / "a", tmp_path / "a" / "b"),
        (tmp_path / "a", tmp_path / "a"),
        (tmp_path, tmp_path / "a" / "b"),
        ("mem://inside/a", "mem://inside/a/b"),
        ("mem://inside", "mem://inside/copy"),
    ):
        ended = cli(command, "-r", source, target)
        assert ended.code == 2, (source, target)
        assert "lies in" in ended.err
    assert cli(command, "-r", "mem://inside/a", "mem://inside/ab").code == 0
    assert cli(command, "-r", tmp_path / "a", tmp_path / "ab").code == 0


def test_sources_of_one_name_are_refused(cli, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_text(name)
    ended = cli("cp", tmp_path / "a" / "same", tmp_path / "b" / "same", tmp_path / "target")
    assert ended.code == 2
    assert not (tmp_path / "target").exists()


def test_a_link_in_the_target_is_not_followed(cli, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").symlink_to(outside)
    assert cli("cp", "-", "mem://links/tree/a/file", stdin=b"x").code == 0
    assert cli("cp", "-r", "mem://links/tree", target).code == 1
    assert os.listdir(outside) == []


def test_a_folder_that_is_a_link_is_copied_by_its_name(cli, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    assert cli("cp", "-r", tmp_path / "link", tmp_path / "copy").code == 0
    assert (tmp_path / "copy" / "file").read_bytes() == b"x"
    assert cli("cp", "-r", tmp_path / "copy", tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink()


def test_rm_of_a_link_leaves_what_it_points_to(cli, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    assert cli("rm", "-r", tmp_path / "link").code != 0
    assert (tmp_path / "real" / "file").exists()


@pytest.mark.parametrize("words", [("-r", "/"), ("-r", "--yes", "/"), ("-r", "--yes", "~")])
def test_rm_never_takes_the_root_or_the_home(cli, tmp_path, monkeypatch, words):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").touch()
    ended = cli("rm", *words)
    assert ended.code == 2
    assert (tmp_path / "mine").exists()


def test_rm_of_a_bucket_needs_two_words(cli):
    assert cli("cp", "-", "mem://whole/k", stdin=b"x").code == 0
    for words in ((), ("-r",), ("--yes",)):
        ended = cli("rm", *words, "mem://whole")
        assert ended.code == 2
        assert "add -r and --yes" in ended.err
    assert cli("rm", "-r", "--yes", "mem://whole").code == 0
    assert cli("ls", "-r", "mem://whole").out == ""


def test_rm_recursive_names_what_it_leaves(cli, tmp_path):
    folder = tmp_path / "folder"
    (folder / "empty").mkdir(parents=True)
    (folder / "file").touch()
    (folder / "link").symlink_to("/etc")
    ended = cli("rm", "-r", folder)
    assert ended.code == 1
    assert "left alone: a symbolic link" in ended.err
    assert os.listdir(folder) == ["link"]
    (folder / "link").unlink()
    assert cli("rm", "-r", folder).code == 0
    assert not folder.exists()


def test_a_bug_is_one_line_that_says_so_and_debug_shows_where(cli, tmp_path, monkeypatch):
    def broken(self, *args, **options):
        raise TypeError("of our own making")

    monkeypatch.setattr(Store, "list", broken)
    ended = cli("ls", "-r", tmp_path)
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "asyncstore: TypeError: of our own making",
        "asyncstore: this is a bug; --debug shows where",
    ]
    assert "Traceback" in cli("ls", "-r", tmp_path, "--debug").err
    assert cli("ls", "-r", tmp_path, "--json").errors == [
        {"type": "TypeError", "message": "TypeError: of our own making"}
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("ls",),
        ("nonsense",),
        ("ls", "--nonsense", "x"),
        ("cp", "one"),
        ("cp", "-", "-"),
        ("mv", "-", "x"),
        ("cp", "-r", "a", "b", "-"),
        ("ls", "ftp://x/y"),
        ("ls", "s3://UPPER/x"),
        ("ls", "s3://bucket", "--anon", "--profile", "x"),
        ("presign", "--expires", "soon", "s3://bucket/k"),
        ("cp", "--workers", "0", "a", "b"),
        ("cp", "--source-anon", "a", "s3://bucket/k"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_why(cli, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = cli(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err
    as_json = cli(*words, "--json")
    assert as_json.code == 2
    assert as_json.errors[0]["message"]


def test_quiet_prints_results_and_errors_only(cli, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    assert cli("-q", "cp", "-r", tmp_path / "a", tmp_path / "b").out == ""
    assert cli("-q", "ls", tmp_path / "b").out == "file\n"
    assert cli("-q", "rm", "-r", tmp_path / "b").out == ""
    assert cli("-q", "rm", tmp_path / "b").err


def test_a_full_disk_behind_standard_output_is_an_error():
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "asyncstore", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == b"asyncstore: No space left on device\n"


def test_folder_markers_are_skipped_aloud(cli, tmp_path, s3, seaweedfs):
    bucket = s3()
    client = seaweedfs.client()
    try:
        client.put_object(Bucket=bucket, Key="tree/", Body=b"")
        client.put_object(Bucket=bucket, Key="tree/file", Body=b"x")
    finally:
        client.close()
    ended = cli("cp", "-r", f"s3://{bucket}/tree", tmp_path / "copy")
    assert ended.code == 0, ended.err
    assert os.listdir(tmp_path / "copy") == ["file"]
    assert cli("ls", f"s3://{bucket}/tree").out == "file\n"
    assert cli("rm", "-r", f"s3://{bucket}/tree").code == 0
    assert cli("ls", "-r", f"s3://{bucket}").out == ""


def test_cp_recursive_names_what_it_cannot_take_and_copies_the_rest(cli, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("good", "back\\slash", "new\nline"):
        (folder / name).touch()
    (folder / "link").symlink_to("good")
    ended = cli("cp", "-r", folder, tmp_path / "copy")
    assert ended.code == 1
    assert os.listdir(tmp_path / "copy") == ["good"]
    assert len(ended.complaints) == 3
    assert "skipped" in ended.err
    assert ended.out.endswith("; 2 failed\n")


def test_an_error_of_the_system_is_escaped_too(cli, tmp_path):
    ended = cli(
        "demo", tmp_path / "demo", "--download-to", tmp_path / "a\x1b[2J" / "b\nc" / ("x" * 300)
    )
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "\x1b" not in ended.err
    assert "File name too long" in ended.err
