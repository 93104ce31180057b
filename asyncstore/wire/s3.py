"""S3's XML, in and out: pure functions over bytes.

A reply is trusted no further than its shape: the root element must be the one that was asked
for, since an S3 look-alike, a proxy or a captive portal may answer 200 with anything. A document
type declaration is refused, so no entity is ever expanded. `<Error>` is a value here (`Fault`),
also under status 200, where S3 reports failures of long requests.

Listings are nearly all `<Contents>` blocks, so these are read by one regular expression, which
must match block after block without a gap; what it does not match goes to the XML parser.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from asyncstore.columns import Columns
from asyncstore.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncstore.types import Buffer

XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
BODY_MAX = 32 << 20
"""Longest reply that is parsed, in bytes: 1,000 keys of 1 KiB, escaped, are about 4 MiB."""
FAULT_MAX = 64 << 10
"""Longest error reply that is parsed, in bytes; a longer one counts as unreadable."""
_TEXT_MAX = 300


class Fault(NamedTuple):
    """What an `<Error>` says; every field is `""` where it does not.

    Attributes:
        code: S3's name for it, such as `"NoSuchKey"`.
        message: for people; shortened.
        region: the region that the bucket is in, told with redirects.
        request_id: S3's name for the request.
        bucket: the bucket that the error is about.
    """

    code: str = ""
    message: str = ""
    region: str = ""
    request_id: str = ""
    bucket: str = ""


class Listing(NamedTuple):
    """One reply to `ListObjectsV2`, proven to be one.

    Attributes:
        objects: keys decoded; ETags with their quotes.
        prefixes: decoded.
        token: what continues the listing, or `None` where it says that it is complete.
    """

    objects: Columns
    prefixes: Sequence[str]
    token: str | None


def fault(body: Buffer, /) -> Fault:
    """Read an error reply; never fails: what is cut, too long or not XML says nothing."""
    if not body or len(body) > FAULT_MAX:
        return Fault()
    try:
        root = _parse(body)
    except IntegrityError:
        return Fault()
    return _fault(root) if _name(root) == "Error" else Fault()


def fields(body: Buffer, root: str, /, *others: str) -> Mapping[str, str] | Fault:
    """Read a flat reply, such as `CopyObjectResult`.

    Args:
        body: the whole reply.
        root: the root element's name, without namespace.
        others: names that some look-alikes give it.

    Returns:
        Text by element name, or the fault that the service reported in its place.

    Raises:
        IntegrityError: it is neither.
    """
    tree = _parse(body)
    if _name(tree) == "Error":
        return _fault(tree)
    if _name(tree) not in others:
        _require(tree, root)
    return {_name(child): child.text or "" for child in tree}


def deletions(body: Buffer, /) -> Mapping[str, Fault] | Fault:
    """Read a `DeleteResult` asked for with quiet off: key to fault, `Fault()` for a success."""
    tree = _parse(body)
    if _name(tree) == "Error":
        return _fault(tree)
    _require(tree, "DeleteResult")
    result: dict[str, Fault] = {}
    for entry in tree:
        if (kind := _name(entry)) in ("Deleted", "Error"):
            key = _child(entry, "Key")
            result[key] = _fault(entry) if kind == "Error" else Fault()
    return result


def listing(body: Buffer, /, *, prefix: str = "", token: str | None = None) -> Listing | Fault:
    """Read a `ListBucketResult`.

    Args:
        body: the whole reply.
        prefix: what was asked for; every key must begin with it.
        token: the continuation token that was sent.

    Raises:
        IntegrityError: it is none, contradicts itself or cannot be continued, so that the
            listing is not proven complete.
    """
    if len(body) > BODY_MAX:
        raise IntegrityError(f"a listing of {len(body)} bytes, more than any page has")
    text = _decode(body)
    read = _read_fast(text) or _read_any(text)
    if isinstance(read, Fault):
        return read
    objects, prefixes, rest = read
    following = _following(rest, token)
    names = (*prefixes, *objects.keys)
    # What lies between two names that begin so begins so too.
    for name in (min(names), max(names)) if names else ():
        if not name.startswith(prefix):
            raise IntegrityError(f"a listing of {prefix!r} that holds {name[:200]!r}")
    return Listing(objects, prefixes, following)


def delete_request(keys: Iterable[str], /) -> bytes:
    """Write the body of `DeleteObjects`, which reports each key; see `can_be_named`."""
    rows = "".join(f"<Object><Key>{escape(key, _CR)}</Key></Object>" for key in keys)
    return f'<Delete xmlns="{XMLNS}">{rows}</Delete>'.encode()


_CR = {"\r": "&#13;"}


def can_be_named(key: str, /) -> bool:
    """Whether XML 1.0 has a way to write the key: most control characters have none."""
    return _UNNAMED.search(key) is None


_UNNAMED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


BEGUN = ("InitiateMultipartUploadResult", "InitiateMultipartUpload")
"""The root of the answer to the beginning of an upload: S3's name, and rclone's."""


class Part(NamedTuple):
    """One part of an upload: what the service said of it, and the checksum that it was sent with.

    Attributes:
        number: from 1.
        etag: with its quotes.
        checksum: element name, such as `"ChecksumCRC64NVME"`, and base64 text, or `None`.
    """

    number: int
    etag: str
    checksum: tuple[str, str] | None = None


class PartsPage(NamedTuple):
    """One reply to `ListParts`.

    Attributes:
        parts: each with its size in bytes.
        marker: what continues the listing, or `None` at its end.
    """

    parts: Sequence[tuple[Part, int]]
    marker: str | None


class UploadsPage(NamedTuple):
    """One reply to `ListMultipartUploads`.

    Attributes:
        uploads: key, name and when each began, as text.
        markers: the key and the name that continue the listing, or `None` at its end.
    """

    uploads: Sequence[tuple[str, str, str]]
    markers: tuple[str, str] | None


def parts_page(body: Buffer, /) -> PartsPage | Fault:
    """Read a `ListPartsResult`.

    Raises:
        IntegrityError: it is none, or one that cannot be continued.
    """
    tree = _parse(body)
    if _name(tree) == "Error":
        return _fault(tree)
    if _name(tree) != "ListPartsResponse":  # moto's name for it
        _require(tree, "ListPartsResult")
    found = []
    for entry in tree:
        if _name(entry) == "Part":
            told = {_name(child): child.text or "" for child in entry}
            number, size, etag = (told.get(n, "") for n in ("PartNumber", "Size", "ETag"))
            if not (number.isdecimal() and size.isdecimal() and etag):
                raise IntegrityError("a part without a number, a size or an ETag")
            crc = told.get("ChecksumCRC64NVME")
            checksum = ("ChecksumCRC64NVME", crc) if crc else None
            found.append((Part(int(number), etag, checksum), int(size)))
    marker = None
    if _child(tree, "IsTruncated") == "true":
        marker = _child(tree, "NextPartNumberMarker")
        if not marker:
            raise IntegrityError("a cut listing of parts that cannot be continued")
    return PartsPage(found, marker)


def uploads_page(body: Buffer, /) -> UploadsPage | Fault:
    """Read a `ListMultipartUploadsResult` that was asked for with URL encoding.

    Raises:
        IntegrityError: it is none, or one that cannot be continued.
    """
    tree = _parse(body)
    if _name(tree) == "Error":
        return _fault(tree)
    _require(tree, "ListMultipartUploadsResult")
    decode = _unquote if _child(tree, "EncodingType") == "url" else str
    found = [
        (decode(_child(entry, "Key")), _child(entry, "UploadId"), _child(entry, "Initiated"))
        for entry in tree
        if _name(entry) == "Upload"
    ]
    markers = None
    if _child(tree, "IsTruncated") == "true":
        markers = (decode(_child(tree, "NextKeyMarker")), _child(tree, "NextUploadIdMarker"))
        if not markers[0]:
            raise IntegrityError("a cut listing of uploads that cannot be continued")
    return UploadsPage(found, markers)


class AttributesPage(NamedTuple):
    """One reply to `GetObjectAttributes` about an object's parts.

    Attributes:
        etag: of the version that they are of, without quotes.
        sizes: bytes of each part, by number.
        marker: the last number where more follow, or `None`.
    """

    etag: str
    sizes: Mapping[int, int]
    marker: int | None


def attributes_page(body: Buffer, /) -> AttributesPage | Fault:
    """Read a `GetObjectAttributesResponse` that was asked for `ETag` and `ObjectParts`.

    Raises:
        IntegrityError: it is none, or one that cannot be continued.
    """
    tree = _parse(body)
    if _name(tree) == "Error":
        return _fault(tree)
    if _name(tree) != "GetObjectAttributesOutput":
        _require(tree, "GetObjectAttributesResponse")
    sizes: dict[int, int] = {}
    marker = None
    for parts in (child for child in tree if _name(child) == "ObjectParts"):
        for entry in parts:
            if _name(entry) == "Part":
                number, size = _child(entry, "PartNumber"), _child(entry, "Size")
                if not (number.isdecimal() and size.isdecimal()):
                    raise IntegrityError("a part without a number or a size")
                sizes[int(number)] = int(size)
        if _child(parts, "IsTruncated") == "true":
            if not sizes:
                raise IntegrityError("a cut list of parts that cannot be continued")
            marker = max(sizes)
    return AttributesPage(_child(tree, "ETag").strip('"'), sizes, marker)


def complete_request(parts: Iterable[Part], /) -> bytes:
    """Write the body of `CompleteMultipartUpload`; parts ascend by number."""
    return (
        f'<CompleteMultipartUpload xmlns="{XMLNS}">'
        + "".join(map(_part_row, parts))
        + "</CompleteMultipartUpload>"
    ).encode()


def _part_row(part: Part) -> str:
    etag = escape(part.etag, {'"': "&quot;"})
    checksum = ""
    if part.checksum:
        name, value = part.checksum
        checksum = f"<{name}>{value}</{name}>"
    return f"<Part><ETag>{etag}</ETag>{checksum}<PartNumber>{part.number}</PartNumber></Part>"


def _decode(body: Buffer) -> str:
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError:
        raise IntegrityError("the reply is not UTF-8, so not S3's XML") from None
    if "!" in text and ("<!DOCTYPE" in text or "<!ENTITY" in text):
        raise IntegrityError("the reply declares a document type, which S3's XML never does")
    return text


def _parse(body: Buffer) -> ET.Element:
    if len(body) > BODY_MAX:
        raise IntegrityError(f"a reply of {len(body)} bytes, more than S3's XML ever has")
    return _parse_text(_decode(body))


def _parse_text(text: str) -> ET.Element:
    try:
        # Safe: document type declarations, and with them entities, were refused.
        return ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        shown = text[:60].strip()
        what = f"begins with {shown!r}" if shown else "is empty"
        raise IntegrityError(f"the reply is not S3's XML: it {what}") from None


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _require(tree: ET.Element, root: str) -> None:
    if _name(tree) != root:
        raise IntegrityError(f"the reply is <{_name(tree)[:40]}>, not <{root}>")


def _child(element: ET.Element, name: str) -> str:
    for child in element:
        if _name(child) == name:
            return child.text or ""
    return ""


def _fault(element: ET.Element) -> Fault:
    told = {_name(child): (child.text or "")[:_TEXT_MAX] for child in element}
    return Fault(
        told.get("Code", ""),
        told.get("Message", ""),
        told.get("Region", ""),
        told.get("RequestId", ""),
        told.get("BucketName", ""),
    )


# An object's key, size, ETag and time.
_Row = tuple[str, int, str | None, str | None]

# What a listing has besides `<Contents>`, and its blocks and prefixes.
_Read = tuple[Columns, "list[str]", "Mapping[str, str]"]

# What almost every service sends, in this order and with one form of the quotes of its ETags;
# one that does not costs a second look. A set of one character is what `re` is quickest at.
_USUAL = {
    quote: re.compile(
        r"<Contents><Key>([^<]*)</Key><LastModified>([^<]*)</LastModified>"
        rf"<ETag>{quote}([^{quote[0]}]{{0,100}}){quote}</ETag>"
        r"((?:<Checksum\w++>[^<]*</Checksum\w++>)*+)"
        r"<Size>(\d{1,19})</Size>((?:<StorageClass>[^<]*</StorageClass>)?+)</Contents>"
    )
    for quote in ("&quot;", "&#34;", '"')
}
_FIXED = len(
    "<Contents><Key></Key><LastModified></LastModified><ETag></ETag><Size></Size></Contents>"
)

# Possessive, so that a hostile block costs one pass. The last alternatives are elements that are
# not wanted: flat, empty, or holding flat ones (`Owner`, `RestoreStatus`).
_BLOCK = re.compile(
    r"(<Contents>(?:"
    r"<Key>([^<]*)</Key>|<LastModified>([^<]*)</LastModified>|<ETag>([^<]*)</ETag>"
    r"|<Size>(\d{1,19})</Size>|<(?!Key>|LastModified>|ETag>|Size>)(\w+)>[^<]*</\6>"
    r"|<\w+/>|<(\w+)>(?:<(\w+)>[^<]*</\8>)*+</\7>|\s+)*+</Contents>\s*+)"
)


def _read_fast(text: str) -> _Read | None:
    """Read blocks of the shape that every server sends; `None` where one is of another."""
    begin = text.find("<Contents>")
    end = text.rfind("</Contents>") + 11
    if begin < 0 or ("!" in text and "<!" in text):
        return None
    while text[end : end + 1].isspace():
        end += 1
    found = _read_usual(text, begin, end) or _read_unusual(text, begin, end)
    if found is None:
        return None
    tree = _parse_text(text[:begin] + text[end:])
    if _name(tree) != "ListBucketResult":
        return None
    prefixes, rest = _read_rest(tree)
    if rest.get("EncodingType") == "url":
        found.keys = _all_unquoted(found.keys)
    return found, prefixes, rest


def _read_usual(text: str, begin: int, end: int) -> Columns | None:
    start = text.find("<ETag>", begin) + 6
    quote = next((quote for quote in _USUAL if text.startswith(quote, start)), None)
    found = () if quote is None else _USUAL[quote].findall(text, begin, end)
    if quote is None or not found:
        return None
    columns = [list(column) for column in zip(*found, strict=True)]
    told = ["".join(column) for column in columns]
    if sum(map(len, told)) + (_FIXED + 2 * len(quote)) * len(found) != end - begin:
        return None  # something stands between two blocks
    keys, times, etags, _, sizes, _ = columns
    texts = told[0] + told[2]
    if "&" in texts or "<" in texts or "" in keys:
        return None
    return Columns(keys, list(map(int, sizes)), [f'"{etag}"' for etag in etags], times)


def _read_unusual(text: str, begin: int, end: int) -> Columns | None:
    rows: list[_Row] = []
    for _, key, modified, etag, size, *_ in _all(_BLOCK, text, begin, end):
        if etag[:6] == etag[-6:] == "&quot;":
            etag = f'"{etag[6:-6]}"'  # noqa: PLW2901 - the same, decoded
        elif etag[:5] == etag[-5:] == "&#34;":
            etag = f'"{etag[5:-5]}"'  # noqa: PLW2901
        if not key or not size or "&" in key or "&" in etag:
            return None
        rows.append((key, int(size), etag or None, modified))
    return _columns(rows) if rows else None


def _columns(rows: Sequence[_Row]) -> Columns:
    keys, sizes, etags, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Columns(list(keys), list(sizes), list(etags), times)


def _all(pattern: re.Pattern[str], text: str, begin: int, end: int) -> list[tuple[str, ...]]:
    """Return all matches between two positions; none if anything stands between two of them."""
    found: list[tuple[str, ...]] = pattern.findall(text, begin, end)
    return found if sum([len(match[0]) for match in found]) == end - begin else []


def _read_any(text: str) -> _Read | Fault:
    tree = _parse_text(text)
    if _name(tree) == "Error":
        return _fault(tree)
    _require(tree, "ListBucketResult")
    prefixes, rest = _read_rest(tree)
    encoded = rest.get("EncodingType") == "url"
    rows: list[_Row] = []
    for entry in tree:
        if _name(entry) == "Contents":
            told = {_name(child): child.text or "" for child in entry}
            rows.append(_row(told, encoded=encoded))
    return _columns(rows), prefixes, rest


def _row(told: Mapping[str, str], *, encoded: bool) -> _Row:
    key, size = told.get("Key", ""), told.get("Size", "")
    if not key or not (size.isascii() and size.isdigit()):
        raise IntegrityError("a listing with an entry that has no key or no size")
    name = _unquote(key) if encoded else key
    return name, int(size), told.get("ETag") or None, told.get("LastModified") or None


def _read_rest(tree: ET.Element) -> tuple[list[str], Mapping[str, str]]:
    rest = {_name(child): child.text or "" for child in tree}
    folded = [_child(child, "Prefix") for child in tree if _name(child) == "CommonPrefixes"]
    if rest.get("EncodingType") == "url":
        folded = [_unquote(name) for name in folded]
    return folded, rest


def _unquote(name: str) -> str:
    if "%" not in name and "+" not in name:
        return name
    plain = name.replace("%2F", "/")  # most names have no other escape
    if "%" not in plain and "+" not in plain:
        return plain
    try:
        return unquote_plus(name, errors="strict")
    except UnicodeDecodeError:
        raise IntegrityError(f"a listing with a name that is not UTF-8: {name[:80]!r}") from None


def _all_unquoted(names: list[str]) -> list[str]:
    text = "\n".join(names).replace("%2F", "/")
    if "%" in text or "+" in text or text.count("\n") >= len(names):
        return [_unquote(name) for name in names]
    return text.split("\n")


def _following(rest: Mapping[str, str], token: str | None) -> str | None:
    truncated = rest.get("IsTruncated", "").strip().lower()
    if truncated == "false":
        return None
    if truncated != "true":
        raise IntegrityError("a listing that does not say whether it is complete")
    following = rest.get("NextContinuationToken", "")
    if not following:
        raise IntegrityError("a listing that says it goes on, and not how")
    if following == token:
        raise IntegrityError("a listing that goes on where it was already")
    return following
