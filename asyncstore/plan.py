"""Plans: which requests to make for what was asked. Pure arithmetic, without I/O or a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncstore.errors import NotSupportedError
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.types import Limits

_GROWTH = 1_000


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


def part_size(
    size: int | None, limits: Limits, /, *, preferred: int = 8 * MiB, number: int = 1
) -> int:
    """Return how long a part of an upload is, but for the last one.

    Args:
        size: the whole object's bytes, or `None` where nobody knows yet.
        limits: of the provider.
        preferred: bytes, if the limits allow.
        number: which part, from 1. Where the size is unknown, parts double in length every 1,000:
            small objects cost little memory, and 10,000 parts from 8 MiB on hold 7.8 TiB. Else
            they are equal.

    Raises:
        NotSupportedError: no parts within the limits make such an object, or `number` is past
            the last part.
    """
    least = max(preferred, limits.part_min)
    if size is None:
        if number > limits.parts:
            raise NotSupportedError(f"more than {limits.parts} parts in one upload")
        return min(least << min((number - 1) // _GROWTH, 40), limits.part_max)
    if size > limits.object_max:
        raise NotSupportedError(f"{size} bytes, of at most {limits.object_max} in one object")
    needed = -(-size // limits.parts)
    part = max(least, -(-needed // MiB) * MiB) if needed > least else least
    part = min(part, limits.part_max)
    if part * limits.parts < size:
        raise NotSupportedError(
            f"{size} bytes, of at most {part * limits.parts} in {limits.parts} parts"
        )
    return part
