"""Tracing: what each request was, how long it took and how it ended; never a secret."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TypeVar

from asyncstore.errors import StoreError
from asyncstore.layers.base import Layer
from asyncstore.types import WHOLE, Blob, Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from asyncstore.provider import Provider
    from asyncstore.types import ObjectMeta, Span, Stream

T = TypeVar("T")

log = logging.getLogger("asyncstore")


@dataclass(frozen=True, slots=True)
class Event:
    """One request that ended.

    Attributes:
        op: the call, such as `"get"`, `"put_part"` or `"list_page"`.
        url: the object, or the prefix of a listing; no query, no credentials.
        seconds: from the call to its end, tries and waits included.
        bytes: received or sent, where known; of a stream, as many as were taken.
        error: the error's type name, or `None`.
    """

    op: str
    url: str
    seconds: float
    bytes: int | None
    error: str | None


class Traced(Layer):
    """Tell a function, and the log at level DEBUG, of every call.

    Args:
        inner: what to make the calls on.
        tell: called with an `Event`, on the event loop: it must not block. What it raises is
            logged, and changes nothing for the call. `None` only logs.
    """

    __slots__ = ("_tell",)

    def __init__(self, inner: Provider, tell: Callable[[Event], Any] | None = None, /) -> None:
        super().__init__(inner)
        self._tell = tell

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call and tell of it."""
        began = perf_counter()
        try:
            result = await call()
        except BaseException as error:
            self.ended(op, began, None, error)
            raise
        count = len(result) if isinstance(result, Blob) else op.size
        self.ended(op, began, count, None)
        return result

    def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Provider.open`; told of when it is closed."""
        return _Open(self, Op("open", key), self.inner.open(key, span=span, if_match=if_match))

    def ended(self, op: Op, began: float, count: int | None, error: BaseException | None) -> None:
        """Tell of a call."""
        name = None if error is None else type(error).__name__
        event = Event(op.name, self.locate(op.key), perf_counter() - began, count, name)
        log.debug("%s", event)
        if self._tell is None:
            return
        try:
            self._tell(event)
        except Exception as raised:  # noqa: BLE001 - the user's own; the call is not to blame
            log.warning("the trace function raised %s", type(raised).__name__)


class _Open:
    """A stream that counts its bytes."""

    def __init__(self, layer: Traced, op: Op, cm: AbstractAsyncContextManager[Stream]) -> None:
        self._layer = layer
        self._op = op
        self._cm = cm
        self._count = 0
        self._error: BaseException | None = None
        self.meta: ObjectMeta
        self.start: int

    async def __aenter__(self) -> Self:
        self._began = perf_counter()
        try:
            self._stream = await self._cm.__aenter__()
        except BaseException as error:
            self._layer.ended(self._op, self._began, None, error)
            raise
        self.meta = self._stream.meta
        self.start = self._stream.start
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._cm.__aexit__(kind, error, trace)
        finally:
            self._layer.ended(self._op, self._began, self._count, self._error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        try:
            view = await self._stream.__anext__()
        except StoreError as error:
            self._error = error
            raise
        self._count += len(view)
        return view
