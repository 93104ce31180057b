"""One object from one place to another, verified."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

from asyncstore.cli.output import UNSEEN, Progress
from asyncstore.errors import IntegrityError, NotSupportedError, ObjectChangedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncstore.store import Store
    from asyncstore.types import ObjectMeta, Stream


class Measured:
    """A stream's bytes on their way through: counted, shown, and hashed where asked for."""

    def __init__(
        self, stream: AsyncIterator[memoryview], progress: Progress, *, hashed: bool
    ) -> None:
        self._stream = stream
        self._progress = progress
        self._hash = hashlib.sha256() if hashed else None
        self.size = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        view = await anext(self._stream)
        self.size += len(view)
        if self._hash is not None:
            self._hash.update(view)
        self._progress.advance(len(view))
        return view

    @property
    def digest(self) -> bytes:
        """The SHA-256 of what went through."""
        return b"" if self._hash is None else self._hash.digest()


async def copy_object(
    source: Store,
    key: str,
    target: Store,
    target_key: str,
    *,
    if_absent: bool = False,
    read_back: bool = False,
    progress: Progress = UNSEEN,
) -> tuple[ObjectMeta, ObjectMeta]:
    """Copy one object, at the service where both are in one store; return both objects' metadata.

    The bytes that are read are checked by the store, and what is written is checked by the
    service where it can; the number of bytes is checked here in any case.

    Args:
        source: the store read from.
        key: what to copy.
        target: the store written to.
        target_key: where to.
        if_absent: create only.
        read_back: read the target again and compare its SHA-256 with the source's.
        progress: told of the bytes to do and done.

    Raises:
        IntegrityError: the target is not what the source is; it may be there.
        StoreError: as the stores do.
    """
    if source is target:
        try:
            return await _at_the_service(
                source, key, target_key, if_absent=if_absent, progress=progress
            )
        except NotSupportedError:
            # Some copy, and ignore conditions as they do: then the bytes come through here.
            if not if_absent:
                raise
    async with source.stream(key) as stream:
        before = stream.meta
        progress.expect(before.size)
        measured = Measured(stream, progress, hashed=read_back)
        after = await target.put_stream(
            target_key,
            measured,
            size=before.size,
            if_absent=if_absent,
            **_kept(before, target),
        )
    _same(before, after, target, target_key)
    if read_back:
        await _compare(target, target_key, after, measured.digest)
    return before, after


async def _at_the_service(
    store: Store, key: str, target: str, *, if_absent: bool, progress: Progress
) -> tuple[ObjectMeta, ObjectMeta]:
    before = await store.head(key)
    progress.expect(before.size)
    after = await store.copy(key, target, if_absent=if_absent)
    progress.advance(before.size)
    _same(before, after, store, target)
    return before, after


def _kept(meta: ObjectMeta, target: Store) -> dict[str, Any]:
    """Return what goes along with the bytes, where the target has a place for it."""
    if not target.provider.limits.metadata:
        return {}
    return {"content_type": meta.content_type, "metadata": dict(meta.metadata) or None}


def _same(before: ObjectMeta, after: ObjectMeta, target: Store, key: str) -> None:
    """Compare what both sides say of the bytes: their number, and checksums of one kind."""
    where = str(target.url.join(key))
    if before.size != after.size:
        raise IntegrityError(
            f"{after.size} bytes were stored of {before.size}", op="copy", url=where
        )
    for kind in before.checksums.keys() & after.checksums.keys():
        if before.checksums[kind] != after.checksums[kind]:
            raise IntegrityError(f"the {kind} of what was stored differs", op="copy", url=where)


async def _compare(target: Store, key: str, meta: ObjectMeta, digest: bytes) -> None:
    async with target.stream(key, if_match=meta.etag) as stream:
        if await sha256(stream) != digest:
            raise IntegrityError(
                "what was stored is not what was sent", op="copy", url=str(target.url.join(key))
            )


async def sha256(stream: Stream) -> bytes:
    """Return the SHA-256 of all that a stream gives."""
    found = hashlib.sha256()
    async for view in stream:
        found.update(view)
    return found.digest()


async def unchanged(source: Store, key: str, meta: ObjectMeta) -> None:
    """Make sure that an object is still the version that `meta` describes.

    Raises:
        ObjectChangedError: it is not.
    """
    now = await source.head(key)
    if (now.etag, now.size) != (meta.etag, meta.size):
        raise ObjectChangedError(
            "it changed after it was copied; it was not deleted",
            op="delete",
            url=str(source.url.join(key)),
        )
