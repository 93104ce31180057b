"""Reading objects: whole, in spans, as streams; each read one generation, proven by its headers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from asyncstore.errors import IntegrityError, ObjectChangedError
from asyncstore.http import TooLongError
from asyncstore.providers.gcs.checksum import Check
from asyncstore.types import WHOLE, Blob, Span
from asyncstore.wire import gcs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from asyncstore.http import Reply, Response
    from asyncstore.providers.gcs.session import Sent, Session
    from asyncstore.types import ObjectMeta

_WHOLE, _UNSATISFIABLE = 200, 416
_QUICK = 1 << 20  # bytes whose checksum takes next to no time
_MEDIA = {"accept-encoding": "gzip"}
# Asked for with gzip, an object that is stored compressed comes as it is stored: its length and
# its checksums are then those that the service tells.


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads of one object.

    Attributes:
        session: how to ask.
        bucket: where it is.
        key: its name.
        if_match: the generation that is wanted, or any.
        checksums: whether whole objects are compared with the service's checksum.
    """

    session: Session
    bucket: str
    key: str
    if_match: str | None = None
    checksums: bool = True

    async def head(self) -> ObjectMeta:
        """Return the metadata; of the wanted generation, if one is."""
        target = gcs.object_target(self.bucket, self.key, fields=gcs.FIELDS)
        reply = await self.session.send("GET", target, limit=gcs.JSON_CAP)
        resource = gcs.read_object(reply.body, "an object's metadata")
        return self._of_version(gcs.parse_meta(resource, key=self.key))

    async def get(
        self,
        span: Span,
        into: memoryview | None,
        most: int | None = None,
        *,
        first: Sent | None = None,
    ) -> Blob:
        """Read a span into memory; see `Provider.get`.

        Args:
            span: which bytes.
            into: where they go.
            most: as there.
            first: what came of the request, where it was sent already.
        """
        if not _is_plain(span):
            meta, span = await self._resolved(span)
            if span.start == span.stop:
                return _nothing(meta, span, into)
            return await replace(self, if_match=meta.etag).get(span, into, most)
        target, headers = self.request(span)
        limit = _length(span)
        if most is not None and (limit is None or most < limit):
            limit = most
        try:
            reply = await self.session.send(
                "GET",
                target,
                headers,
                into=into,
                limit=limit,
                expect=(200, 206, _UNSATISFIABLE),
                question="version",
                first=first,
            )
        except TooLongError as error:
            if limit != most:
                raise
            meta, start, _ = gcs.parse_media(self.key, error.status or 0, error.headers, span)
            return Blob(b"", self._of_version(meta), start=start)
        if reply.status == _UNSATISFIABLE:
            return await self._beyond(span, into)
        meta, start, stop = gcs.parse_media(self.key, reply.status, reply.headers, span)
        self._of_version(meta)
        if len(reply.body) != stop - start:
            raise IntegrityError(
                f"{len(reply.body)} bytes came where {stop - start} were announced"
            )
        if self.checksums and stop - start == meta.size:
            check = Check(meta)
            await check.add(reply.body)
            check.verify()
        return Blob(reply.body, meta, start=start)

    def quickly(self, reply: Response) -> Blob | None:
        """Return what came, where it is a whole object and quick to prove right.

        Raises:
            StoreError: it is not what was asked for.
        """
        body = reply.body
        if reply.status != _WHOLE or len(body) > _QUICK:
            return None
        meta, start, stop = gcs.parse_media(self.key, reply.status, reply.headers, WHOLE)
        self._of_version(meta)
        if len(body) != stop - start:
            return None
        if self.checksums:
            check = Check(meta)
            check.update(body)
            check.verify()
        return Blob(body, meta)

    @asynccontextmanager
    async def open(self, span: Span) -> AsyncIterator[GCSStream]:
        """Read a span as it arrives; see `Provider.open`."""
        if not _is_plain(span):
            meta, span = await self._resolved(span)
            if span.start == span.stop:
                yield GCSStream(None, meta, span.start or 0, 0, None)
                return
            async with replace(self, if_match=meta.etag).open(span) as stream:
                yield stream
            return
        target, headers = self.request(span)
        async with self.session.stream(target, headers, question="version") as reply:
            if reply.status != _UNSATISFIABLE:
                meta, start, stop = gcs.parse_media(self.key, reply.status, reply.headers, span)
                self._of_version(meta)
                whole = self.checksums and stop - start == meta.size
                yield GCSStream(reply, meta, start, stop - start, Check(meta) if whole else None)
                return
        blob = await self._beyond(span, None)
        yield GCSStream(None, blob.meta, blob.start, 0, None)

    async def _resolved(self, span: Span) -> tuple[ObjectMeta, Span]:
        """Ask for the size and return what the span means with it."""
        meta = await self.head()
        return meta, Span(*span.resolve(meta.size))

    def request(self, span: Span) -> tuple[str, Mapping[str, str]]:
        """Return the target and headers of a read."""
        if self.if_match is not None and not gcs.is_generation(self.if_match):
            raise _changed()
        headers = dict(_MEDIA)
        header = gcs.range_header(span)
        if header is not None:
            headers["range"] = header
        if not self.session.reads_by_path:
            return gcs.object_target(
                self.bucket, self.key, alt="media", ifGenerationMatch=self.if_match
            ), headers
        if self.if_match is not None:
            headers["x-goog-if-generation-match"] = self.if_match
        return gcs.path_target(self.bucket, self.key), headers

    def _of_version(self, meta: ObjectMeta) -> ObjectMeta:
        # A look-alike may ignore the condition in the request.
        if self.if_match is not None and meta.etag != self.if_match:
            raise _changed()
        return meta

    async def _beyond(self, span: Span, into: memoryview | None) -> Blob:
        """Return no bytes for a span past the end, once the size confirms that it is there."""
        meta = await self.head()
        start, stop = span.resolve(meta.size)
        if start != stop:
            raise ObjectChangedError("the object grew while it was read")
        return _nothing(meta, Span(start, stop), into)


