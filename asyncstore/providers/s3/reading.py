"""Reads: which range to ask for, what the answer proves, bytes verified before the last is given.

A range's answer must be a 206 with exactly the `Content-Range` that the span means for an
object of the size it tells. Where a span's meaning depends on the size (`[2:-1]`), the size is
asked for first, and the read is of that version or none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Self

from asyncstore.errors import (
    IntegrityError,
    InvalidSpanError,
    ObjectChangedError,
    StoreError,
)
from asyncstore.http import TooLongError
from asyncstore.providers.s3.checksums import HEADERS, Check, agree, told
from asyncstore.providers.s3.client import Ask, Placed, placed
from asyncstore.providers.s3.composite import fuller
from asyncstore.providers.s3.endpoint import READ
from asyncstore.providers.s3.heads import NO_HEADERS
from asyncstore.types import WHOLE, Blob, ObjectMeta, Span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from asyncstore.http import Reply, Response
    from asyncstore.providers.s3.client import Client
    from asyncstore.providers.s3.composite import PartsCheck
    from asyncstore.providers.s3.faults import Condition

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_META = "x-amz-meta-"
_WHOLE, _PARTIAL = 200, 206


class Ranged(NamedTuple):
    """A span as a request.

    Attributes:
        header: the `Range` header, or `None` for the whole.
        limit: most bytes that it can bring, or `None`.
    """

    header: str | None
    limit: int | None


_ALL = Ranged(None, None)


def ranged(span: Span, /) -> Ranged | None:
    """Return the range that a span is, or `None` where the object's size must be known first."""
    start, stop = span.start or 0, span.stop
    if stop is None and start == 0:
        return _ALL
    start, stop = span.bounded()
    if stop is None:
        if start < 0:
            return Ranged(f"bytes={start}", -start)
        return Ranged(f"bytes={start}-", None)
    if start < 0 or stop <= start:
        return None
    return Ranged(f"bytes={start}-{stop - 1}", stop - start)


def quoted(etag: str | None) -> str | None:
    """Return an ETag with its quotes, which some servers leave out."""
    if not etag or etag[0] == '"' or etag[:2] == "W/":
        return etag or None
    return f'"{etag}"'


class _Shape(NamedTuple):
    """What the names of an answer's headers say.

    Attributes:
        metadata: of each header with the user's metadata, its name and what it is called there.
        sums: those of `checksums.HEADERS` that are there.
    """

    metadata: list[tuple[str, str]]
    sums: list[tuple[str, str]]


_shapes: dict[tuple[str, ...], _Shape] = {}
_SHAPES_MAX = 256


def _make_shape(names: tuple[str, ...]) -> _Shape:
    """Look at names, and remember what they say: a service sends the same ones again and again."""
    shape = _Shape(
        [(name, name[len(_META) :]) for name in names if name.startswith(_META)],
        [(name, kind) for name, kind in HEADERS if name in names],
    )
    if len(_shapes) >= _SHAPES_MAX:
        _shapes.clear()
    _shapes[names] = shape
    return shape


def meta_of(key: str, headers: Mapping[str, str], size: int) -> ObjectMeta:
    """Return what an answer's headers say of an object."""
    get = headers.get
    names = tuple(headers)
    metadata, sums = _shapes.get(names) or _make_shape(names)
    etag = get("etag")
    return ObjectMeta(
        key,
        size,
        etag=etag if etag and etag[0] == '"' else quoted(etag),
        version=get("x-amz-version-id"),
        modified=get("last-modified"),
        content_type=get("content-type"),
        metadata={called: headers[name] for name, called in metadata} if metadata else {},
        checksums=told(headers, sums) if sums else {},
    )


async def head(
    client: Client, key: str, *, op: str = "head", if_match: str | None = None
) -> tuple[ObjectMeta, Mapping[str, str]]:
    """Ask for an object's metadata; return the headers with it."""
    headers = dict(READ) if client.settings.checksums else {}
    if if_match is not None:
        headers["if-match"] = if_match
    ask = Ask(op, "HEAD", key, headers=headers, condition="source" if if_match else None)
    reply = await client.call(ask)
    size = reply.headers.get("content-length", "")
    if not size.isdecimal():
        raise IntegrityError("the answer does not tell the object's size").at(
            op, client.locate(key)
        )
    meta = meta_of(key, reply.headers, int(size))
    _check_version(meta, if_match)
    return meta, reply.headers


