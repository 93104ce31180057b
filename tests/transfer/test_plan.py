"""The plan of a transfer: pure, and never trusting what is merely there."""

from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncstore.columns import Columns
from asyncstore.transfer.names import accepts, refusal
from asyncstore.transfer.plan import (
    Done,
    Planner,
    Row,
    Step,
    _is_proven,
    ascend,
    filtered,
    folded,
    order,
)
from asyncstore.transfer.stretch import Fresh, Stretch
from asyncstore.types import ObjectMeta

KEYS = st.sampled_from([f"{a}/{b}" for a in "abc" for b in "xyz"])
METAS = st.dictionaries(
    KEYS, st.tuples(st.integers(0, 2), st.sampled_from(["e1", "e2", None])), max_size=9
)
DONE = st.dictionaries(
    KEYS,
    st.builds(
        Done,
        st.sampled_from(["e1", "e2", None]),
        st.integers(0, 2),
        st.sampled_from(["e1", "e2", None]),
    ),
)


def metas(made):
    return {key: ObjectMeta(key, size, etag=etag) for key, (size, etag) in made.items()}


def plan(sources, targets, done, **how):
    keys = sorted({*sources, *targets}, key=order)
    planner = Planner(**how)
    steps = []
    for key in keys:
        steps += planner.feed([Row(sources.get(key), targets.get(key), done.get(key))])
    return steps + planner.end()


@given(METAS, METAS, DONE, st.booleans())
def test_every_source_has_one_step_and_only_strangers_are_deleted(source, target, done, delete):
    sources, targets = metas(source), metas(target)
    steps = plan(sources, targets, done, delete=delete)
    verbs = {step.key: step.verb for step in steps}
    assert len(verbs) == len(steps)
    assert {key for key, verb in verbs.items() if verb != "delete"} == set(sources)
    gone = {key for key, verb in verbs.items() if verb == "delete"}
    assert gone == (set(targets) - set(sources) if delete else set())


@given(METAS, METAS, DONE)
def test_only_what_is_on_record_as_it_is_on_both_sides_is_skipped(source, target, done):
    sources, targets = metas(source), metas(target)
    for step in plan(sources, targets, done):
        here, there = sources[step.key], targets.get(step.key)
        proven = (
            there is not None
            and there.size == here.size
            and here.etag is not None
            and there.etag is not None
            and done.get(step.key) == Done(here.etag, here.size, there.etag)
        )
        assert (step.verb == "skip") == proven
        if there is None or there.size != here.size:
            assert step.verb == "copy"


def test_filters_leave_out_and_what_is_left_out_is_not_deleted():
    wanted = filtered(["*.txt"], ["tmp/*"])
    sources = metas({"a.txt": (1, "e1"), "b.bin": (1, "e1"), "tmp/c.txt": (1, "e1")})
    targets = metas({"old.txt": (1, "e1"), "old.bin": (1, "e1"), "tmp/old.txt": (1, "e1")})
    steps = plan(sources, targets, {}, delete=True, wanted=wanted)
    assert [(step.verb, step.key) for step in steps] == [("copy", "a.txt"), ("delete", "old.txt")]


def test_two_keys_that_the_target_takes_for_one_are_not_mixed():
    sources = metas({"A/x": (1, "e1"), "a/X": (2, "e1"), "é": (1, "e"), "e\u0301": (1, "e")})
    taken: dict[str, str] = {}
    steps = plan(sources, {}, {}, first=lambda key: taken.setdefault(folded(key), key))
    assert [step.verb for step in steps] == ["copy", "refuse", "copy", "refuse"]


NAMES = st.lists(st.sampled_from(["a", "a!", "a-b", "a0", "b"]), min_size=1, max_size=3)


@given(st.sets(NAMES.map("/".join), max_size=12))
def test_exactly_the_keys_with_others_below_them_are_refused_where_files_are_no_folders(keys):
    steps = plan(metas(dict.fromkeys(keys, (1, "e"))), {}, {}, folders=True)
    assert {step.key for step in steps} == keys
    refused = {step.key for step in steps if step.verb == "refuse"}
    assert refused == {key for key in keys if any(other.startswith(key + "/") for other in keys)}


STATES = st.sampled_from(["proven"] * 12 + ["new", "changed", "unrecorded", "no etag", "stranger"])


