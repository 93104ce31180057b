"""UploadPartCopy: a part that names bytes of an object that is there.

Its MD5 and checksum are of those bytes alone, so they are read once; nothing is written but what
was too small to have a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asyncstore.hub.storage import documents, sums
from asyncstore.hub.storage.faults import Refused, no_such_key
from asyncstore.hub.storage.index import Extent
from asyncstore.hub.storage.intake import PUT_MAX, Content
from asyncstore.hub.storage.multipart import find_upload, part_number, store_part
from asyncstore.hub.storage.reading import Held, cut
from asyncstore.hub.storage.request import document
from asyncstore.hub.storage.writing import find_source, source_of
from asyncstore.providers.local import threads
from asyncstore.wire.s3 import XMLNS

if TYPE_CHECKING:
    from asyncstore.hub.storage.committing import Change, Committer
    from asyncstore.hub.storage.files import Files
    from asyncstore.hub.storage.index import Entry, Index
    from asyncstore.hub.storage.intake import Share
    from asyncstore.hub.storage.request import Reply, Request

_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})")
_READ = 1 << 20
_TRIES = 5


class _Changed(Exception):  # noqa: N818 - tried again
    """The source was replaced while it was read."""


async def copy_part(
    request: Request, index: Index, files: Files, share: Share, committer: Committer
) -> Reply:
    """Answer UploadPartCopy."""
    number = part_number(request)
    source = source_of(request)
    kind = (await threads.run(lambda: find_upload(index.db, request))).kind

    def read() -> tuple[Entry, Content, list[str]]:
        entry = index.hold(*source)
        if entry is None:
            raise no_such_key()
        held = Held(files, entry.names, share)
        try:
            span = _span(request.headers.get("x-amz-copy-source-range"), entry.size)
            return entry, *_content(files, held, entry, span, kind)
        finally:
            held.close()

    for _ in range(_TRIES):
        entry, content, brings = await threads.run(read, dispose=lambda made: files.forget(made[2]))

        def change(change: Change, entry: Entry = entry, content: Content = content) -> int:
            found = find_source(change, source, request.headers)
            # What it names is safe from here on; what was read may be nobody's by now.
            if (found.etag, found.extents) != (entry.etag, entry.extents):
                raise _Changed
            return store_part(change, find_upload(change.db, request).id, number, content)

        try:
            modified = await committer.run(change, brings=brings)
        except _Changed:
            continue
        rows = [("LastModified", documents.when(modified)), ("ETag", f"&quot;{content.md5}&quot;")]
        rows += documents.checksums(content.sums, whole=True)
        return document(
            f'<CopyPartResult xmlns="{XMLNS}">{documents.fields(rows)}</CopyPartResult>'
        )
    raise Refused("ServiceUnavailable", "The source is being replaced; please try again")


def _span(text: str | None, size: int) -> tuple[int, int]:
    if text is None:
        start, end = 0, size
    else:
        found = _RANGE.fullmatch(text)
        if found is None:
            raise Refused("InvalidArgument", "The x-amz-copy-source-range value must be bytes=a-b")
        start, end = int(found[1]), int(found[2]) + 1
        if not start < end <= size:
            raise Refused("InvalidRange", f"Range specified is not valid for {size} bytes")
    if end - start > PUT_MAX:
        raise Refused("InvalidRequest", "A part has at most 5 GiB")
    return start, end


def _content(
    files: Files, held: Held, entry: Entry, span: tuple[int, int], kind: str
) -> tuple[Content, list[str]]:
    """Add the bytes up; return them, and the file that was made for them, if one was."""
    start, end = span
    total = sums.Sums(kind, {})
    brings: list[str] = []
    if entry.data is None:
        extents = cut(entry.extents, start, end)
        held.extents = list(extents)
        while piece := held.read(_READ):
            threads.check_cancelled()
            total.update(piece)
    else:
        data = entry.data[start:end]
        total.update(data)
        extents = [_written(files, data)] if data else []
        brings = [extent.name for extent in extents]
    return Content(end - start, total.md5, {kind: total.text}, None, extents), brings


def _written(files: Files, data: bytes) -> Extent:
    file = files.create()
    try:
        file.write([data])
        file.flush()
    except BaseException:
        files.discard(file)
        raise
    return Extent(file.name, 0, len(data))
