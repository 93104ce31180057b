"""The plan of a transfer: pure, and never trusting what is merely there."""

from hypothesis import given
from hypothesis import strategies as st

from asyncstore.transfer.plan import Done, Planner, Row, filtered, folded, order
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
