"""Reads that are begun and not waited for: thousands at once, without a task for each.

What is not quick to prove right, or went wrong, is settled as any other read, of which the
request that was sent is the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstore.errors import StoreError
from asyncstore.http import Request, Stale
from asyncstore.providers.gcs.session import Sent, placed
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.http import Response
    from asyncstore.http.connection import Connection
    from asyncstore.provider import Asked
    from asyncstore.providers.gcs.exchange import GoogleToken
    from asyncstore.providers.gcs.reads import Reader
    from asyncstore.providers.gcs.session import Session
    from asyncstore.types import Blob

    Ended = Callable[["StartedGet", Blob | None], None]


class StartedGet(Request):
    """A read under way: the request, and who is told of its answer; see `provider.Started`."""

    __slots__ = ("_ended", "_outcome", "_reader", "_token", "_url", "asked", "connection", "note")

    connection: Connection
    note: Any

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
        self._outcome: Response | Exception | None = None

    def abandon(self) -> None:
        """See `Started.abandon`."""
        self.connection.abandon(self)

    def done(self) -> bool:
        """See `Waiter.done`."""
        return False

    def set_result(self, response: Response) -> None:
        """See `Waiter.set_result`."""
        blob = None
        self._outcome = response
        try:
            blob = self._reader.quickly(response)
        except Exception as error:  # noqa: BLE001 - `settle` raises it, or meets it again
            if not isinstance(error, StoreError):
                self._outcome = error
        self._ended(self, blob)

    def set_exception(self, error: StoreError | Stale) -> None:
        """See `Waiter.set_exception`."""
        self._outcome = error
        self._ended(self, None)

    async def settle(self) -> Blob:
        """See `Started.settle`."""
        assert self._outcome is not None  # noqa: S101 - it has ended
        sent = Sent(self, self._token, self._outcome)
        with placed("get", self._url):
            return await self._reader.get(WHOLE, None, self.asked.most, first=sent)


def begin(
    session: Session, asks: Sequence[StartedGet], deadline: float | None
) -> Sequence[StartedGet]:
    """Send reads, as many as can be sent at once; return those."""
    begun = session.engine.start(asks, asks, deadline)
    for ask, connection in zip(asks, begun, strict=False):
        ask.connection = connection
    return asks[: len(begun)]
