"""The contract of cancelling: at every await, of every operation, nothing is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from asyncstore.testing.terms import Terms, names, pattern, read
from asyncstore.testing.uploads import cut, part_size
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from asyncstore.provider import Provider

_MOST = 400
"""Suspensions after which an operation is thought to wait for ever."""


async def cancelled_everywhere(
    call: Callable[[], Awaitable[Any]],
    check: Callable[[bool], Awaitable[None]],
    *,
    step: int = 1,
) -> int:
    """Run `call` again and again, cancelled at its first, second, … suspension, until it ends.

    Args:
        call: makes the operation; each run is a new one.
        check: is awaited after each run with whether the run ended before its cancellation.
        step: cancel at every `step`-th suspension only.

    Returns:
        The number of runs that were cancelled.
    """
    for k in range(1, _MOST * step, step):
        ended = await _cancelled_at(call, k)
        await check(ended)
        if ended:
            return k // step
    raise AssertionError(f"the operation suspends more than {_MOST * step} times")


async def _cancelled_at(call: Callable[[], Awaitable[Any]], k: int) -> bool:
    """Run the call, cancelled while it is suspended for the k-th time; return whether it ended."""
    with anyio.CancelScope() as scope:
        await _Counted(call(), k, scope.cancel)
        return True
    return False


class _Counted:
    """An awaitable that calls `cancel` when the one inside suspends for the k-th time."""

    def __init__(self, inner: Awaitable[Any], k: int, cancel: Callable[[], None]) -> None:
        self._inner = inner
        self._left = k
        self._cancel = cancel

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        value: Any = None
        raised: BaseException | None = None
        while True:
            try:
                awaited = _step(steps, value, raised)
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0:
                self._cancel()
            value = raised = None
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001 - passed on to the awaitable inside
                raised = error


def _step(steps: Generator[Any, Any, Any], value: Any, raised: BaseException | None) -> Any:
    if raised is not None:
        return steps.throw(raised)
    return next(steps) if value is None else steps.send(value)


class Cancelling(Terms):
    """What a cancelled operation promises: no half object, and a provider that still works."""

    cancel_step = 1
    """Cancel at every n-th suspension; more than 1 for services where the tests take long."""

    async def test_a_cancelled_read_leaves_the_provider_usable(
        self, provider: Provider, root: str
    ) -> None:
        data = pattern(3 * MiB)
        await provider.put(root + "a", data)
        buffer = bytearray(len(data))

        async def stream() -> None:
            async with provider.open(root + "a") as views:
                async for _ in views:
                    pass

        async def check(_: bool) -> None:
            assert len(await read(provider, root + "a")) == len(data)

        for call in (
            lambda: provider.get(root + "a"),
            lambda: provider.get(root + "a", into=memoryview(buffer)),
            lambda: provider.head(root + "a"),
            lambda: provider.list_page(root),
            stream,
        ):
            await cancelled_everywhere(call, check, step=self.cancel_step)
        assert await read(provider, root + "a") == data

    async def test_a_cancelled_put_is_whole_or_not_there(
        self, provider: Provider, root: str
    ) -> None:
        old, new = pattern(300_000, 1), pattern(400_000, 2)
        await provider.put(root + "a", old)

        async def check(ended: bool) -> None:
            assert await names(provider, root) == [root + "a"]
            found = await read(provider, root + "a")
            assert found == new if ended else found in (old, new)
            await provider.put(root + "a", old)

        await cancelled_everywhere(
            lambda: provider.put(root + "a", new), check, step=self.cancel_step
        )

    async def test_a_cancelled_create_is_whole_or_not_there(
        self, provider: Provider, root: str
    ) -> None:
        if "put if_absent" in self.lacks:
            return
        new = pattern(300_000)
        # A new key each time: what was cancelled may still arrive at a service.
        keys = [root + "0/a"]

        async def check(ended: bool) -> None:
            key = keys[-1]
            found = await names(provider, key)
            assert found == [key] if ended else found in ([], [key])
            if found:
                assert await read(provider, key) == new
            keys.append(f"{root}{len(keys)}/a")

        await cancelled_everywhere(
            lambda: provider.put(keys[-1], new, if_absent=True), check, step=self.cancel_step
        )

    async def test_a_cancelled_copy_or_delete_is_whole_or_not_done(
        self, provider: Provider, root: str
    ) -> None:
        data = pattern(300_000)
        await provider.put(root + "a", data)

        async def check_copy(ended: bool) -> None:
            found = await names(provider, root)
            assert found in ([root + "a"], [root + "a", root + "b"])
            for key in found:
                assert await read(provider, key) == data
            assert not ended or len(found) == 2
            await provider.delete([root + "b"])

        async def check_delete(ended: bool) -> None:
            found = await names(provider, root)
            assert found in ([root + "a"], [root + "a", root + "b"])
            assert not ended or len(found) == 1
            await provider.put(root + "b", data)

        await cancelled_everywhere(
            lambda: provider.copy(root + "a", root + "b"), check_copy, step=self.cancel_step
        )
        await provider.put(root + "b", data)
        await cancelled_everywhere(
            lambda: provider.delete([root + "b"]), check_delete, step=self.cancel_step
        )

    async def test_a_cancelled_upload_that_is_aborted_leaves_nothing(
        self, provider: Provider, root: str
    ) -> None:
        data = pattern(part_size(provider) + 1_000)
        before = await self.open_uploads(provider, root)

        async def upload() -> None:
            with anyio.CancelScope(shield=True):
                under_way = await provider.begin_upload(root + "a", size=len(data))
            try:
                for number, part in cut(data, part_size(provider)):
                    await under_way.put_part(number, part)
                await under_way.complete()
            finally:
                with anyio.CancelScope(shield=True):
                    await under_way.abort()

        async def check(ended: bool) -> None:
            found = await names(provider, root)
            assert found == [root + "a"] if ended else found in ([], [root + "a"])
            if found:
                assert await read(provider, root + "a") == data
            assert await self.open_uploads(provider, root) == before
            await provider.delete([root + "a"])

        await cancelled_everywhere(upload, check, step=self.cancel_step)
