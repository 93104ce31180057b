"""Credentials that end: kept secret, renewed in time, one renewal at a time.

A `Secret` never prints. A `Refreshing` wraps any source of credentials and hands out the
current ones; when they near their end, exactly one task fetches new ones, and a waiter that is
cancelled does not cancel it for the others. The services' own forms live with their providers.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from asyncstore.errors import ConfigurationError, StoreError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Expiring(Protocol):
    """Credentials with an end: `expires_at` in epoch seconds, or `None` where they have none."""

    @property
    def expires_at(self) -> float | None:
        """When they end."""
        ...


T = TypeVar("T", bound=Expiring)

_MARGIN = 300.0
_RETRY_AFTER = 5.0
_PATIENCE = 2.0  # seconds that a caller waits for new ones while the old ones still hold


class Secret:
    """A text that no repr, format, log or pickle shows; `reveal` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one place that sends or signs with it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle")


def masked(name: str) -> str:
    """Shorten an identity's public name for messages: `"AKIAABCDEFGHWXYZ"` is `"AKIA…WXYZ"`."""
    return f"{name[:4]}…{name[-4:]}" if len(name) > 12 else f"{name[:2]}…"  # noqa: PLR2004


async def called(function: Callable[[], Any], /) -> Any:
    """Return what the user's own source of credentials returns, which may be async or sync.

    A sync one runs in a thread: it may read files, start programs, and ask services.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async call
    ):
        return await function()
    made = await asyncio.to_thread(function)
    return await made if inspect.isawaitable(made) else made


def read_expiry(value: Any, /) -> float | None:
    """Read an `expires_at`: epoch seconds, ISO 8601 text or an aware datetime; `None` is never.

    Raises:
        ConfigurationError: it is none of them.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ConfigurationError("expires_at is a text that is not ISO 8601") from None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigurationError("expires_at has no time zone; write UTC with '+00:00' or 'Z'")
        return value.astimezone(UTC).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(
            "expires_at is epoch seconds, ISO 8601 text or an aware datetime, "
            f"not of type {type(value).__name__}"
        )
    return float(value)


class Refreshing(Generic[T]):
    """The current credentials of a source, renewed before they end.

    Renewal starts a margin before the end (5 minutes, or a quarter of a shorter life). While
    the old ones still hold, a renewal that failed is tried again later, one that takes long is
    not waited for, and callers go on with the old; once they have ended, its error is theirs.

    Args:
        source: an async or sync callable; its result has `expires_at`.
        clock: epoch seconds; for tests.
    """

    def __init__(
        self,
        source: Callable[[], T | Awaitable[T]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._clock = clock
        self._value: T | None = None
        self._renew_at = 0.0
        self._due = 0.0
        self._flight: asyncio.Task[T] | None = None

    def current(self) -> T | None:
        """Return the credentials if they need no renewal; no await, for the hot path."""
        return self._value if self._clock() < self._renew_at else None

    async def get(self) -> T:
        """Return credentials that hold now.

        Raises:
            UnauthenticatedError: the source handed out credentials that have ended already.
            StoreError: what the source raised, where no earlier credentials still hold.
        """
        value = self.current()
        if value is not None:
            return value
        flight = self._join_or_start()
        if self._held() is not None:
            await asyncio.wait([flight], timeout=_PATIENCE)
            value = self._held()
            if not flight.done() and value is not None:
                return self._kept(value)
        try:
            return await asyncio.shield(flight)
        except StoreError as error:
            # Each waiter says in an error of its own what it was that it wanted to do.
            failure = copy(error)
        value = self._held()
        if value is None:
            raise failure
        return self._kept(value)

    def is_young(self, value: T, /) -> bool:
        """Whether `value` is what `get` returns, and far from its end."""
        return self._value is value and self._clock() < self._due

    def _held(self) -> T | None:
        """Return the credentials if they hold still."""
        value = self._value
        return value if value is not None and _holds(value, self._clock()) else None

    def _kept(self, value: T) -> T:
        """Go on with what there is, and look again later."""
        again = self._clock() + _RETRY_AFTER
        self._renew_at = again if value.expires_at is None else min(again, value.expires_at)
        return value

    def invalidate(self, used: T, /) -> None:
        """Say that the service refused `used`: the next `get` renews, unless one has already."""
        if self._value is used:
            self._value = None
            self._renew_at = 0.0

    async def aclose(self) -> None:
        """End a renewal under way."""
        flight, self._flight = self._flight, None
        if flight is not None and not flight.done():
            flight.cancel()
            await asyncio.wait([flight])

    def _join_or_start(self) -> asyncio.Task[T]:
        flight = self._flight
        loop = asyncio.get_running_loop()
        if flight is None or flight.done() or flight.get_loop() is not loop:
            flight = loop.create_task(self._renew())
            flight.add_done_callback(_retrieve)
            self._flight = flight
        return flight

    async def _renew(self) -> T:
        raised = None
        try:
            made = self._source()
            value = await made if inspect.isawaitable(made) else made
        except (StoreError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - it is the user's own code
            raised = type(error).__name__
        if raised is not None:
            # The source's own text may hold a secret: its kind is named, and the error is not
            # kept, not even as the context of ours.
            raise ConfigurationError(f"the source of credentials raised {raised}")
        now = self._clock()
        if not _holds(value, now):
            raise UnauthenticatedError("the source of credentials returned ones that have ended")
        end = value.expires_at
        self._value = value
        self._renew_at = self._due = (
            float("inf") if end is None else max(now, end - min(_MARGIN, (end - now) / 4))
        )
        return value


def _holds(value: Expiring, now: float) -> bool:
    return value.expires_at is None or value.expires_at > now


def _retrieve(flight: asyncio.Task[Any]) -> None:
    """Mark the outcome as seen: when every waiter was cancelled, nobody else will."""
    if not flight.cancelled():
        flight.exception()
