"""Uploads in parts: begun, filled, joined without copying a byte, or given up."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncstore.hub.storage import conditions, documents, finished, sums
from asyncstore.hub.storage.faults import Refused
from asyncstore.hub.storage.finished import Outcome
from asyncstore.hub.storage.index import (
    About,
    Entry,
    dump_extents,
    find,
    load_extents,
    store,
    unuse,
    use,
)
from asyncstore.hub.storage.request import Reply, document
from asyncstore.hub.storage.writing import about, now
from asyncstore.providers.local import threads
from asyncstore.wire.s3 import XMLNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from asyncstore.hub.storage.committing import Change, Committer
    from asyncstore.hub.storage.documents import Chosen
    from asyncstore.hub.storage.index import Extent, Index
    from asyncstore.hub.storage.intake import Content
    from asyncstore.hub.storage.request import Request

PART_MIN = 5 << 20
"""Least size of every part but the last, in bytes."""
OBJECT_MAX = 48 << 40
"""Most bytes of an object."""


class Upload(NamedTuple):
    """An upload that was begun.

    Attributes:
        id: its name.
        about: of the object to be.
        kind: the checksum that each part has.
        chosen: whether the client chose it.
        whole: whether the object's checksum is of all its bytes, and not of the parts' checksums.
    """

    id: str
    about: About
    kind: str
    chosen: bool
    whole: bool


class Part(NamedTuple):
    """A part that has come; `sum` is its checksum as base64 text."""

    number: int
    size: int
    etag: str
    modified: int
    sum: str
    extents: Sequence[Extent]


def _no_such_upload() -> Refused:
    return Refused(
        "NoSuchUpload",
        "The specified multipart upload does not exist. The upload ID may be invalid, or the "
        "upload may have been aborted or completed.",
    )


def find_upload(db: sqlite3.Connection, request: Request) -> Upload:
    """Return the upload that a request names.

    Raises:
        Refused: there is none of this name and key.
    """
    row = db.execute(
        "SELECT id, about, kind, chosen, whole FROM uploads"
        " WHERE id = ? AND bucket = ? AND key = ?",
        (request.query["uploadId"], request.bucket, request.key.encode()),
    ).fetchone()
    if row is None:
        raise _no_such_upload()
    return Upload(row[0], About.load(row[1]), row[2], bool(row[3]), bool(row[4]))


def find_parts(db: sqlite3.Connection, upload: str, after: int, most: int) -> list[Part]:
    """Return parts of an upload, by number."""
    rows: list[Any] = db.execute(
        "SELECT number, size, etag, modified, sum, spans FROM parts"
        " WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
        (upload, after, most),
    ).fetchall()
    return [Part._make((*row[:5], load_extents(row[5]))) for row in rows]


async def begin(request: Request, committer: Committer) -> Reply:
    """Answer CreateMultipartUpload."""
    headers = request.headers
    told = about(headers)
    asked = headers.get("x-amz-checksum-algorithm")
    kind = sums.kind_of(asked) if asked else sums.DEFAULT
    usual = "FULL_OBJECT" if kind == sums.DEFAULT else "COMPOSITE"
    form = headers.get("x-amz-checksum-type", usual).upper()
    whole = form == "FULL_OBJECT"
    if form not in ("FULL_OBJECT", "COMPOSITE") or (whole and not sums.joinable(kind)):
        raise Refused("InvalidRequest", f"{form[:40]!r} is no type of the checksum {kind}")
    if not whole and kind == sums.DEFAULT:
        raise Refused("InvalidRequest", "CRC64NVME is of the full object alone")
    name = secrets.token_urlsafe(24)
    bucket, key = request.bucket, request.key.encode()
    row = (name, bucket, key, now(), told.dump(), kind, asked is not None, whole)
    await committer.run(
        lambda change: change.db.execute("INSERT INTO uploads VALUES (?,?,?,?,?,?,?,?)", row)
    )
    rows = [("Bucket", bucket), ("Key", documents.text(request.key)), ("UploadId", name)]
    reply = document(
        f'<InitiateMultipartUploadResult xmlns="{XMLNS}">{documents.fields(rows)}'
        "</InitiateMultipartUploadResult>"
    )
    if asked is not None:
        reply.headers |= {"x-amz-checksum-algorithm": kind.upper(), "x-amz-checksum-type": form}
    return reply


def part_number(request: Request) -> int:
    """Return the number of the part that a request is about.

    Raises:
        Refused: it is none.
    """
    text = request.query["partNumber"]
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= documents.PARTS_MAX):
        raise Refused("InvalidArgument", "Part number must be between 1 and 10000, inclusive")
    return int(text)


def store_part(change: Change, upload: str, number: int, content: Content) -> int:
    """Write a part's row, in place of another of its number; return when."""
    use(change.db, content.names)
    old = change.db.execute(
        "DELETE FROM parts WHERE upload = ? AND number = ? RETURNING spans", (upload, number)
    ).fetchall()
    for (spans,) in old:
        unuse(change, [extent.name for extent in load_extents(spans)])
    modified = now()
    [text] = content.sums.values()
    change.db.execute(
        "INSERT INTO parts VALUES (?,?,?,?,?,?,?)",
        (
            upload,
            number,
            content.size,
            content.md5,
            modified,
            text,
            dump_extents(content.extents) or "[]",
        ),
    )
    return modified


