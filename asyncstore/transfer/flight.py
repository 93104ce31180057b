"""How much is under way: little at first, and more where waiting is what takes the time.

Theory of operation. From a service that is near, as much as is allowed fills memory at once, and
comes no sooner for it: this process is at work all the time. Fresh memory is dear then, most of
all in a virtual machine whose host takes back what is free: there, up to 2 ms for each MiB, which
is four times as long as carrying it. So are connections: some 0.2 ms for each. From a service that
is far, most of the time is spent waiting, and more under way brings more. So each time that as
much has come as may be under way, the time of the processor tells which it is; once it was the
latter, the transfer is left to its budget and to what the service bears. Standing in line for a
processor that others use too is no waiting for the service.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncstore.batch import Budget
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Callable

AT_FIRST = 32 * MiB
WIDTH = 32
"""Objects under way at first, whatever their size."""

_BUSY = 0.75  # of the time; what is left is not worth more


class Flight:
    """A budget of bytes, and a number of objects, that open.

    Args:
        most: bytes, however long is waited for them.
        now, spent: tell the time, and how much of it was work, in seconds.

    Attributes:
        budget: for a `Batch`.
    """

    def __init__(
        self,
        most: int,
        *,
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] | None = None,
    ) -> None:
        self.budget = Budget(min(most, AT_FIRST))
        self._most = most
        self._now = now
        self._spent = spent or spent_here
        self._is_open = False
        self.begin()

    def narrowed(self, width: Callable[[], int]) -> Callable[[], int]:
        """Return what says how many objects may be under way, of as many as `width` says."""
        return lambda: width() if self._is_open else min(WIDTH, width())

    def begin(self) -> None:
        """Begin to wait for objects."""
        self._bytes, self._objects = self.budget.total, WIDTH  # until the next look
        self._since, self._spent_then = self._now(), self._spent()

    def came(self, count: int, /) -> None:
        """Count bytes that arrived, or, less than none, that will come again."""
        self._bytes -= count
        if self._bytes <= 0:
            self._look()

    def ended(self, count: int, /) -> None:
        """Count objects that are under way no more."""
        self._objects -= count
        if self._objects <= 0:
            self._look()

    def _look(self) -> None:
        if self._is_open:
            return
        if self._spent() - self._spent_then < _BUSY * (self._now() - self._since):
            self._is_open = True
            self.budget.total = self._most
            self.budget.give(0)  # to those who wait for some
        self.begin()


def spent_here() -> float:
    """Return the seconds that this process has computed, or this thread stood in line to."""
    spent = time.process_time()
    with suppress(OSError, IndexError, ValueError):  # Linux tells it
        fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            spent += int(os.pread(fd, 100, 0).split()[1]) / 1e9
        finally:
            os.close(fd)
    return spent
