"""The dataset's own files: what is written is what Deep Lake 3.9 writes, and hostile ones end."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import DatasetCorruptError
from asyncstore.format import FIRST_COMMIT, Commit, DatasetMeta, History, LockRecord
from asyncstore.format import fields as fields_module
from asyncstore.format.keys import is_commit_id, is_lock, lock_key, meta_key

EMPTY_META = b"""{
    "allow_delete": true,
    "default_index": [
        {
            "start": null,
            "step": null,
            "stop": null
        }
    ],
    "groups": [],
    "hidden_tensors": [],
    "tensor_names": {},
    "tensors": [],
    "version": "3.9.52"
}"""
EMPTY_HISTORY = (
    b'{"commits": {"firstdbf9474d461a19e9333c2fd19b46115348f": {"branch": "main", '
    b'"parent": null, "children": [], "commit_message": null, "commit_time": null, '
    b'"commit_user_name": null, "is_checkpoint": false, "total_samples_processed": 0}}, '
    b'"branches": {"main": "firstdbf9474d461a19e9333c2fd19b46115348f"}}'
)

texts = st.text(max_size=12)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def extras(*known):
    return st.dictionaries(texts.filter(lambda name: name not in known), plain, max_size=3)


@st.composite
def metas(draw):
    tensors = draw(st.lists(texts, unique=True, max_size=4))
    known = json.loads(EMPTY_META)
    return DatasetMeta(
        version=draw(texts),
        tensors=tuple(tensors),
        groups=tuple(draw(st.lists(texts, max_size=3))),
        tensor_names={f"n{i}": key for i, key in enumerate(tensors)},
        hidden_tensors=tuple(tensors[:1]),
        default_index=tuple(draw(st.lists(plain, max_size=2))),
        allow_delete=draw(st.booleans()),
        extra=draw(extras(*known)),
    )


@st.composite
def histories(draw):
    """A tree of up to six commits, each with a parent among those before it."""
    names = [FIRST_COMMIT, *(f"c{i}" for i in range(draw(st.integers(0, 5))))]
    parents = {name: names[draw(st.integers(0, i))] for i, name in enumerate(names[1:])}
    commits = {}
    for name in names:
        node = json.loads(EMPTY_HISTORY)["commits"][FIRST_COMMIT]
        commits[name] = Commit(
            branch=draw(texts),
            parent=parents.get(name),
            children=tuple(child for child, parent in parents.items() if parent == name),
            message=draw(st.none() | texts),
            time=draw(st.none() | st.floats(0, 2e9)),
            user=draw(st.none() | texts),
            is_checkpoint=draw(st.booleans()),
            samples_processed=draw(st.integers(0, 2**63 - 1)),
            extra=draw(extras(*node)),
        )
    branches = draw(st.dictionaries(texts, st.sampled_from(names), min_size=1, max_size=3))
    return History(commits, branches, draw(extras("commits", "branches")))


def test_an_empty_dataset_is_written_byte_for_byte_as_deep_lake_writes_it():
    assert DatasetMeta().dump() == EMPTY_META
    assert History().dump() == EMPTY_HISTORY


@given(metas())
def test_metadata_is_read_as_it_was_written_with_unknown_fields(meta):
    assert DatasetMeta.parse(meta.dump()) == meta


@given(histories())
def test_a_history_is_read_as_it_was_written_with_unknown_fields(history):
    assert History.parse(history.dump()) == history


@given(st.integers(0, 2**48 - 1), st.floats(allow_nan=False, allow_infinity=False), st.binary())
def test_a_lock_is_read_as_it_was_written(node, expires, tag):
    lock = LockRecord(node, expires, tag[:64])
    assert LockRecord.parse(lock.dump()) == lock


def test_a_lock_of_deep_lake_is_eighteen_bytes_that_name_machine_time_and_process():
    data = b"\x01\x00\x00\x00\xfc\x02+\xe4\x8c\x83\xc2\xc0\xdaA\x17\x1f\x00\x00"
    lock = LockRecord.parse(data)
    assert lock is not None
    assert lock.node == 0x02FC00000001
    assert math.isclose(lock.expires, 1795361294.196079, abs_tol=1)
    assert lock.process == 0x1F17
    assert lock.dump() == data


def test_an_empty_lock_file_is_no_lock():
    assert LockRecord.parse(b"") is None


@pytest.mark.parametrize("data", [b"\0" * 13, b"\0" * 2000, b"\0" * 6 + b"\xff" * 8 + b"pid!"])
def test_a_lock_that_is_none_is_corrupt(data):
    with pytest.raises(DatasetCorruptError):
        LockRecord.parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_corrupt_and_nothing_else(data):
    for read in (DatasetMeta.parse, History.parse, LockRecord.parse):
        with suppress(DatasetCorruptError):
            read(data)


@given(plain)
def test_any_json_is_read_or_corrupt_and_nothing_else(value):
    data = json.dumps(value).encode()
    for read in (DatasetMeta.parse, History.parse):
        with pytest.raises(DatasetCorruptError):
            read(data)


@given(st.sampled_from(sorted(json.loads(EMPTY_META))), plain)
def test_any_field_of_another_type_is_read_or_corrupt(name, value):
    data = json.dumps(json.loads(EMPTY_META) | {name: value}).encode()
    with suppress(DatasetCorruptError):
        meta = DatasetMeta.parse(data)
        assert DatasetMeta.parse(meta.dump()) == meta


@given(st.sampled_from(sorted(json.loads(EMPTY_HISTORY)["commits"][FIRST_COMMIT])), plain)
def test_any_field_of_a_commit_of_another_type_is_read_or_corrupt(name, value):
    document = json.loads(EMPTY_HISTORY)
    document["commits"][FIRST_COMMIT][name] = value
    data = json.dumps(document).encode()
    with suppress(DatasetCorruptError):
        tree = History.parse(data)
        assert History.parse(tree.dump()) == tree


HOSTILE = {
    "deep lists": b"[" * 200_000,
    "a deep field": b'{"version": "3", "tensors": [], "x": '
    + b"[" * 200_000
    + b"]" * 200_000
    + b"}",
    "deep objects": b'{"a":' * 200_000,
    "an integer of a million digits": b'{"version": "3", "tensors": ' + b"9" * 1_000_000 + b"}",
    "fifty megabytes": b'{"x": "' + b"x" * 50_000_000 + b'"}',
    "not UTF-8": b'{"version": "\xff"}',
    "UTF-16": '{"version": "3"}'.encode("utf-16"),
    "not a number": b'{"version": "3", "tensors": [], "x": NaN}',
    "a pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.",
    "nothing": b"",
    "half of it": EMPTY_META[:100],
    "a list": b"[]",
    "null": b"null",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("read", [DatasetMeta.parse, History.parse])
def test_a_hostile_file_is_corrupt(name, read):
    with pytest.raises(DatasetCorruptError):
        read(HOSTILE[name])


def test_a_file_over_the_limit_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(fields_module, "JSON_BYTES", len(EMPTY_META) - 1)
    with pytest.raises(DatasetCorruptError, match="bytes"):
        DatasetMeta.parse(EMPTY_META)


@pytest.mark.parametrize("field", ["version", "tensors"])
def test_metadata_without_a_required_field_is_corrupt(field):
    document = json.loads(EMPTY_META)
    del document[field]
    with pytest.raises(DatasetCorruptError, match=field):
        DatasetMeta.parse(json.dumps(document).encode())


def test_metadata_of_old_releases_lacks_what_came_later():
    meta = DatasetMeta.parse(b'{"version": "2.0.2", "tensors": ["x"]}')
    assert meta.tensor_names == {"x": "x"}
    assert meta.allow_delete
    assert meta.hidden_tensors == ()


def test_a_name_for_no_tensor_is_corrupt():
    document = json.loads(EMPTY_META) | {"tensor_names": {"x": "y"}}
    with pytest.raises(DatasetCorruptError, match="'y'"):
        DatasetMeta.parse(json.dumps(document).encode())


def history(**changes):
    """A history of two commits, with some nodes' fields changed."""
    first, second = json.loads(EMPTY_HISTORY)["commits"][FIRST_COMMIT], {}
    second = first | {"parent": FIRST_COMMIT}
    nodes = {FIRST_COMMIT: first | {"children": ["b"]}, "b": second}
    for name, fields in changes.items():
        nodes[FIRST_COMMIT if name == "first" else name] |= fields
    return json.dumps({"commits": nodes, "branches": {"main": "b"}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        history(first={"children": ["b", "gone"]}),
        history(first={"children": []}),
        history(first={"children": ["b", "b"]}),
        history(b={"parent": "gone"}),
        history(b={"parent": None}),
        history(b={"children": ["b"]}),
        history(b={"children": [FIRST_COMMIT]}),
        history(first={"parent": "b"}),
        history().replace(b'"main": "b"', b'"main": "gone"'),
        history().replace(b'{"main": "b"}', b"{}"),
        history().replace(b'"b"', b'"../b"'),
        history().replace(b'"b"', b'".."'),
    ],
)
def test_a_history_that_is_no_tree_is_corrupt(data):
    with pytest.raises(DatasetCorruptError):
        History.parse(data)


