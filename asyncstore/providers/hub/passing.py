"""What a call gives back while it is under way, and its errors, by the hub's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncstore.provider import Upload
    from asyncstore.providers.hub.beneath import Beneath
    from asyncstore.types import Buffer, ObjectMeta, Stream, Verifier


class Placed:
    """A context that says of its errors what was asked for, by the hub's name for it.

    Args:
        op: the provider's method.
        url: of the key or data set, as the hub has it.
    """

    __slots__ = ("_op", "_url")

    def __init__(self, op: str, url: str) -> None:
        self._op = op
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, StoreError):
            error.op, error.url = error.op or self._op, self._url


class HubStream:
    """A stream of the provider beneath, by the hub's name for the object."""

    def __init__(self, inner: Stream, meta: ObjectMeta, url: str) -> None:
        self.meta = meta
        self.start = inner.start
        self._inner = inner
        self._url = url

    @property
    def check(self) -> Verifier | None:
        """See `types.Stream`."""
        found: Verifier | None = getattr(self._inner, "check", None)
        return found

    def __aiter__(self) -> AsyncIterator[memoryview]:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next bytes."""
        with Placed("open", self._url):
            return await self._inner.__anext__()


class HubUpload:
    """An upload of the provider beneath, by the hub's name for the object."""

    def __init__(self, inner: Upload, at: Beneath, url: str) -> None:
        self._inner = inner
        self._at = at
        self._url = url

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """See `Upload.put_part`."""
        with Placed("put_part", self._url):
            await self._inner.put_part(number, data)

    async def complete(self) -> ObjectMeta:
        """See `Upload.complete`."""
        with Placed("complete", self._url):
            return self._at.meta(await self._inner.complete())

    async def abort(self) -> None:
        """See `Upload.abort`."""
        with Placed("abort", self._url):
            await self._inner.abort()

    @property
    def token(self) -> str:
        """See `LastingUpload.token`."""
        inner: Any = self._inner
        found: str = inner.token
        return found

    async def leave(self) -> None:
        """See `LastingUpload.leave`."""
        inner: Any = self._inner
        await inner.leave()
