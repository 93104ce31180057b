"""Conditions on versions: what a request asks of the object that is there. Pure.

The order is that of RFC 9110, section 13.2.2. An ETag is compared without its quotes.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from asyncstore.hub.storage.faults import Refused, no_such_key, unmet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.hub.storage.index import Entry

NOT_MODIFIED = 304
_COPY = "x-amz-copy-source-"


def _names(text: str, etag: str) -> bool:
    """Whether a list of ETags names this one."""
    told = [one.strip().removeprefix("W/").strip('"') for one in text.split(",")]
    return etag in told or told == ["*"]


def _seconds(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def check_read(headers: Mapping[str, str], entry: Entry, *, copy: bool = False) -> int:
    """See whether an object is the version that is asked for.

    Args:
        headers: of the request.
        entry: what is there.
        copy: whether it is asked for as the source of a copy.

    Returns:
        200, or 304 where the asker has this version already.

    Raises:
        Refused: it is another.
    """
    before = _COPY if copy else ""
    modified = entry.modified // 1000
    match = headers.get(f"{before}if-match")
    since = _seconds(headers.get(f"{before}if-unmodified-since", ""))
    if match is not None:
        if not _names(match, entry.etag):
            raise unmet("If-Match")
    elif since is not None and modified > since:
        raise unmet("If-Unmodified-Since")
    other = headers.get(f"{before}if-none-match")
    since = _seconds(headers.get(f"{before}if-modified-since", ""))
    same = (
        _names(other, entry.etag) if other is not None else since is not None and modified <= since
    )
    if same and copy:
        raise unmet("If-None-Match" if other is not None else "If-Modified-Since")
    return NOT_MODIFIED if same else 200


def check_write(headers: Mapping[str, str], etag: str | None) -> None:
    """See whether what is there may be replaced; `None` is nothing.

    Raises:
        Refused: it may not.
    """
    match, absent = headers.get("if-match"), headers.get("if-none-match")
    if match is not None:
        if etag is None:
            raise no_such_key()
        if not _names(match, etag):
            raise unmet("If-Match")
    if absent is not None and etag is not None and _names(absent, etag):
        raise unmet("If-None-Match")


def known_writes(headers: Mapping[str, str]) -> None:
    """See that no condition is asked for that would not be kept.

    Raises:
        Refused: one is.
    """
    if headers.get("if-none-match", "*") != "*":
        raise Refused("NotImplemented", "If-None-Match of a write takes * alone")
    for name in ("if-modified-since", "if-unmodified-since", "x-amz-if-match-last-modified-time"):
        if name in headers:
            raise Refused("NotImplemented", f"A write takes no {name}")
    if "x-amz-if-match-size" in headers:
        raise Refused("NotImplemented", "A write takes no x-amz-if-match-size")
