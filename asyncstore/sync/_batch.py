"""Batches without `await`: outcomes cross from the background loop, as many as are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import anyio.to_thread

from asyncstore.background import Held
from asyncstore.errors import BatchError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from types import TracebackType

    from asyncstore import batch as _async
    from asyncstore.batch import Outcome

T = TypeVar("T")
V = TypeVar("V")

_MOST = 256  # outcomes that cross at once


class Batch(Generic[T, V]):
    """Outcomes of many calls: a context manager, and inside it an iterator.

    As `asyncstore.Batch`, without `await`.

    Args:
        make: called on the loop; returns the async batch.
    """

    def __init__(self, make: Callable[[], _async.Batch[T, V]], /) -> None:
        self._held: Held[_async.Batch[T, V]] = Held(make)
        self._batch: _async.Batch[T, V] | None = None
        self._ready: deque[Outcome[T, V]] = deque()

    def __enter__(self) -> Self:
        self._batch = self._held.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._batch = None
        self._held.leave(error)

    def __iter__(self) -> Iterator[Outcome[T, V]]:
        return self

    def __next__(self) -> Outcome[T, V]:
        ready = self._ready
        if not ready:
            if self._batch is None:
                raise RuntimeError("write `with` around a batch, and iterate inside it")
            ready.extend(self._held.run(partial(self._batch.some, _MOST)))
            if not ready:
                raise StopIteration
        return ready.popleft()

    def finish(self) -> int:
        """Run to the end; return how many items succeeded. See `asyncstore.Batch.finish`.

        Raises:
            BatchError: some items failed; it holds an error for each.
        """
        done = 0
        errors: list[StoreError] = []
        for outcome in self:
            if outcome.error is None:
                done += 1
            else:
                errors.append(outcome.error)
        if errors:
            raise BatchError(f"{len(errors)} of {done + len(errors)} items failed", errors)
        return done


def drawn(items: Iterable[T], most: int, /) -> Iterable[T] | AsyncIterator[T]:
    """Return items for the background loop to draw.

    An iterator may block, or use this very store: it is drawn in a thread of its own, so many
    items at a time. What is all there already is taken as it is.
    """
    return items if isinstance(items, Collection) else _in_thread(iter(items), most)


async def _in_thread(items: Iterator[T], most: int) -> AsyncIterator[T]:
    def some() -> list[Any]:
        return list(islice(items, most))

    while chunk := await anyio.to_thread.run_sync(some):
        for item in chunk:
            yield item
