"""A bound on the bytes that a batch holds: asked for before they are fetched, given back when
the consumer is done with them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio

from asyncstore.errors import ConfigurationError


class Budget:
    """So many bytes, first come first served.

    What alone is more than all of it may be had when nothing else is out, so that any object can
    be read, one at a time.

    Attributes:
        total: bytes.
        used: bytes that are out now.
        peak: most bytes that were ever out.
    """

    __slots__ = ("_waiting", "peak", "total", "used")

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ConfigurationError(f"a memory budget of {total} bytes: at least 1")
        self.total = total
        self.used = 0
        self.peak = 0
        self._waiting: deque[Claim] = deque()

    async def take(self, count: int, /) -> None:
        """Wait for `count` bytes and take them."""
        if not self.take_now(count):
            await self.wait(Claim(count))

    def take_now(self, count: int, /) -> bool:
        """Take `count` bytes if they are there and nobody waits; say whether."""
        used = self.used + count
        if self._waiting or (used > self.total and self.used):
            return False
        self.used = used
        if used > self.peak:  # noqa: PLR1730 - half as long as `max`
            self.peak = used
        return True

    async def wait(self, claim: Claim, /) -> None:
        """Wait for a claim's bytes, in the queue, and take them."""
        if self.take_now(claim.count):
            claim.granted.set()
            return
        self._waiting.append(claim)
        try:
            await claim.granted.wait()
        except BaseException:
            if claim.granted.is_set():
                self.give(claim.count)
            else:
                self._waiting.remove(claim)
                self._wake()
            raise

    def promote(self, claim: Claim, /) -> None:
        """Grant a claim now, beyond the total if need be."""
        if not claim.granted.is_set() and claim in self._waiting:
            self._waiting.remove(claim)
            self._out(claim.count)
            claim.granted.set()

    def force(self, count: int, /) -> None:
        """Take `count` bytes now, beyond the total if need be."""
        self._out(count)

    def give(self, count: int, /) -> None:
        """Give bytes back."""
        self.used -= count
        if self._waiting:
            self._wake()

    def _fits(self, count: int) -> bool:
        return self.used + count <= self.total or self.used == 0

    def _out(self, count: int) -> None:
        self.used += count
        self.peak = max(self.peak, self.used)

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0].count):
            claim = self._waiting.popleft()
            self._out(claim.count)
            claim.granted.set()


class Claim:
    """Bytes that are waited for."""

    __slots__ = ("count", "granted")

    def __init__(self, count: int) -> None:
        self.count = count
        self.granted = anyio.Event()


class Turns:
    """Whose turn it is, where outcomes are handed out in order, and who waits for bytes.

    Attributes:
        next: the index that is handed out next.
        claims: what large jobs wait for, by the index of their first item.
    """

    __slots__ = ("claims", "next")

    def __init__(self) -> None:
        self.next = 0
        self.claims: dict[int, Claim] = {}


class Slot:
    """One job, and what it holds of the budget.

    Args:
        job: that was drawn.
        held: bytes that were taken for it already.
        budget: of the batch.
        turns: where outcomes are handed out in order.

    Attributes:
        job: as given.
        held: bytes that it holds now.
    """

    __slots__ = ("_budget", "_turns", "held", "job")

    def __init__(self, job: Any, held: int, budget: Budget, turns: Turns | None = None) -> None:
        self.job = job
        self.held = held
        self._budget = budget
        self._turns = turns

    def settle(self, count: int, /) -> None:
        """Hold `count` bytes from now on, now that their number is known.

        Never waits. What was taken too little for this job holds the next ones back.
        """
        change = count - self.held
        self.held = count
        if change > 0:
            self._budget.force(change)
        elif change < 0:
            self._budget.give(-change)

    async def swap(self, index: int, count: int, /) -> None:
        """Give back what is held, then wait for `count` bytes: the job turned out to be large.

        Args:
            index: of the job's first item.
            count: bytes.
        """
        self.free()
        turns = self._turns
        if turns is not None and turns.next == index:
            self._budget.force(count)
        else:
            claim = Claim(count)
            if turns is not None:
                turns.claims[index] = claim
            try:
                await self._budget.wait(claim)
            finally:
                if turns is not None:
                    turns.claims.pop(index, None)
        self.held = count

    def free(self) -> None:
        """Give everything back; twice is as once."""
        held, self.held = self.held, 0
        if held:
            self._budget.give(held)


def free_all(budget: Budget, slots: list[Slot]) -> None:
    """Free slots of one budget, and forget them."""
    held = 0
    for slot in slots:
        held += slot.held
        slot.held = 0
    slots.clear()
    if held:
        budget.give(held)
