"""Reads that are begun and not waited for: thousands at once, without a task for each.

What is not quick to prove right, or went wrong, is settled as any other read, of which the
request that was sent is the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.http import Request
from asyncstore.providers.gcs.session import Sent, placed
from asyncstore.providers.started import StartedRead
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.http import Response
    from asyncstore.provider import Asked
    from asyncstore.providers.gcs.exchange import GoogleToken
    from asyncstore.providers.gcs.reads import Reader
    from asyncstore.types import Blob

    Ended = Callable[["StartedGet", Blob | None], None]


class StartedGet(StartedRead, Request):
    """A read under way: the request, and who is told of its answer; see `provider.Started`."""

    __slots__ = ("_ended", "_outcome", "_reader", "_token", "_url", "asked", "connection", "note")

    def __init__(
        self, reader: Reader, token: GoogleToken, asked: Asked, url: str, ended: Ended
    ) -> None:
        session = reader.session
        target, headers = session.addressed(*reader.request(WHOLE), token)
        super().__init__("GET", session.origin, target, headers, limit=asked.most)
        self.asked = asked
        self._reader = reader
        self._token = token
        self._url = url
        self._ended = ended
        self._outcome = None

    def quickly(self, response: Response) -> Blob | None:
        """See `StartedRead.quickly`."""
        return self._reader.quickly(response)

    async def settle(self) -> Blob:
        """See `Started.settle`."""
        assert self._outcome is not None  # noqa: S101 - it has ended
        sent = Sent(self, self._token, self._outcome)
        with placed("get", self._url):
            return await self._reader.get(WHOLE, None, self.asked.most, first=sent)
