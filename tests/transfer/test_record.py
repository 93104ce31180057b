"""The record outlives kills, and is not believed further than the disk."""

import os
import sqlite3

import pytest

from asyncstore.errors import StoreError
from asyncstore.transfer.plan import Done
from asyncstore.transfer.record import Begun, Record, record_path

ONE = Done("s1", 1, "t1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "record.sqlite"


@pytest.fixture
def opened(path):
    """Return what opens records, all closed at the end."""
    made = []

    def open_one(boot="b1"):
        record = Record(path, boot=boot).load()
        made.append(record)
        return record

    yield open_one
    for record in made:
        record.close()


def done(record):
    return {key: Done(*rest) for key, *rest in record.after("", 10_000)}


def test_what_was_recorded_is_read_again(opened):
    record = opened()
    record.add([("k", *ONE)])
    begun = Begun("s", 20, 8, "token", "crc32c", {1: 2**64 - 1}, 5)
    record.begin("large", begun)
    record.part("large", 2, 9, "later")
    record.close()
    again = opened()
    assert done(again) == again.find(["k", "other"]) == {"k": ONE}
    assert again.begun == {"large": Begun("s", 20, 8, "later", "crc32c", {1: 2**64 - 1, 2: 9}, 5)}


def test_a_new_name_of_an_upload_forgets_the_parts_of_the_old_one(opened):
    record = opened()
    record.begin("large", Begun("s", 20, 8, "old", "crc32c", {1: 7}, 5))
    record.name("large", "new")
    record.close()
    assert opened().begun == {"large": Begun("s", 20, 8, "new", "crc32c", {}, 5)}


def test_it_is_read_in_the_order_of_the_keys_bytes_from_any_of_them_on(opened):
    record = opened()
    keys = ["a", "a/b", "é", "\U0001f600", "\uffff"]
    for key in reversed(keys):
        record.add([(key, *ONE)])
    record.save()
    in_order = sorted(keys, key=str.encode)
    assert [key for key, *_ in record.after("", 10)] == in_order
    assert [key for key, *_ in record.after(in_order[1], 2)] == in_order[2:4]


def test_what_was_saved_survives_the_writer_and_what_was_not_is_lost(opened):
    record = opened()
    record.add([("k", *ONE)])
    record.save()
    record.add([("m", *ONE)])
    assert done(opened()) == {"k": ONE}


def test_after_the_machine_was_started_again_only_what_was_flushed_counts(opened):
    record = opened("b1")
    record.add([("flushed", *ONE)])
    record.flushing()
    record.add([("perhaps", *ONE)])
    record.flushed()
    record.close()
    assert set(done(opened("b1"))) == {"flushed", "perhaps"}
    assert set(done(opened("b2"))) == {"flushed"}


def test_what_a_killed_run_left_is_flushed_by_the_next_one(opened):
    killed = opened("b1")
    killed.add([("k", *ONE)])
    killed.save()
    assert done(opened("b2")) == {}
    later = opened("b1")
    later.flushing()
    killed.add([("m", *ONE)])  # it lives on, and writes after the flush began
    killed.save()
    later.flushed()
    assert set(done(opened("b2"))) == {"k"}


def test_what_is_gone_and_what_was_given_up_are_off_the_record(opened):
    record = opened()
    record.add([("k", *ONE)])
    record.flushing()
    record.flushed()
    record.remove("k")
    record.begin("large", Begun("s", 20, 8, "token", "crc32c", {1: 7}, 5))
    record.end("large")
    record.close()
    again = opened()
    assert done(again) == again.begun == {}


def test_an_upload_that_arrived_is_not_under_way_any_more(opened):
    record = opened()
    record.begin("large", Begun("s", 20, 8, "token", "crc32c", {1: 7}, 5))
    record.add([("large", *ONE)])
    record.close()
    again = opened()
    assert again.begun == {}
    assert done(again) == {"large": ONE}


def test_names_that_are_no_text_are_not_recorded(opened):
    record = opened()
    record.add([("\udc80", *ONE)])
    record.remove("\udc80")
    record.close()
    assert done(opened()) == {}


def test_two_runs_of_a_pair_write_one_record(opened):
    one, other = opened(), opened()
    one.add([("k", *ONE)])
    one.save()
    other.add([("m", *ONE)])
    other.save()
    assert set(done(one)) == set(done(other)) == {"k", "m"}


@pytest.mark.parametrize("nonsense", [b"\xff\xfe\n[]\n" * 500, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_record_is_replaced_and_said(path, opened, nonsense, caplog):
    path.parent.mkdir()
    path.write_bytes(nonsense)
    record = opened()
    assert done(record) == {}
    assert "begun anew" in caplog.text
    record.add([("k", *ONE)])
    record.close()
    assert done(opened()) == {"k": ONE}


def test_a_record_that_somebody_keeps_locked_is_an_error_that_says_so(path, opened, monkeypatch):
    monkeypatch.setattr("asyncstore.transfer.record._BUSY", 0.01)
    record = opened()
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("begin immediate")
        record.add([("k", *ONE)])
        with pytest.raises(StoreError, match="locked"):
            record.save()
    finally:
        other.close()


def test_a_link_planted_in_its_place_is_not_followed(path, tmp_path, opened):
    path.parent.mkdir()
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(StoreError, match="symbolic links"):
        opened()
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_file_nothing_is_kept():
    record = Record(None).load()
    record.add([("k", *ONE)])
    record.begin("large", Begun("s", 20, 8))
    record.part("large", 1, 2, "t")
    record.flushing()
    record.flushed()
    assert record.begun["large"].sums == {1: 2}
    assert done(record) == record.find(["k"]) == {}
    record.close()


def test_each_pair_of_places_has_a_record_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    paths = {record_path(a, b) for a, b in [("x", "y"), ("y", "x"), ("x", "z")]}
    assert len(paths) == 3
    assert all(path.is_relative_to(tmp_path) for path in paths)
