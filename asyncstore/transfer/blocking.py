"""Calls that block, in threads; whoever is cancelled waits until theirs has ended.

`anyio.to_thread` does not: asyncio's own cancellation leaves its thread at work, on a file that
somebody has begun to look at.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from asyncstore.providers.local.threads import run

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(call: Callable[..., T], /, *arguments: object) -> T:
    """Return what a call returns, made in a thread."""
    return await run(partial(call, *arguments))


async def surely_in_thread(call: Callable[[], T], /) -> T:
    """As `in_thread`, for what closes: it is called however early the caller is cancelled."""
    return await run(call, sure=True)
