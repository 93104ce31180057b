"""Calls that make something: asked again where no answer came, and done once.

Each carries a fresh `Idempotency-Key`, by which the hub knows a call that it has done. Where what
was made holds a secret, the hub cannot tell it again: that one is ended, and another is made.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

from asyncstore.errors import StoreError, UnavailableError
from asyncstore.http import DEADLINE
from asyncstore.wire import hub as wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asyncstore.http import Response
    from asyncstore.providers.hub.client import HubClient

PATIENCE = 30.0
"""Seconds that a call may take with all that is sent again."""

_PAUSES = (0.1, 0.5, 2.0)
_MADE = 3


async def make(
    client: HubClient,
    target: str,
    document: Mapping[str, Any],
    *,
    end: Callable[[str], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """Make something by a POST, and return the answer's fields.

    Args:
        client: sends it.
        target: encoded path.
        document: the JSON body.
        end: ends, by its id, what was made and whose secret was lost with the answer; without,
            it is left to end by itself.

    Raises:
        StoreError: as `HubClient.send`; whether it was done is unknown where no answer came at all.
    """
    until = time.monotonic() + PATIENCE
    mark = DEADLINE.set(min(DEADLINE.get() or until, until))
    try:
        for _ in range(_MADE):
            reply = await _heard(client, target, document)
            lost = wire.made_before(reply.status, reply.body)
            if lost is None:
                client.check(reply, "POST")
                return wire.fields(reply.body)
            if end is not None:
                await end(lost)
    finally:
        DEADLINE.reset(mark)
    raise UnavailableError("the hub's answers were lost, again and again", outcome="unknown")


async def _heard(client: HubClient, target: str, document: Mapping[str, Any]) -> Response:
    """Return the answer to a call, sent again by the same key until one is heard."""
    key = str(uuid.uuid4())
    for pause in _PAUSES:
        try:
            reply = await client.answered("POST", target, document, key=key)
        except StoreError as error:
            if error.outcome != "unknown":
                raise
        else:
            if not wire.is_undecided(reply.status, reply.body):
                return reply
        await asyncio.sleep(pause)
    return await client.answered("POST", target, document, key=key)
