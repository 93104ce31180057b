"""Each command on memory, disk, a real S3 server and a Google stand-in."""

import errno
import hashlib
import json
import os

import pytest


@pytest.fixture
def filled(cli, root):
    """A place with four objects in three folders."""
    for key in ("top.txt", "a/one.txt", "a/two.txt", "a/b/three.txt"):
        assert cli("-q", "cp", "-", f"{root}/{key}", stdin=f"this is {key}".encode()).code == 0
    return root


def keys(cli, path):
    ended = cli("ls", "-r", path)
    assert ended.code == 0, ended.err
    return sorted(ended.out.splitlines())


# ---- ls


def test_ls_shows_one_level_with_folders(cli, filled):
    assert sorted(cli("ls", filled).out.splitlines()) == ["a/", "top.txt"]
    assert sorted(cli("ls", f"{filled}/a/").out.splitlines()) == ["b/", "one.txt", "two.txt"]


def test_ls_recursive_shows_every_object_below(cli, filled):
    assert keys(cli, filled) == ["a/b/three.txt", "a/one.txt", "a/two.txt", "top.txt"]
    assert keys(cli, f"{filled}/a") == ["b/three.txt", "one.txt", "two.txt"]


def test_ls_of_an_object_shows_the_object(cli, filled):
    assert cli("ls", f"{filled}/a/one.txt").out == "one.txt\n"


def test_ls_long_has_time_size_and_name(cli, filled):
    when, size, name = cli("ls", "-l", f"{filled}/top.txt").out.split()
    assert when.endswith("Z")
    assert (size, name) == (str(len("this is top.txt")), "top.txt")
    assert "15 B" in cli("ls", "-lH", f"{filled}/top.txt").out


def test_ls_in_json_has_one_object_per_line(cli, filled):
    records = cli("ls", "--json", f"{filled}/a").records
    assert {record["type"] for record in records} == {"folder", "object"}
    one = next(record for record in records if record["url"].endswith("a/one.txt"))
    assert one["size"] == len("this is a/one.txt")
    assert one["modified"].endswith("Z")
    assert one["etag"]


def test_ls_of_nothing_is_not_found(cli, filled):
    ended = cli("ls", f"{filled}/absent")
    assert ended.code == 3
    assert ended.out == ""
    assert ended.err.startswith("asyncstore: ")
    assert "absent" in ended.err


def test_a_neighbour_with_the_same_beginning_is_not_in_the_folder(cli, filled):
    cli("cp", "-", f"{filled}/ab/other.txt", stdin=b"x")
    assert "other.txt" not in cli("ls", "-r", f"{filled}/a").out
    assert cli("du", "--json", f"{filled}/a").records[0]["objects"] == 3


# ---- cat, head, du


def test_cat_writes_the_bytes_one_behind_the_other(cli, filled):
    ended = cli("cat", f"{filled}/top.txt", f"{filled}/a/one.txt")
    assert (ended.code, ended.out) == (0, "this is top.txtthis is a/one.txt")


@pytest.mark.parametrize(
    ("span", "expected"),
    [("0:4", "this"), ("8:", "top.txt"), ("-3:", "txt"), (":-4", "this is top"), ("90:", "")],
)
def test_cat_of_a_range_means_what_a_slice_means(cli, filled, span, expected):
    assert cli("cat", f"--range={span}", f"{filled}/top.txt").out == expected


def test_cat_of_binary_data_changes_no_byte(cli, root):
    data = hashlib.shake_256(b"x").digest(300_000) + b"\r\n\x00\xff"
    assert cli("cp", "-", f"{root}/data", stdin=data).code == 0
    assert cli("cat", f"{root}/data").out_bytes == data


def test_cat_of_what_is_absent_is_not_found(cli, filled):
    assert cli("cat", f"{filled}/absent").code == 3


def test_cat_of_a_folder_is_a_usage_error(cli, filled):
    ended = cli("cat", f"{filled}/a/")
    assert ended.code == 2
    assert "is a folder" in ended.err


