"""Outcomes of a batch that wait for its consumer, with what they hold of the budget.

Bytes go back when the consumer is done with them: when it asks for the next ones. In an ordered
batch an outcome waits here for those before it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from asyncstore.batch.budget import Turns, free_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.batch.budget import Budget, Slot
    from asyncstore.batch.outcome import Outcome

T = TypeVar("T")
V = TypeVar("V")

_MOST = 1024
"""Outcomes that may wait, whatever their bytes."""


class Ended(Generic[T, V]):
    """What is between the workers and the consumer.

    Args:
        budget: of the batch.
        ordered: outcomes are handed out in the items' order.
        comes_more: says whether anything is under way.

    Attributes:
        turns: whose turn it is, where they are ordered.
    """

    def __init__(self, budget: Budget, *, ordered: bool, comes_more: Callable[[], bool]) -> None:
        self.turns = Turns() if ordered else None
        self._budget = budget
        self._comes_more = comes_more
        self._ready: deque[Outcome[T, V]] = deque()
        self._held: deque[Slot | None] = deque()  # what goes back with each of those
        self._early: dict[int, tuple[Outcome[T, V], Slot | None]] = {}
        self._taken: list[Slot] = []
        self._consumer: anyio.Event | None = None
        self._enough = 1  # outcomes that the consumer waits for
        self._room: anyio.Event | None = None

    # ---- the workers' side

    @property
    def is_full(self) -> bool:
        """Whether no more should come before some were taken."""
        return len(self._ready) + len(self._early) >= _MOST

    async def has_room(self) -> None:
        """Wait until more may come."""
        while self.is_full:
            self._room = anyio.Event()
            await self._room.wait()

    def deliver(self, outcome: Outcome[T, V], slot: Slot | None) -> None:
        """Take an outcome; `slot` is freed when the consumer is done with it."""
        turns = self.turns
        if turns is None:
            self._ready.append(outcome)
            self._held.append(slot)
        else:
            self._early[outcome.index] = outcome, slot
            self._line_up(turns)
        if self._consumer is not None and len(self._ready) >= self._enough:
            self.tell()

    def _line_up(self, turns: Turns) -> None:
        """Have those ready whose turn it is."""
        while turns.next in self._early:
            outcome, slot = self._early.pop(turns.next)
            self._ready.append(outcome)
            self._held.append(slot)
            turns.next += 1
        claim = turns.claims.get(turns.next)
        if claim is not None:
            # Those that hold the bytes it waits for wait for it to be handed out.
            self._budget.promote(claim)

    def tell(self) -> None:
        """Have the consumer look again: nothing may be under way any more."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.set()

    # ---- the consumer's side

    def __bool__(self) -> bool:
        """Whether an outcome is there."""
        return bool(self._ready)

    async def change(self) -> None:
        """Wait until `tell`."""
        self._consumer = anyio.Event()
        await self._consumer.wait()

    async def gather(self, most: int, seconds: float) -> None:
        """Wait until so many outcomes are there, or nothing more comes, or the time is over."""
        self._enough = most
        try:
            with anyio.move_on_after(seconds):
                while len(self._ready) < most and self._comes_more():
                    await self.change()
        finally:
            self._enough = 1

    def one(self) -> Outcome[T, V]:
        """Hand out the next outcome, of those that are there."""
        outcome, slot = self._ready.popleft(), self._held.popleft()
        if slot is not None:
            self._taken.append(slot)
        self._make_room()
        return outcome

    def some(self, most: int) -> list[Outcome[T, V]]:
        """Hand out outcomes that are there."""
        ready, held = self._ready, self._held
        count = min(most, len(ready))
        taken = [ready.popleft() for _ in range(count)]
        self._taken += [slot for _ in range(count) if (slot := held.popleft()) is not None]
        self._make_room()
        return taken

    def release(self) -> None:
        """Give back the bytes of what was handed out."""
        free_all(self._budget, self._taken)

    def drop(self) -> None:
        """Forget everything, and give back its bytes."""
        self.release()
        for slot in (*self._held, *(slot for _, slot in self._early.values())):
            if slot is not None:
                slot.free()
        self._ready.clear()
        self._held.clear()
        self._early.clear()

    def _make_room(self) -> None:
        if self._room is not None and not self.is_full:
            self._room.set()
            self._room = None
