"""A body becomes content: few bytes in memory, more in a file, all of them verified.

Bytes come in pieces; they are gathered into batches, and a batch is taken apart, added up and
written in one go: on the event loop where it is all there is and small, and in a thread
otherwise. So a body of any length takes the memory of two batches, and the more bodies there
are, the smaller their batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from asyncstore.hub.storage import chunks, sums
from asyncstore.hub.storage.faults import Refused
from asyncstore.hub.storage.index import Extent
from asyncstore.providers.local import threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.hub.storage.files import Files, NewFile
    from asyncstore.hub.storage.request import Request
    from asyncstore.hub.storage.signing import Claim

INLINE_MAX = 32 << 10
"""Most bytes that are kept in the index itself."""
PUT_MAX = 5 << 30
"""Most bytes of one request's body."""
MEMORY = 64 << 20
"""Bytes that all bodies under way share."""
BATCH_MIN, BATCH_MAX = 64 << 10, 1 << 20
_HASH = 64
_WORDS = frozenset({"UNSIGNED-PAYLOAD", *chunks.FORMS})


class Share:
    """Divides the memory for bodies among those under way, in one direction."""

    def __init__(self) -> None:
        self._count = 0

    def enter(self) -> None:
        """Count one more."""
        self._count += 1

    def leave(self) -> None:
        """Count one less."""
        self._count -= 1

    @property
    def batch(self) -> int:
        """How many bytes one may have in memory at a time."""
        return max(BATCH_MIN, min(BATCH_MAX, MEMORY // max(1, self._count)))


@dataclass(slots=True)
class Content:
    """A body that came whole and is what was signed.

    Attributes:
        size: in bytes.
        md5: in hexadecimal.
        sums: the checksum that is kept, by kind.
        data: its bytes, where they are few.
        extents: the file that they are in otherwise.
    """

    size: int
    md5: str
    sums: dict[str, str]
    data: bytes | None = None
    extents: Sequence[Extent] = ()

    @property
    def names(self) -> list[str]:
        """The file, if there is one."""
        return [extent.name for extent in self.extents]


class Intake:
    """Takes one request's body.

    Args:
        request: verified.
        claim: its signature.
        key: that signs its day and region.
        kind: the checksum that must be kept, `""` for the client's choice.
        inline: whether few bytes are kept in memory.
        whole: whether a checksum in the head is of this body, and not of something else.

    Raises:
        Refused: the body is of no known form or length, or too long.
    """

    def __init__(
        self,
        request: Request,
        claim: Claim,
        key: bytes,
        *,
        kind: str = "",
        inline: bool = True,
        whole: bool = True,
    ) -> None:
        self._request = request
        self._inline = INLINE_MAX if inline else 0
        headers = request.headers
        payload = claim.payload
        if payload not in _WORDS and len(payload) != _HASH:
            raise Refused("InvalidArgument", "x-amz-content-sha256 is none that is known")
        trailers = _announced(headers.get("x-amz-trailer", ""))
        self._frames: chunks.Frames
        if payload in chunks.FORMS:
            self._size = _length(headers.get("x-amz-decoded-content-length"))
            signed = payload != chunks.UNSIGNED_TRAILER
            if payload == chunks.SIGNED and trailers:
                raise Refused(
                    "InvalidRequest", "Trailers come, and the payload is said to have none"
                )
            chain = chunks.Signatures(claim, key) if signed else None
            self._frames = chunks.Chunked(chain, frozenset(trailers))
        else:
            if trailers:
                raise Refused("InvalidRequest", "Trailers need a payload in frames")
            self._size = _length(headers.get("content-length"))
            self._frames = chunks.Plain()
        if self._size > PUT_MAX:
            raise Refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        told = _told(headers) if whole else {}
        late = [name.removeprefix(sums.HEADER) for name in trailers]
        chosen = kind or next(
            iter([*(name for name in told if name != "md5"), *late]), sums.DEFAULT
        )
        hashed = payload if len(payload) == _HASH else ""
        self._sums = sums.Sums(chosen, told, hashed)
        for name in late:
            self._sums.expect(name)
        self._got = 0

    async def document(self, limit: int) -> bytes:
        """Read a body that is a document.

        Args:
            limit: the longest to take, in bytes.

        Raises:
            Refused: it is longer, or not what was said.
            Gone: the client went away.
        """
        if self._size > limit:
            raise Refused("MaxMessageLengthExceeded", "Your request was too big.")
        held = await self._request.whole(2 * limit)
        data = b"".join(self._feed([held]))
        self._content(data=data)
        return data

    async def take(self, files: Files, share: Share) -> Content:
        """Read the body to its end.

        Args:
            files: where it goes if it is long.
            share: of the memory.

        Returns:
            The content; its file, if any, is nobody's until a row names it.

        Raises:
            Refused: it is not what was said.
            Gone: the client went away; nothing is left.
        """
        file: NewFile | None = None
        share.enter()
        try:
            held: list[bytes] = []
            size = 0
            while piece := await self._request.more():
                held.append(piece)
                size += len(piece)
                if size >= share.batch:
                    if file is None:
                        file = await threads.run(files.create, dispose=files.discard)
                    await threads.run(partial(self._write, file, held))
                    held, size = [], 0
            if file is None and self._size <= self._inline:
                data = b"".join(self._feed(held))
                return self._content(data=data)
            return await self._keep(files, file, held)
        except BaseException:
            if file is not None:
                files.discard(file)
            raise
        finally:
            share.leave()

    def _write(self, file: NewFile, held: list[bytes]) -> None:
        file.write(self._feed(held))

    async def _keep(self, files: Files, file: NewFile | None, held: list[bytes]) -> Content:
        def end() -> Content:
            kept = file or files.create()
            try:
                kept.write(self._feed(held))
                content = self._content(extents=[Extent(kept.name, 0, self._size)])
                kept.flush()
            except BaseException:
                files.discard(kept)
                raise
            return content

        return await threads.run(end, dispose=lambda content: files.forget(content.names))

    def _feed(self, held: list[bytes]) -> list[memoryview]:
        found: list[memoryview] = []
        for piece in held:
            found += self._frames.feed(piece)
        for view in found:
            self._got += len(view)
            self._sums.update(view)
        if self._got > self._size:
            raise Refused("IncompleteBody", "The body is longer than its length says")
        return found

    def _content(self, *, data: bytes | None = None, extents: Sequence[Extent] = ()) -> Content:
        self._frames.finish()
        if self._got != self._size:
            raise Refused("IncompleteBody", "You did not provide the number of bytes specified")
        for name, value in self._frames.trailers.items():
            kind = name.removeprefix(sums.HEADER)
            self._sums.told[kind] = sums.decoded(kind, value)
        self._sums.finish()
        kept = {self._sums.kind: self._sums.text}
        return Content(self._size, self._sums.md5, kept, data, extents)


def _length(text: str | None) -> int:
    if text is None:
        raise Refused("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004
        raise Refused("InvalidArgument", "A length is no number")
    return int(text)


def _announced(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name.removeprefix(sums.HEADER) not in sums.KINDS or not name.startswith(sums.HEADER):
            raise Refused("InvalidRequest", "The value specified in the x-amz-trailer is not known")
    return names


def _told(headers: dict[str, str]) -> dict[str, bytes]:
    """Return the checksums that a request's head tells."""
    told = {
        kind: sums.decoded(kind, headers[sums.HEADER + kind])
        for kind in sums.KINDS
        if sums.HEADER + kind in headers
    }
    if len(told) > 1:
        raise Refused("InvalidRequest", "Expecting a single x-amz-checksum- header")
    if "content-md5" in headers:
        told["md5"] = sums.decoded("md5", headers["content-md5"])
    return told
