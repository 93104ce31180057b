"""Plans: which requests to make for what was asked. Pure arithmetic, without I/O or a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Fetch:
    """One request for the bytes `[start, stop)`, and which of the wanted spans lie in it.

    Attributes:
        start: first byte.
        stop: the byte after the last.
        members: indices of the wanted spans, in the order of their starts.
    """

    start: int
    stop: int
    members: tuple[int, ...]


def coalesce(wanted: Sequence[tuple[int, int]], /, *, gap: int, ceiling: int) -> list[Fetch]:
    """Merge neighbouring spans into fewer, larger fetches.

    Args:
        wanted: `(start, stop)` of spans of one object, in any order, overlaps allowed; with
            `0 <= start <= stop`. Empty spans need no bytes and are in no fetch.
        gap: merge across at most this many unwanted bytes.
        ceiling: never merge past this many bytes; a single span may exceed it.

    Returns:
        Fetches sorted by start; every wanted span that is not empty is in exactly one.
    """
    fetches: list[Fetch] = []
    members: list[int] = []
    low = high = 0
    for index in sorted(range(len(wanted)), key=wanted.__getitem__):
        start, stop = wanted[index]
        if start == stop:
            continue
        if members and start - high <= gap and max(high, stop) - low <= ceiling:
            members.append(index)
            high = max(high, stop)
            continue
        if members:
            fetches.append(Fetch(low, high, tuple(members)))
        members, low, high = [index], start, stop
    if members:
        fetches.append(Fetch(low, high, tuple(members)))
    return fetches


def cut(start: int, stop: int, /, *, part: int) -> list[tuple[int, int]]:
    """Cut `[start, stop)` into consecutive parts of `part` bytes; the last may be shorter."""
    return [(low, min(low + part, stop)) for low in range(start, stop, part)]
