"""A stream that goes on where it was cut, in the same version."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self

from asyncstore.errors import StoreError
from asyncstore.types import Op, Span

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from asyncstore.layers.retry import Retried
    from asyncstore.types import ObjectMeta, Stream, Verifier


class Resuming:
    """A provider's stream as a context manager and iterator of its own.

    Args:
        layer: makes the calls, with retries.
        key: the object.
        span: which bytes.
        if_match: which version.
    """

    def __init__(self, layer: Retried, key: str, span: Span, if_match: str | None) -> None:
        self._layer = layer
        self._key = key
        self._span = span
        self._version = if_match
        self._cm: AbstractAsyncContextManager[Stream] | None = None
        self._attempts = 0
        self._check: Verifier | None = None
        self.meta: ObjectMeta
        self.start: int

    async def __aenter__(self) -> Self:
        stream = await self._layer.attempt(
            Op("open", self._key), partial(self._open, self._span, self._version)
        )
        self._stream = stream
        self.meta = stream.meta
        self.start = self._at = stream.start
        self._end = self._span.resolve(stream.meta.size)[1]
        self._version = stream.meta.etag
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        cm, self._cm = self._cm, None
        return None if cm is None else await cm.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        while True:
            try:
                view = await self._stream.__anext__()
            except StoreError as error:
                if not error.retryable or self._version is None:
                    raise
                await self._resume(error)
            else:
                self._at += len(view)
                self._attempts = 0
                if self._check is not None:
                    await self._verified(self._check, view)
                return view

    async def _verified(self, check: Verifier, view: memoryview) -> None:
        """Go on with the sum of the bytes before the cut; the last are not given out unproven."""
        try:
            await check.add(view)
            if self._at == self._end:
                self._check = None
                check.verify()
        except StoreError as error:
            raise error.at("open", self._layer.locate(self._key)) from None

    async def _resume(self, error: StoreError) -> None:
        if self._check is None:
            self._check = getattr(self._stream, "check", None)
        cm, self._cm = self._cm, None
        if cm is not None:
            await cm.__aexit__(None, None, None)
        self._attempts += 1
        rest = Span(self._at, self._end)
        self._stream = await self._layer.attempt(
            Op("open", self._key),
            partial(self._open, rest, self._version),
            failed=error,
            attempts=self._attempts,
        )

    async def _open(self, span: Span, version: str | None) -> Stream:
        cm = self._layer.inner.open(self._key, span=span, if_match=version)
        stream = await cm.__aenter__()
        self._cm = cm
        return stream
