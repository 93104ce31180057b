"""Reads over HTTP that are begun and not waited for: what those of all services have alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.http import Response, Stale
    from asyncstore.http.connection import Connection
    from asyncstore.types import Blob

R = TypeVar("R", bound="StartedRead")


class StartedRead:
    """A part of a request that is told of its own answer; see `provider.Started`.

    Whoever inherits this has slots for its attributes.

    Attributes:
        connection: that it was sent on.
        note: whatever the asker puts there.
    """

    __slots__ = ()

    connection: Connection
    note: Any
    _ended: Callable[[Any, Blob | None], None]
    _outcome: Response | Exception | None

    def quickly(self, response: Response) -> Blob | None:
        """Return what came, where it is quick to prove right; `None` where it takes `settle`.

        Raises:
            StoreError: it is not right, which `settle` meets again.
        """
        raise NotImplementedError

    def abandon(self) -> None:
        """See `Started.abandon`."""
        self.connection.abandon(self)

    def done(self) -> bool:
        """See `Waiter.done`."""
        return False

    def set_result(self, response: Response) -> None:
        """See `Waiter.set_result`."""
        blob = None
        outcome: Response | Exception = response
        try:
            blob = self.quickly(response)
        except Exception as error:  # noqa: BLE001 - `settle` raises it, or meets it again
            if not isinstance(error, StoreError):
                outcome = error
        self._outcome = outcome  # type: ignore[misc]  # a slot of whoever inherits this
        self._ended(self, blob)

    def set_exception(self, error: StoreError | Stale) -> None:
        """See `Waiter.set_exception`."""
        self._outcome = error  # type: ignore[misc]
        self._ended(self, None)


def sent(reads: Sequence[R], connections: Sequence[Connection]) -> Sequence[R]:
    """Return the reads that were sent, each with its connection.

    Args:
        reads: that were to be sent.
        connections: of the first ones, as `Engine.start` returns them.
    """
    for read, connection in zip(reads, connections, strict=False):
        read.connection = connection
    return reads[: len(connections)]
