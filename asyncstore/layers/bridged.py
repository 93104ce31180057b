"""A provider of the background loop, for callers on trio."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from asyncstore import background
from asyncstore.layers.base import Layer
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from asyncstore.types import Buffer, ObjectMeta, Op, Span, Stream, Verifier

T = TypeVar("T")


class Bridged(Layer):
    """Make every call on the background loop; a cancelled caller cancels it there."""

    __slots__ = ()

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call there and wait for it here."""
        del op
        made: Any = call
        result: T = await background.call(made)
        return result

    def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Provider.open`; entered, read and left in one task there."""
        return _Open(lambda: self.inner.open(key, span=span, if_match=if_match))

    async def verifier(self, meta: ObjectMeta, /) -> Verifier | None:
        """See `Verifies.verifier`; what it returns works there."""
        found = await super().verifier(meta)
        return None if found is None else _Check(found)

    async def aclose(self) -> None:
        """Do nothing: the loop that the provider is on closes it."""


class _Open:
    """A stream of the background loop."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Stream]]) -> None:
        self._make = make
        self.meta: ObjectMeta
        self.start: int

    async def __aenter__(self) -> Self:
        self._held = background.Held(self._make)
        self._stream = await self._held.aenter()
        self.meta = self._stream.meta
        self.start = self._stream.start
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        del kind, trace
        return await self._held.aleave(error)

    @property
    def check(self) -> _Check | None:
        """See `types.Stream`."""
        check = getattr(self._stream, "check", None)
        return None if check is None else _Check(check)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        view = await self._held.call(self._next)
        if view is None:
            raise StopAsyncIteration
        return view

    async def _next(self) -> memoryview | None:
        # `None` at the end: a StopAsyncIteration cannot leave a coroutine.
        return await anext(self._stream, None)


class _Check:
    """A verifier of the background loop; the stream that it was the check of may be closed."""

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner
        self.verify = inner.verify

    async def add(self, data: Buffer, /) -> None:
        """See `Verifier.add`."""
        await background.call(partial(self._inner.add, data))
