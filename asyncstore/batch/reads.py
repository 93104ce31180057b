"""A batch's reads of whole objects, without a task for each, where a provider can."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from asyncstore.layers import lane_of
from asyncstore.provider import Asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.batch.budget import Slot
    from asyncstore.batch.flights import Flights
    from asyncstore.batch.outcome import Outcome
    from asyncstore.layers import Lane
    from asyncstore.provider import Provider
    from asyncstore.types import Blob

    Read: TypeAlias = Callable[[], Awaitable[Blob]]
    Wish: TypeAlias = tuple[str, str | None, int | None]
    Begun: TypeAlias = tuple[Any, Slot, Flights]


class Reads:
    """Begins the reads of a batch; see `Express`.

    Args:
        wish: returns the key, `if_match` and `most`, as `Provider.get` takes them, of a job that
            is to read one whole object; `None` for any other.
        came: returns the outcome of a job whose object was read.
        finish: does a job that takes more, given what reads its object.
    """

    def __init__(
        self,
        wish: Callable[[Any], Wish | None],
        came: Callable[[Any, Slot, Blob], Outcome[Any, Any]],
        finish: Callable[[Any, Slot, Read], Awaitable[Sequence[Outcome[Any, Any]]]],
    ) -> None:
        self._wish = wish
        self._came = came
        self._finish = finish
        self._lane: Lane | None = None

    def on(self, provider: Provider) -> Reads | None:
        """Return this for a stack of layers, or `None` where that has no lane."""
        self._lane = lane_of(provider, self._on_blob, self._on_rest)
        return None if self._lane is None else self

    @property
    def under_way(self) -> int:
        """How many have been begun and not ended."""
        return 0 if self._lane is None else self._lane.under_way

    def start(self, jobs: Sequence[tuple[Any, Slot]], flights: Flights) -> Sequence[int]:
        """See `Express.start`."""
        left, places, asked = [], [], []
        for place, (job, slot) in enumerate(jobs):
            wish = self._wish(job)
            if wish is None:
                left.append(place)
            else:
                places.append(place)
                asked.append(Asked(*wish, (job, slot, flights)))
        begun = self._lane.start(asked) if asked and self._lane is not None else 0
        return left + places[begun:]

    def abandon(self) -> None:
        """See `Express.abandon`."""
        if self._lane is not None:
            for _, slot, _ in self._lane.abandon():
                slot.free()

    def _on_blob(self, begun: Begun, blob: Blob) -> None:
        job, slot, flights = begun
        flights.landed(self._came(job, slot, blob), slot)

    def _on_rest(self, begun: Begun, read: Read) -> None:
        job, slot, flights = begun
        flights.unfinished(partial(self._finish, job, slot, read), slot)
