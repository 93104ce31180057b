"""Reads that are begun and not waited for: thousands at once, without a task for each.

What `reading.whole` does in a coroutine is done here in two steps: the request, and what the
answer's arrival calls. What is not quick to prove right, or went wrong, is settled as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.errors import StoreError
from asyncstore.http import Stale
from asyncstore.providers.s3 import reading
from asyncstore.providers.s3.client import Ask
from asyncstore.providers.s3.endpoint import READ
from asyncstore.providers.s3.heads import NO_HEADERS
from asyncstore.providers.started import StartedRead, sent
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asyncstore.http import Response
    from asyncstore.provider import Asked
    from asyncstore.providers.s3.client import Client
    from asyncstore.providers.s3.faults import Condition
    from asyncstore.types import Blob

    Ended = Callable[["StartedGet", Blob | None], None]


class StartedGet(StartedRead, Ask):
    """A read under way: the request, and who is told of its answer; see `provider.Started`."""

    __slots__ = ("_client", "_ended", "_outcome", "asked", "connection", "note")

    # What they all have alike is the class's: one of these is made for every object.
    op = "get"
    method = "GET"
    query = ""
    body = b""
    into = None
    length = None
    replayable = True

    def __init__(self, client: Client, ended: Ended, asked: Asked) -> None:
        self.key = asked.key
        self.limit = asked.most
        self.asked = asked
        self._client = client
        self._ended = ended
        self._outcome = None

    # What only a request needs that is signed again is said when that is so.

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """See `Ask`."""
        read = READ if self._client.settings.checksums else NO_HEADERS
        version = self.asked.if_match
        return read if version is None else {**read, "if-match": version}

    @property
    def condition(self) -> Condition:  # type: ignore[override]
        """See `Ask`."""
        return None if self.asked.if_match is None else "source"

    def quickly(self, response: Response) -> Blob | None:
        """See `StartedRead.quickly`."""
        return reading.quickly(self._client, self.asked.key, self.asked.if_match, response)

    async def settle(self) -> Blob:
        """See `Started.settle`."""
        client, outcome, asked = self._client, self._outcome, self.asked
        assert outcome is not None  # noqa: S101 - it has ended
        if isinstance(outcome, Stale):
            try:
                outcome = await client.engine.replay(self)
            except StoreError as error:
                outcome = error
        elif isinstance(outcome, Exception) and not isinstance(outcome, StoreError):
            raise outcome
        read = reading.Reading(client, "get", asked.key, WHOLE, asked.if_match)
        return await reading.settled(read, self, outcome, asked.most)


def start(
    client: Client, asked: Sequence[Asked], ended: Ended, deadline: float | None
) -> Sequence[StartedGet]:
    """Begin to read objects; see `StartsReads.start_gets`."""
    asked = asked[: client.idle()]
    asks = [StartedGet(client, ended, one) for one in asked]
    return sent(asks, client.start(asks, [one.if_match for one in asked], deadline))
