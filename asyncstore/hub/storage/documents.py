"""S3's XML from the server's side: what is asked for, read strictly, and what is answered. Pure.

A document type declaration is refused, so that no entity is ever expanded.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape

from asyncstore.hub.storage.faults import Refused
from asyncstore.hub.storage.sums import KINDS
from asyncstore.wire.s3 import XMLNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asyncstore.hub.storage.index import Entry

DELETE_MAX = 1000
BODY_MAX = 4 << 20
"""Longest document that is read, in bytes: 10,000 parts, or 1,000 keys of 1 KiB, escaped."""
PARTS_MAX = 10_000
_CONTROL = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")


class Deletion(NamedTuple):
    """What `DeleteObjects` asks for.

    Attributes:
        keys: in order, each with the ETag that it must have, or `None`.
        quiet: whether only failures are answered.
    """

    keys: Sequence[tuple[str, str | None]]
    quiet: bool


class Chosen(NamedTuple):
    """One part that `CompleteMultipartUpload` names.

    Attributes:
        number: its number.
        etag: without quotes.
        sums: its checksums, by kind, as base64 text.
    """

    number: int
    etag: str
    sums: Mapping[str, str]


def _parse(body: bytes, root: str) -> ET.Element:
    malformed = Refused(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
    try:
        text = body.decode()
        if "<!" in text:
            raise malformed
        tree = ET.fromstring(text)  # noqa: S314 - declarations, and with them entities, were refused
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        raise malformed from None
    if _name(tree) != root:
        raise malformed
    return tree


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _texts(element: ET.Element) -> dict[str, str]:
    return {_name(child): child.text or "" for child in element}


def read_delete(body: bytes) -> Deletion:
    """Read the body of `DeleteObjects`.

    Raises:
        Refused: it is none, or names too many keys or none.
    """
    tree = _parse(body, "Delete")
    keys: list[tuple[str, str | None]] = []
    for entry in tree:
        if _name(entry) == "Object":
            told = _texts(entry)
            if not told.get("Key"):
                raise Refused("MalformedXML", "An object without a key")
            if told.get("VersionId", "null") not in ("null", ""):
                raise Refused("NotImplemented", "There are no versions")
            keys.append((told["Key"], told.get("ETag")))
    if not 1 <= len(keys) <= DELETE_MAX:
        raise Refused("MalformedXML", f"Between 1 and {DELETE_MAX} keys")
    return Deletion(keys, _texts(tree).get("Quiet", "").lower() == "true")


def deleted(asked: Deletion, failed: Mapping[str, tuple[str, str]]) -> str:
    """Write the answer to `DeleteObjects`.

    Args:
        asked: what was asked for.
        failed: code and message of the keys that were refused.
    """
    rows = (
        []
        if asked.quiet
        else [
            f"<Deleted><Key>{text(key)}</Key></Deleted>"
            for key, _ in asked.keys
            if key not in failed
        ]
    )
    rows += [
        f"<Error><Key>{text(key)}</Key><Code>{code}</Code><Message>{text(why)}</Message></Error>"
        for key, (code, why) in failed.items()
    ]
    return f'<DeleteResult xmlns="{XMLNS}">{"".join(rows)}</DeleteResult>'


def read_complete(body: bytes) -> list[Chosen]:
    """Read the body of `CompleteMultipartUpload`.

    Raises:
        Refused: it is none, or its parts do not ascend.
    """
    tree = _parse(body, "CompleteMultipartUpload")
    chosen = []
    for entry in tree:
        if _name(entry) == "Part":
            told = _texts(entry)
            number = told.get("PartNumber", "").strip()
            if not (number.isascii() and number.isdigit() and len(number) <= 5):  # noqa: PLR2004
                raise Refused("MalformedXML", "A part without a number")
            sums = {
                kind: told[f"Checksum{kind.upper()}"]
                for kind in KINDS
                if f"Checksum{kind.upper()}" in told
            }
            chosen.append(Chosen(int(number), told.get("ETag", "").strip().strip('"'), sums))
    if not 1 <= len(chosen) <= PARTS_MAX:
        raise Refused("MalformedXML", f"Between 1 and {PARTS_MAX} parts")
    if any(one.number >= other.number for one, other in pairwise(chosen)):
        raise Refused("InvalidPartOrder", "The list of parts was not in ascending order.")
    return chosen


def text(value: str) -> str:
    """Escape a text; control characters as S3 does, though XML 1.0 has no way to read them."""
    return _CONTROL.sub(lambda found: f"&#x{ord(found[0]):x};", escape(value))


def url(value: str) -> str:
    """Percent-encode a text, for `encoding-type=url`."""
    return quote(value, safe="/-._~*", errors="surrogatepass")


def encoder(encoding: str | None) -> Callable[[str], str]:
    """Return how names are written in a listing.

    Raises:
        Refused: there is no such encoding.
    """
    if encoding is None:
        return text
    if encoding != "url":
        raise Refused("InvalidArgument", "Invalid Encoding Method specified in Request")
    return url


def when(modified: int) -> str:
    """Write a time of the index."""
    stamp = datetime.fromtimestamp(modified // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{modified % 1000:03}Z"


def fields(pairs: Iterable[tuple[str, str | int | None]]) -> str:
    """Write elements that hold text; those that are `None` are left out."""
    return "".join(f"<{name}>{value}</{name}>" for name, value in pairs if value is not None)


def copied(made: Entry) -> str:
    """Write the answer to `CopyObject`."""
    rows = [("LastModified", when(made.modified)), ("ETag", f"&quot;{made.etag}&quot;")]
    rows += checksums(made.about.sums, whole=made.about.whole)
    return f'<CopyObjectResult xmlns="{XMLNS}">{fields(rows)}</CopyObjectResult>'


def checksums(sums: Mapping[str, str], *, whole: bool) -> list[tuple[str, str]]:
    """Return the elements that tell checksums."""
    rows = [(f"Checksum{kind.upper()}", value) for kind, value in sums.items()]
    return [*rows, ("ChecksumType", "FULL_OBJECT" if whole else "COMPOSITE")]