class GCSStream:
    """An object's bytes as they arrive; see `Stream`. The last are verified before they are given.

    Args:
        reply: the body, or `None` for no bytes.
        meta: the object's metadata.
        start: the first byte's position.
        length: how many come.
        check: compares them, where they are the whole object.
    """

    def __init__(
        self, reply: Reply | None, meta: ObjectMeta, start: int, length: int, check: Check | None
    ) -> None:
        self.meta = meta
        self.start = start
        self._reply = reply
        self._left = length
        self._check = check

    @property
    def check(self) -> Check | None:
        """See `types.Stream`."""
        return self._check

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next bytes.

        Raises:
            IntegrityError: they are too few, too many, or not what the checksum says.
        """
        if self._reply is None:
            raise StopAsyncIteration
        try:
            view = await anext(self._reply)
        except StopAsyncIteration:
            if self._left:
                raise IntegrityError(f"the last {self._left} bytes did not come") from None
            if self._check is not None:
                self._verify()
            raise
        self._left -= len(view)
        if self._left < 0:
            raise IntegrityError("more bytes came than were announced")
        if self._check is not None:
            self._check.update(view)
            if not self._left:
                self._verify()
        return view

    def _verify(self) -> None:
        check, self._check = self._check, None
        if check is not None:
            check.verify()


def _changed() -> ObjectChangedError:
    return ObjectChangedError("the object is not the version that was asked for")


def _is_plain(span: Span) -> bool:
    """Whether a `Range` header can say the span while the size is not known."""
    try:
        gcs.range_header(span)
    except LookupError:
        return False
    return True


def _length(span: Span) -> int | None:
    """Return most bytes that the span can bring, or `None`."""
    if span.start is not None and span.start < 0:
        return -span.start
    return None if span.stop is None else span.stop - (span.start or 0)


def _nothing(meta: ObjectMeta, span: Span, into: memoryview | None) -> Blob:
    start, _ = span.resolve(meta.size)
    return Blob(b"" if into is None else into[:0], meta, start=start)