def test_head_prints_metadata_as_text_and_as_json(cli, filled):
    text = cli("head", f"{filled}/top.txt").out
    assert "size: 15 (15 B)" in text
    assert "modified: " in text
    (record,) = cli("head", "--json", f"{filled}/top.txt").records
    assert record["size"] == 15
    assert record["url"].endswith("top.txt")


def test_head_of_several_goes_on_after_a_failure(cli, filled):
    ended = cli("head", "--json", f"{filled}/top.txt", f"{filled}/no", f"{filled}/a/one.txt")
    assert ended.code == 1
    assert [record["size"] for record in ended.records] == [15, 17]
    (error,) = ended.errors
    assert error["type"] == "NotFoundError"


def test_head_of_one_absent_object_exits_with_its_code(cli, filled):
    assert cli("head", f"{filled}/no").code == 3


def test_du_adds_up(cli, filled):
    (record,) = cli("du", "--json", filled).records
    assert (record["size"], record["objects"]) == (15 + 17 + 17 + 21, 4)
    assert cli("du", "-H", f"{filled}/top.txt").out.split() == (
        ["15", "B", "1", "object", f"{filled}/top.txt"]
    )
    assert cli("du", f"{filled}/absent").code == 3
    ended = cli("du", filled, f"{filled}/absent")
    assert (ended.code, len(ended.out.splitlines())) == (1, 1)


# ---- cp


def test_cp_copies_an_object_beside_itself(cli, filled):
    ended = cli("cp", "--json", f"{filled}/top.txt", f"{filled}/copy.txt")
    (record,) = ended.records
    assert (record["type"], record["size"]) == ("copied", 15)
    assert cli("cat", f"{filled}/copy.txt").out == "this is top.txt"


def test_cp_into_a_folder_keeps_the_name(cli, filled):
    assert cli("cp", f"{filled}/top.txt", f"{filled}/a/").code == 0
    assert cli("cat", f"{filled}/a/top.txt").out == "this is top.txt"


def test_cp_of_several_goes_into_a_folder(cli, filled):
    ended = cli("cp", f"{filled}/top.txt", f"{filled}/a/one.txt", f"{filled}/new")
    assert ended.code == 0, ended.err
    assert keys(cli, f"{filled}/new") == ["one.txt", "top.txt"]


def test_cp_of_several_goes_on_after_a_failure(cli, filled):
    ended = cli("cp", f"{filled}/top.txt", f"{filled}/no", f"{filled}/a/one.txt", f"{filled}/new")
    assert ended.code == 1
    assert "no" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert keys(cli, f"{filled}/new") == ["one.txt", "top.txt"]


def test_cp_goes_down_to_disk_and_up_again(cli, filled, tmp_path):
    assert cli("cp", f"{filled}/top.txt", tmp_path / "here.txt").code == 0
    assert (tmp_path / "here.txt").read_bytes() == b"this is top.txt"
    (tmp_path / "more.bin").write_bytes(bytes(3_000_000))
    assert cli("cp", tmp_path / "more.bin", f"{filled}/more.bin").code == 0
    assert cli("cat", f"{filled}/more.bin").out_bytes == bytes(3_000_000)


def test_cp_recursive_down_and_up_again_keeps_the_tree(cli, filled, tmp_path):
    ended = cli("cp", "-r", filled, tmp_path / "tree")
    assert ended.code == 0, ended.err
    found = {
        str(path.relative_to(tmp_path / "tree")): path.read_text()
        for path in (tmp_path / "tree").rglob("*")
        if path.is_file()
    }
    assert found == {
        key: f"this is {key}" for key in ("top.txt", "a/one.txt", "a/two.txt", "a/b/three.txt")
    }
    assert cli("cp", "-r", tmp_path / "tree", f"{filled}/again").code == 0
    assert keys(cli, f"{filled}/again") == keys(cli, tmp_path / "tree")


def test_cp_recursive_says_what_it_did(cli, filled):
    records = cli("cp", "-r", "--json", f"{filled}/a", f"{filled}/copy").records
    assert records[-1].pop("seconds") >= 0
    said = {"type": "copied", "objects": 3, "bytes": 55, "skipped": 0, "failed": 0}
    assert records[-1] == said | {"resumed": 0, "retries": 0}
    assert len(records) == 4


