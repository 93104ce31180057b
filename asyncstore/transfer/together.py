"""Small objects on their way: read one by one, and written in groups, where the target can.

What a group is nothing for, for whatever reason, is written alone, which may succeed, or tells
why not. So a group need not know of retries, nor of what is unusual at the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.batch import Batch, Budget, Outcome
from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.batch import Slot
    from asyncstore.transfer.one import Carried, Carrier
    from asyncstore.transfer.plan import Step
    from asyncstore.types import Blob, Buffer, ObjectMeta

    PutGroup = Callable[[Sequence[tuple[str, Buffer]]], Awaitable[Sequence[ObjectMeta | None]]]
    Done = Outcome[Step, Carried]

LINGER = 0.005
"""Seconds; what arrives within this is written together."""

_ALONE = 16  # written alone, at once


class Together:
    """Writes what was read.

    Args:
        carrier: reads objects, and takes those that were written on record.
        put: writes some as `PutsGroup.put_group` does.
        came: told of bytes that arrived.
    """

    def __init__(self, carrier: Carrier, put: PutGroup, came: Callable[[int], None]) -> None:
        self._carrier = carrier
        self._put = put
        self._came = came

    async def write(self, outcomes: Sequence[Done]) -> None:
        """Write those that were read and not written yet, and put into each what came of it."""
        read: list[tuple[Done, Blob]] = []
        for one in outcomes:
            blob = one.value and one.value.blob
            if blob is not None:
                read.append((one, blob))
        if not read:
            return
        found: Sequence[ObjectMeta | None]
        try:
            found = await self._put([(one.item.key, blob.data) for one, blob in read])
        except StoreError:
            found = [None] * len(read)  # each will tell why
        alone = []
        size = 0
        for (one, blob), after in zip(read, found, strict=True):
            if after is None:
                alone.append((one, blob))
            else:
                size += after.size
                self._settle(one, blob, after)
        self._came(size)
        if alone:
            await self._write_alone(alone)

    async def _write_alone(self, read: Sequence[tuple[Done, Blob]]) -> None:
        budget = Budget(1)  # their bytes are held already
        batch: Batch[Step, Carried] = Batch(
            iter(read), self._alone, cost=lambda _: 0, width=lambda: _ALONE, budget=budget
        )
        async with batch:
            while await batch.some(_ALONE):
                pass

    async def _alone(self, read: tuple[Done, Blob], _: Slot) -> Sequence[Done]:
        one, blob = read
        try:
            after = await self._carrier.put(blob)
        except StoreError as error:
            one.value, one.error = None, error
        else:
            self._came(after.size)
            self._settle(one, blob, after)
        return (one,)

    def _settle(self, one: Done, blob: Blob, after: ObjectMeta) -> None:
        try:
            one.value = self._carrier.landed(blob, after)
        except StoreError as error:
            one.value, one.error = None, error
