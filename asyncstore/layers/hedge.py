"""A second request for a read that is slower than nearly all others; the first answer counts.

Services answer most requests fast and a few very late. Whoever waits for thousands waits for the
latest. A read that has taken longer than 19 of 20 lately did is asked for once more, and the
request that loses is cancelled. A budget bounds what that adds to the load: one more request for
each twenty reads, so that a service that is slow altogether is not asked for everything twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from asyncstore.errors import StoreError
from asyncstore.layers.base import Layer
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.provider import Provider
    from asyncstore.types import Blob, Span

_LATELY = 256  # reads that are remembered
_ENOUGH = 32  # reads before anything is known
_SHARE = 0.95  # of the reads are faster than what is slow
_EARNED = 0.05  # of a further request, by each read
_SAVED = 20.0  # further requests that may be saved up
_LEAST = 0.001  # seconds


class Hedged(Layer):
    """Ask again for slow reads. Reads into the caller's memory are left alone.

    Args:
        inner: what to make the calls on.
        clock: monotonic seconds; for tests.

    Attributes:
        hedges: further requests that were made.
        won: those of them that answered first.
    """

    def __init__(self, inner: Provider, /, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(inner)
        self.hedges = 0
        self.won = 0
        self._clock = clock
        self._lately: list[float] = []
        self._at = 0
        self._slow = float("inf")
        self._budget = 0.0

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """See `Provider.get`."""
        if into is not None:
            # Two answers must not land in one place.
            return await self.inner.get(key, span=span, into=into, if_match=if_match, most=most)
        began = self._clock()

        async def ask() -> Blob:
            return await self.inner.get(key, span=span, if_match=if_match, most=most)

        if self._slow == float("inf") or self._budget < 1:
            blob = await ask()
        else:
            blob = await _Race(self, ask).run(self._slow)
        self._learn(self._clock() - began)
        return blob

    def spend(self) -> bool:
        """Take a further request out of the budget, if there is one in it; say whether."""
        if self._budget < 1:
            return False
        self._budget -= 1
        self.hedges += 1
        return True

    def _learn(self, seconds: float) -> None:
        self._budget = min(_SAVED, self._budget + _EARNED)
        lately = self._lately
        if len(lately) < _LATELY:
            lately.append(seconds)
        else:
            lately[self._at] = seconds
        self._at = (self._at + 1) % _LATELY
        if len(lately) >= _ENOUGH and self._at % _ENOUGH == 0:
            self._slow = max(_LEAST, sorted(lately)[int(len(lately) * _SHARE)])


class _Race:
    """One read, asked for once or twice. Each request is a task, and none outlives the race."""

    def __init__(self, layer: Hedged, ask: Callable[[], Awaitable[Blob]]) -> None:
        self._layer = layer
        self._ask = ask
        self._ended = anyio.Event()
        self._running = 0
        self._blob: Blob | None = None
        self._error: Exception | None = None

    async def run(self, patience: float) -> Blob:
        async with anyio.create_task_group() as group:
            group.start_soon(self._one, False)
            with anyio.move_on_after(patience):
                await self._ended.wait()
            if not self._ended.is_set() and self._layer.spend():
                group.start_soon(self._one, True)
            await self._ended.wait()
            group.cancel_scope.cancel()
        if self._blob is None:
            assert self._error is not None  # noqa: S101 - the race ends with either
            raise self._error
        return self._blob

    async def _one(self, second: bool) -> None:  # noqa: FBT001 - a task's argument
        self._running += 1
        try:
            blob = await self._ask()
        except StoreError as error:
            # The other may still succeed; a lasting answer is one, whoever gets it.
            self._error = error
            self._running -= 1
            if not (error.retryable and self._running):
                self._ended.set()
            return
        except Exception as error:  # noqa: BLE001 - raised by `run`, bare
            self._error = error
            self._ended.set()
            return
        if self._blob is None:
            self._blob = blob
            self._layer.won += second
        self._running -= 1
        self._ended.set()
