"""Small objects on their way: read one by one, and written in groups, where the target can.

What a group is nothing for, for whatever reason, is written alone, which may succeed, or tells
why not. So a group need not know of retries, nor of what is unusual at the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstore.batch import Batch, Budget, Outcome
from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.batch import Slot
    from asyncstore.transfer.one import Carried, Carrier
    from asyncstore.transfer.plan import Step
    from asyncstore.types import Buffer, ObjectMeta

    PutGroup = Callable[[Sequence[tuple[str, Buffer]]], Awaitable[Sequence[ObjectMeta | None]]]
    Done = Outcome[Step, Carried]
    Read = tuple[Done, Any]  # and what is carried, which has metadata and bytes

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
        read: list[Read] = [
            (one, one.value)
            for one in outcomes
            if one.value is not None and one.value.data is not None
        ]
        if not read:
            return
        found: Sequence[ObjectMeta | None]
        try:
            found = await self._put([(one.item.key, carried.data) for one, carried in read])
        except StoreError:
            found = [None] * len(read)  # each will tell why
        places = [*zip(read, found, strict=True)]
        written = [(one, after) for one, after in places if after is not None]
        if self._carrier.all_landed([(carried.meta, after) for (_, carried), after in written]):
            for (_, carried), after in written:
                carried.landed(after)
        else:
            for one, after in written:
                self._settle(one, after)
        self._came(sum([after.size for _, after in written]))
        if len(written) < len(read):
            await self._write_alone([one for one, after in places if after is None])

    async def _write_alone(self, read: Sequence[Read]) -> None:
        budget = Budget(1)  # their bytes are held already
        batch: Batch[Step, Carried] = Batch(
            iter(read), self._alone, cost=lambda _: 0, width=lambda: _ALONE, budget=budget
        )
        async with batch:
            while await batch.some(_ALONE):
                pass

    async def _alone(self, read: Read, _: Slot) -> Sequence[Done]:
        one, carried = read
        try:
            after = await self._carrier.put(carried.data, carried.meta)
        except StoreError as error:
            one.value, one.error = None, error
        else:
            self._came(after.size)
            self._settle(read, after)
        return (one,)

    def _settle(self, read: Read, after: ObjectMeta) -> None:
        one, carried = read
        try:
            self._carrier.landed(carried.meta, after)
        except StoreError as error:
            one.value, one.error = None, error
        else:
            carried.landed(after)
