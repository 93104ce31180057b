"""A limit on the requests under way, first come first served, that shrinks when throttled.

The limit halves when the service says "too many requests" and grows by one again with each
limit's worth of successes: what TCP does, and for the same reason. Only a request that began
after the last halving may halve it again, so that one burst of refusals counts once.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

import anyio

from asyncstore.errors import ConfigurationError, DeadlineError, ThrottledError
from asyncstore.layers.base import Layer
from asyncstore.types import WHOLE, Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from contextvars import ContextVar
    from types import TracebackType

    from asyncstore.provider import Provider
    from asyncstore.types import Span, Stream

T = TypeVar("T")


class Limited(Layer):
    """Let at most `most` calls be under way at once; an open stream counts until it is closed."""

    def __init__(self, inner: Provider, most: int, /) -> None:
        if most < 1:
            raise ConfigurationError(f"concurrency={most}: at least 1")
        super().__init__(inner)
        self._most = most
        self._allowed = float(most)
        self._places = most  # `_allowed`, rounded down
        self._used = 0
        self._began = 0  # calls begun so far, which is a clock
        self._halved = 0  # when the limit was last halved, by that clock
        self._waiting: deque[anyio.Event] = deque()
        self._var: ContextVar[float | None] | None = None
        if self.limits.engine:
            from asyncstore.http import DEADLINE  # noqa: PLC0415 - others need no HTTP

            self._var = DEADLINE

    @property
    def allowed(self) -> int:
        """How many calls may be under way now."""
        return self._places

    @property
    def used(self) -> int:
        """How many are."""
        return self._used

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call when it is its turn. Giving an upload up needs no turn."""
        if op.name == "abort":
            return await call()
        if self._used < self._places and not self._waiting:
            self._used += 1
        else:
            await self._turn(op)
        self._began = began = self._began + 1
        try:
            result = await call()
        except BaseException as error:
            self.leave(began, error)
            raise
        self.leave(began, None)
        return result

    def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Provider.open`."""
        return _Open(self, Op("open", key), self.inner.open(key, span=span, if_match=if_match))

    async def enter(self, op: Op, /) -> int:
        """Wait for a place and take it; the result is for `leave`."""
        if self._used < self._places and not self._waiting:
            self._used += 1
        else:
            await self._turn(op)
        self._began += 1
        return self._began

    def leave(self, began: int, error: BaseException | None, /) -> None:
        """Give a place back, and learn from how the call ended."""
        self._used -= 1
        if error is None:
            if self._places < self._most:
                self._allow(min(self._most, self._allowed + 1 / self._allowed))
        elif isinstance(error, ThrottledError) and began > self._halved:
            self._halved = self._began
            self._allow(max(1.0, self._allowed / 2))
        if self._waiting:
            self._wake()

    def _allow(self, allowed: float) -> None:
        self._allowed = allowed
        self._places = int(allowed)

    def _wake(self) -> None:
        """Hand free places to those that wait, in order; a place is theirs from here on."""
        while self._waiting and self._used < self._places:
            self._used += 1
            self._waiting.popleft().set()

    async def _turn(self, op: Op) -> None:
        event = anyio.Event()
        self._waiting.append(event)
        end = self._var.get() if self._var is not None else None
        if end is not None:
            end -= time.monotonic()
        try:
            with anyio.move_on_after(end):
                await event.wait()
        except BaseException:
            self._give_up(event)
            raise
        if not event.is_set():
            self._give_up(event)
            raise DeadlineError("the deadline passed in the queue for a turn").at(
                op.name, self.locate(op.key)
            )

    def _give_up(self, event: anyio.Event) -> None:
        """Give up waiting; a place that was handed over at the same moment goes on."""
        if event.is_set():
            self._used -= 1
        else:
            self._waiting.remove(event)
        self._wake()


class _Open:
    """A stream that holds a place while it is open."""

    __slots__ = ("_began", "_cm", "_layer", "_op")

    def __init__(self, layer: Limited, op: Op, cm: AbstractAsyncContextManager[Stream]) -> None:
        self._layer = layer
        self._op = op
        self._cm = cm
        self._began = 0

    async def __aenter__(self) -> Stream:
        self._began = await self._layer.enter(self._op)
        try:
            return await self._cm.__aenter__()
        except BaseException as error:
            self._layer.leave(self._began, error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._cm.__aexit__(kind, error, trace)
        finally:
            self._layer.leave(self._began, None)
