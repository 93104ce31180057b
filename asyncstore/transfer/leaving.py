"""Objects that are moved: their sources go last, and only as the versions that were copied.

Whoever adds one here has seen that the target holds the same bytes; whoever deletes them has
brought the target to its disk before. A kill in between costs nothing: the next run finds both
sides the same, and deletes then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.errors import NotFoundError, ObjectChangedError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncstore.store import Store
    from asyncstore.transfer.plan import Step
    from asyncstore.transfer.put_aside import Steps
    from asyncstore.types import ObjectMeta


class Leaving:
    """The objects that are at the target, and are to leave the source.

    Args:
        source: what they are deleted from.
        steps: where they are put aside.
    """

    def __init__(self, source: Store, steps: Steps) -> None:
        self._source = source
        self._steps = steps

    async def add(self, steps: Sequence[Step], /) -> None:
        """Take objects whose bytes are at the target."""
        await self._steps.add(steps)

    async def delete(self) -> AsyncIterator[tuple[Step, StoreError | None]]:
        """Delete them all; give each, with the error of what is kept."""
        chunks = self._steps.chunks()
        while steps := await chunks.some():
            waiting = {step.key: step for step in steps}
            async with self._source.head_many(list(waiting)) as asked:
                kept = [
                    (outcome.item, error)
                    async for outcome in asked
                    if (error := _why_kept(waiting[outcome.item], outcome.value, outcome.error))
                ]
            for key, error in kept:
                yield waiting.pop(key), error
            async with self._source.delete_many(list(waiting)) as deleted:
                async for gone in deleted:
                    yield waiting[gone.item], gone.error


def _why_kept(step: Step, now: ObjectMeta | None, error: StoreError | None) -> StoreError | None:
    if now is None:
        return None if isinstance(error, NotFoundError) else error
    if (now.etag, now.size) == (step.meta.etag, step.meta.size) and now.etag is not None:
        return None
    return ObjectChangedError("it changed after it was copied; it was not deleted")