async def kind_of_part(request: Request, index: Index) -> str:
    """Return the checksum that a part must have; its upload is there."""
    part_number(request)
    return (await threads.run(lambda: find_upload(index.db, request))).kind


async def put_part(request: Request, content: Content, committer: Committer) -> Reply:
    """Answer UploadPart, whose body has come."""
    number = part_number(request)
    [kind] = content.sums

    def change(change: Change) -> Upload:
        upload = find_upload(change.db, request)
        if upload.kind != kind:
            raise Refused("InvalidRequest", f"The upload was begun with {upload.kind} checksums")
        store_part(change, upload.id, number, content)
        return upload

    await committer.run(change, brings=content.names)
    sum_headers = {sums.HEADER + name: text for name, text in content.sums.items()}
    return Reply(200, {"etag": f'"{content.md5}"', **sum_headers})


async def complete(request: Request, body: bytes, committer: Committer) -> Reply:
    """Answer CompleteMultipartUpload: the object names the parts' files.

    Asked again, it answers as before and changes nothing.
    """
    chosen = documents.read_complete(body)

    def change(change: Change) -> Outcome:
        known = finished.recall(change.db, request, chosen)
        if known is not None:
            return known
        made = _join(change, request, chosen)
        outcome = Outcome(made.etag, made.about.sums, made.about.whole)
        finished.forget_old(change, made.modified - int(finished.LIFE * 1000))
        finished.remember(change, request, chosen, outcome, made.modified)
        return outcome

    made = await committer.run(change)
    rows = [
        ("Location", documents.text(request.path)),
        ("Bucket", request.bucket),
        ("Key", documents.text(request.key)),
        ("ETag", f"&quot;{made.etag}&quot;"),
        *documents.checksums(made.sums, whole=made.whole),
    ]
    return document(
        f'<CompleteMultipartUploadResult xmlns="{XMLNS}">{documents.fields(rows)}'
        "</CompleteMultipartUploadResult>"
    )


def _join(change: Change, request: Request, chosen: Sequence[Chosen]) -> Entry:
    headers, bucket, key = request.headers, request.bucket, request.key.encode()
    upload = find_upload(change.db, request)
    there = {part.number: part for part in find_parts(change.db, upload.id, 0, 1 << 20)}
    parts = [_chosen_part(upload, there, one) for one in chosen]
    _check_sizes(parts, headers.get("x-amz-mp-object-size"))
    made = _joined(upload, parts)
    _check_whole(upload, made, headers)
    if "if-match" in headers or "if-none-match" in headers:
        old = find(change.db, bucket, key)
        conditions.check_write(headers, None if old is None else old.etag)
    use(change.db, made.names)
    remove_upload(change, upload.id)
    store(change, bucket, key, made)
    return made