def test_commits_of_deleted_branches_may_be_left_behind():
    document = json.loads(history())
    document["commits"]["lost"] = document["commits"]["b"] | {"parent": "deleted"}
    assert "lost" in History.parse(json.dumps(document).encode()).commits


def test_a_history_of_a_hundred_thousand_commits_in_a_row_is_read():
    names = [FIRST_COMMIT, *(f"{i:040x}" for i in range(100_000))]
    node: dict[str, object] = {"branch": "main", "commit_time": None}
    commits = {
        name: node | {"parent": names[i - 1] if i else None, "children": names[i + 1 : i + 2]}
        for i, name in enumerate(names)
    }
    data = json.dumps({"commits": commits, "branches": {"main": names[-1]}}).encode()
    assert len(History.parse(data).commits) == len(names)


def test_an_address_is_a_branch_first_and_a_commit_second():
    tree = History.parse(history())
    assert tree.find("main") == "b"
    assert tree.find("b") == "b"
    assert tree.find("gone") is None
    named = History(tree.commits, {**tree.branches, FIRST_COMMIT: "b"})
    assert named.find(FIRST_COMMIT) == "b"


def test_only_a_last_commit_without_a_time_is_a_head():
    assert Commit().is_head
    assert not Commit(time=1.0).is_head
    assert not Commit(children=("b",)).is_head


def test_the_first_commit_is_at_the_root_and_others_under_versions():
    assert meta_key() == "dataset_meta.json"
    assert meta_key("abc") == "versions/abc/dataset_meta.json"
    assert lock_key("abc") == "versions/abc/dataset_lock.lock"
    assert is_lock("versions/abc/dataset_lock.lock")
    assert not is_lock("dataset_lock.lock/chunks/1")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "é", "a\n", "x" * 129, None, 3])
def test_what_could_mean_another_folder_is_no_commit_id(name):
    assert not is_commit_id(name)
