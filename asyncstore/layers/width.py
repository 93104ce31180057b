"""How many requests at once: found by trying, and halved when the service says it is too many.

Theory of operation. Time is cut into windows of about one round: as many requests as may be under
way. While every place was in use, a window's rate of work says whether the last change paid.

- *Climbing*: the width doubles as long as the rate grows by a good part of that, and goes one
  step back when it does not.
- *Holding*: now and then a quarter more is tried, and kept if the rate says so.
- *Throttled*: the width halves. How many requests were under way when the first refused one began
  is what the service bears, if that is more; the width comes back to just below it, quickly, and
  feels its way on from there slowly.

The first window after a change is not judged: new connections are being opened in it. All is
arithmetic: the clock is an argument, and no I/O happens here.
"""

from __future__ import annotations

from typing import Literal

_PAYS = 1.25  # a doubled width that brings less than this is not worth it
_SHARE = 0.25  # of what a small step would bring at best, that it must bring
_ROUNDS = 12  # windows between two trials while holding
_CAREFUL = 0.95  # of what the service was seen to bear
_BYTES = 65_536  # as much work as one more request
_ROUND_MIN = 8  # requests in the smallest window

Phase = Literal["climb", "hold", "try", "return"]


class Width:
    """A number of requests that moves with what the service bears.

    Args:
        ceiling: never more than this.
        start: at first.

    Attributes:
        allowed: how many may be under way now.
        phase: what the width is doing.
    """

    __slots__ = (
        "_base",
        "_base_width",
        "_bears",
        "_began",
        "_ceiling",
        "_count",
        "_fresh",
        "_full",
        "_halved",
        "_rounds",
        "_since",
        "_work",
        "allowed",
        "phase",
    )

    def __init__(self, ceiling: int, start: int = 64) -> None:
        self._ceiling = ceiling
        self.allowed = min(start, ceiling)
        self.phase: Phase = "climb" if self.allowed < ceiling else "hold"
        self._base = 0.0  # the best rate seen, and at which width
        self._base_width = self.allowed
        self._bears = float("inf")
        self._began = 0  # requests begun so far, which is a clock
        self._halved = 0  # when the width was last halved, by that clock
        self._count = 0
        self._work = 0.0
        self._full = False
        self._fresh = True
        self._rounds = 0
        self._since = 0.0

    def begin(self, used: int, count: int = 1, /) -> int:
        """Count requests that begin.

        Args:
            used: how many are under way then.
            count: how many begin.

        Returns:
            What is for `refused` of the first one; of each other it is one more.
        """
        self._began += count
        if used >= self.allowed:
            self._full = True
        return self._began - count + 1

    def count(self, size: int, /) -> bool:
        """Count a success; return whether a window is full, and is for `judge`.

        Args:
            size: bytes that were carried.
        """
        self._work += 1 + size / _BYTES
        self._count = count = self._count + 1
        return count >= self.allowed and count >= _ROUND_MIN

    def refused(self, began: int, used: int, /) -> None:
        """Learn that a request was throttled.

        Args:
            began: what `begin` said of it.
            used: how many were under way when it began, itself included.
        """
        if began <= self._halved:
            # Of the same burst as one that has been counted; it may tell the limit better.
            if self.phase == "return":
                self._bears = max(self.allowed, min(self._bears, used - 1.0))
            return
        self._halved = self._began
        self.allowed = max(1, self.allowed // 2)
        self._bears = max(float(self.allowed), used - 1.0)
        self._become("return")

    def judge(self, now: float, /) -> None:
        """Learn from a full window, which ends `now`, in monotonic seconds."""
        full, fresh = self._full, self._fresh
        rate = self._work / (now - self._since) if now > self._since else 0.0
        self._count = 0
        self._work = 0.0
        self._full = False
        self._fresh = False
        self._since = now
        if not full or rate == 0.0:
            return  # somebody else was the bottleneck: nothing is learnt
        if self.phase == "return":
            self._come_back()
        elif not fresh:
            self._judge(rate)

    def _come_back(self) -> None:
        goal = max(1, int(min(self._bears * _CAREFUL, self._ceiling)))
        if self.allowed < goal:
            self._resize(min(goal, self.allowed + max(1, self.allowed // 2)))
        else:
            self._base = 0.0
            self._become("hold")

    def _judge(self, rate: float) -> None:
        if self.phase == "climb":
            if rate < self._base * _PAYS:
                self._resize(self._base_width)
                self._become("hold")
                return
            self._keep(rate)
            if self.allowed < self._ceiling:
                self._resize(min(self._ceiling, self.allowed * 2))
            else:
                self._become("hold")
        elif self.phase == "try":
            more = self.allowed / self._base_width - 1
            if rate >= self._base * (1 + _SHARE * more):
                self._keep(rate)
                if self.allowed > self._bears:
                    self._bears = float("inf")  # it bears more than it did
            else:
                self._resize(self._base_width)
            self._become("hold")
        else:
            self._hold(rate)

    def _hold(self, rate: float) -> None:
        self._base = rate if self._base == 0.0 else 0.75 * self._base + 0.25 * rate
        self._base_width = self.allowed
        self._rounds += 1
        if self._rounds >= _ROUNDS and self.allowed < self._ceiling:
            # Near what was once too much, a step is small.
            near = self.allowed + 1 >= self._bears * 0.75
            step = max(1, self.allowed // 64) if near else max(1, self.allowed // 4)
            self._become("try")
            self._resize(min(self._ceiling, self.allowed + step))

    def _keep(self, rate: float) -> None:
        self._base = rate
        self._base_width = self.allowed

    def _become(self, phase: Phase) -> None:
        self.phase = phase
        self._rounds = 0

    def _resize(self, width: int) -> None:
        self.allowed = width
        self._fresh = True
