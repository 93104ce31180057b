"""Batches over a provider that can be watched: how much is under way, held, left behind."""

import asyncio
from itertools import cycle
from typing import Any

import anyio
import pytest
import sniffio
import trio

from asyncstore import open_store
from asyncstore.batch import Batch, Budget, Outcome
from asyncstore.errors import (
    BatchError,
    InvalidPathError,
    InvalidSpanError,
    NotFoundError,
    StoreError,
)
from asyncstore.layers import Limited
from asyncstore.provider import ability
from asyncstore.providers.memory import MemoryProvider
from asyncstore.store._live import Recipe
from asyncstore.store._open import store_of
from asyncstore.types import Blob
from asyncstore.url import StoreURL

pytestmark = pytest.mark.anyio


class Watched(MemoryProvider):
    """Counts reads under way; `hold` stops them until it is set."""

    room = 20  # of reads that are begun without a task, at once
    every = 3  # of those takes more

    def __init__(self):
        super().__init__(None)
        self.under_way = self.most = self.calls = 0
        self.hold = None

    async def get(self, key, /, **options):
        self.calls += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.hold is not None:
                await self.hold.wait()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            return await super().get(key, **options)
        finally:
            self.under_way -= 1


class Flying(Watched):
    """Begins reads without a task that waits, some at a time; every third takes more."""

    def __init__(self):
        super().__init__()
        self.flights = set()
        self.begun = self.settled = 0

    def start_gets(self, asked, ended, /, *, deadline=None):
        assert deadline is not None
        flights = [Flight(self, one, ended) for one in asked[: self.room - len(self.flights)]]
        for flight in flights:
            self.begun += 1
            self.flights.add(flight)
            spawn(flight.run)
        return flights


class Flight:
    def __init__(self, provider, asked, ended):
        self.provider = provider
        self.asked = asked
        self.ended = ended
        self.scope = anyio.CancelScope()
        self.note = self.found = None

    async def run(self):
        key, if_match, most, _ = self.asked
        with self.scope:
            try:
                self.found = await self.provider.get(key, if_match=if_match, most=most)
            except StoreError as error:
                self.found = error
        self.provider.flights.remove(self)
        from_outside(self.tell)

    def tell(self):
        if self.scope.cancel_called:
            return
        self.provider.settled += 1
        whole = isinstance(self.found, Blob) and len(self.found) == self.found.meta.size
        self.ended(
            self, self.found if whole and self.provider.settled % self.provider.every else None
        )

    def abandon(self):
        self.scope.cancel()

    async def settle(self):
        await anyio.lowlevel.checkpoint()
        if isinstance(self.found, StoreError):
            raise self.found
        return self.found


def from_outside(function):
    """Call what no task must call."""
    if sniffio.current_async_library() == "trio":
        function()
    else:
        asyncio.get_running_loop().call_soon(function)


def spawn(function):
    if sniffio.current_async_library() == "trio":
        trio.lowlevel.spawn_system_task(function)
    else:
        task = asyncio.create_task(function())
        task.add_done_callback(asyncio.Task.result)


KEYS = [f"k{n:03}" for n in range(500)]


@pytest.fixture(params=[Watched, Flying])
async def provider(request):
    made = request.param()
    for n, key in enumerate(KEYS):
        await made.put(key, b"%03d" % n * 10)
    return made


@pytest.fixture
async def store(provider):
    """A store on it; in the end nothing is under way, and every place under the limit is free."""
    url = StoreURL.parse("mem://watched")
    async with store_of(Recipe(url=url, provider=provider), url, "") as made:
        limited: Any = ability(made.provider, Limited)
        yield made
    await anyio.wait_all_tasks_blocked()
    assert provider.under_way == 0
    assert limited.reads.used == 0
    assert not limited.reads.waiting


async def test_every_item_has_one_outcome(store):
    async with store.get_many(KEYS) as got:
        found = {outcome.item: bytes(outcome.result()) async for outcome in got}
    assert found == {key: b"%03d" % n * 10 for n, key in enumerate(KEYS)}


async def test_ordered_outcomes_come_in_the_items_order(store):
    async with store.get_many(KEYS, ordered=True) as got:
        assert [outcome.item async for outcome in got] == KEYS


async def test_items_are_keys_listed_objects_and_spans(store):
    listed = [meta async for meta in store.list("k00")]
    items = ["k001", listed[2], ("k003", (0, 3)), ("k003", (-3, None))]
    async with store.get_many(items, ordered=True) as got:
        data = [bytes(outcome.result()) async for outcome in got]
    assert data == [b"001" * 10, b"002" * 10, b"003", b"003"]


async def test_neighbouring_spans_of_an_object_are_one_request(store, provider):
    items = [("k007", (n, n + 3)) for n in range(0, 30, 3)]
    async with store.get_many(items, ordered=True) as got:
        data = [bytes(outcome.result()) async for outcome in got]
    assert data == [b"007"] * 10
    assert provider.calls == 1