class Reading:
    """One read of an object: the request, and what the answer must be.

    Args:
        client: the bucket's.
        op: `"get"` or `"open"`.
        key: the object.
        span: which bytes.
        if_match: the version to read.
        exact: whether the span is known to lie in the object.
    """

    __slots__ = ("client", "exact", "if_match", "key", "op", "span")

    def __init__(
        self,
        client: Client,
        op: str,
        key: str,
        span: Span,
        if_match: str | None,
        *,
        exact: bool = False,
    ) -> None:
        self.client = client
        self.op = op
        self.key = key
        self.span = span
        self.if_match = if_match
        self.exact = exact

    def ask(self, into: memoryview | None = None) -> Ask | None:
        """Return the request; `None` where the size must be known first."""
        checked = self.client.settings.checksums
        plan = ranged(self.span)
        if plan is None:
            return None
        headers: dict[str, str] = {}
        if plan.header is not None:
            headers["range"] = plan.header
        if checked and not self.span.start:
            headers["x-amz-checksum-mode"] = "ENABLED"
        condition: Condition = None
        if self.if_match is not None:
            headers["if-match"] = self.if_match
            condition = "source"
        return Ask(
            self.op,
            "GET",
            self.key,
            headers=headers,
            into=into,
            limit=plan.limit,
            condition=condition,
        )

    async def narrowed(self) -> tuple[ObjectMeta, Reading | None]:
        """Ask for the size; return what is left to read of that version, or `None`: nothing."""
        meta, _ = await head(self.client, self.key, op=self.op, if_match=self.if_match)
        start, stop = self.span.resolve(meta.size)
        if start == stop:
            return meta, None
        version = meta.etag or self.if_match
        span = Span(start, stop)
        return meta, Reading(self.client, self.op, self.key, span, version, exact=True)

    def is_past_the_end(self, error: StoreError) -> bool:
        """Whether a refusal means that the span lies behind the last byte.

        Raises:
            ObjectChangedError: it did not a moment ago.
        """
        if error.status != 416:  # noqa: PLR2004
            return False
        if self.exact:
            raise ObjectChangedError("the object became shorter", status=416) from None
        return True

    def is_empty_range(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether a range of no bytes came, as some servers say for 416 of an empty object."""
        return status == _PARTIAL and headers.get("content-length") == "0" and not self.exact

    def accept(
        self, status: int, headers: Mapping[str, str], length: int | None
    ) -> tuple[ObjectMeta, int, int | None]:
        """Check an answer's head.

        Args:
            status: 2xx.
            headers: of the answer.
            length: of its body, where that is known already.

        Returns:
            The metadata, the first byte's position and the number of bytes, if told.

        Raises:
            IntegrityError: it is not the answer to what was asked.
        """
        told_length = headers.get("content-length", "")
        if told_length.isdecimal():
            length = int(told_length)
        # Some servers (rclone) say 200 of a range; what it is, `Content-Range` says.
        if status == _PARTIAL or (status == _WHOLE and "content-range" in headers):
            start, size = self._range(headers, length)
            count: int | None = self.span.resolve(size)[1] - start
        elif status == _WHOLE:
            if self.span.start or self.span.stop is not None:
                self._accept_whole(headers, length)
            start, count = 0, length
            size = length if length is not None else 0
        else:
            raise IntegrityError(f"status {status} is no answer to a read", status=status)
        meta = meta_of(self.key, headers, size)
        _check_version(meta, self.if_match)
        return meta, start, count

    def _range(self, headers: Mapping[str, str], length: int | None) -> tuple[int, int]:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None:
            raise IntegrityError("a part of the object came, and not which", status=_PARTIAL)
        start, last, size = (int(number) for number in found.groups())
        if self.span.resolve(size) != (start, last + 1) or start > last:
            raise IntegrityError(
                f"bytes {start}-{last} of {size} came, which are not those that were asked for",
                status=_PARTIAL,
            )
        if length is not None and length != last + 1 - start:
            raise IntegrityError("the range and the length of the answer differ", status=_PARTIAL)
        return start, size

    def _accept_whole(self, headers: Mapping[str, str], length: int | None) -> None:
        """A whole object in place of a range is right only where the range is the whole."""
        plan = ranged(self.span)
        right = length is not None and self.span.resolve(length) == (0, length)
        if right and plan is not None and plan.limit == length:
            # As long as the range: the whole object, or a part that is not said to be one?
            right = self.client.settings.checksums and Check(headers).kind is not None
        if not right:
            raise IntegrityError("the service ignored the range that was asked for", status=_WHOLE)

    def check(
        self, meta: ObjectMeta, headers: Mapping[str, str], count: int | None
    ) -> Check | None:
        """Return what verifies the bytes; `None` where they are not the whole object."""
        if not self.client.settings.checksums or (count is not None and count != meta.size):
            return None
        return Check(headers, meta.checksums)


def _check_version(meta: ObjectMeta, if_match: str | None) -> None:
    if if_match is not None and meta.etag is not None and meta.etag != quoted(if_match):
        raise IntegrityError("the service ignored the version that was asked for")


async def whole(
    client: Client, key: str, into: memoryview | None, if_match: str | None, most: int | None
) -> Blob:
    """Read a whole object into one buffer: what most reads are, in fewer steps than `get`."""
    headers = READ if client.settings.checksums else NO_HEADERS
    condition: Condition = None
    if if_match is not None:
        headers, condition = {**headers, "if-match": if_match}, "source"
    ask = Ask("get", "GET", key, "", headers, into=into, limit=most, condition=condition)
    outcome: Response | StoreError
    blob = None
    try:
        outcome = await client.send(ask)
        blob = quickly(client, key, if_match, outcome)
    except StoreError as error:
        outcome = error
    if blob is not None:
        return blob
    return await settled(Reading(client, "get", key, WHOLE, if_match), ask, outcome, most)


def quickly(client: Client, key: str, if_match: str | None, reply: Response) -> Blob | None:
    """Return what came, where it is a whole object and quick to prove right."""
    headers = reply.headers
    if (
        reply.status != _WHOLE
        or "content-length" not in headers  # which the engine held the body to
        or "content-range" in headers
    ):
        return None
    body = reply.body
    if client.settings.checksums and not agree(headers, body):
        return None
    if if_match is not None and headers.get("etag") != if_match:
        return None
    client.seen = True
    return Blob(body, (meta_of, (key, headers, len(body))))


async def get(reading: Reading, into: memoryview | None, *, most: int | None = None) -> Blob:
    """Read into one buffer; errors as in `Provider.get`."""
    client = reading.client
    ask = reading.ask(into)
    if ask is None:
        with Placed(reading.op, client.locate(reading.key)):
            return await _get_narrowed(reading, into, most)
    if most is not None and (ask.limit is None or most < ask.limit):
        ask.limit = most
    outcome: Response | StoreError
    try:
        outcome = await client.send(ask)
    except StoreError as error:
        outcome = error
    return await settled(reading, ask, outcome, most)


async def settled(
    reading: Reading, ask: Ask, outcome: Response | StoreError, most: int | None
) -> Blob:
    """Return what came of a read, thoroughly verified, or what it takes instead."""
    client, into = reading.client, ask.into
    try:
        try:
            reply = await client.accepted(ask, outcome)
        except StoreError as error:
            if ask.limit == most and isinstance(error, TooLongError):
                return _announced(reading, error)
            if reading.is_past_the_end(error):
                return await _get_narrowed(reading, into)
            _refuse_whole(reading, ask, error)
            raise
        if reading.is_empty_range(reply.status, reply.headers):
            return await _get_narrowed(reading, into)
        return await _thoroughly(reading, reply)
    except StoreError as error:
        placed(error, reading.op, client.locate(reading.key))
        raise


async def _thoroughly(reading: Reading, reply: Response) -> Blob:
    """Return what came, once it is verified by all that is told of it."""
    headers, body = reply.headers, reply.body
    meta, start, count = reading.accept(reply.status, headers, None)
    check = reading.check(meta, headers, count)
    if count is None:
        _require_check(check)
        meta = meta.replace(size=len(body))
    elif count != len(body):
        raise IntegrityError(f"{len(body)} bytes came of {count}")
    if check is not None:
        proof = await fuller(reading.client, check, meta, headers)
        await proof.add(body)
        proof.verify()
    return Blob(body, meta, start=start)


def _announced(reading: Reading, error: TooLongError) -> Blob:
    """Return the metadata that came with a body that was too long to be read."""
    meta, start, _ = reading.accept(error.status or 0, error.headers, None)
    return Blob(b"", meta, start=start)


def _refuse_whole(reading: Reading, ask: Ask, error: StoreError) -> None:
    """Say what it means where the buffer or the limit fits a range, and the whole came."""
    is_long = isinstance(error, InvalidSpanError | TooLongError)
    if is_long and error.status == _WHOLE and "range" in ask.headers:
        other = IntegrityError("the service ignored the range that was asked for", status=200)
        raise other.at(reading.op, reading.client.locate(reading.key)) from None


async def _get_narrowed(reading: Reading, into: memoryview | None, most: int | None = None) -> Blob:
    meta, rest = await reading.narrowed()
    if rest is None:
        start = reading.span.resolve(meta.size)[0]
        return Blob(into[:0] if into is not None else b"", meta, start=start)
    return await get(rest, into, most=most)


def _require_check(check: Check | None) -> None:
    """Without a length, only a checksum proves that nothing is missing."""
    if check is None or check.kind is None:
        raise IntegrityError("the answer tells neither a length nor a checksum")


async def verifier(client: Client, meta: ObjectMeta) -> Check | PartsCheck | None:
    """Return what compares the bytes of a version with what the service tells of it, if it does."""
    known, headers = await head(client, meta.key, op="verify", if_match=meta.etag)
    check = await fuller(client, Check(headers, known.checksums), known, headers)
    return None if check.kind is None else check


async def open_stream(stack: AsyncExitStack, reading: Reading) -> S3Stream:
    """Begin a read whose bytes come as they arrive; `stack` ends it."""
    where = reading.op, reading.client.locate(reading.key)
    ask = reading.ask()
    if ask is not None:
        try:
            reply = await stack.enter_async_context(reading.client.stream(ask))
        except StoreError as error:
            if not reading.is_past_the_end(error):
                raise
        else:
            if not reading.is_empty_range(reply.status, reply.headers):
                meta, start, count = reading.accept(reply.status, reply.headers, reply.length)
                check = reading.check(meta, reply.headers, count)
                if count is None:
                    # A stream that was cut goes on up to the object's end, so that must be known.
                    _require_check(check)
                    told_by_head, _ = await head(
                        reading.client, reading.key, op=reading.op, if_match=meta.etag
                    )
                    count = told_by_head.size
                    meta = meta.replace(size=count)
                proof = check and await fuller(reading.client, check, meta, reply.headers)
                return S3Stream(meta, start, where=where, reply=reply, count=count, check=proof)
    meta, rest = await reading.narrowed()
    if rest is None:
        return S3Stream(meta, reading.span.resolve(meta.size)[0], where=where)
    return await open_stream(stack, rest)


class S3Stream:
    """Bytes as they arrive, the last of them only when all are verified; see `types.Stream`."""

    __slots__ = ("_check", "_count", "_reply", "_seen", "_where", "meta", "start")

    def __init__(
        self,
        meta: ObjectMeta,
        start: int,
        *,
        where: tuple[str, str],
        reply: Reply | None = None,
        count: int = 0,
        check: Check | PartsCheck | None = None,
    ) -> None:
        self.meta = meta
        self.start = start
        self._where = where
        self._reply = reply
        self._count = count
        self._check = check
        self._seen = 0

    @property
    def check(self) -> Check | PartsCheck | None:
        """See `types.Stream`."""
        return self._check

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next bytes.

        Raises:
            StoreError: the rest does not come, or is not what the service said.
        """
        if self._reply is None:
            raise StopAsyncIteration
        try:
            return await self._next(self._reply)
        except StoreError as error:
            error.at(*self._where)
            raise

    async def _next(self, reply: Reply) -> memoryview:
        async for view in reply:
            if not view:
                continue
            self._seen += len(view)
            if self._seen > self._count:
                raise IntegrityError(f"more than {self._count} bytes came")
            if self._check is not None:
                await self._check.add(view)
            if self._seen == self._count:
                self._finish()
            return view
        self._reply = None
        if self._seen != self._count:
            raise IntegrityError(f"{self._seen} bytes came of {self._count}")
        self._finish()
        raise StopAsyncIteration

    def _finish(self) -> None:
        if self._check is not None:
            self._check.verify()
            self._check = None
