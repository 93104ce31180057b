"""Many operations at once, with a bound, going on after a failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

AT_ONCE = 32
"""How many operations run at once where the user does not say."""


async def each(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    /,
    *,
    failed: Callable[[StoreError], None],
    workers: int = AT_ONCE,
) -> int:
    """Do `work` on every item, `workers` of them at a time; return how many failed.

    Args:
        items: taken one by one, as workers become free.
        work: what to do with one; its `StoreError` goes to `failed` and the others go on.
        failed: told of each error.
        workers: at least 1.
    """
    waiting = iter(items)
    failures = 0

    async def worker() -> None:
        nonlocal failures
        for item in waiting:
            try:
                await work(item)
            except StoreError as error:
                failures += 1
                failed(error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except BaseExceptionGroup as several:
        # Only a bug or an interrupt comes here: the first says it.
        raise several.exceptions[0] from None
    return failures