async def test_a_bad_item_fails_alone(store):
    items = ["k000", "../x", "absent", "k001", ("k003", (1.5, 2))]
    async with store.get_many(items, ordered=True) as got:
        errors = [type(outcome.error) async for outcome in got]
    assert errors == [
        type(None),
        InvalidPathError,
        NotFoundError,
        type(None),
        InvalidSpanError,
    ]


async def test_an_item_that_is_no_item_is_a_bug_and_is_raised_bare(store):
    got = store.get_many([17])
    async with got:
        with pytest.raises(TypeError):
            await anext(got)


async def test_items_may_come_from_an_async_iterable(store):
    async def keys():
        for key in KEYS:
            await anyio.lowlevel.checkpoint()
            yield key

    async with store.get_many(keys()) as got:
        assert len([outcome async for outcome in got]) == 500


async def test_an_error_of_the_source_is_raised_bare_after_what_came_before_it(store):
    def keys():
        yield "k000"
        yield "k001"
        raise ZeroDivisionError

    seen = []

    async def consume():
        async with store.get_many(keys()) as got:
            async for outcome in got:
                seen.append(outcome.item)  # noqa: PERF401

    with pytest.raises(ZeroDivisionError):
        await consume()
    assert sorted(seen) == ["k000", "k001"]


async def test_the_bodys_error_is_raised_bare(store):
    async def consume():
        async with store.get_many(KEYS) as got:
            async for _ in got:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await consume()


async def test_leaving_early_cancels_the_rest(store, provider):
    provider.hold = anyio.Event()
    with anyio.fail_after(60):
        async with store.get_many(KEYS):
            await anyio.wait_all_tasks_blocked()
            assert provider.under_way > 0
    await anyio.wait_all_tasks_blocked()
    assert provider.under_way == 0


async def test_no_more_than_the_ceiling_are_under_way(store, provider):
    async with store.get_many(KEYS, width=7) as got:
        async for _ in got:
            pass
    assert provider.most == 7


async def test_the_budget_bounds_what_is_read_and_not_consumed(store, provider):
    listed = [meta async for meta in store.list()]
    async with store.get_many(listed, budget=300) as got:
        await anyio.wait_all_tasks_blocked()
        assert provider.calls == 10  # of 30 bytes each
        seen = 0
        async for _ in got:
            seen += 1
            if seen <= 5:
                await anyio.wait_all_tasks_blocked()
                assert provider.calls == 10 + seen - 1
            assert got._budget.used <= 300
        assert seen == 500
    assert got._budget.peak <= 300
    assert got._budget.used == 0


async def test_an_object_larger_than_the_budget_is_read_alone(store):
    async with store.get_many(["k000", "k001"], budget=1) as got:
        assert len([outcome.result() async for outcome in got]) == 2


@pytest.mark.parametrize("ordered", [True, False])
async def test_large_objects_of_unknown_size_wait_for_their_bytes(store, ordered):
    size = 1 << 20
    for n in range(8):
        await store.put(f"large/{n}", bytes(size))
    keys = [f"large/{n}" for n in range(8)]
    with anyio.fail_after(60):
        async with store.get_many(keys, budget=2 * size, ordered=ordered) as got:
            sizes = [len(outcome.result()) async for outcome in got]
    assert sizes == [size] * 8
    assert got._budget.peak <= 4 * size
    assert got._budget.used == 0


async def test_what_was_larger_than_thought_is_known_for_the_next_ones(store, provider):
    for n in range(20):
        await store.put(f"large/{n}", bytes(9 << 20))
    provider.calls = 0
    async with store.get_many([f"large/{n}" for n in range(20)], width=1) as got:
        sizes = [len(outcome.result()) async for outcome in got]
    assert sizes == [9 << 20] * 20
    assert provider.calls == 21  # the first one twice
    provider.calls = 0
    async with store.get_many(["large/0", *KEYS], width=1, budget=40 << 20) as got:
        await anext(got)
        assert len([outcome async for outcome in got]) == 500
    assert got._budget.peak <= 40 << 20


async def test_a_slow_consumer_holds_the_producer_back(store):
    drawn = 0

    def keys():
        nonlocal drawn
        for n in range(100_000):
            drawn += 1
            yield KEYS[n % 500]

    async with store.get_many(keys()) as got:
        await anext(got)
        await anyio.wait_all_tasks_blocked()
        assert drawn < 3000


async def test_put_head_copy_and_delete_many(store):
    async with store.put_many((f"p{n}", b"%d" % n) for n in range(50)) as puts:
        assert await puts.finish() == 50
    async with store.head_many([f"p{n}" for n in range(51)], ordered=True) as heads:
        sizes = [outcome.value.size if outcome.ok else None async for outcome in heads]
    assert sizes == [len(str(n)) for n in range(50)] + [None]
    async with store.copy_many((f"p{n}", f"q{n}") for n in range(50)) as copies:
        assert await copies.finish() == 50
    async with store.delete_many([f"p{n}" for n in range(50)] + ["a//b"]) as gone:
        outcomes = [outcome async for outcome in gone]
    assert sum(outcome.ok for outcome in outcomes) == 50
    assert [meta.key async for meta in store.list("p")] == []
    assert len([meta async for meta in store.list("q")]) == 50


