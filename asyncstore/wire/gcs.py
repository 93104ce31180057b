"""Google Cloud Storage's JSON API as pure functions: targets and bodies out, metadata in.

Source: https://cloud.google.com/storage/docs/json_api/v1. An object's version is its generation:
it is `ObjectMeta.etag` here, because it is what Google's preconditions take. A reply that does
not prove what it should is an `IntegrityError`, never an empty result.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard
from urllib.parse import quote, urlencode

from asyncstore.errors import IntegrityError
from asyncstore.types import ObjectMeta, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.types import Buffer, Span

QUANTUM = 256 * 1024
"""A resumable upload takes its bytes in multiples of this, but for the last."""

JSON_CAP = 64 * 1024 * 1024
"""Longest JSON reply that is read: 1,000 objects with 8 KiB of metadata each, and room."""

FIELDS = "kind,name,size,generation,updated,contentType,metadata,crc32c,md5Hash,contentEncoding"

_DIGITS = 20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")
_COMMITTED = re.compile(r"bytes=0-([0-9]+)")


def encode_name(name: str, /) -> str:
    """Percent-encode an object's name as one path segment, once.

    A name of dots alone would be taken for a step in the path, so its dots are encoded too.
    """
    if name in (".", ".."):
        return name.replace(".", "%2E")
    return quote(name, safe="")


def bucket_target(bucket: str, /) -> str:
    """Return the path of a bucket."""
    return f"/storage/v1/b/{quote(bucket, safe='')}"


def object_target(bucket: str, key: str, /, **query: str | int | None) -> str:
    """Return the path and query of an object; a parameter that is `None` is left out."""
    return with_query(f"{bucket_target(bucket)}/o/{encode_name(key)}", query)


def path_target(bucket: str, key: str, /) -> str:
    """Return the path of an object in the XML API, as signed URLs have it.

    Slashes stay; parts of dots alone would be steps in the path, so they are encoded.
    """
    parts = (encode_name(part) for part in key.split("/"))
    return f"/{quote(bucket, safe='')}/{'/'.join(parts)}"


def insert_target(bucket: str, /, **query: str | int | None) -> str:
    """Return the path and query to which a new object is sent."""
    return with_query(f"/upload{bucket_target(bucket)}/o", query)


def rewrite_target(bucket: str, source: str, target: str, /, **query: str | int | None) -> str:
    """Return the path and query that copies `source` to `target` within a bucket."""
    there = f"{bucket_target(bucket)}/o/{encode_name(target)}".removeprefix("/storage/v1")
    here = f"{bucket_target(bucket)}/o/{encode_name(source)}"
    return with_query(f"{here}/rewriteTo{there}", query)


def list_target(
    bucket: str,
    prefix: str,
    /,
    *,
    page_token: str | None,
    after: str | None,
    delimiter: bool,
    limit: int,
    **query: str | int | None,
) -> str:
    """Return the path and query of one page of a listing.

    `startOffset` is inclusive where `after` is exclusive: `parse_page` drops `after` itself, so
    a page may hold one object fewer than `limit`, and none at all, with more to come.
    """
    params: dict[str, str | int | None] = {
        "prefix": prefix or None,
        "delimiter": "/" if delimiter else None,
        "startOffset": after,
        "pageToken": page_token,
        "maxResults": limit,
        "fields": f"kind,nextPageToken,prefixes,items({FIELDS})",
    }
    return with_query(f"{bucket_target(bucket)}/o", params | query)


def with_query(path: str, query: Mapping[str, str | int | None], /) -> str:
    """Append the parameters that are not `None`."""
    kept = {name: str(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(kept, quote_via=quote, safe='')}" if kept else path


def read_object(body: Buffer, what: str, /) -> dict[str, Any]:
    """Parse a reply that must be one JSON object.

    Raises:
        IntegrityError: it is empty, HTML, cut off or anything else.
    """
    try:
        value = json.loads(bytes(body))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise IntegrityError(f"the service answered {what} with something that is not its JSON")
    return value


def parse_meta(resource: Mapping[str, Any], /, *, key: str | None = None) -> ObjectMeta:
    """Read an object resource.

    Args:
        resource: parsed JSON.
        key: the name it must have, where known.

    Raises:
        IntegrityError: name, size or generation is missing, malformed or another's.
    """
    name, size, generation = (resource.get(n) for n in ("name", "size", "generation"))
    if not isinstance(name, str) or (key is not None and name != key):
        raise IntegrityError("the service answered with another object's metadata, or with none")
    if not _is_number(size) or not _is_number(generation):
        raise IntegrityError("the service told no size or no generation of the object")
    metadata = resource.get("metadata") or {}
    content_type = resource.get("contentType")
    return ObjectMeta(
        name,
        int(size),
        etag=str(generation),
        version=str(generation),
        modified=str(resource.get("updated") or "") or None,
        content_type=content_type if isinstance(content_type, str) else None,
        metadata={str(k): str(v) for k, v in metadata.items()}
        if isinstance(metadata, dict)
        else {},
        checksums=_checksums(resource.get("crc32c"), resource.get("md5Hash")),
    )


def parse_page(
    body: Buffer, prefix: str, /, *, page_token: str | None, after: str | None, limit: int
) -> Page:
    """Read one page of a listing.

    Args:
        body: the reply.
        prefix: what every name must begin with.
        page_token: the token that was sent; the same one back would never end.
        after: what was asked for; at the page's beginning it is dropped.
        limit: most entries that were asked for; fake-gcs-server counts objects only.

    Raises:
        IntegrityError: it is not a listing, or it cannot be proven to go on or to end.
    """
    root = read_object(body, "a listing")
    if root.get("kind") != "storage#objects":
        raise IntegrityError("the service answered a listing with something that is none")
    items, prefixes = root.get("items", []), root.get("prefixes", [])
    token = root.get("nextPageToken")
    if (
        not isinstance(items, list)
        or not isinstance(prefixes, list)
        or not all(isinstance(item, dict) for item in items)
        or not all(isinstance(prefix, str) for prefix in prefixes)
        or not (token is None or isinstance(token, str))
    ):
        raise IntegrityError("the service's listing is malformed")
    if token and token == page_token:
        raise IntegrityError("the service repeats a page of the listing, which would never end")
    objects = [parse_meta(item) for item in items]
    if not all(name.startswith(prefix) for name in (*(m.key for m in objects), *prefixes)):
        raise IntegrityError("the service listed names that were not asked for")
    if after is not None:
        floor = after.encode()
        objects = [meta for meta in objects if meta.key.encode() > floor]
        prefixes = [p for p in prefixes if p.encode() > floor or after.startswith(p)]
    if len(objects) > limit:
        raise IntegrityError("the service's listing has more entries than were asked for")
    return Page(objects, prefixes, token or None)


def insert_body(
    resource: Mapping[str, Any], data: Buffer, boundary: str, /
) -> tuple[str, Sequence[Buffer]]:
    """Return the content type and the buffers of a `multipart/related` upload; copies no data."""
    content_type = resource.get("contentType") or "application/octet-stream"
    head = (
        f"--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n"
        f"{json.dumps(resource)}\r\n"
        f"--{boundary}\r\ncontent-type: {content_type}\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    return f"multipart/related; boundary={boundary}", (head.encode(), data, tail.encode())


def insert_resource(
    key: str,
    /,
    *,
    content_type: str | None,
    metadata: Mapping[str, str] | None,
    crc32c: str | None = None,
) -> dict[str, Any]:
    """Return the JSON that names and describes a new object; Google refuses a wrong `crc32c`."""
    resource: dict[str, Any] = {
        "name": key,
        "contentType": content_type or "application/octet-stream",
    }
    if metadata:
        resource["metadata"] = dict(metadata)
    if crc32c is not None:
        resource["crc32c"] = crc32c
    return resource


def range_header(span: Span, /) -> str | None:
    """Return the `Range` header for a span that needs no size, or `None` for all the bytes.

    Raises:
        LookupError: the span means nothing until the size is known, or is empty.
    """
    start, stop = span.bounded()
    if span.is_whole:
        return None
    if stop is None:
        return f"bytes={start}-" if start >= 0 else f"bytes={start}"
    if start < 0 or stop <= start:
        raise LookupError
    return f"bytes={start}-{stop - 1}"


def parse_media(
    key: str, status: int, headers: Mapping[str, str], span: Span, /
) -> tuple[ObjectMeta, int, int]:
    """Read a media reply's headers; return the metadata and `(start, stop)` of the body.

    Args:
        key: the object.
        status: 200 or 206.
        headers: names in lower case.
        span: what was asked for.

    Raises:
        IntegrityError: the range is not the one asked for, the bytes are not the stored ones,
            or how many there are, or of which version, cannot be told.
    """
    generation = headers.get("x-goog-generation")
    if not _is_number(generation):
        raise IntegrityError("the service told no generation of the object")
    stored = headers.get("x-goog-stored-content-encoding", "identity")
    if stored != "identity" and stored != headers.get("content-encoding", "identity"):
        raise IntegrityError(f"the service sent the {stored} object decoded, not as it is stored")
    if status == 206:  # noqa: PLR2004
        start, stop, size = _content_range(headers.get("content-range", ""))
        if (start, stop) != span.resolve(size):
            raise IntegrityError(
                f"the service sent bytes {start} to {stop} of {size}, not the ones asked for"
            )
    elif not span.is_whole:
        raise IntegrityError("the service ignored the range that was asked for")
    else:
        length = headers.get("content-length") or headers.get("x-goog-stored-content-length")
        if not _is_number(length):
            raise IntegrityError("the service does not say how many bytes the object has")
        start, stop = 0, int(length)
        size = stop
    told = headers.get("x-goog-stored-content-length")
    if told is not None and told != str(size):
        raise IntegrityError(f"the service says {size} bytes, and {told} stored")
    return _media_meta(key, headers, size, str(generation)), start, stop


def _media_meta(key: str, headers: Mapping[str, str], size: int, generation: str) -> ObjectMeta:
    sums = dict(
        part.strip().split("=", 1)
        for part in headers.get("x-goog-hash", "").split(",")
        if "=" in part
    )
    prefix = "x-goog-meta-"
    return ObjectMeta(
        key,
        size,
        etag=generation,
        version=generation,
        modified=headers.get("last-modified"),
        content_type=headers.get("content-type"),
        metadata={n[len(prefix) :]: v for n, v in headers.items() if n.startswith(prefix)},
        checksums=_checksums(sums.get("crc32c"), sums.get("md5")),
    )


def committed(headers: Mapping[str, str], /) -> int:
    """Return how many bytes a resumable session says that it holds, from a 308 reply.

    No `Range` means none.

    Raises:
        IntegrityError: the header says something else than a range from the beginning.
    """
    text = headers.get("range")
    if text is None:
        return 0
    found = _COMMITTED.fullmatch(text.strip())
    if found is None:
        raise IntegrityError("the service holds something else than the upload's beginning")
    return int(found[1]) + 1


def parse_ack(body: Buffer, key: str, /) -> ObjectMeta:
    """Read the reply to a write, which must describe the object.

    Raises:
        IntegrityError: it does not; whether the object was written is then unknown.
    """
    try:
        return parse_meta(read_object(body, "a write"), key=key)
    except IntegrityError as error:
        error.outcome = "unknown"
        raise


class Rewrite(NamedTuple):
    """How far a copy has come: `meta` at its end, before it `token` and the bytes `done`."""

    meta: ObjectMeta | None
    token: str | None
    done: int


def parse_rewrite(body: Buffer, target: str, /) -> Rewrite:
    """Read the reply to one step of a copy.

    Raises:
        IntegrityError: it says neither that the copy is done nor how it goes on.
    """
    root = read_object(body, "a copy")
    if root.get("done") is True and isinstance(root.get("resource"), dict):
        meta = parse_meta(root["resource"], key=target)
        if _is_number(root.get("objectSize")) and int(root["objectSize"]) != meta.size:
            raise IntegrityError("the service copied other bytes", outcome="unknown")
        return Rewrite(meta, None, meta.size)
    token, done = root.get("rewriteToken"), root.get("totalBytesRewritten")
    if root.get("done") is not False or not isinstance(token, str) or not _is_number(done):
        raise IntegrityError("the service does not say how its copy goes on", outcome="unknown")
    return Rewrite(None, token, int(done))


def check_ack(meta: ObjectMeta, size: int, crc32c: str | None, /) -> None:
    """Compare what the service says it wrote with what was sent.

    Raises:
        IntegrityError: it is something else.
    """
    told = meta.checksums.get("crc32c")
    if meta.size != size or (crc32c is not None and told is not None and told != crc32c):
        raise IntegrityError(
            f"the service acknowledged other bytes than were sent ({meta.size} of {size})",
            outcome="unknown",
        )


def session_target(headers: Mapping[str, str], origin: object, /) -> str:
    """Return the path and query of a resumable session; it is a secret.

    Raises:
        IntegrityError: the reply names no session, or one at another place.
    """
    place = f"{origin}/"
    location = headers.get("location", "")
    if not location.startswith(place) or not location.isascii() or not location.isprintable():
        raise IntegrityError("the service named no upload session of its own")
    return location[len(place) - 1 :].replace(" ", "%20")


def _content_range(text: str) -> tuple[int, int, int]:
    if text == "bytes 0--1/0":
        return 0, 0, 0  # how fake-gcs-server tells the end of an empty object
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if found is None:
        raise IntegrityError("the service sent part of the object without saying which")
    first, last, size = (int(number) for number in found.groups())
    if not first <= last < size:
        raise IntegrityError("the service sent an impossible range")
    return first, last + 1, size


def _checksums(crc32c: Any, md5: Any) -> dict[str, str]:
    sums = {"crc32c": crc32c, "md5": md5}
    return {name: value for name, value in sums.items() if isinstance(value, str) and value}


def is_generation(text: str, /) -> bool:
    """Whether a text can be a generation, and so an `ObjectMeta.etag` of ours."""
    return _is_number(text)


def _is_number(value: Any) -> TypeGuard[int | str]:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) < _DIGITS
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
