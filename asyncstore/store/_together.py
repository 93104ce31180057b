"""Several calls at once, with one result: the first error, bare, and never a group."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

T = TypeVar("T")


async def each(
    items: Iterable[T] | AsyncIterable[T], call: Callable[[T], Awaitable[None]], *, width: int
) -> None:
    """Await `call(item)` for every item, at most `width` at once.

    The first error ends the others and is raised as it is. Workers share one iterator, so that
    memory does not grow with the number of items, and nothing is drawn before it is needed.
    """
    failed: list[Exception] = []
    source = aiter(items) if isinstance(items, AsyncIterable) else _asynchronous(items)
    gate = anyio.Lock()

    async def work() -> None:
        while True:
            async with gate:
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
            await call(item)

    async def guarded() -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised below, outside the group
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(width):
            group.start_soon(guarded)
    if failed:
        raise failed[0]


async def _asynchronous(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
