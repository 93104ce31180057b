"""Several calls at once, with one result: the first error, bare, and never a group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


async def each(
    items: Iterable[T] | AsyncIterable[T], call: Callable[[T], Awaitable[None]], *, width: int
) -> None:
    """Await `call(item)` for every item, at most `width` at once.

    The first error ends the others and is raised as it is. Workers share one iterator, so that
    memory does not grow with the number of items, and nothing is drawn before it is needed. A
    generator that is given is closed.
    """
    failed: list[Exception] = []
    draw = _drawing(items)

    async def work() -> None:
        while (item := await draw()) is not _END:
            await call(cast("T", item))

    async def guarded() -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised below, outside the group
            failed.append(error)
            group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for _ in range(width):
                group.start_soon(guarded)
    finally:
        await closed(items)
    if failed:
        raise failed[0]


async def closed(items: object, /) -> None:
    """Close a generator: trio does not forgive one that is left half-way."""
    if isinstance(items, AsyncGenerator):
        with anyio.CancelScope(shield=True):
            await items.aclose()


_END = object()


def _drawing(items: Iterable[T] | AsyncIterable[T]) -> Callable[[], Awaitable[T | object]]:
    """Return what gives the next item to whoever asks, one after another."""
    if not isinstance(items, AsyncIterable):
        there = iter(items)

        async def draw() -> T | object:
            return next(there, _END)

        return draw
    source = aiter(items)
    gate = anyio.Lock()

    async def wait() -> T | object:
        async with gate:
            return await anext(source, _END)

    return wait
