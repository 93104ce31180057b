"""How many bytes are under way: few at first, and more where waiting is what takes the time.

Theory of operation. From a service that is near, as many bytes as are allowed fill memory at
once, and come no sooner for it: this process is at work all the time. Fresh memory is dear then,
most of all in a virtual machine whose host takes back what is free: there, up to 2 ms for each
MiB, which is four times as long as carrying it. From a service that is far, most of the time is
spent waiting, and more under way bring more. So each time that as many bytes have come as may be
under way, the time of the processor tells which it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asyncstore.batch import Budget
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Callable

AT_FIRST = 32 * MiB
_BUSY = 0.75  # of the time; what is left is not worth more memory


class Flight:
    """A budget of bytes that opens.

    Args:
        most: bytes, however long is waited for them.
        now, spent: tell the time, and that of the processor for this process, in seconds.

    Attributes:
        budget: for a `Batch`.
    """

    def __init__(
        self,
        most: int,
        *,
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.process_time,
    ) -> None:
        self.budget = Budget(min(most, AT_FIRST))
        self._most = most
        self._now = now
        self._spent = spent
        self.begin()

    def begin(self) -> None:
        """Begin to wait for bytes."""
        self._left = self.budget.total  # until the next look
        self._since, self._spent_then = self._now(), self._spent()

    def came(self, count: int, /) -> None:
        """Count bytes that arrived, or, less than none, that will come again."""
        self._left -= count
        if self._left <= 0:
            self._look()

    def _look(self) -> None:
        if self._spent() - self._spent_then < _BUSY * (self._now() - self._since):
            self.budget.total = self._most
            self.budget.give(0)  # to those who wait for some
        self.begin()
