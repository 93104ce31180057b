"""At most so many at once, first come first served, nothing lost to a cancellation."""

from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from asyncstore.errors import ConfigurationError, DeadlineError, ThrottledError
from asyncstore.layers import Limited
from asyncstore.providers.memory import MemoryProvider
from asyncstore.testing import cancelled_everywhere
from asyncstore.types import Blob, Limits, ObjectMeta

pytestmark = pytest.mark.anyio


class Busy(MemoryProvider):
    """A provider whose gets last as long as the test wants."""

    def __init__(self):
        super().__init__(None)
        self.now = self.most = 0
        self.order: list[str] = []
        self.gate = anyio.Event()
        self.error: Exception | None = None

    async def get(self, key, /, **_options):
        self.order.append(key)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        if self.error is not None:
            raise self.error
        return Blob(b"", ObjectMeta(key, 0))


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_than_allowed_are_under_way_and_turns_are_in_order(most):
    busy = Busy()
    layer = Limited(busy, most)
    keys = [str(n) for n in range(20)]
    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(layer.get, key)
            await wait_all_tasks_blocked()
        busy.gate.set()
    assert busy.most == most
    if most == 1:  # trio runs those that are woken together in any order
        assert busy.order == keys
    assert layer.reads.used == 0


async def test_a_cancelled_waiter_leaves_the_queue_and_a_cancelled_call_its_place():
    busy = Busy()
    layer = Limited(busy, 1)
    async with anyio.create_task_group() as group:
        group.start_soon(layer.get, "a")
        await wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):
            await layer.get("b")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await layer.get("c")
        group.cancel_scope.cancel()
    assert layer.reads.used == 0
    assert busy.order == ["a"]
    busy.gate.set()
    await layer.get("d")
    assert layer.reads.used == 0


async def test_a_place_handed_to_somebody_cancelled_at_that_moment_goes_on():
    busy = Busy()
    layer = Limited(busy, 1)
    scope = anyio.CancelScope()

    async def unlucky():
        with scope:
            await layer.get("unlucky")

    async with anyio.create_task_group() as group:
        group.start_soon(layer.get, "a")
        await wait_all_tasks_blocked()
        group.start_soon(unlucky)
        await wait_all_tasks_blocked()
        group.start_soon(layer.get, "last")
        await wait_all_tasks_blocked()
        busy.gate.set()
        while busy.now:
            await checkpoint()
        scope.cancel()
    assert layer.reads.used == 0
    assert busy.order[-1] == "last"


async def test_cancelled_anywhere_no_place_is_lost():
    busy = Busy()
    busy.gate.set()
    layer = Limited(busy, 1)

    async def both():
        async with anyio.create_task_group() as group:
            for key in "abc":
                group.start_soon(layer.get, key)

    async def check(_ended):
        assert layer.reads.used == 0
        await layer.get("still")

    assert await cancelled_everywhere(both, check) > 0


async def test_throttling_halves_the_limit_once_per_burst():
    busy = Busy()
    layer = Limited(busy, 16)
    busy.error = ThrottledError("slow down")

    async def refused():
        with pytest.raises(ThrottledError):
            await layer.get("k")

    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(refused)
        await wait_all_tasks_blocked()
        busy.gate.set()
    assert layer.reads.width.allowed == 8
    for _ in range(10):
        await refused()
    assert layer.reads.width.allowed == 1


async def test_reads_that_are_throttled_do_not_hold_writes_back(scripted):
    layer = Limited(scripted, 1)
    await layer.put("k", b"1")
    async with layer.open("k"):
        with anyio.fail_after(60):
            await layer.put("k", b"2")


async def test_a_burst_that_waited_is_let_in_only_as_far_as_the_limit_has_shrunk():
    busy = Busy()
    layer = Limited(busy, 4)
    busy.error = ThrottledError("slow down")

    async def refused():
        with pytest.raises(ThrottledError):
            await layer.get("k")

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(refused)
        await wait_all_tasks_blocked()
        for _ in range(4):
            group.start_soon(refused)
        await wait_all_tasks_blocked()
        gate, busy.gate = busy.gate, anyio.Event()
        gate.set()
        await wait_all_tasks_blocked()
        assert busy.now == 2
        busy.gate.set()


async def test_the_wait_for_a_turn_ends_at_the_deadline(monkeypatch):
    import time

    from asyncstore.http import DEADLINE

    monkeypatch.setattr(Busy, "limits", Limits(engine=True))
    busy = Busy()
    layer = Limited(busy, 1)
    async with anyio.create_task_group() as group:
        group.start_soon(layer.get, "a")
        await wait_all_tasks_blocked()
        token = DEADLINE.set(time.monotonic() + 0.01)
        with pytest.raises(DeadlineError) as caught:
            await layer.get("b")
        DEADLINE.reset(token)
        assert caught.value.outcome == "not_applied"
        group.cancel_scope.cancel()
    assert layer.reads.used == 0


async def test_an_open_stream_counts_until_it_is_closed(scripted):
    await scripted.put("k", b"1")
    layer = Limited(scripted, 2)
    async with layer.open("k") as stream:
        assert layer.reads.used == 1
        assert [bytes(view) async for view in stream] == [b"1"]
        assert layer.reads.used == 1
    assert layer.reads.used == 0
    with pytest.raises(FileNotFoundError):
        async with layer.open("none"):
            pass
    assert layer.reads.used == 0


async def test_giving_an_upload_up_needs_no_turn(scripted):
    layer = Limited(scripted, 1)
    upload = await layer.begin_upload("k")
    await scripted.put("k", b"1")
    async with layer.open("k"):
        with anyio.fail_after(60):
            await upload.abort()


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigurationError):
        Limited(Busy(), 0)
