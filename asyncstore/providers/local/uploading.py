"""An object on its way in parts, which may come at once and in any order.

Theory of operation: the first part to arrive is taken for the usual size, and part n belongs at
n - 1 times that size of the draft. What is larger goes to a second draft. `complete`
has nothing left to do when every part lies where it belongs, which is the rule; else it joins
the parts into a third.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from asyncstore.errors import IntegrityError, NotFoundError
from asyncstore.providers.local.copying import copy_range
from asyncstore.providers.local.threads import check_cancelled
from asyncstore.room import room

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.providers.local.writing import Draft
    from asyncstore.types import Buffer


class _Place(NamedTuple):
    draft: Draft
    offset: int
    size: int


class Parts:
    """The parts of one object-to-be. Everything here blocks, and runs in worker threads.

    Args:
        make: makes a draft of the object.
        main: one that is there already, which an earlier writer began.
        usual: the usual size of its parts.
    """

    def __init__(
        self, make: Callable[[], Draft], main: Draft | None = None, usual: int | None = None
    ) -> None:
        self._make = make
        self._main = make() if main is None else main
        self._spill: Draft | None = None
        self._spilt = 0
        self._usual = usual
        self._places: dict[int, _Place] = {}
        self._lock = threading.Lock()
        self._writers = 0
        self._ended = False

    def put(self, number: int, data: Buffer) -> None:
        """Write one part."""
        with self._lock:
            self._check_open()
            place = self._place(number, len(data))
            self._writers += 1
        try:
            place.draft.write(data, place.offset)
        finally:
            with self._lock:
                self._writers -= 1
                if self._ended and not self._writers:
                    self._discard()
        with self._lock:
            self._places[number] = place

    def find(
        self, size: int, sums: Mapping[int, int], check: Callable[[Buffer], int]
    ) -> frozenset[int]:
        """Look which parts an earlier writer's draft really holds; return their numbers.

        Args:
            size: of the whole object.
            sums: what it is said to hold: checksums by part.
            check: computes such a checksum.
        """
        usual = self._usual or size
        for number, wanted in sums.items():
            check_cancelled()
            start = (number - 1) * usual
            length = min(usual, size - start)
            if length <= 0:
                continue
            data = room(length)
            filled = os.preadv(self._main.fd, [data], start)
            if filled == length and check(data) == wanted:
                self._places[number] = _Place(self._main, start, length)
        return frozenset(self._places)

    def complete(self, *, if_match: str | None, if_absent: bool) -> os.stat_result:
        """Join the parts and publish the object."""
        with self._lock:
            self._check_open()
            numbers = sorted(self._places)
            if numbers != list(range(1, len(numbers) + 1)):
                raise IntegrityError(f"parts are missing: there are only {numbers[:20]}")
        self._join([self._places[number] for number in numbers])
        state = self._main.publish(if_match=if_match, if_absent=if_absent)
        self.abort()
        return state

    def abort(self) -> None:
        """Remove everything that was written; twice is as once."""
        with self._lock:
            self._ended = True
            if not self._writers:
                self._discard()

    def leave(self) -> None:
        """End, and leave the main draft to a later writer; nothing is being written."""
        with self._lock:
            self._ended = True
            self._main.leave()
            if self._spill is not None:
                self._spill.discard()

    def _check_open(self) -> None:
        if self._ended:
            raise NotFoundError("the upload has ended")

    def _place(self, number: int, size: int) -> _Place:
        if self._usual is None:
            self._usual = size
        if size <= self._usual:
            return _Place(self._main, (number - 1) * self._usual, size)
        if self._spill is None:
            self._spill = self._make()
        at = self._spilt
        self._spilt += size
        return _Place(self._spill, at, size)

    def _join(self, places: list[_Place]) -> None:
        """Bring the parts into their order in the main draft."""
        end = 0
        for place in places:
            if place.draft is not self._main or place.offset != end:
                self._rewrite(places)
                return
            end += place.size
        os.ftruncate(self._main.fd, end)

    def _rewrite(self, places: list[_Place]) -> None:
        joined = self._make()
        try:
            end = 0
            for place in places:
                copy_range(place.draft.fd, place.offset, joined.fd, end, place.size)
                end += place.size
        except BaseException:
            joined.discard()
            raise
        self._main.discard()
        self._main = joined

    def _discard(self) -> None:
        self._main.discard()
        if self._spill is not None:
            self._spill.discard()
