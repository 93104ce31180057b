"""Uploads in parts, over Google's resumable protocol.

Theory of operation. A session takes the object's bytes in order, in multiples of 256 KiB but for
the last, and tells after each request how many it holds. Parts may have any size; so what is over
a multiple waits in `_tail`, and never nothing at the object's end, so that the last request has
bytes. `_base` is the position of `_tail` in the object: everything before it is held by the
session and gone from here, but for its checksum. After a request that broke off, what the session
holds is unknown, and the next call asks before it sends. Nothing changes here until a part's bytes
are confirmed, so a failed `put_part` or `complete` can be called again.

Another process goes on from `_base` with the session's address and that checksum. The session may
hold more by then (`_there`): what was sent and not noted is given again, and not sent again.

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
from asyncstore.providers.gcs.lasting import Left
from asyncstore.providers.gcs.session import placed
from asyncstore.wire import gcs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.http import Response
    from asyncstore.providers.gcs.session import Session
    from asyncstore.types import Buffer, ObjectMeta
    from asyncstore.wire.gcs_errors import Question

_STALLS = 3
_INCOMPLETE = 308
_ENDED = (404, 410, 499)
ENDS = (200, 204, *_ENDED)
"""What a session answers that is given up, or that has ended already."""

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
        self._crc = Crc32c() if checksums else None  # of what is before `_base`
        self._target: str | None = None
        self._tail = b""
        self._base = 0
        self._there = 0
        self._skip = 0  # bytes of the next part that are before `_base`
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
        view = memoryview(data)[self._skip :]
        waiting = len(self._tail) + len(view)
        is_last = self._size is None or self._base + waiting >= self._size
        # At least one byte stays for the last request.
        ready = max(0, (waiting - is_last) // gcs.QUANTUM * gcs.QUANTUM)
        used = max(0, ready - len(self._tail))
        if ready:
            crc = await self._crc_with([self._tail, view[:used]])
            await self._push([memoryview(self._tail), view[:used]], ready)
            self._crc = crc
            self._base += ready
        self._tail = bytes(view[used:]) if ready else self._tail + bytes(view)
        self._skip = 0

    async def _crc_with(self, pieces: Sequence[Buffer]) -> Crc32c | None:
        crc = self._crc
        for piece in pieces:
            crc = await crc.followed_by(piece) if crc is not None else None
        return crc

    async def _push(self, pieces: list[memoryview], length: int) -> None:
        """Have the session hold `length` more bytes than `_base`."""
        end = self._base + length
        held = await self._ask(end) if self._unsure else max(self._base, self._there)
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
        crc = await self._crc_with([self._tail])
        whole = None if crc is None else crc.text
        held, stalls = max(self._base, self._there), 0
        reply: Response | None = None
        if self._unsure:
            reply = await self._put(f"bytes */{end}", [], whole)
        while stalls <= _STALLS:
            if reply is not None:
                if reply.status in (200, 201):
                    return self._acknowledged(reply, end, whole)
                if reply.status in _ENDED:
                    held = await self._again()
                else:
                    now = self._held(reply, end)
                    stalls = stalls + 1 if now <= held else 0
                    held = now
            rest = memoryview(self._tail)[held - self._base :]
            span = f"bytes {held}-{end - 1}/{end}" if len(rest) else f"bytes */{end}"
            reply = await self._put(span, [rest], whole)
            stalls += reply.status in _ENDED
        raise UnavailableError("the upload session does not end", outcome="unknown")

    def _acknowledged(self, reply: Response, end: int, whole: str | None) -> ObjectMeta:
        meta = gcs.parse_ack(reply.body, self._resource["name"])
        gcs.check_ack(meta, end, whole)
        return meta

    # ---- over several processes

    @property
    def token(self) -> str:
        """See `LastingUpload.token`; as good as a credential."""
        assert self._target is not None  # noqa: S101 - it is open
        crc = None if self._crc is None else self._crc.value
        return Left(self._target, self._base, crc, self._question == "absent").token

    async def go_on(self, left: Left, part: int) -> int | None:
        """Go on with a session; return how many parts of `part` bytes it holds for sure.

        `None` where it has ended, or holds something else than was noted: nothing is open then.
        """
        if (left.crc is None) != (self._crc is None):
            return None
        if left.if_absent != (self._question == "absent"):
            return None  # a session keeps the condition that it began with
        self._target = left.target
        reply = await self._put(f"bytes */{self._size}", [])
        held = gcs.committed(reply.headers) if reply.status == _INCOMPLETE else -1
        if not left.base <= held < (self._size or 0):
            self._target = None
            return None
        self._base, self._there = left.base, held
        self._crc = None if left.crc is None else Crc32c(left.crc)
        self._part = left.base // part
        self._skip = left.base - self._part * part
        return self._part

    async def leave(self) -> None:
        """See `LastingUpload.leave`; the session stays at the service, for a week."""
        self._given_up = True

    async def abort(self) -> None:
        """See `Upload.abort`."""
        with placed("abort", self._url):
            self._given_up = True
            target, self._target = self._target, None
            if target is None or self._meta is not None:
                return
            mark = DEADLINE.set(time.monotonic() + _CLEANUP)
            try:
                await self._session.send("DELETE", target, expect=ENDS, write=True)
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
        self._there = 0
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
        if not self._base <= held <= max(end, self._there):
            raise IntegrityError(
                f"the service holds {held} bytes of the upload, which is none of ours: "
                f"{self._base} were confirmed, and {end} sent"
            )
        return held

    async def _put(self, span: str, pieces: list[memoryview], whole: str | None = None) -> Response:
        """Send bytes, or ask; `whole` is the object's CRC-32C, where these are its last."""
        headers = {"content-range": span}
        if whole is not None:
            headers["x-goog-hash"] = f"crc32c={whole}"
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
