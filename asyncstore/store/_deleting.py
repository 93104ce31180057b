"""Deletions: many keys in as few requests as the service allows."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from asyncstore.errors import BatchError, InvalidPathError
from asyncstore.store._together import closed, each
from asyncstore.url import check_listed

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Awaitable,
        Callable,
        Iterable,
        MutableSequence,
        Sequence,
    )

    from asyncstore.errors import StoreError
    from asyncstore.provider import Provider

    Present = Callable[[Sequence[str], MutableSequence[StoreError]], Awaitable[Sequence[str]]]

_WIDTH = 4


async def delete(
    provider: Provider,
    keys: Iterable[str] | AsyncIterable[str],
    whole: Callable[[str], str],
    *,
    errors: MutableSequence[StoreError] | None = None,
    present: Present | None = None,
) -> None:
    """Delete keys, drawn as they can be sent.

    Args:
        provider: with its layers.
        keys: of the store.
        whole: returns a key as the provider has it, or raises.
        errors: what is known to fail already.
        present: takes some keys, returns those that have an object, and adds errors for the others.

    Raises:
        BatchError: some failed.
    """
    failed: MutableSequence[StoreError] = [] if errors is None else errors

    async def some(batch: Sequence[str]) -> None:
        there = batch if present is None else await present(batch, failed)
        if there:
            failed.extend((await provider.delete([whole(key) for key in there])).values())

    async with aclosing(_batches(keys, provider.limits.delete)) as batches:
        await each(batches, some, width=_WIDTH)
    if failed:
        raise BatchError(f"{len(failed)} objects were not deleted", failed)


async def listed(
    keys: AsyncIterable[str], errors: MutableSequence[StoreError]
) -> AsyncGenerator[str]:
    """Give a listing's keys, also those that no store would write, such as a folder's marker.

    A key with a part `.` or `..` is left alone, and an error: on its way to the service, or there,
    it might be taken for another.
    """
    async for key in keys:
        try:
            check_listed(key)
        except InvalidPathError as error:
            errors.append(error)
        else:
            yield key


async def _batches(
    keys: Iterable[str] | AsyncIterable[str], size: int
) -> AsyncGenerator[Sequence[str]]:
    batch: list[str] = []
    if hasattr(keys, "__aiter__"):
        try:
            async for key in keys:
                batch.append(key)
                if len(batch) == size:
                    yield batch
                    batch = []
        finally:
            await closed(keys)
    else:
        for key in keys:
            batch.append(key)
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch
