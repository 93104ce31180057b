"""A limit on the requests under way, first come first served, that finds its own width.

Reads and writes have a gate each: services throttle them apart. See `width` for how wide a gate
stands; here is the queue before it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

import anyio

from asyncstore.errors import ConfigurationError, DeadlineError, ThrottledError
from asyncstore.layers.base import Layer
from asyncstore.layers.width import Width
from asyncstore.types import WHOLE, Blob, Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from contextvars import ContextVar
    from types import TracebackType

    from asyncstore.provider import Provider
    from asyncstore.types import Span, Stream

T = TypeVar("T")


class Limited(Layer):
    """Let so many reads and so many writes be under way; an open stream counts until closed.

    Args:
        inner: what to make the calls on.
        most: never more reads, and never more writes, than this.
    """

    def __init__(self, inner: Provider, most: int, /) -> None:
        if most < 1:
            raise ConfigurationError(f"concurrency={most}: at least 1")
        super().__init__(inner)
        var: ContextVar[float | None] | None = None
        if self.limits.engine:
            from asyncstore.http import DEADLINE  # noqa: PLC0415 - others need no HTTP

            var = DEADLINE
        self.reads = Gate(most, var)
        self.writes = Gate(most, var)

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call when it is its turn. Giving an upload up needs no turn."""
        if op.name == "abort":
            return await call()
        gate = self.writes if op.write else self.reads
        place = gate.enter() or await self.turn(gate, op)
        try:
            result = await call()
        except BaseException as error:
            gate.leave(*place, error)
            raise
        gate.done(len(result) if isinstance(result, Blob) else op.size or 0)
        return result

    def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Provider.open`."""
        return _Open(self, Op("open", key), self.inner.open(key, span=span, if_match=if_match))

    async def enter(self, op: Op, /) -> tuple[int, int]:
        """Wait for a reader's place and take it; the result is for `Gate.leave`."""
        return self.reads.enter() or await self.turn(self.reads, op)

    async def turn(self, gate: Gate, op: Op) -> tuple[int, int]:
        """Wait for a place and take it; the result is for `Gate.leave`."""
        if not await gate.turn():
            raise DeadlineError("the deadline passed in the queue for a turn").at(
                op.name, self.locate(op.key)
            )
        return gate.width.begin(gate.used), gate.used


class Gate:
    """Places for one kind of call, and the queue for them.

    Attributes:
        width: how many places there are.
        used: how many are taken.
        waiting: those that wait for one.
    """

    __slots__ = ("_var", "used", "waiting", "width")

    def __init__(self, most: int, var: ContextVar[float | None] | None) -> None:
        self.width = Width(most)
        self.used = 0
        self.waiting: deque[anyio.Event] = deque()
        self._var = var

    @property
    def free(self) -> int:
        """How many places are free for those who do not wait."""
        return 0 if self.waiting else max(0, self.width.allowed - self.used)

    def enter(self) -> tuple[int, int] | None:
        """Take a place, if one is free; the result is for `leave`."""
        if self.waiting or self.used >= self.width.allowed:
            return None
        self.used = used = self.used + 1
        return self.width.begin(used), used

    def take(self, count: int, /) -> int:
        """Take free places at once; return what is for `leave` of the first, see `Width.begin`."""
        self.used += count
        return self.width.begin(self.used, count)

    def done(self, size: int, /) -> None:
        """Give a place back after a success that carried so many bytes."""
        self.used -= 1
        if self.width.count(size):
            self.width.judge(time.monotonic())
        if self.waiting:
            self.wake()

    def leave(self, began: int, used: int, error: BaseException | None, /) -> None:
        """Give a place back, and learn from how the call ended."""
        self.used -= 1
        if isinstance(error, ThrottledError):
            self.width.refused(began, used)
        if self.waiting:
            self.wake()

    def wake(self) -> None:
        """Hand free places to those that wait, in order; a place is theirs from here on."""
        while self.waiting and self.used < self.width.allowed:
            self.used += 1
            self.waiting.popleft().set()

    async def turn(self) -> bool:
        """Wait for a place and take it; `False` when the deadline came first."""
        event = anyio.Event()
        self.waiting.append(event)
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
            return False
        return True

    def _give_up(self, event: anyio.Event) -> None:
        """Give up waiting; a place that was handed over at the same moment goes on."""
        if event.is_set():
            self.used -= 1
        else:
            self.waiting.remove(event)
        self.wake()


class _Open:
    """A stream that holds a place while it is open."""

    __slots__ = ("_began", "_cm", "_layer", "_op", "_used")

    def __init__(self, layer: Limited, op: Op, cm: AbstractAsyncContextManager[Stream]) -> None:
        self._layer = layer
        self._op = op
        self._cm = cm
        self._began = self._used = 0

    async def __aenter__(self) -> Stream:
        self._began, self._used = await self._layer.enter(self._op)
        try:
            return await self._cm.__aenter__()
        except BaseException as error:
            self._layer.reads.leave(self._began, self._used, error)
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
            self._layer.reads.leave(self._began, self._used, None)
