"""The provider beneath a hub's: which one, with whose credentials, and for which keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asyncstore.columns import Columns
from asyncstore.errors import InvalidPathError, NotFoundError, UnavailableError
from asyncstore.format.keys import HISTORY, META

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.credentials import Refreshing
    from asyncstore.provider import Provider
    from asyncstore.providers.hub.granting import Grant
    from asyncstore.types import ObjectMeta, Settings
    from asyncstore.url import StoreURL

    Connect = Callable[[StoreURL, Settings], Provider]


class Lent:
    """The credentials of the grant that holds, as a source for the provider beneath.

    A provider asks for them when it begins, when its own are near their end, and when they were
    refused. Who asks again for ones that are young was refused, and the hub is asked for others.

    Args:
        grants: hands out the grant that holds.
        reach: of the grants that are of use to the provider.
    """

    def __init__(self, grants: Refreshing[Grant], reach: tuple[Any, ...]) -> None:
        self._grants = grants
        self._reach = reach
        self._last: Grant | None = None

    async def __call__(self) -> dict[str, Any]:
        """Return credentials with their end.

        Raises:
            UnavailableError: the data is elsewhere now; the next call goes there.
            StoreError: the hub's, where no earlier credentials hold.
        """
        last = self._last
        if last is not None and self._grants.is_young(last):
            self._grants.invalidate(last)
        grant = self._grants.current() or await self._grants.get()
        if grant.reach != self._reach:
            raise UnavailableError("the hub has just moved the data; try again")
        self._last = grant
        return grant.ending


class Beneath:
    """A provider where a grant leads, and its keys by the hub's names.

    Args:
        grant: where it leads.
        provider: of that place.
        head: what keys begin with above: `"name/"`.

    Attributes:
        grant: the last that was for this place.
        provider: takes the keys that `key` returns.
    """

    __slots__ = ("_head", "_prefix", "grant", "provider")

    def __init__(self, grant: Grant, provider: Provider, head: str) -> None:
        self.grant = grant
        self.provider = provider
        self._head = head
        self._prefix = grant.url.prefix

    def key(self, key: str, /) -> str:
        """Return a key as the storage has it.

        Raises:
            InvalidPathError: it is not below the data set's name.
        """
        if not key.startswith(self._head):
            raise InvalidPathError(f"{key!r} is not in the data set {self._head[:-1]!r}")
        return self._prefix + key[len(self._head) :]

    def above(self, key: str, /) -> str:
        """Return a storage's key as the hub's path has it."""
        return self._head + key[len(self._prefix) :]

    def meta(self, meta: ObjectMeta, /) -> ObjectMeta:
        """Return metadata with the key as the hub's path has it."""
        return meta.replace(key=self.above(meta.key))

    def metas(self, metas: Sequence[ObjectMeta], /) -> Sequence[ObjectMeta]:
        """Return what `meta` does, of a page."""
        if isinstance(metas, Columns) and metas.is_all:
            return metas.named([self.above(key) for key in metas.keys])
        return [self.meta(meta) for meta in metas]

    async def roots(self) -> tuple[bytes | None, ...]:
        """Return the files that make it a data set, as far as they are there."""
        return tuple(await asyncio.gather(*(self._read(name) for name in (META, HISTORY))))

    async def _read(self, name: str) -> bytes | None:
        try:
            return bytes((await self.provider.get(self._prefix + name)).data)
        except NotFoundError:
            return None
