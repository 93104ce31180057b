"""`Layer`: a provider around a provider.

A layer sees every call as an `Op` and a function that makes it, and decides when, how often and
whether it is made: it overrides `around`. Streams are its own business: `open` passes through,
and a layer that means streams too overrides it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstore.types import WHOLE, Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from asyncstore.errors import StoreError
    from asyncstore.provider import Provider, Resumed, Upload
    from asyncstore.types import Blob, Buffer, Limits, ObjectMeta, Page, Span, Stream, Verifier

T = TypeVar("T")


class Layer:
    """Pass every call on to `inner`; `around` is the one thing to override."""

    __slots__ = ("inner",)

    def __init__(self, inner: Provider) -> None:
        self.inner = inner

    @property
    def limits(self) -> Limits:
        """See `Provider.limits`."""
        return self.inner.limits

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call; a layer does its work before, after or instead."""
        del op
        return await call()

    def locate(self, key: str, /) -> str:
        """See `Provider.locate`."""
        return self.inner.locate(key)

    async def head(self, key: str, /) -> ObjectMeta:
        """See `Provider.head`."""
        return await self.around(Op("head", key), partial(self.inner.head, key))

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """See `Provider.get`."""
        call = partial(self.inner.get, key, span=span, into=into, if_match=if_match, most=most)
        return await self.around(Op("get", key), call)

    def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Provider.open`."""
        return self.inner.open(key, span=span, if_match=if_match)

    async def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """See `Provider.put`."""
        free = if_match is None and not if_absent
        call = partial(
            self.inner.put,
            key,
            data,
            if_match=if_match,
            if_absent=if_absent,
            content_type=content_type,
            metadata=metadata,
        )
        return await self.around(Op("put", key, write=True, idempotent=free, size=len(data)), call)

    async def begin_upload(
        self,
        key: str,
        /,
        *,
        size: int | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Upload:
        """See `Provider.begin_upload`; the upload's own calls pass through `around` too."""
        call = partial(
            self.inner.begin_upload,
            key,
            size=size,
            if_match=if_match,
            if_absent=if_absent,
            content_type=content_type,
            metadata=metadata,
        )
        upload = await self.around(Op("begin_upload", key, write=True), call)
        return LayerUpload(self, upload, key)

    async def verifier(self, meta: ObjectMeta, /) -> Verifier | None:
        """See `Verifies.verifier`; `None` where the provider has not the ability."""
        inner: Any = self.inner
        if not hasattr(inner, "verifier"):
            return None
        call = partial(inner.verifier, meta)
        found: Verifier | None = await self.around(Op("verify", meta.key), call)
        return found

    async def resume_upload(self, key: str, token: str, /, **how: Any) -> Resumed:
        """See `ResumesUploads.resume_upload`, for providers that have the ability."""
        inner: Any = self.inner
        call = partial(inner.resume_upload, key, token, **how)
        found: Resumed = await self.around(Op("begin_upload", key, write=True), call)
        return found._replace(upload=LayerUpload(self, found.upload, key))

    async def drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """See `ResumesUploads.drop_uploads`."""
        inner: Any = self.inner
        call = partial(inner.drop_uploads, key, token=token, since=since)
        await self.around(Op("abort", key, write=True), call)

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """See `Provider.copy`."""
        call = partial(self.inner.copy, source, target, if_match=if_match, if_absent=if_absent)
        return await self.around(Op("copy", target, write=True, idempotent=not if_absent), call)

    async def move(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectMeta:
        """See `Moves.move`, for providers that have the ability."""
        inner: Any = self.inner
        call = partial(inner.move, source, target, if_absent=if_absent)
        op = Op("move", target, write=True, idempotent=False)
        moved: ObjectMeta = await self.around(op, call)
        return moved

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """See `Provider.delete`."""
        key = keys[0] if keys else ""
        return await self.around(Op("delete", key, write=True), partial(self.inner.delete, keys))

    async def list_page(
        self,
        prefix: str,
        /,
        *,
        cursor: str | None = None,
        after: str | None = None,
        delimiter: bool = False,
        limit: int = 1000,
    ) -> Page:
        """See `Provider.list_page`."""
        call = partial(
            self.inner.list_page,
            prefix,
            cursor=cursor,
            after=after,
            delimiter=delimiter,
            limit=limit,
        )
        return await self.around(Op("list_page", prefix), call)

    async def aclose(self) -> None:
        """See `Provider.aclose`."""
        await self.inner.aclose()


class LayerUpload:
    """An upload whose calls pass through its layer's `around`."""

    __slots__ = ("_inner", "_key", "_layer")

    def __init__(self, layer: Layer, inner: Upload, key: str) -> None:
        self._layer = layer
        self._inner = inner
        self._key = key

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """See `Upload.put_part`."""
        op = Op("put_part", self._key, write=True, size=len(data))
        await self._layer.around(op, partial(self._inner.put_part, number, data))

    async def complete(self) -> ObjectMeta:
        """See `Upload.complete`."""
        op = Op("complete", self._key, write=True, idempotent=False)
        return await self._layer.around(op, self._inner.complete)

    async def abort(self) -> None:
        """See `Upload.abort`."""
        await self._layer.around(Op("abort", self._key, write=True), self._inner.abort)

    @property
    def token(self) -> str:
        """See `LastingUpload.token`."""
        inner: Any = self._inner
        found: str = inner.token
        return found

    async def leave(self) -> None:
        """See `LastingUpload.leave`; nothing is sent."""
        inner: Any = self._inner
        await inner.leave()
