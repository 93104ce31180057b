"""PutObject, CopyObject, DeleteObject and DeleteObjects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from asyncstore.hub.storage import conditions, documents, sums
from asyncstore.hub.storage.faults import Refused, denied, no_such_key
from asyncstore.hub.storage.index import About, Entry, drop, find, store, use
from asyncstore.hub.storage.request import KEY_MAX, Reply, document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.hub.storage.committing import Change, Committer
    from asyncstore.hub.storage.intake import Content
    from asyncstore.hub.storage.request import Request

_KEPT = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language"}
    | {"content-type", "expires"}
)
_METADATA = "x-amz-meta-"
METADATA_MAX = 2 << 10
"""Most bytes of a user's own metadata, names and values together."""
_ACLS = frozenset({"private", "bucket-owner-full-control", "bucket-owner-read"})
# What a client may ask for, and would believe to have got.
_UNKNOWN = (
    *("x-amz-server-side-encryption", "x-amz-copy-source-server-side-encryption"),
    *("x-amz-tagging", "x-amz-object-lock", "x-amz-website-redirect-location", "x-amz-grant"),
    *("x-amz-write-offset-bytes", "x-amz-rename-source", "x-amz-mfa"),
)


def now() -> int:
    """Return the time that a version gets: epoch milliseconds."""
    return time.time_ns() // 1_000_000


def about(headers: Mapping[str, str]) -> About:
    """Return what a request says of the object that it writes.

    Raises:
        Refused: it says too much, or asks for what is not kept.
    """
    for name in headers:
        if name.startswith(_UNKNOWN):
            raise Refused("NotImplemented", f"A header you provided is not implemented: {name}")
    if headers.get("x-amz-acl", "private") not in _ACLS:
        raise Refused("NotImplemented", "The bucket does not allow ACLs")
    if headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise Refused("InvalidStorageClass", "The storage class you specified is not valid")
    kept = {name: headers[name] for name in _KEPT if name in headers}
    encodings = [
        one.strip()
        for one in kept.pop("content-encoding", "").split(",")
        if one.strip() not in ("", "aws-chunked")
    ]
    if encodings:
        kept["content-encoding"] = ",".join(encodings)
    metadata = {
        name.removeprefix(_METADATA): value
        for name, value in headers.items()
        if name.startswith(_METADATA)
    }
    if sum(len(name) + len(value) for name, value in metadata.items()) > METADATA_MAX:
        raise Refused("MetadataTooLarge", "Your metadata headers exceed the maximum allowed size")
    return About(kept, metadata)


async def put(request: Request, content: Content, told: About, committer: Committer) -> Reply:
    """Answer PutObject, whose body has come."""
    told.sums = content.sums
    made = Entry(content.size, content.md5, now(), told, content.extents, content.data)
    bucket, key, headers = request.bucket, request.key.encode(), request.headers

    def change(change: Change) -> None:
        _replace(change, bucket, key, headers)
        use(change.db, content.names)
        store(change, bucket, key, made)

    await committer.run(change, brings=content.names)
    reply = Reply(200, {"etag": f'"{made.etag}"', "x-amz-checksum-type": "FULL_OBJECT"})
    reply.headers |= {sums.HEADER + kind: text for kind, text in content.sums.items()}
    return reply


def _replace(change: Change, bucket: str, key: bytes, headers: Mapping[str, str]) -> None:
    """See that what is there may be replaced."""
    if "if-match" in headers or "if-none-match" in headers:
        there = find(change.db, bucket, key)
        conditions.check_write(headers, None if there is None else there.etag)


async def delete(request: Request, committer: Committer) -> Reply:
    """Answer DeleteObject."""
    bucket, key, headers = request.bucket, request.key.encode(), request.headers

    def change(change: Change) -> None:
        _replace(change, bucket, key, headers)
        drop(change, bucket, key)

    await committer.run(change)
    return Reply(204)


async def delete_many(request: Request, body: bytes, committer: Committer) -> Reply:
    """Answer DeleteObjects."""
    asked = documents.read_delete(body)
    grant, bucket = request.grant, request.bucket
    refused = {
        key: ("AccessDenied", "Access Denied")
        for key, _ in asked.keys
        if not grant.covers(bucket, key)
    }

    def change(change: Change) -> dict[str, tuple[str, str]]:
        failed = dict(refused)
        for key, etag in asked.keys:
            if key in refused or len(key.encode()) > KEY_MAX:
                continue
            try:
                if etag is not None:
                    _replace(change, bucket, key.encode(), {"if-match": etag})
                drop(change, bucket, key.encode())
            except Refused as refusal:
                failed[key] = (refusal.code, refusal.message)
        return failed

    failed = await committer.run(change)
    return document(documents.deleted(asked, failed))


def source_of(request: Request) -> tuple[str, bytes]:
    """Return the bucket and the key that a copy is from, inside the grant.

    Raises:
        Refused: it is outside, or not a name.
    """
    text = request.headers["x-amz-copy-source"]
    path, mark, version = text.partition("?versionId=")
    if mark and version != "null":
        raise Refused("NoSuchVersion", "The specified version does not exist.")
    try:
        path = unquote(path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise Refused("InvalidArgument", "Copy Source must be UTF-8") from None
    bucket, slash, key = path.partition("/")
    if not slash or not key:
        raise Refused("InvalidArgument", "Copy Source must mention the source bucket and key")
    if not request.grant.covers(bucket, key):
        raise denied()
    return bucket, key.encode()


def find_source(change: Change, source: tuple[str, bytes], headers: Mapping[str, str]) -> Entry:
    """Return the object that a copy is from, of the version that is asked for."""
    found = find(change.db, *source)
    if found is None:
        raise no_such_key()
    conditions.check_read(headers, found, copy=True)
    return found


async def copy(request: Request, committer: Committer) -> Reply:
    """Answer CopyObject: the copy names the same files."""
    source = source_of(request)
    headers = request.headers
    target = request.bucket, request.key.encode()
    replaced = _directive(headers) == "REPLACE"
    told = about(headers)
    kind = headers.get("x-amz-checksum-algorithm", "").lower()
    if source == target and not replaced:
        raise Refused(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself "
            "without changing the object's metadata.",
        )

    def change(change: Change) -> Entry:
        found = find_source(change, source, headers)
        if kind and kind not in found.about.sums:
            raise Refused("NotImplemented", "A copy keeps the checksum that its source has")
        _replace(change, *target, headers)
        if replaced:
            found.about.headers, found.about.metadata = told.headers, told.metadata
        found.modified = now()
        use(change.db, found.names)
        store(change, *target, found)
        return found

    made = await committer.run(change)
    return document(documents.copied(made))


def _directive(headers: Mapping[str, str]) -> str:
    value = headers.get("x-amz-metadata-directive", "COPY").upper()
    if value not in ("COPY", "REPLACE"):
        raise Refused("InvalidArgument", "Unknown metadata directive.")
    return value


def delete_some(change: Change, bucket: str, prefix: bytes, end: bytes, most: int) -> int:
    """Remove some objects and all uploads below a prefix; return how many objects there were."""
    rows: list[Any] = change.db.execute(
        "SELECT key FROM objects WHERE bucket = ? AND key >= ? AND key < ? LIMIT ?",
        (bucket, prefix, end, most),
    ).fetchall()
    for (key,) in rows:
        drop(change, bucket, key)
    return len(rows)
