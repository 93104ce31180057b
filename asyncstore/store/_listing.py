"""Listings: pages at the provider, an iterator for the user.

The next page is asked for while this one is being used. Breaking out of the loop leaves nothing
behind: no generator waits inside a task group, and the page under way ends with the iterator.
"""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any, Self

from asyncstore.columns import Columns

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterator,
        MutableSequence,
        Sequence,
    )

    from asyncstore.types import ObjectMeta, Page


class Listing:
    """Objects in a service's order, page after page; iterate once.

    Args:
        fetch: returns the page at a cursor.
        mine: turns a provider's metadata into the store's.
        prefix: the store's own; an object of exactly this name is a folder's marker, which has
            no key below the store.
    """

    def __init__(
        self,
        fetch: Callable[[str | None], Awaitable[Page]],
        mine: Callable[[ObjectMeta], ObjectMeta],
        prefix: str,
    ) -> None:
        self._fetch = fetch
        self._mine = mine
        self._prefix = prefix
        self._page: Iterator[ObjectMeta] = iter(())
        self._cursor: str | None = None
        self._ahead: asyncio.Task[Page] | None = None
        self._kept: Page | None = None
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ObjectMeta:
        while True:
            for meta in self._page:
                if meta.key != self._prefix:
                    return self._mine(meta)
            if self._begun and self._cursor is None:
                raise StopAsyncIteration
            await self._turn()

    async def some(self) -> list[ObjectMeta]:
        """Return the next objects, as many as are there when the first one is; `[]` at the end."""
        first = await anext(self, None)
        if first is None:
            return []
        return [first, *self.at_once()]

    def at_once(self) -> Iterator[ObjectMeta]:
        """Return the objects that are there already, and give them as they are asked for."""
        for meta in self._page:
            if meta.key != self._prefix:
                yield self._mine(meta)

    async def columns(self) -> Columns:
        """Return the next objects as `some` does, side by side; none at the end."""
        left: Sequence[ObjectMeta] = [*self.at_once()]
        while not left and not (self._begun and self._cursor is None):
            left = self._below((await self._next_page()).objects)
        return Columns.of(left)

    def _below(self, objects: Sequence[ObjectMeta]) -> Sequence[ObjectMeta]:
        if isinstance(objects, Columns) and objects.is_all:
            return objects.below(self._prefix)
        return [self._mine(meta) for meta in objects if meta.key != self._prefix]

    async def aclose(self) -> None:
        """End the listing, and the request for the next page."""
        self._page, self._kept, self._cursor, self._begun = iter(()), None, None, True
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.wait([ahead])

    async def _turn(self) -> None:
        self._page = iter((await self._next_page()).objects)

    async def _next_page(self) -> Page:
        page, self._kept = self._kept, None
        if page is not None:
            return page
        page = await self._fetch_page()
        if self._ahead is not None:
            # It is asked for now, however long the consumer keeps the loop busy with this page.
            try:
                await asyncio.sleep(0)
            except BaseException:
                self._kept = page
                raise
        return page

    async def _fetch_page(self) -> Page:
        ahead, self._ahead = self._ahead, None
        try:
            page = await (ahead if ahead is not None else self._fetch(self._cursor))
        except BaseException:
            if ahead is not None:
                ahead.cancel()
            raise
        self._begun = True
        self._cursor = page.cursor
        loop = _get_running_loop()
        if page.cursor is not None and loop is not None:
            self._ahead = loop.create_task(_fetched(self._fetch, page.cursor))
            self._ahead.add_done_callback(_seen)
        return page

    def __del__(self) -> None:
        ahead = self._ahead
        if ahead is not None and not ahead.done() and not ahead.get_loop().is_closed():
            ahead.get_loop().call_soon_threadsafe(ahead.cancel)


async def _fetched(fetch: Callable[[str | None], Awaitable[Page]], cursor: str) -> Page:
    return await fetch(cursor)


def _seen(task: asyncio.Task[Any]) -> None:
    """Mark an error as seen: where the consumer left, nobody else will."""
    if not task.cancelled():
        task.exception()


class Keys:
    """The keys of a listing, counted."""

    def __init__(self, listing: AsyncIterator[ObjectMeta]) -> None:
        self._listing = listing
        self.count = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        meta = await anext(self._listing)
        self.count += 1
        return meta.key


class Walk:
    """A tree from the top; prefixes that the caller takes out of the list are not entered.

    Args:
        fetch: returns the page of one level at a cursor.
        start: the level to begin at.
        mine: turns a provider's metadata into the store's.
        prefix: the store's own.
    """

    def __init__(
        self,
        fetch: Callable[[str, str | None], Awaitable[Page]],
        start: str,
        mine: Callable[[ObjectMeta], ObjectMeta],
        prefix: str,
    ) -> None:
        self._fetch = fetch
        self._mine = mine
        self._prefix = prefix
        self._waiting = [start]
        self._last: list[str] = []

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """End it."""
        self._waiting, self._last = [], []

    async def __anext__(self) -> tuple[str, MutableSequence[str], Sequence[ObjectMeta]]:
        self._waiting += [self._prefix + name for name in reversed(self._last)]
        self._last = []
        if not self._waiting:
            raise StopAsyncIteration
        here = self._waiting.pop()
        strip = len(self._prefix)
        prefixes: list[str] = []
        objects: list[ObjectMeta] = []
        cursor: str | None = None
        while True:
            page = await self._fetch(here, cursor)
            prefixes += [name[strip:] for name in page.prefixes]
            objects += [self._mine(meta) for meta in page.objects if meta.key != self._prefix]
            cursor = page.cursor
            if cursor is None:
                break
        self._last = prefixes
        return here[strip:], prefixes, objects
