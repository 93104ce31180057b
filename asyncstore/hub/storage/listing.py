"""Listings: objects in the order of their keys' bytes, folded at a delimiter, page by page."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, NamedTuple

from asyncstore.hub.storage import documents
from asyncstore.hub.storage.faults import Refused, denied
from asyncstore.hub.storage.index import Listed, after_prefix
from asyncstore.hub.storage.request import document
from asyncstore.providers.local import threads
from asyncstore.wire.s3 import XMLNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncstore.hub.storage.index import Index
    from asyncstore.hub.storage.request import Reply, Request

PAGE_MAX = 1000


class Found(NamedTuple):
    """One page.

    Attributes:
        objects: in the order of their keys.
        folded: prefixes up to the delimiter, in order.
        last: what the page ends with, key or prefix; `None` where the listing ends with it.
    """

    objects: Sequence[Listed]
    folded: Sequence[bytes]
    last: bytes | None


class Asked(NamedTuple):
    """What is to be listed.

    Attributes:
        bucket: where.
        prefix: every key begins so.
        delimiter: keys are folded at its first place behind the prefix; `b""` folds none.
        after: only keys and folded prefixes above this one.
        most: how many keys and folded prefixes together, at most.
    """

    bucket: str
    prefix: bytes
    delimiter: bytes
    after: bytes
    most: int


def page(index: Index, asked: Asked) -> Found:
    """Return one page; blocks."""
    objects: list[Listed] = []
    folded: list[bytes] = []
    last = asked.after
    first: bytes | None = _first(asked)
    while first is not None:
        rows = index.scan(asked.bucket, first, after_prefix(asked.prefix))
        first = None
        for row in rows:
            if len(objects) + len(folded) >= asked.most:
                return Found(objects, folded, last)
            name = _fold(row.key, asked)
            if name is not None:
                folded.append(name)
                last = name
                first = after_prefix(name)  # past all that is folded with it
                break
            objects.append(row)
            last = row.key
    return Found(objects, folded, None)


def _first(asked: Asked) -> bytes:
    """Return where to begin: behind `after`, and all that would be folded into it or before it."""
    if not asked.after:
        return asked.prefix
    name = _fold(asked.after, asked)
    return max(asked.prefix, asked.after + b"\0" if name is None else after_prefix(name))


def _fold(key: bytes, asked: Asked) -> bytes | None:
    if not asked.delimiter or not key.startswith(asked.prefix):
        return None
    at = key.find(asked.delimiter, len(asked.prefix))
    return None if at < 0 else key[: at + len(asked.delimiter)]


def number(request: Request, name: str, most: int) -> int:
    """Return a count that the query asks for, no larger than `most`.

    Raises:
        Refused: it is none.
    """
    text = request.query.get(name, str(most))
    if not (text.isascii() and text.isdigit() and len(text) < 12):  # noqa: PLR2004
        raise Refused("InvalidArgument", f"Provided {name} not an integer or within integer range")
    return min(int(text), most)


def asked_prefix(request: Request) -> bytes:
    """Return the prefix that is to be listed, inside the grant.

    Raises:
        Refused: it is outside.
    """
    prefix = request.query.get("prefix", "")
    if not request.grant.covers(request.bucket, prefix):
        raise denied()
    return prefix.encode()


def _token(text: str) -> bytes:
    try:
        return b64decode(text, b"-_", validate=True)
    except (Base64Error, ValueError):
        raise Refused("InvalidArgument", "The continuation token provided is incorrect") from None


async def objects(request: Request, index: Index) -> Reply:
    """Answer ListObjectsV2, and ListObjects where `list-type` is not 2."""
    query = request.query
    second = query.get("list-type") == "2"
    prefix = asked_prefix(request)
    delimiter = query.get("delimiter", "")
    most = number(request, "max-keys", PAGE_MAX)
    encode = documents.encoder(query.get("encoding-type"))
    token = query.get("continuation-token") if second else None
    marker = query.get("start-after" if second else "marker", "")
    after = marker.encode() if token is None else _token(token)
    if most:
        asked = Asked(request.bucket, prefix, delimiter.encode(), after, most)
        found = await threads.run(lambda: page(index, asked))
    else:
        found = Found((), (), None)
    more = found.last is not None
    rows: list[tuple[str, str | int | None]] = [
        ("Name", request.bucket),
        ("Prefix", encode(query.get("prefix", ""))),
        ("MaxKeys", most),
        ("Delimiter", encode(delimiter) if delimiter else None),
        ("EncodingType", query.get("encoding-type")),
        ("IsTruncated", "true" if more else "false"),
    ]
    if second:
        rows += [
            ("KeyCount", len(found.objects) + len(found.folded)),
            ("ContinuationToken", None if token is None else documents.text(token)),
            ("StartAfter", encode(marker) if marker else None),
            (
                "NextContinuationToken",
                urlsafe_b64encode(found.last).decode() if found.last else None,
            ),
        ]
    else:
        rows += [
            ("Marker", encode(marker)),
            ("NextMarker", encode(found.last.decode()) if found.last and delimiter else None),
        ]
    body = documents.fields(rows) + _contents(found, encode)
    return document(f'<ListBucketResult xmlns="{XMLNS}">{body}</ListBucketResult>')


def _contents(found: Found, encode: Callable[[str], str]) -> str:
    rows = [
        f"<Contents><Key>{encode(row.key.decode())}</Key>"
        f"<LastModified>{documents.when(row.modified)}</LastModified>"
        f"<ETag>&quot;{row.etag}&quot;</ETag><Size>{row.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for row in found.objects
    ]
    rows += [
        f"<CommonPrefixes><Prefix>{encode(name.decode())}</Prefix></CommonPrefixes>"
        for name in found.folded
    ]
    return "".join(rows)
