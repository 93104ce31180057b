"""Items that come some at a time: each is waited for only where no other is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

J = TypeVar("J")


class Chunked(AsyncIterator[J], Generic[J]):
    """An async iterator over chunks of items.

    Args:
        more: returns the next chunk, an empty one at the end.
        close: called when nobody wants more.

    Attributes:
        here: the items of the present chunk that were not given yet.
    """

    def __init__(
        self,
        more: Callable[[], Awaitable[Iterable[J]]],
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._more = more
        self._close = close
        self.here: Iterator[J] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> J:
        for item in self.here:
            return item
        self.here = iter(await self._more())
        for item in self.here:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it."""
        self.here = iter(())
        if self._close is not None:
            await self._close()
