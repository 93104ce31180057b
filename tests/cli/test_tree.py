import os
import socket

import pytest

from asyncstore.cli.tree import kinds, scan


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file.txt").write_bytes(b"12345")
    (root / "top").write_bytes(b"")
    return root


def test_every_regular_file_is_listed_by_its_key(folder):
    tree = scan(str(folder))
    assert [(file.key, file.size) for file in tree.files] == [("a/b/file.txt", 5), ("top", 0)]
    assert tree.size == 5
    assert not tree.skipped
    assert not tree.refused


def test_links_and_special_files_are_counted_and_not_followed(folder):
    (folder / "link").symlink_to("/etc")
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "sock"))
        tree = scan(str(folder))
    assert len(tree.files) == 2
    assert dict(kinds(tree.skipped)) == {"symbolic link": 2, "FIFO": 1, "socket": 1}


def test_names_that_cannot_be_keys_are_refused_one_by_one(folder):
    odd = [b"new\nline", b"back\\slash", b"esc\x1b", b"undecodable\xff"]
    for name in odd:
        with open(os.path.join(os.fsencode(folder), name), "wb"):
            pass
    tree = scan(str(folder))
    assert len(tree.files) == 2
    assert len(tree.refused) == len(odd)
    assert all(str(folder) in str(error) for error in tree.refused)


def test_odd_names_that_can_be_keys_are_kept(folder):
    names = [
        " space",
        "percent%2e%2e",
        "q?#&=+",
        "ünï☃",
        ".hidden",
        "a!",
        "~",
        "*[x]",
        "-rf",
        "a b",
    ]
    for name in names:
        (folder / name).write_bytes(b"x")
    assert set(names) < {file.key for file in scan(str(folder)).files}


def test_empty_folders_are_named(folder):
    (folder / "empty" / "inner").mkdir(parents=True)
    assert scan(str(folder)).empty == [str(folder / "empty" / "inner")]


def test_an_absent_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        scan(str(tmp_path / "absent"))