def row_in(state, key):
    here, there = ObjectMeta(key, 1, etag="s"), ObjectMeta(key, 1, etag="t")
    done = Done("s", 1, "t")
    rows = {
        "proven": Row(here, there, done),
        "new": Row(here, None, None),
        "changed": Row(ObjectMeta(key, 1, etag="s2"), there, done),
        "unrecorded": Row(here, there, None),
        "no etag": Row(ObjectMeta(key, 1), there, Done(None, 1, "t")),
        "stranger": Row(None, there, None),
    }
    return rows[state]


def stretch_of(rows):
    return Stretch(
        Columns.of([row.source for row in rows]),
        Columns.of([row.target for row in rows]),
        [(row.source.key, *row.done) for row in rows],
    )


def is_there(state):
    return state != "new"


CHAINED = ["a", "a!", "a!!", "a!/b", "a-", "a/b", "a/b!", "a/b/c", "a0", "b"]
"""In order; some are the beginnings of others, and some come between these."""


@settings(max_examples=300)
@given(
    st.lists(STATES | st.none(), min_size=10, max_size=10),
    st.lists(st.integers(1, 4), min_size=10, max_size=10),
    st.booleans(),
    st.booleans(),
    st.sampled_from([{}, {"wanted": lambda key: "!" not in key}, {"absent": True}]),
)
@example(["new", "proven", *[None] * 3, "proven", *[None] * 4], [1, 2, *[1] * 8], True, False, {})
@example(["proven"] * 3 + [None, "proven", "new", *[None] * 4], [4, *[1] * 9], True, False, {})
def test_stretches_that_are_passed_over_come_to_what_their_rows_would(
    told, lengths, folders, delete, how
):
    states = {key: state for key, state in zip(CHAINED, told, strict=True) if state}
    # A file is no folder at the target: what lies below one that is there cannot be there.
    files = [key for key, state in states.items() if is_there(state)]
    states = {
        key: "new" if folders and any(key.startswith(file + "/") for file in files) else state
        for key, state in states.items()
    }
    rows = [row_in(state, key) for key, state in states.items()]
    how = {"folders": folders, "delete": delete, **how}
    plain, quick = Planner(**how), Planner(**how)
    expected = plain.feed(rows) + plain.end()
    steps: list[Step] = []
    passed: list[str] = []
    for length in lengths:
        some, rows = rows[:length], rows[length:]
        if some and all(row.source and row.target and row.done for row in some):
            stretch = stretch_of(some)
            assert list(stretch) == some
            if stretch.is_proven():
                decided, skipped = quick.pass_over(stretch)
                steps += decided
                passed += skipped
                continue
        steps += quick.feed(some)
    assert not rows
    steps += quick.end()
    found = [(step.verb, step.key, step.reason) for step in steps]
    found += [("skip", key, "verified before") for key in passed]
    assert sorted(found) == sorted((step.verb, step.key, step.reason) for step in expected)


NEW_KEYS = [*CHAINED, "d/", "é", "a b", "x=1/y", "~", "a/-", ".a", "a/..", "A/b"]


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from(NEW_KEYS), unique=True, max_size=12),
    st.sets(st.sampled_from(NEW_KEYS), max_size=2),
    st.lists(st.integers(1, 6), min_size=12, max_size=12),
    st.booleans(),
    st.sampled_from([{}, {"wanted": lambda key: "!" not in key}, {"absent": True}]),
)
@example(["a", "a!", "a/b", "b"], set(), [4, *[1] * 11], True, {})
@example(["a", "a!", "a!!", "a/b"], set(), [3, *[1] * 11], True, {})
@example(["a/b", "a/b!", "a/b/c"], set(), [1, 2, *[1] * 10], True, {})
@example(["a", "a/b/c", "b"], set(), [3, *[1] * 11], True, {})
@example(["d/", "x=1/y"], set(), [2, *[1] * 11], True, {})
def test_what_is_new_is_copied_as_its_rows_would_be(keys, there, lengths, folders, how):
    keys.sort(key=order)
    if folders:
        there = {name for name in there if not any(key.startswith(name + "/") for key in keys)}
    how = {"folders": folders, "refusal": partial(refusal, local=folders), **how}
    metas = [ObjectMeta(key, 0 if key.endswith("/") else 1) for key in keys]
    rows = [
        Row(meta, ObjectMeta(meta.key, 2) if meta.key in there else None, None) for meta in metas
    ]
    plain, quick = Planner(**how), Planner(**how, accepts=partial(accepts, local=folders))
    expected = plain.feed(rows) + plain.end()
    steps: list[Step] = []
    copied: list[ObjectMeta] = []
    for length in lengths:
        some, rows = rows[:length], rows[length:]
        if some and all(row.target is None for row in some):
            fresh = Fresh(Columns.of([row.source for row in some if row.source]))
            assert list(fresh) == some
            decided, new = quick.take_over(fresh)
            steps += decided
            copied += new
        else:
            steps += quick.feed(some)
    assert not rows
    steps += quick.end()
    steps += [Step("copy", meta.key, meta, "not at the target") for meta in copied]
    assert sorted(steps, key=_key_of) == sorted(expected, key=_key_of)


