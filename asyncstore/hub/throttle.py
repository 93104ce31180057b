"""How often somebody may try: a bucket of tries for each key, which fills up again with time."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from asyncstore.hub.faults import too_many

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = 50_000


class Throttle:
    """Counts tries by key, such as an account or an address.

    Args:
        tries: how many at once.
        every: seconds after which one more is allowed.
        clock: seconds that only go up.
        kept: how many keys are remembered; beyond, the one that tried longest ago is forgotten.
    """

    def __init__(
        self, tries: int, *, every: float, clock: Callable[[], float], kept: int = _KEPT
    ) -> None:
        self._tries = tries
        self._every = every
        self._clock = clock
        self._kept = kept
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Count a try.

        Raises:
            Refusal: 429, there was none left; says in how many seconds there is.
        """
        used = self._now_used(key)
        if used + 1 > self._tries:
            wait = (used + 1 - self._tries) * self._every
            raise too_many("Too many tries; wait a little.", retry_after=wait)
        self._set(key, used + 1)

    def give_back(self, key: str) -> None:
        """Uncount a try that was all right."""
        self._set(key, max(0.0, self._now_used(key) - 1))

    def _now_used(self, key: str) -> float:
        used, at = self._used.get(key, (0.0, 0.0))
        return max(0.0, used - (self._clock() - at) / self._every) if used else 0.0

    def _set(self, key: str, used: float) -> None:
        self._used[key] = (used, self._clock())
        self._used.move_to_end(key)
        while len(self._used) > self._kept:
            self._used.popitem(last=False)
