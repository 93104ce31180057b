"""What is tried again, what is not, how long it takes, and how a lost answer is settled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    DeadlineError,
    IntegrityError,
    NotFoundError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    ThrottledError,
    UnavailableError,
)
from asyncstore.layers import Retried, RetryPolicy
from asyncstore.types import WRITE_ID, Limits, Span

pytestmark = pytest.mark.anyio


@pytest.fixture
def make(scripted, clock):
    def make(*, deadline=None, draw=lambda: 1.0, **policy):
        return Retried(
            scripted,
            RetryPolicy(**policy),
            deadline=deadline,
            sleep=clock.sleep,
            clock=clock,
            draw=draw,
        )

    return make


def down(**more):
    return UnavailableError("503", **more)


def lost():
    return UnavailableError("reset", outcome="unknown")


async def test_a_passing_failure_heals_unseen(make, scripted, clock):
    await scripted.put("k", b"1")
    scripted.fail("get", down(), ThrottledError("slow down"), down())
    assert bytes(await make().get("k")) == b"1"
    assert clock.naps == [0.1, 0.2, 0.4]


async def test_a_permanent_failure_is_raised_at_once(make, scripted, clock):
    scripted.fail("get", PermissionDeniedError("no"))
    with pytest.raises(PermissionDeniedError) as caught:
        await make().get("k")
    assert caught.value.attempts == 1
    assert clock.naps == []


async def test_attempts_count_the_first_and_are_told_in_the_error(make, scripted):
    scripted.fail("get", *(down() for _ in range(9)))
    with pytest.raises(UnavailableError) as caught:
        await make(attempts=3).get("k")
    assert len(scripted.calls) == 3
    assert caught.value.attempts == 3
    assert "[3 attempts]" in str(caught.value)


async def test_one_attempt_is_no_retry(make, scripted):
    scripted.fail("get", down())
    with pytest.raises(UnavailableError):
        await make(attempts=1).get("k")
    assert len(scripted.calls) == 1


async def test_waits_are_drawn_from_zero_and_capped(make, scripted, clock):
    scripted.fail("get", *(down() for _ in range(5)))
    await scripted.put("k", b"")
    await make(cap=0.3, draw=lambda: 0.5).get("k")
    assert clock.naps == pytest.approx([0.05, 0.1, 0.15, 0.15, 0.15])


@pytest.mark.parametrize(
    ("hint", "wait"), [(7.0, 7.1), (0, 0.1), (-1, 0.1), (None, 0.1), (float("nan"), 0.1)]
)
async def test_the_services_wish_is_honoured_and_nonsense_is_not(make, scripted, clock, hint, wait):
    await scripted.put("k", b"")
    scripted.fail("get", ThrottledError("later", retry_after=hint))
    await make(deadline=60).get("k")
    assert clock.naps == [pytest.approx(wait)]


@pytest.mark.parametrize("deadline", [60.0, None])
async def test_a_wish_beyond_the_deadline_is_not_waited_for(make, scripted, clock, deadline):
    scripted.fail("get", ThrottledError("later", retry_after=1e9))
    with pytest.raises(ThrottledError):
        await make(deadline=deadline).get("k")
    assert clock.naps == []


async def test_no_wait_reaches_past_the_deadline(make, scripted, clock):
    scripted.fail("get", *(down() for _ in range(50)))
    with pytest.raises(UnavailableError):
        await make(deadline=5, attempts=50, base=1).get("k")
    assert clock.now <= 1005


async def test_a_call_that_hangs_ends_at_the_deadline(scripted, monkeypatch):
    import anyio

    async def hang(*_args, **_options):
        await anyio.sleep_forever()

    monkeypatch.setattr(scripted, "put", hang)
    with pytest.raises(DeadlineError) as caught:
        await Retried(scripted, RetryPolicy(), deadline=0.01).put("k", b"")
    assert caught.value.outcome == "unknown"
    assert caught.value.op == "put"


async def test_the_budget_bounds_what_retries_add_in_an_outage(make, scripted):
    layer = make(budget=100, attempts=6)
    for _ in range(1000):
        scripted.fail("get", *(down() for _ in range(6)))
        with pytest.raises(UnavailableError):
            await layer.get("k")
        scripted.script.clear()
    assert len(scripted.calls) <= 1100


async def test_ten_percent_of_errors_cost_at_most_a_fifth_more_requests(make, scripted):
    await scripted.put("k", b"")
    scripted.calls.clear()
    layer = make()
    for n in range(1000):
        if n % 9 == 0:
            scripted.fail("get", down())
        await layer.get("k")
    assert len(scripted.calls) <= 1200


async def test_successes_pay_the_budget_back(make, scripted):
    await scripted.put("k", b"")
    layer = make(budget=1, attempts=2)
    scripted.fail("get", down())
    await layer.get("k")
    scripted.fail("get", down())
    with pytest.raises(UnavailableError):
        await layer.get("k")
    for _ in range(11):
        await layer.get("k")
    scripted.fail("get", down())
    await layer.get("k")


async def test_the_engine_is_told_the_deadline_and_never_a_later_one(scripted, monkeypatch):
    from asyncstore.http import DEADLINE

    scripted.limits = Limits(engine=True)
    seen = []

    async def head(key, /):
        seen.append(DEADLINE.get())
        return await type(scripted).head(scripted, key)

    await scripted.put("k", b"")
    monkeypatch.setattr(scripted, "head", head)
    layer = Retried(scripted, RetryPolicy(), deadline=60, clock=lambda: 1000.0)
    await layer.head("k")
    token = DEADLINE.set(1010.0)
    await layer.head("k")
    await Retried(scripted, RetryPolicy(), deadline=None).head("k")
    DEADLINE.reset(token)
    assert seen == [1060.0, 1010.0, 1010.0]
    assert DEADLINE.get() is None


async def test_a_streams_body_has_no_deadline_but_its_retries_have(make, scripted):
    from asyncstore.http import DEADLINE

    scripted.limits = Limits(engine=True)
    await scripted.put("k", b"1")
    async with make(deadline=5).open("k") as stream:
        assert DEADLINE.get() is None
        assert [bytes(view) async for view in stream] == [b"1"]
    scripted.fail("open", *(down() for _ in range(50)))
    with pytest.raises(UnavailableError):
        await read(make(deadline=5, attempts=50, base=1), "k")


# ---- writes whose answer was lost


async def test_a_plain_put_is_repeated(make, scripted, after):
    scripted.fail("put", after(lost()))
    await make().put("k", b"1")
    assert [call[0] for call in scripted.calls] == ["put", "put"]
    assert WRITE_ID not in (await scripted.head("k")).metadata


async def test_a_plain_put_that_never_hears_an_answer_is_unknown(make, scripted):
    scripted.fail("put", lost(), down(), down())
    with pytest.raises(UnavailableError) as caught:
        await make(attempts=3).put("k", b"1")
    assert caught.value.outcome == "unknown"


async def test_a_create_that_meets_its_own_success_succeeds(make, scripted, after):
    scripted.fail("put", after(lost()))
    meta = await make().put("k", b"1", if_absent=True, metadata={"a": "b"})
    assert [call[0] for call in scripted.calls] == ["put", "put", "head"]
    assert meta.etag == (await scripted.head("k")).etag


async def test_a_replacement_that_meets_its_own_success_succeeds(make, scripted, after):
    first = await scripted.put("k", b"1")
    scripted.fail("put", after(lost()))
    meta = await make().put("k", b"2", if_match=first.etag)
    assert bytes(await scripted.get("k", if_match=meta.etag)) == b"2"


async def test_a_create_that_lost_to_another_says_so(make, scripted):
    await scripted.put("k", b"theirs")
    scripted.fail("put", lost())
    with pytest.raises(AlreadyExistsError) as caught:
        await make().put("k", b"ours", if_absent=True)
    assert caught.value.outcome == "unknown"
    assert bytes(await scripted.get("k")) == b"theirs"


async def test_a_refused_create_without_a_doubt_is_not_looked_into(make, scripted):
    await scripted.put("k", b"theirs")
    scripted.calls.clear()
    with pytest.raises(AlreadyExistsError) as caught:
        await make().put("k", b"ours", if_absent=True)
    assert caught.value.outcome == "not_applied"
    assert [call[0] for call in scripted.calls] == ["put"]


async def test_without_metadata_a_doubt_stays_one(make, scripted, after):
    scripted.limits = Limits(metadata=False)
    scripted.fail("put", after(lost()))
    with pytest.raises(AlreadyExistsError) as caught:
        await make().put("k", b"1", if_absent=True)
    assert caught.value.outcome == "unknown"
    assert (await scripted.head("k")).metadata == {}


async def test_a_look_that_fails_leaves_the_doubt(make, scripted, after):
    scripted.fail("put", after(lost()))
    scripted.fail("head", PermissionDeniedError("no"))
    with pytest.raises(AlreadyExistsError) as caught:
        await make().put("k", b"1", if_absent=True)
    assert caught.value.outcome == "unknown"


async def test_a_completion_that_meets_its_own_success_succeeds(make, scripted, after):
    upload = await make().begin_upload("k")
    await upload.put_part(1, b"12")
    scripted.fail("complete", after(lost()), NotFoundError("no such upload"))
    assert (await upload.complete()).size == 2


async def test_a_completion_of_an_upload_that_is_gone_is_unknown(make, scripted):
    upload = await make().begin_upload("k")
    await upload.put_part(1, b"12")
    scripted.fail("complete", lost(), NotFoundError("no such upload"))
    with pytest.raises(NotFoundError) as caught:
        await upload.complete()
    assert caught.value.outcome == "unknown"


async def test_a_conditional_completion_refused_by_another_is_refused(make, scripted):
    upload = await make().begin_upload("k", if_absent=True)
    await upload.put_part(1, b"12")
    await scripted.put("k", b"theirs")
    with pytest.raises(AlreadyExistsError):
        await upload.complete()
    first = await scripted.head("k")
    upload = await make().begin_upload("k", if_match="other")
    await upload.put_part(1, b"12")
    with pytest.raises(PreconditionError):
        await upload.complete()
    assert (await scripted.head("k")).etag == first.etag


async def test_a_part_is_sent_again(make, scripted):
    upload = await make().begin_upload("k")
    scripted.fail("put_part", lost(), down())
    await upload.put_part(1, b"12")
    assert (await upload.complete()).size == 2


async def test_a_create_only_copy_whose_answer_was_lost_is_not_repeated(make, scripted, after):
    await scripted.put("a", b"1")

    async def copy(*args, **options):
        raise lost()

    scripted.copy = copy
    with pytest.raises(UnavailableError) as caught:
        await make().copy("a", "b", if_absent=True)
    assert caught.value.attempts == 1
    assert caught.value.outcome == "unknown"


async def test_a_deletion_whose_answer_was_lost_succeeds(make, scripted, after):
    await scripted.put("k", b"1")
    scripted.fail("delete", after(lost()))
    assert await make().delete(["k"]) == {}


async def test_only_the_keys_that_failed_are_deleted_again(make, scripted, clock):
    answers = [{"b": down(), "c": PermissionDeniedError("no")}, {}]
    seen = []

    async def delete(keys, /):
        seen.append(list(keys))
        return answers[len(seen) - 1]

    scripted.delete = delete
    failed = await make().delete(["a", "b", "c"])
    assert seen == [["a", "b", "c"], ["b"]]
    assert list(failed) == ["c"]
    assert len(clock.naps) == 1


async def test_a_hint_for_one_key_is_waited_for(make, scripted, clock):
    answers = [{"a": ThrottledError("slow", retry_after=7.0), "b": down()}, {}]
    scripted.delete = lambda _: _answer(answers.pop(0))
    assert await make().delete(["a", "b"]) == {}
    (nap,) = clock.naps
    assert nap >= 7.0


async def _answer(value):
    return value


# ---- streams


async def read(layer, key, span=Span()):  # noqa: B008 - frozen
    async with layer.open(key, span=span) as stream:
        return b"".join([bytes(view) async for view in stream])


@given(
    cuts=st.lists(st.integers(0, 40), max_size=6),
    start=st.integers(-60, 60),
    stop=st.none() | st.integers(-60, 60),
)
async def test_a_cut_stream_goes_on_where_it_was(fresh, cuts, start, stop):
    provider, clock = fresh()
    data = bytes(range(50))
    await provider.put("k", data)
    provider.cuts.extend(cuts)
    provider.cut_error = down()
    layer = Retried(provider, RetryPolicy(attempts=9), sleep=clock.sleep, clock=clock)
    assert await read(layer, "k", Span(start, stop)) == data[start:stop]


async def test_a_stream_never_joins_two_versions(make, scripted):
    await scripted.put("k", b"A" * 50)
    scripted.cuts.append(10)
    scripted.cut_error = down()
    async with make().open("k") as stream:
        assert bytes(await anext(stream)) == b"A" * 10
        await scripted.put("k", b"B" * 50)
        with pytest.raises(ObjectChangedError):
            await anext(stream)


async def test_a_stream_with_a_wrong_checksum_is_not_resumed(make, scripted):
    await scripted.put("k", b"A" * 50)
    scripted.cuts.append(10)
    scripted.cut_error = IntegrityError("checksum")
    with pytest.raises(IntegrityError):
        await read(make(), "k")
    assert len(scripted.calls) == 2


class Sum:
    """A verifier that wants certain bytes."""

    def __init__(self, wanted):
        self.wanted, self.seen = wanted, b""

    async def add(self, data, /):
        self.seen += bytes(data)

    def verify(self):
        if self.seen != self.wanted:
            raise IntegrityError("other bytes")


@pytest.mark.parametrize("honest", [True, False])
async def test_a_stream_that_was_cut_is_verified_as_a_whole(make, scripted, honest):
    data = bytes(range(50))
    await scripted.put("k", data)
    scripted.cuts.extend([10, 20])
    scripted.cut_error = down()
    scripted.checks = [Sum(data if honest else data[::-1])]
    seen: list[bytes] = []

    async def take():
        async with make().open("k") as stream:
            async for view in stream:
                seen.append(bytes(view))  # noqa: PERF401 - what came before an error counts

    if honest:
        await take()
        assert b"".join(seen) == data
    else:
        with pytest.raises(IntegrityError) as caught:
            await take()
        assert caught.value.url == "mem:///k"
        assert b"".join(seen) == data[:30]  # the last bytes are not given out


async def test_a_stream_that_makes_no_progress_ends(make, scripted):
    await scripted.put("k", b"A" * 50)
    scripted.cuts.extend([0] * 20)
    scripted.cut_error = down()
    with pytest.raises(UnavailableError) as caught:
        await read(make(attempts=4), "k")
    assert caught.value.attempts == 4


async def test_a_stream_that_fails_to_open_is_tried_again(make, scripted):
    await scripted.put("k", b"A")
    scripted.fail("open", down(), down())
    assert await read(make(), "k") == b"A"


def test_a_policy_out_of_range_is_refused():
    for wrong in ({"attempts": 0}, {"base": -1}, {"budget": -1}, {"cap": float("nan")}):
        with pytest.raises(ConfigurationError):
            RetryPolicy(**wrong)