async def test_finish_raises_an_error_for_each_item_that_failed(store):
    async with store.head_many(["k000", "x", "y"]) as heads:
        with pytest.raises(BatchError) as caught:
            await heads.finish()
    assert [type(error) for error in caught.value.exceptions] == [NotFoundError] * 2


async def test_a_batch_is_used_once_and_inside_its_context(store):
    batch = store.get_many(KEYS)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(batch)
    async with batch:
        pass
    with pytest.raises(RuntimeError, match="once"):
        await batch.__aenter__()


async def test_cancelling_from_outside_leaves_nothing(store, provider):
    provider.hold = anyio.Event()
    got = store.get_many(KEYS)

    async def consume():
        async with got:
            async for _ in got:
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        assert provider.under_way > 0
        group.cancel_scope.cancel()
    await anyio.wait_all_tasks_blocked()
    assert provider.under_way == 0
    assert got._budget.used == 0


async def test_what_is_begun_without_a_task_and_what_is_finished_by_one(store, provider):
    provider.room = 100
    async with store.get_many([*KEYS, "absent"]) as got:
        outcomes = [outcome async for outcome in got]
    assert sum(outcome.ok for outcome in outcomes) == 500
    assert {bytes(outcome.result()) for outcome in outcomes if outcome.ok} == {
        b"%03d" % n * 10 for n in range(500)
    }
    if isinstance(provider, Flying):
        assert provider.settled == provider.begun > 400


async def test_the_last_to_end_may_be_one_that_needs_a_task(store, provider):
    """Whoever waits for the end of any read is told of that one's too."""
    for count in range(1, 8):
        with anyio.fail_after(60):
            async with store.get_many(KEYS[:count], width=1) as got:
                assert len([outcome async for outcome in got]) == count


async def test_the_number_of_workers_follows_the_width():
    wide = 2
    under_way = 0
    seen = []

    async def work(job, _slot):
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        for _ in range(30):
            await anyio.lowlevel.checkpoint()
        under_way -= 1
        return [Outcome(job, job)]

    def jobs():
        nonlocal wide
        for n in range(400):
            wide = 2 if n < 100 else 20 if n < 200 else 3
            yield n

    async with Batch(jobs(), work, cost=lambda _: 0, width=lambda: wide, budget=Budget(1)) as batch:
        assert len([outcome async for outcome in batch]) == 400
    assert max(seen[:90]) <= 2
    assert max(seen[120:200]) >= 15
    assert max(seen[260:]) <= 3


async def test_a_folder_has_them_too(tmp_path):
    async with open_store(tmp_path) as local:
        async with local.put_many((f"d/{n}", bytes(n)) for n in range(30)) as puts:
            await puts.finish()
        async with local.get_many(local.list()) as got:
            assert sorted([len(outcome.result()) async for outcome in got]) == list(range(30))


async def test_whoever_lingers_waits_for_as_many_and_no_longer_than_any_come(store, provider):
    """An hour would be waited else."""
    provider.every = provider.room = 1000
    with anyio.fail_after(20):
        async with store.get_many(KEYS[:50]) as batch:
            assert len(await batch.some(30, linger=3600)) == 30
            assert len(await batch.some(30, linger=3600)) == 20
            assert await batch.some(30, linger=3600) == []
        async with store.get_many(cycle(KEYS)) as batch:
            assert len(await batch.some(30, linger=3600)) == 30


class Turnstile:
    """Lets some pass, some more when it is told to, and nobody else."""

    def __init__(self, some, more):
        self.passed = 0
        self.some = some
        self.more = more
        self.let = anyio.Event()

    async def wait(self):
        self.passed = number = self.passed + 1
        if number > self.some:
            await self.let.wait()
        if number > self.some + self.more:
            await anyio.sleep_forever()


async def test_whoever_lingers_is_told_when_the_last_of_all_has_come(store, provider):
    provider.every = provider.room = 1000
    provider.hold = turnstile = Turnstile(1, 49)

    async def let():
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        turnstile.let.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group, store.get_many(KEYS[:50]) as batch:
            group.start_soon(let)
            assert len(await batch.some(60, linger=3600)) == 50


async def test_whoever_lingered_does_not_wait_for_as_many_again(store, provider):
    provider.hold = turnstile = Turnstile(30, 1)
    with anyio.fail_after(20):
        async with store.get_many(KEYS) as batch:
            assert len(await batch.some(30, linger=3600)) == 30
            turnstile.let.set()
            assert (await anext(batch)).ok


async def test_what_is_there_is_given_when_the_time_of_lingering_is_over(store, provider):
    with anyio.fail_after(20):
        async with store.get_many(KEYS[:50], width=4) as batch:
            first = await batch.some(2)
            provider.hold = anyio.Event()
            found = [*first, *await batch.some(50, linger=0.05)]
            assert len(found) < 50
            provider.hold.set()
            while some := await batch.some(50, linger=3600):
                found += some
            assert len(found) == 50