def _key_of(step):
    return order(step.key)


def test_the_planner_makes_no_step_of_what_is_new_but_of_the_last():
    planner = Planner(folders=True, accepts=partial(accepts, local=True))
    for start in (0, 1000):
        keys = [f"a/{n:04}" for n in range(start, start + 1000)]
        fresh = Fresh(Columns(keys, [1] * 1000, [None] * 1000))
        steps, copied = planner.take_over(fresh)
        assert [step.key for step in steps] == ["a/0999"] * (start > 0)
        assert copied.keys == keys[:-1]
    assert [step.key for step in planner.end()] == ["a/1999"]


VALUES = st.sampled_from(["e", "f", None])
PROVEN = ("e", "f", "e", "f", 1, 1, 1)


@given(
    st.lists(
        st.just(PROVEN) | st.tuples(VALUES, VALUES, VALUES, VALUES, *[st.integers(0, 1)] * 3),
        max_size=3,
    )
)
@example([PROVEN])
@example([(None, "f", None, "f", 1, 1, 1)])
@example([("e", None, "e", None, 1, 1, 1)])
@example([("e", "f", "e", "f", 1, 0, 1)])
def test_a_stretch_is_proven_where_each_of_its_rows_is(told):
    rows = [
        Row(
            ObjectMeta(f"{at}", size, etag=source),
            ObjectMeta(f"{at}", found, etag=target),
            Done(read, noted, written),
        )
        for at, (source, target, read, written, size, found, noted) in enumerate(told)
    ]
    assert stretch_of(rows).is_proven() == all(map(_is_proven, rows))


def test_other_keys_at_the_same_places_are_no_stretch():
    row, other = row_in("proven", "a"), row_in("proven", "b")
    assert stretch_of([row]).is_proven()
    for mixed in (row._replace(target=other.target), other._replace(target=row.target)):
        assert not stretch_of([mixed]).is_proven()
    columns = Columns.of([row.source])
    assert not Stretch(columns, columns, [("b", *row.done)]).is_proven()


def test_the_planner_makes_no_step_of_what_it_passes_over_and_keeps_little_of_it():
    planner = Planner(folders=True)
    for start in (0, 1000):
        rows = [row_in("proven", f"a{n:04}") for n in range(start, start + 1000)]
        steps, skipped = planner.pass_over(stretch_of(rows))
        assert [step.key for step in steps] == ["a0999"] * (start > 0)
        assert skipped == [f"a{n:04}" for n in range(start, start + 999)]
    assert [step.key for step in planner.end()] == ["a1999"]


@given(st.lists(st.text(max_size=3) | st.sampled_from(["\udc80", "\U0001f600"]), max_size=4))
def test_keys_ascend_where_their_bytes_do(keys):
    names = [order(key) for key in keys]
    assert ascend(keys) == (names == sorted(set(names)))


def test_the_planner_keeps_no_more_than_a_chain_of_names():
    planner = Planner(folders=True)
    for number in range(10_000):
        key = f"a/{number:05}"
        planner.feed([Row(ObjectMeta(key, 1), None)])
        assert len(planner._waiting) <= 1
    assert len(planner.end()) == 1


def test_what_is_there_is_refused_where_only_the_absent_is_to_be_written():
    sources = metas({"a": (1, "e"), "b": (1, "e")})
    done = {"a": Done("e", 1, "e")}
    steps = plan(sources, metas({"a": (1, "e")}), done, absent=True)
    assert [(step.verb, step.key) for step in steps] == [("refuse", "a"), ("copy", "b")]
