"""ListParts and ListMultipartUploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstore.hub.storage import documents
from asyncstore.hub.storage.faults import Refused
from asyncstore.hub.storage.index import after_prefix
from asyncstore.hub.storage.listing import PAGE_MAX, asked_prefix, number
from asyncstore.hub.storage.multipart import find_parts, find_upload
from asyncstore.hub.storage.request import document
from asyncstore.providers.local import threads
from asyncstore.wire.s3 import XMLNS

if TYPE_CHECKING:
    from asyncstore.hub.storage.index import Index
    from asyncstore.hub.storage.multipart import Part, Upload
    from asyncstore.hub.storage.request import Reply, Request


async def parts(request: Request, index: Index) -> Reply:
    """Answer ListParts."""
    most = number(request, "max-parts", PAGE_MAX)
    after = number(request, "part-number-marker", 1 << 20) if _has(request) else 0

    def look() -> tuple[Upload, list[Part]]:
        upload = find_upload(index.db, request)
        return upload, find_parts(index.db, upload.id, after, most + 1)

    upload, found = await threads.run(look)
    more, found = len(found) > most, found[:most]
    body = documents.fields(
        [
            ("Bucket", request.bucket),
            ("Key", documents.text(request.key)),
            ("UploadId", upload.id),
            ("PartNumberMarker", after),
            ("NextPartNumberMarker", found[-1].number if found else after),
            ("MaxParts", most),
            ("IsTruncated", "true" if more else "false"),
            ("StorageClass", "STANDARD"),
        ]
    )
    body += "".join(f"<Part>{_part(upload.kind, part)}</Part>" for part in found)
    return document(f'<ListPartsResult xmlns="{XMLNS}">{body}</ListPartsResult>')


def _has(request: Request) -> bool:
    return bool(request.query.get("part-number-marker"))


def _part(kind: str, part: Part) -> str:
    return documents.fields(
        [
            ("PartNumber", part.number),
            ("LastModified", documents.when(part.modified)),
            ("ETag", f"&quot;{part.etag}&quot;"),
            ("Size", part.size),
            (f"Checksum{kind.upper()}", part.sum),
        ]
    )


async def uploads(request: Request, index: Index) -> Reply:
    """Answer ListMultipartUploads, in the order of their keys."""
    query = request.query
    prefix = asked_prefix(request)
    encode = documents.encoder(query.get("encoding-type"))
    most = number(request, "max-uploads", PAGE_MAX)
    key, name = query.get("key-marker", ""), query.get("upload-id-marker", "")
    if query.get("delimiter"):
        raise Refused("NotImplemented", "Listing uploads takes no delimiter")
    # Without the name of an upload, the marker's key is done.
    after = (key.encode(), name) if name else (key.encode() + b"\0" if key else b"", "")
    rows: list[Any] = await threads.run(
        lambda: index.db.execute(
            "SELECT key, id, begun FROM uploads WHERE bucket = ? AND key >= ? AND key < ?"
            " AND (key, id) > (?, ?) ORDER BY key, id LIMIT ?",
            (request.bucket, prefix, after_prefix(prefix), *after, most + 1),
        ).fetchall()
    )
    more, rows = len(rows) > most, rows[:most]
    body = documents.fields(
        [
            ("Bucket", request.bucket),
            ("KeyMarker", encode(key)),
            ("UploadIdMarker", documents.text(name)),
            ("NextKeyMarker", encode(rows[-1][0].decode()) if more and rows else None),
            ("NextUploadIdMarker", rows[-1][1] if more and rows else None),
            ("Prefix", encode(query.get("prefix", ""))),
            ("EncodingType", query.get("encoding-type")),
            ("MaxUploads", most),
            ("IsTruncated", "true" if more else "false"),
        ]
    )
    body += "".join(
        f"<Upload><Key>{encode(key.decode())}</Key><UploadId>{name}</UploadId>"
        f"<StorageClass>STANDARD</StorageClass><Initiated>{documents.when(begun)}</Initiated>"
        "</Upload>"
        for key, name, begun in rows
    )
    return document(
        f'<ListMultipartUploadsResult xmlns="{XMLNS}">{body}</ListMultipartUploadsResult>'
    )