def test_cp_recursive_copies_again_only_what_is_not_there_as_it_is_here(cli, filled, tmp_path):
    target = tmp_path / "tree"
    assert cli("cp", "-r", filled, target).code == 0
    (target / "top.txt").write_text("this is not")
    (target / "a" / "one.txt").unlink()
    last = cli("cp", "-r", "--json", filled, target).records[-1]
    assert (last["objects"], last["skipped"], last["failed"]) == (2, 2, 0)
    assert (target / "top.txt").read_text() == "this is top.txt"


def test_cp_recursive_if_absent_leaves_what_is_there_and_says_so(cli, filled, tmp_path):
    target = tmp_path / "tree"
    target.mkdir()
    (target / "top.txt").write_text("mine")
    ended = cli("cp", "-r", "--if-absent", "--json", filled, target)
    assert ended.code == 1
    assert [error["type"] for error in ended.errors] == ["AlreadyExistsError"]
    assert ended.records[-1]["objects"] == 3
    assert (target / "top.txt").read_text() == "mine"


def test_cp_recursive_takes_single_objects_and_several_sources_too(cli, filled, tmp_path):
    ended = cli("cp", "-r", f"{filled}/a", f"{filled}/top.txt", tmp_path / "into")
    assert ended.code == 0, ended.err
    assert keys(cli, tmp_path / "into") == ["a/b/three.txt", "a/one.txt", "a/two.txt", "top.txt"]
    assert cli("cp", "-r", f"{filled}/top.txt", tmp_path / "into" / "one").code == 0
    assert (tmp_path / "into" / "one").read_text() == "this is top.txt"


def test_cp_of_an_absent_folder_is_not_found_and_writes_nothing(cli, filled):
    assert cli("cp", "-r", f"{filled}/absent", f"{filled}/new").code == 3
    assert cli("ls", f"{filled}/new").code == 3


def test_cp_if_absent_leaves_what_is_there(cli, filled):
    ended = cli("cp", "--if-absent", f"{filled}/top.txt", f"{filled}/a/one.txt")
    assert ended.code == 5
    assert cli("cat", f"{filled}/a/one.txt").out == "this is a/one.txt"
    assert cli("cp", "--if-absent", f"{filled}/top.txt", f"{filled}/new.txt").code == 0
    assert cli("cp", "--no-clobber", "-", f"{filled}/new.txt", stdin=b"other").code == 5
    assert cli("cat", f"{filled}/new.txt").out == "this is top.txt"


def test_cp_onto_itself_is_refused(cli, filled):
    ended = cli("cp", f"{filled}/top.txt", f"{filled}/top.txt")
    assert ended.code == 2
    assert cli("cat", f"{filled}/top.txt").out == "this is top.txt"


def test_cp_to_standard_output_is_cat(cli, filled):
    assert cli("cp", f"{filled}/top.txt", "-").out == "this is top.txt"


def test_cp_of_a_large_object_from_standard_input_is_whole(cli, root):
    data = hashlib.shake_256(b"large").digest(21_000_000)
    assert cli("cp", "-", f"{root}/large", stdin=data).code == 0
    assert hashlib.sha256(cli("cat", f"{root}/large").out_bytes).digest() == (
        hashlib.sha256(data).digest()
    )


# ---- mv, rm


def test_mv_leaves_nothing_behind(cli, filled):
    assert cli("mv", f"{filled}/top.txt", f"{filled}/moved.txt").code == 0
    assert cli("cat", f"{filled}/moved.txt").out == "this is top.txt"
    assert cli("ls", f"{filled}/top.txt").code == 3


def test_mv_between_stores_moves_a_tree(cli, filled, tmp_path):
    assert cli("mv", "-r", f"{filled}/a", tmp_path / "a").code == 0
    assert (tmp_path / "a" / "b" / "three.txt").read_text() == "this is a/b/three.txt"
    assert keys(cli, filled) == ["top.txt"]


