"""Reads of a data set that no task waits for, where the provider beneath has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstore.provider import Asked, StartsReads
from asyncstore.providers.hub.passing import Placed
from asyncstore.types import change_meta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.provider import Started
    from asyncstore.providers.hub.beneath import Beneath
    from asyncstore.types import Blob


class HubRead:
    """A read under way beneath; see `provider.Started`."""

    __slots__ = ("_at", "_inner", "_url", "asked", "note")

    note: Any

    def __init__(self, at: Beneath, inner: Started, asked: Asked, url: str) -> None:
        self._at = at
        self._inner = inner
        self._url = url
        self.asked = asked

    def abandon(self) -> None:
        """See `Started.abandon`."""
        self._inner.abandon()

    async def settle(self) -> Blob:
        """See `Started.settle`."""
        with Placed("get", self._url):
            blob = await self._inner.settle()
        change_meta(blob, self._at.meta)
        return blob


def start(
    at: Beneath,
    locate: Callable[[str], str],
    asked: Sequence[Asked],
    ended: Callable[[Any, Blob | None], None],
    deadline: float | None,
) -> Sequence[HubRead]:
    """Begin to read objects; see `StartsReads.start_gets`."""
    if not isinstance(at.provider, StartsReads):
        return ()

    def on_end(inner: Started, blob: Blob | None) -> None:
        if blob is not None:
            change_meta(blob, at.meta)
        ended(inner.note, blob)

    beneath = [Asked(at.key(one.key), one.if_match, one.most, None) for one in asked]
    begun = []
    inners = at.provider.start_gets(beneath, on_end, deadline=deadline)
    for one, inner in zip(asked, inners, strict=False):
        inner.note = HubRead(at, inner, one, locate(one.key))
        begun.append(inner.note)
    return begun
