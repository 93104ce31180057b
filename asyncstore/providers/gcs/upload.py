"""Uploads in parts, over Google's resumable protocol.

Theory of operation. A session takes the object's bytes in order, in multiples of 256 KiB but for
the last, and tells after each request how many it holds. Parts may have any size; so what is over
a multiple waits in `_tail`, and never nothing, so that the last request has bytes. `_base` is the
position of `_tail` in the object: everything before it is held by the session and gone from here.
After a request that broke off, what the session holds is unknown, and the next call asks before
it sends. Nothing changes here until a part's bytes are confirmed, so a failed `put_part` or
`complete` can be called again.

The session's address is as good as a credential: it is in no message.

Source: https://cloud.google.com/storage/docs/performing-resumable-uploads.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import anyio

from asyncstore.errors import IntegrityError, NotFoundError, StoreError, UnavailableError
from asyncstore.http import DEADLINE
from asyncstore.providers.gcs.checksum import Crc32c
from asyncstore.providers.gcs.session import placed
from asyncstore.wire import gcs

if TYPE_CHECKING:
    from asyncstore.http import Response
    from asyncstore.providers.gcs.session import Session
    from asyncstore.types import Buffer, ObjectMeta
    from asyncstore.wire.gcs_errors import Question

_STALLS = 3
_INCOMPLETE = 308
_ENDED = (404, 410, 499)
_CLEANUP = 5.0


class GCSUpload:
    """An object on its way; see `Upload`.

    Args:
        session: how to send.
        target: where a resumable session begins, with the conditions.
        resource: the object's description.
        url: the object's URL, for messages.
        size: the whole object's bytes, where known.
        question: what the conditions ask.
        checksums: whether to send and compare a checksum.
    """

    def __init__(
        self,
        session: Session,
        target: str,
        resource: dict[str, Any],
        url: str,
        *,
        size: int | None,
        question: Question,
        checksums: bool,
    ) -> None:
        self._session = session
        self._begin_target = target
        self._resource = resource
        self._url = url
        self._size = size
        self._question = question
        self._crc = Crc32c() if checksums else None
        self._target: str | None = None
        self._tail = b""
        self._base = 0
        self._part = 0
        self._unsure = False
        self._given_up = False
        self._meta: ObjectMeta | None = None
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Open the session; where this is cancelled, what may have been opened is closed."""
        request = asyncio.get_running_loop().create_task(self._open())
        try:
            await asyncio.shield(request)
        except asyncio.CancelledError:
            with anyio.move_on_after(_CLEANUP, shield=True):
                await asyncio.wait([request])
                if not request.cancelled() and request.exception() is None:
                    await self.abort()
            request.cancel()
            raise

    async def _open(self) -> None:
        reply = await self._session.send(
            "POST",
            self._begin_target,
            {"content-type": "application/json; charset=UTF-8"},
            body=json.dumps(self._resource).encode(),
            expect=(200, 201),
            write=True,
            once=True,  # or there would be two sessions
            question=self._question,
        )
        self._target = gcs.session_target(reply.headers, self._session.origin)

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """See `Upload.put_part`; parts come in order."""
        with placed("put_part", self._url):
            async with self._turn:
                self._check_open()
                if number != self._part + 1:
                    raise IntegrityError(f"part {number} came where {self._part + 1} was due")
                await self._take(data)
                self._part = number

    async def _take(self, data: Buffer) -> None:
        view = memoryview(data)
        # At least one byte stays for the last request.
        ready = max(0, (len(self._tail) + len(view) - 1) // gcs.QUANTUM * gcs.QUANTUM)
        used = max(0, ready - len(self._tail))
        crc = await self._crc.followed_by(view) if self._crc is not None else None
        if ready:
            await self._push([memoryview(self._tail), view[:used]], ready)
        self._crc = crc
        self._base += ready
        self._tail = bytes(view[used:]) if ready else self._tail + bytes(view)

    async def _push(self, pieces: list[memoryview], length: int) -> None:
        """Have the session hold `length` more bytes than `_base`."""
        end = self._base + length
        held = await self._ask(end) if self._unsure else self._base
        stalls = 0
        while held < end:
            span = f"bytes {held}-{end - 1}/*"
            reply = await self._put(span, _drop(pieces, held - self._base))
            if reply.status in _ENDED:
                held = await self._again()
                stalls += 1
            else:
                now = self._held(reply, end)
                stalls = 0 if now > held else stalls + 1
                held = now
            if stalls > _STALLS:
                raise UnavailableError("the upload session takes no more bytes")

    async def complete(self) -> ObjectMeta:
        """See `Upload.complete`; it may be called again after a failure."""
        with placed("complete", self._url):
            async with self._turn:
                if self._meta is None:
                    self._check_open()
                    self._meta = await self._finish()
                return self._meta

    async def _finish(self) -> ObjectMeta:
        end = self._base + len(self._tail)
        if self._size is not None and end != self._size:
            raise IntegrityError(f"{end} bytes came where {self._size} were announced")
        held, stalls = self._base, 0
        reply: Response | None = None
        if self._unsure:
            reply = await self._put(f"bytes */{end}", [], end)
        while stalls <= _STALLS:
            if reply is not None:
                if reply.status in (200, 201):
                    return self._acknowledged(reply, end)
                if reply.status in _ENDED:
                    held = await self._again()
                else:
                    now = self._held(reply, end)
                    stalls = stalls + 1 if now <= held else 0
                    held = now
            rest = memoryview(self._tail)[held - self._base :]
            span = f"bytes {held}-{end - 1}/{end}" if len(rest) else f"bytes */{end}"
            reply = await self._put(span, [rest], end)
            stalls += reply.status in _ENDED
        raise UnavailableError("the upload session does not end", outcome="unknown")

    def _acknowledged(self, reply: Response, end: int) -> ObjectMeta:
        meta = gcs.parse_ack(reply.body, self._resource["name"])
        gcs.check_ack(meta, end, self._crc.text if self._crc is not None else None)
        return meta

    async def abort(self) -> None:
        """See `Upload.abort`."""
        with placed("abort", self._url):
            self._given_up = True
            target, self._target = self._target, None
            if target is None or self._meta is not None:
                return
            mark = DEADLINE.set(time.monotonic() + _CLEANUP)
            try:
                await self._session.send("DELETE", target, expect=(200, 204, *_ENDED), write=True)
            except BaseException:
                self._target = target  # so that another call tries again
                raise
            finally:
                DEADLINE.reset(mark)

    async def _again(self) -> int:
        """Begin another session in place of one that has ended, where all bytes are still here."""
        if self._base:
            raise NotFoundError("the upload session has ended; begin the upload again")
        await self.begin()
        self._unsure = False
        return 0

    async def _ask(self, end: int) -> int:
        """Return how many bytes the session holds."""
        reply = await self._put("bytes */*", [])
        if reply.status in _ENDED:
            return await self._again()
        return self._held(reply, end)

    def _held(self, reply: Response, end: int) -> int:
        if reply.status != _INCOMPLETE:
            raise IntegrityError("the service ended the upload before its last byte")
        held = gcs.committed(reply.headers)
        if not self._base <= held <= end:
            raise IntegrityError(
                f"the service holds {held} bytes of the upload, which is none of ours: "
                f"{self._base} were confirmed, and {end} sent"
            )
        return held

    async def _put(self, span: str, pieces: list[memoryview], end: int | None = None) -> Response:
        headers = {"content-range": span}
        if end is not None and self._crc is not None:
            headers["x-goog-hash"] = f"crc32c={self._crc.text}"
        assert self._target is not None  # noqa: S101 - it is open
        self._unsure = True
        reply = await self._session.send(
            "PUT",
            self._target,
            headers,
            body=pieces,
            expect=(200, 201, _INCOMPLETE, *_ENDED),
            write=True,
            once=True,  # the session may have taken them, and no bytes twice
            question=self._question,
        )
        self._unsure = False
        return reply

    def _check_open(self) -> None:
        if self._given_up:
            raise StoreError("the upload was given up")
        if self._meta is not None:
            raise StoreError("the upload is complete")


def _drop(pieces: list[memoryview], count: int) -> list[memoryview]:
    """Return the pieces without their first `count` bytes."""
    rest = []
    for piece in pieces:
        cut = min(count, len(piece))
        count -= cut
        if len(piece) > cut:
            rest.append(piece[cut:])
    return rest
