"""The record outlives kills, and is not believed further than the disk."""

import json
import os

import pytest

from asyncstore.transfer.plan import Done
from asyncstore.transfer.record import Begun, Record, record_path

ONE = Done("s1", 1, "t1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "record.jsonl"


def written(path, boot="b1"):
    return Record(path, boot=boot).load()


def test_what_was_recorded_is_read_again(path):
    record = written(path)
    record.add("k", ONE)
    record.begin("large", Begun("s", 20, 8, "token", "crc32c", {1: 7}, 5))
    record.close()
    again = written(path)
    assert again.done == {"k": ONE}
    assert again.begun == {"large": Begun("s", 20, 8, "token", "crc32c", {1: 7}, 5)}


def test_a_line_cut_short_is_ignored_and_harms_no_later_one(path):
    record = written(path)
    record.add("k", ONE)
    record.close()
    with open(path, "ab") as file:
        file.write(b'["done","torn","s",')
    later = written(path)
    assert later.done == {"k": ONE}
    later.add("m", ONE)
    later.close()
    assert set(written(path).done) == {"k", "m"}


def test_after_the_machine_was_started_again_only_what_was_flushed_counts(path):
    record = written(path, "b1")
    record.add("flushed", ONE)
    record.flushed()
    record.add("perhaps", ONE)
    record.close()
    assert set(written(path, "b1").done) == {"flushed", "perhaps"}
    assert set(written(path, "b2").done) == {"flushed"}
    later = written(path, "b2")
    later.add("later", ONE)
    later.close()
    assert set(written(path, "b2").done) == {"flushed", "later"}
    assert set(written(path, "b3").done) == {"flushed"}


def test_what_is_gone_and_what_was_given_up_are_off_the_record(path):
    record = written(path)
    record.add("k", ONE)
    record.flushed()
    record.remove("k")
    record.begin("large", Begun("s", 20, 8, "token", "crc32c", {1: 7}, 5))
    record.end("large")
    record.close()
    again = written(path)
    assert again.done == again.begun == {}


def test_a_record_that_is_mostly_outdated_is_written_anew(path):
    record = written(path)
    for n in range(3000):
        record.add("k", Done("s", n, "t"))
    record.flushed()
    assert len(path.read_text().splitlines()) < 10
    record.add("m", ONE)
    record.close()
    assert written(path).done == {"k": Done("s", 2999, "t"), "m": ONE}
    assert os.listdir(path.parent) == ["record.jsonl"]


def test_nonsense_in_the_file_is_no_error(path):
    path.parent.mkdir()
    path.write_bytes(
        b'\xff\xfe\n[]\n{"a":1}\n["done"]\n' + json.dumps(["done", 1]).encode() + b"\n"
    )
    assert written(path).done == {}


def test_a_link_planted_in_its_place_is_not_followed(path, tmp_path):
    path.parent.mkdir()
    os.symlink(tmp_path / "elsewhere", path)
    record = written(path)
    record.add("k", ONE)
    with pytest.raises(OSError, match="symbolic links"):
        record.close()
    assert not (tmp_path / "elsewhere").exists()


def test_each_pair_of_places_has_a_record_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    paths = {record_path(a, b) for a, b in [("x", "y"), ("y", "x"), ("x", "z")]}
    assert len(paths) == 3
    assert all(path.is_relative_to(tmp_path) for path in paths)
