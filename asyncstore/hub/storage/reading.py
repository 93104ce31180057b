"""GetObject and HeadObject: the object found, the span chosen, its bytes on their way."""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from asyncstore.hub.storage import conditions, sums
from asyncstore.hub.storage.faults import Refused, no_such_key
from asyncstore.hub.storage.index import Extent
from asyncstore.hub.storage.request import Reply
from asyncstore.providers.local import threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.hub.storage.files import Files
    from asyncstore.hub.storage.index import Entry, Finder
    from asyncstore.hub.storage.intake import Share
    from asyncstore.hub.storage.request import Request

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_OVERRIDES = {
    f"response-{name}": name
    for name in (
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        *("content-type", "expires"),
    )
}
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


class _Slice(NamedTuple):
    start: int
    end: int
    status: int

    @property
    def whole(self) -> bool:
        """Whether it is the object."""
        return self.status == 200  # noqa: PLR2004


async def get(request: Request, finder: Finder, files: Files, share: Share) -> Reply:
    """Answer GetObject."""
    entry = await finder.hold(request.bucket, request.key.encode())
    if entry is None:
        raise no_such_key()
    held = Held(files, entry.names, share)
    try:
        reply, span = _head(request, entry)
        if entry.data is not None:
            reply.body = entry.data if span.whole else entry.data[span.start : span.end]
        elif span.start < span.end:
            held.extents = cut(entry.extents, span.start, span.end)
            if span.end - span.start > share.batch:
                held.begin()
                reply.stream = held
                return reply
            reply.body = await held.next()
    except BaseException:
        held.close()
        raise
    held.close()
    return reply


async def head(request: Request, finder: Finder) -> Reply:
    """Answer HeadObject."""
    entry = await finder.find(request.bucket, request.key.encode())
    if entry is None:
        raise no_such_key()
    return _head(request, entry)[0]


def _head(request: Request, entry: Entry) -> tuple[Reply, _Slice]:
    """Return the answer's head, and which of the object's bytes are asked for."""
    status = conditions.check_read(request.headers, entry)
    headers = describe(entry)
    if status != 200:  # noqa: PLR2004
        return Reply(status, {"etag": headers["etag"]}), _Slice(0, 0, status)
    span = _span(request, entry)
    for name, value in request.query.items():
        if name in _OVERRIDES:
            if _UNSAFE.search(value):
                raise Refused("InvalidArgument", f"{name} has control characters")
            headers[_OVERRIDES[name]] = value.encode().decode("latin-1")
    if span.status == 206:  # noqa: PLR2004
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{entry.size}"
    elif request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= {sums.HEADER + kind: text for kind, text in entry.about.sums.items()}
        headers["x-amz-checksum-type"] = "FULL_OBJECT" if entry.about.whole else "COMPOSITE"
    if "partNumber" in request.query and entry.about.parts:
        headers["x-amz-mp-parts-count"] = str(len(entry.about.parts))
    headers["content-length"] = str(span.end - span.start)
    return Reply(span.status, headers), span


def describe(entry: Entry) -> dict[str, str]:
    """Return the headers that tell of an object."""
    about = entry.about
    return {
        "content-type": "binary/octet-stream",
        **about.headers,
        **{f"x-amz-meta-{name}": value for name, value in about.metadata.items()},
        "etag": f'"{entry.etag}"',
        "last-modified": formatdate(entry.modified // 1000, usegmt=True),
        "accept-ranges": "bytes",
    }


def _span(request: Request, entry: Entry) -> _Slice:
    number = request.query.get("partNumber")
    asked = request.headers.get("range")
    if number is not None:
        if asked is not None:
            raise Refused("InvalidRequest", "Cannot specify both Range header and partNumber")
        return _part(number, entry)
    condition = request.headers.get("if-range")
    if asked is None or (condition is not None and condition.strip('"') != entry.etag):
        return _Slice(0, entry.size, 200)
    return ranged(asked, entry.size)


def ranged(text: str, size: int) -> _Slice:
    """Read a Range; what is none is passed over, as S3 does.

    Args:
        text: the header.
        size: of the object, in bytes.

    Raises:
        Refused: nothing of the object is in it.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None or found.groups() == ("", ""):
        return _Slice(0, size, 200)
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return _Slice(0, size, 200)
    if start >= end:
        raise Refused(
            "InvalidRange",
            "The requested range is not satisfiable",
            headers={"content-range": f"bytes */{size}"},
        )
    return _Slice(start, end, 206)


def _part(number: str, entry: Entry) -> _Slice:
    if not (number.isascii() and number.isdigit()) or not 1 <= int(number[:6]) <= 10_000:  # noqa: PLR2004
        raise Refused("InvalidArgument", "Part number must be between 1 and 10000, inclusive")
    at = int(number)
    sizes = list(entry.about.parts) or [entry.size]
    if at > len(sizes):
        raise Refused("InvalidRange", "The requested partnumber is not satisfiable")
    start = sum(sizes[: at - 1])
    return _Slice(start, start + sizes[at - 1], 206 if sizes[at - 1] else 200)


def cut(extents: Sequence[Extent], start: int, end: int) -> list[Extent]:
    """Return where the bytes from one on to another, exclusive, are."""
    found, at = [], 0
    for name, first, size in extents:
        low, high = max(start, at), min(end, at + size)
        if low < high:
            found.append(Extent(name, first + low - at, high - low))
        at += size
    return found


class Held:
    """Bytes of files that stay as long as this is open."""

    def __init__(self, files: Files, names: list[str], share: Share) -> None:
        self.extents: list[Extent] = []
        self._files = files
        self._names = names
        self._share = share
        self._shares = False
        self._fd = -1
        self._name = ""

    def begin(self) -> None:
        """Take part in the memory for bodies."""
        self._shares = True
        self._share.enter()

    async def next(self) -> bytearray:
        """Return the next piece; an empty one at the end."""
        return await threads.run(lambda: self.read(self._share.batch))

    def read(self, most: int) -> bytearray:
        """Return the next bytes, so many unless these are the last."""
        room = bytearray(min(most, sum([extent.size for extent in self.extents])))
        view, at = memoryview(room), 0
        while at < len(room):
            name, start, size = self.extents[0]
            self._open(name)
            got = os.preadv(self._fd, [view[at : at + size]], start)
            if not got:
                raise OSError(f"a file of the storage is shorter than the index says: {name}")
            at += got
            self.extents[0] = Extent(name, start + got, size - got)
            if got == size:
                del self.extents[0]
        return room

    def _open(self, name: str) -> None:
        if name != self._name:
            self._shut()
            self._fd = self._files.open(name)
            self._name = name

    def _shut(self) -> None:
        fd, self._fd, self._name = self._fd, -1, ""
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Let go; twice is as once."""
        self._shut()
        if self._shares:
            self._shares = False
            self._share.leave()
        names, self._names = self._names, []
        if names:
            self._files.release(names)