def _chosen_part(upload: Upload, there: dict[int, Part], one: Chosen) -> Part:
    part = there.get(one.number)
    wrong = {kind for kind in one.sums if kind != upload.kind}
    if part is None or part.etag != one.etag or wrong:
        raise Refused("InvalidPart", "One or more of the specified parts could not be found.")
    if one.sums.get(upload.kind, part.sum) != part.sum:
        raise Refused("InvalidPart", f"The {upload.kind} of part {one.number} is another")
    return part


def _check_sizes(parts: list[Part], told: str | None) -> None:
    if any(part.size < PART_MIN for part in parts[:-1]):
        raise Refused("EntityTooSmall", "A part but the last is smaller than 5 MiB")
    size = sum(part.size for part in parts)
    if size > OBJECT_MAX:
        raise Refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    if told is not None and told != str(size):
        raise Refused(
            "InvalidRequest", f"The parts have {size} bytes, and not x-amz-mp-object-size"
        )


def _joined(upload: Upload, parts: list[Part]) -> Entry:
    etag = hashlib.md5(usedforsecurity=False)
    for part in parts:
        etag.update(bytes.fromhex(part.etag))
    if upload.whole:
        total = sums.join(upload.kind, [(part.sum, part.size) for part in parts])
    else:
        total = sums.compose(upload.kind, [part.sum for part in parts])
    made = About(
        upload.about.headers,
        upload.about.metadata,
        {upload.kind: total},
        upload.whole,
        [part.size for part in parts],
    )
    extents = [extent for part in parts for extent in part.extents]
    size = sum(part.size for part in parts)
    etag_text = f"{etag.hexdigest()}-{len(parts)}"
    return Entry(size, etag_text, now(), made, extents, None if extents else b"")


def _check_whole(upload: Upload, made: Entry, headers: dict[str, str]) -> None:
    form = headers.get("x-amz-checksum-type")
    if form is not None and (form == "FULL_OBJECT") != upload.whole:
        raise Refused("InvalidRequest", "The upload was begun with the other type of checksum")
    told = headers.get(sums.HEADER + upload.kind)
    if told is not None and told != made.about.sums[upload.kind]:
        raise Refused("BadDigest", f"The {upload.kind} you specified did not match the parts.")


def remove_upload(change: Change, upload: str) -> None:
    """Remove an upload and its parts; what a joined object names stays."""
    rows = change.db.execute(
        "DELETE FROM parts WHERE upload = ? RETURNING spans", (upload,)
    ).fetchall()
    for (spans,) in rows:
        unuse(change, [extent.name for extent in load_extents(spans)])
    change.db.execute("DELETE FROM uploads WHERE id = ?", (upload,))


async def abort(request: Request, committer: Committer) -> Reply:
    """Answer AbortMultipartUpload."""

    def change(change: Change) -> None:
        remove_upload(change, find_upload(change.db, request).id)

    await committer.run(change)
    return Reply(204)


def remove_uploads(change: Change, bucket: str, first: bytes, end: bytes, most: int) -> int:
    """Remove some uploads of keys from one on and below another; return how many there were."""
    rows: list[Any] = change.db.execute(
        "SELECT id FROM uploads WHERE bucket = ? AND key >= ? AND key < ? LIMIT ?",
        (bucket, first, end, most),
    ).fetchall()
    for (name,) in rows:
        remove_upload(change, name)
    return len(rows)


def remove_old(change: Change, before: int, most: int) -> int:
    """Remove some uploads that were begun before a time; return how many there were."""
    rows: list[Any] = change.db.execute(
        "SELECT id FROM uploads WHERE begun < ? LIMIT ?", (before, most)
    ).fetchall()
    for (name,) in rows:
        remove_upload(change, name)
    return len(rows)
