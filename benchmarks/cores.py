"""Cores: servers on the first, the client alone on the last, so that rounds can be compared.

Left to the system, a client of many threads takes the server's core too, and one of a single
thread is moved about; which of them wins then hangs on what else the machine does.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


_CORES = _cores()
ALL = frozenset(_CORES)
SERVERS = frozenset(_CORES[: len(_CORES) // 2])
CLIENT = frozenset(_CORES[-1:])


def pinned() -> str:
    """Say who runs where."""
    if not SERVERS:
        return "client and servers share whatever cores there are"
    return f"servers on {_named(SERVERS)}, each client on {_named(CLIENT)} alone"


def _named(cores: frozenset[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(map(str, sorted(cores)))}"


@contextlib.contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """Start children that stay on these cores; where there is one core only, on any."""
    if not SERVERS:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
