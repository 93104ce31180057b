"""Checksums of parts' checksums: what they prove of a whole object.

An object that was uploaded in parts may have, in place of a checksum of its bytes, one of its
parts' checksums ("composite"). Whoever reads the whole can compute it too, once it is known where
each part ended, which `GetObjectAttributes` tells. That takes a right of its own
(`s3:GetObjectAttributes`) and not every look-alike has it: where it is refused, the object is
checked by its length and version, as one without any checksum is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.errors import IntegrityError, NotFoundError, StoreError
from asyncstore.providers.s3.checksums import Check, composite_of, feed, hasher
from asyncstore.providers.s3.client import Ask
from asyncstore.wire import s3 as wire
from asyncstore.wire.sigv4 import encode_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.providers.s3.checksums import Composite
    from asyncstore.providers.s3.client import Client
    from asyncstore.sums import Running
    from asyncstore.types import Buffer, ObjectMeta

_MOST = 1000  # parts that are told in one answer
_ATTRIBUTES = {"x-amz-object-attributes": "ETag,ObjectParts", "x-amz-max-parts": str(_MOST)}


class PartsCheck:
    """Compares an object's bytes, as they come, with the checksum of its parts' checksums.

    Args:
        wanted: what the service tells.
        sizes: bytes of each part, in order.
    """

    def __init__(self, wanted: Composite, sizes: Sequence[int]) -> None:
        self.kind = wanted.kind
        self._wanted = wanted.value
        self._sizes = iter(sizes)
        self._outer = hasher(self.kind)
        self._inner: Running = hasher(self.kind)
        self._left = next(self._sizes)

    async def add(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while len(view) > self._left:
            end = self._left
            await self._take(view[:end])
            self._next_part()
            view = view[end:]
        await self._take(view)

    def verify(self) -> None:
        """Say that these were all.

        Raises:
            IntegrityError: they are not what the service says it holds.
        """
        missing = self._left
        self._outer.update(self._inner.digest())
        for size in self._sizes:  # empty ones may be left
            missing += size
            self._outer.update(hasher(self.kind).digest())
        if missing or self._outer.digest() != self._wanted:
            raise IntegrityError(
                f"the bytes that came do not have the {self.kind} of the object's parts"
            )

    async def _take(self, data: memoryview) -> None:
        await feed(self._inner, self.kind, data)
        self._left -= len(data)

    def _next_part(self) -> None:
        self._outer.update(self._inner.digest())
        self._inner = hasher(self.kind)
        try:
            self._left = next(self._sizes)
        except StopIteration:
            raise IntegrityError("more bytes came than the object's parts have") from None


async def fuller(
    client: Client, check: Check, meta: ObjectMeta, headers: Mapping[str, str]
) -> Check | PartsCheck:
    """Return what else proves a whole object, where no checksum of its bytes is told.

    Args:
        client: the bucket's.
        check: what the answer's headers offer by themselves.
        meta: of the object.
        headers: of the answer.
    """
    wanted = composite_of(headers) if check.kind is None else None
    if wanted is None or not client.tells_parts:
        return check
    sizes = await _sizes(client, meta)
    if len(sizes) != wanted.parts or sum(sizes) != meta.size:
        return check  # of another version, or not told: nothing is proven either way
    return PartsCheck(wanted, sizes)


async def _sizes(client: Client, meta: ObjectMeta) -> Sequence[int]:
    """Return the bytes of each part of a version, or nothing where they are not told."""
    found: dict[int, int] = {}
    marker: int | None = 0
    while marker is not None:
        query = {"attributes": ""}
        if meta.version is not None:
            query["versionId"] = meta.version
        headers = {**_ATTRIBUTES, **({"x-amz-part-number-marker": str(marker)} if marker else {})}
        ask = Ask("attributes", "GET", meta.key, encode_query(query), headers, limit=wire.BODY_MAX)
        try:
            reply = await client.call(ask)
            page = wire.attributes_page(reply.body)
        except NotFoundError:
            return ()  # deleted since
        except StoreError as error:
            if error.retryable:
                raise
            client.tells_parts = False
            return ()
        if isinstance(page, wire.Fault) or page.etag != (meta.etag or "").strip('"'):
            return ()
        found |= page.sizes
        if page.marker is not None and page.marker <= marker:
            return ()
        marker = page.marker
    numbers = sorted(found)
    return [found[n] for n in numbers] if numbers == list(range(1, len(numbers) + 1)) else ()
