"""Values as people read and write them: sizes, durations, times, and names that cannot bite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_WIDE = 10


def human(size: float) -> str:
    """Write a number of bytes in the unit that leaves few digits: `1536` is `"1.5 KiB"`."""
    unit = 0
    value = float(size)
    while value >= _STEP and unit < len(_UNITS) - 1:
        value /= _STEP
        unit += 1
    if unit == 0:
        return f"{value:.0f} B"
    return f"{value:.1f} {_UNITS[unit]}" if value < _WIDE else f"{value:.0f} {_UNITS[unit]}"


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `count(2, "object")` is `"2 objects"`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def stamp(when: datetime | None) -> str | None:
    """Write a time in UTC to the second, as RFC 3339 does."""
    return None if when is None else when.strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(text: str) -> float:
    """Read `"90"`, `"90s"`, `"15m"`, `"12h"` or `"7d"` as seconds.

    Raises:
        ValueError: says what would be right.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration; write 90s, 15m, 12h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


def span(text: str) -> tuple[int | None, int | None]:
    """Read `"start:stop"` as a Python slice is read; either end may be left out or negative.

    Raises:
        ValueError: says what would be right.
    """
    found = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
    if found is None:
        raise ValueError(f"{text!r} is no range; write start:stop, as in 0:100, 100: or -100:")
    return (
        None if found[1] is None else int(found[1]),
        None if found[2] is None else int(found[2]),
    )


def escaped(text: str) -> str:
    r"""Write control characters and undecodable bytes as escapes: they must not drive a terminal.

    A backslash is left alone, so that ordinary names look like themselves.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
