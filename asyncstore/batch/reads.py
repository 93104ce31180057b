"""A batch's reads of whole objects, without a task for each, where a provider can."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from asyncstore.layers import lane_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.batch.budget import Slot
    from asyncstore.batch.flights import Flights
    from asyncstore.batch.outcome import Outcome
    from asyncstore.layers import Lane
    from asyncstore.provider import Asked, Provider
    from asyncstore.types import Blob

    Read: TypeAlias = Callable[[], Awaitable[Blob]]


class Reads:
    """Begins the reads of a batch; see `Express`.

    Args:
        wish: returns what is to be asked for by a job that is to read one whole object, with
            its slot as the token; `None` for any other.
        came: returns the outcome of a job whose object was read.
        finish: does a job that takes more, given what reads its object.
    """

    def __init__(
        self,
        wish: Callable[[Any, Slot], Asked | None],
        came: Callable[[Any, Slot, Blob], Outcome[Any, Any]],
        finish: Callable[[Any, Slot, Read], Awaitable[Sequence[Outcome[Any, Any]]]],
    ) -> None:
        self._wish = wish
        self._came = came
        self._finish = finish
        self._lane: Lane | None = None
        self._flights: Flights = cast("Flights", None)

    def on(self, provider: Provider) -> Reads | None:
        """Return this for a stack of layers, or `None` where that has no lane."""
        self._lane = lane_of(provider, self._on_blob, self._on_rest)
        return None if self._lane is None else self

    @property
    def under_way(self) -> int:
        """How many have been begun and not ended."""
        return 0 if self._lane is None else self._lane.under_way

    def start(self, jobs: Sequence[Slot], flights: Flights) -> Sequence[int]:
        """See `Express.start`."""
        self._flights = flights
        wish = self._wish
        wishes = [wish(slot.job, slot) for slot in jobs]
        asked = [one for one in wishes if one is not None]
        begun = self._lane.start(asked) if asked and self._lane is not None else 0
        if begun == len(wishes):
            return ()
        places = range(len(wishes))
        able = [place for place in places if wishes[place] is not None]
        return [place for place in places if wishes[place] is None] + able[begun:]

    def abandon(self) -> None:
        """See `Express.abandon`."""
        if self._lane is not None:
            for slot in self._lane.abandon():
                slot.free()

    def _on_blob(self, slot: Slot, blob: Blob) -> None:
        self._flights.landed(self._came(slot.job, slot, blob), slot)

    def _on_rest(self, slot: Slot, read: Read) -> None:
        self._flights.unfinished(partial(self._finish, slot.job, slot, read), slot)