@pytest.mark.parametrize("target", ["new.txt", "there/", "there/deep/new.txt"])
def test_mv_on_one_disk_is_a_rename(cli, tmp_path, target):
    source = tmp_path / "folder" / "old.txt"
    source.parent.mkdir()
    source.write_bytes(b"bytes")
    (tmp_path / "there").mkdir()
    inode = source.stat().st_ino
    ended = cli("mv", "--json", source, f"{tmp_path}/{target}")
    assert ended.code == 0
    (moved,) = ended.records
    assert (moved["type"], moved["size"]) == ("moved", 5)
    name = f"{target}old.txt" if target.endswith("/") else target
    assert (tmp_path / name).stat().st_ino == inode
    assert not source.exists()


def test_mv_of_a_tree_on_one_disk_renames_each_file(cli, tmp_path):
    for name in ("a/one", "a/b/two"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    inodes = {(tmp_path / name).stat().st_ino for name in ("a/one", "a/b/two")}
    assert cli("mv", "-r", tmp_path / "a", tmp_path / "new/place").code == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_ino for path in files} == inodes
    assert (tmp_path / "new/place/b/two").read_text() == "a/b/two"


def test_mv_to_another_file_system_copies(cli, tmp_path, monkeypatch):
    (tmp_path / "old").write_bytes(b"bytes")
    rename = os.rename

    def refusing(source, *args, **options):
        if source == "old":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, *args, **options)

    monkeypatch.setattr(os, "rename", refusing)
    assert cli("mv", tmp_path / "old", tmp_path / "to/new").code == 0
    assert (tmp_path / "to/new").read_bytes() == b"bytes"
    assert not (tmp_path / "old").exists()


def test_mv_onto_itself_is_refused_and_deletes_nothing(cli, filled):
    assert cli("mv", f"{filled}/top.txt", f"{filled}/top.txt").code == 2
    assert cli("cat", f"{filled}/top.txt").out == "this is top.txt"


def test_mv_that_may_not_replace_keeps_the_source(cli, filled):
    assert cli("mv", "--if-absent", f"{filled}/top.txt", f"{filled}/a/one.txt").code == 5
    assert cli("cat", f"{filled}/top.txt").out == "this is top.txt"


def test_rm_deletes_an_object_and_only_that(cli, filled):
    ended = cli("rm", "--json", f"{filled}/a/one.txt")
    assert ended.code == 0
    assert ended.records[0]["type"] == "deleted"
    assert keys(cli, filled) == ["a/b/three.txt", "a/two.txt", "top.txt"]


def test_rm_of_what_is_absent_is_not_found(cli, filled):
    assert cli("rm", f"{filled}/absent").code == 3
    assert cli("rm", "-r", f"{filled}/absent").code == 3


def test_rm_of_a_folder_needs_to_be_told_so(cli, filled):
    assert cli("rm", f"{filled}/a/").code == 2
    assert cli("rm", f"{filled}/a").code != 0
    assert len(keys(cli, filled)) == 4
    assert cli("rm", "-r", f"{filled}/a").code == 0
    assert keys(cli, filled) == ["top.txt"]


def test_rm_dry_run_says_and_does_not(cli, filled):
    ended = cli("rm", "-r", "--dry-run", f"{filled}/a")
    assert ended.code == 0
    assert sorted(ended.out.split()[2::3]) == sorted(
        line for line in ended.out.split() if line not in ("would", "delete")
    )
    assert len(keys(cli, filled)) == 4


def test_rm_of_several_goes_on_after_a_failure(cli, filled):
    ended = cli("rm", f"{filled}/absent", f"{filled}/top.txt")
    assert ended.code == 1
    assert keys(cli, filled) == ["a/b/three.txt", "a/one.txt", "a/two.txt"]


# ---- doctor


def test_doctor_says_where_the_path_leads(cli, filled):
    ended = cli("doctor", filled)
    assert ended.code == 0, ended.err
    assert "listing       works" in ended.out
    (record,) = cli("doctor", "--json", filled).records
    assert record["path"]["listing"].startswith("works")
    json.dumps(record)


def test_doctor_speaks_of_the_folder_itself_and_not_of_the_one_around_it(cli, tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        (record,) = cli("doctor", "--json", str(folder)).records
        assert (record["path"]["endpoint"], record["path"]["url"]) == (str(folder), str(folder))
        assert record["path"]["exists"] is folder.exists()
