"""HTTP/1.1 heads: a request's is written, an answer's is read, strictly and without I/O.

What could be read in two ways is refused, since whoever stands between may read it the other
way: two lengths, a length beside chunks, folded lines, bare line feeds, spaces before a colon.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from asyncstore.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEAD_MAX = 64 << 10
"""Most bytes in an answer's head."""

HEADERS_MAX = 256
"""Most lines in an answer's head."""

CHUNKED = -1
UNTIL_CLOSE = -2
"""What `Head.length` says of a body that has no `Content-Length`."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})
_NO_BODY = frozenset({204, 304})

_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})

_good_names: set[str] = set()
_GOOD_NAMES_MAX = 1024

_names: dict[str, str] = {}
"""Names that were read, in lower case."""
_NAMES_MAX = 512
_LINES_MAX = 512
_statuses: dict[str, tuple[int, bool]] = {}
_STATUSES_MAX = 64
_LINE_LONG = 256


class _Lines(dict[str, tuple[str, str]]):
    """Lines that were read lately: a server says most of them again in each of its answers."""

    def __repr__(self) -> str:
        return f"_Lines({len(self)})"  # an upload's address is a secret

    def __missing__(self, line: str) -> tuple[str, str]:
        """Take a line apart, and remember it."""
        name, _, value = line.partition(": ")
        known = _names.get(name)
        if known is not None and value.isascii() and value.isprintable():
            pair = known, value.strip(" ")
        else:
            match = _LINE.fullmatch(line)
            if match is None:
                raise IntegrityError("the answer has a malformed header line")
            pair = match[1].lower(), match[2].rstrip(" \t")
            if len(_names) < _NAMES_MAX:
                _names[match[1]] = pair[0]
        if len(line) <= _LINE_LONG:
            if len(self) >= _LINES_MAX:
                self.clear()
            self[line] = pair
        return pair


_lines = _Lines()
_line = _lines.__getitem__


class Head(NamedTuple):
    """An answer's head.

    Attributes:
        status: three digits.
        headers: names in lower case; repeated ones joined by `", "`.
        length: of the body in bytes, or `CHUNKED`, or `UNTIL_CLOSE`.
        keep: whether the connection may serve another request afterwards.
    """

    status: int
    headers: dict[str, str]
    length: int
    keep: bool


def request_head(
    method: str,
    target: str,
    authority: str,
    headers: Mapping[str, str],
    length: int,
) -> bytes:
    """Write a request's head.

    Args:
        method: upper case.
        target: percent-encoded, beginning with `/`, or absolute for a proxy.
        authority: the `Host` header.
        headers: names in lower case, none that frames the message.
        length: of the body; 0 is said only where the method usually has a body.

    Raises:
        ConfigurationError: something in it would end the line it stands in.
    """
    if not (_good_names.issuperset(headers) or _check_names(headers)):
        raise ConfigurationError("a header's name is a token, in lower case, that frames nothing")
    values = "".join(headers.values())
    if not (values.isascii() and values.isprintable()):
        raise ConfigurationError("a header's value is printable ASCII")
    if not (target.isascii() and target.isprintable()) or " " in target or not target:
        raise ConfigurationError("a request's target is percent-encoded ASCII")
    start = f"{method} {target} HTTP/1.1\r\nhost: {authority}\r\n"
    if headers:
        start += "\r\n".join(map(": ".join, headers.items())) + "\r\n"
    if length or method in _WITH_BODY:
        start += f"content-length: {length}\r\n"
    return f"{start}\r\n".encode("ascii")


def _check_names(headers: Mapping[str, str]) -> bool:
    for name in headers:
        if name in _OURS or name != name.lower() or not _TOKEN.fullmatch(name):
            return False
    if len(_good_names) < _GOOD_NAMES_MAX:
        _good_names.update(headers)
    return True


def read_head(text: str, method: str) -> Head:
    """Read an answer's head.

    Args:
        text: from the status line to the empty line, both included, decoded as latin-1.
        method: of the request.

    Raises:
        IntegrityError: it is not HTTP/1, or may be read in two ways.
    """
    return Head(*read_fields(text, method))


def read_fields(text: str, method: str) -> tuple[int, dict[str, str], int, bool]:
    """Do as `read_head`, and return the fields of the head alone, which is quicker."""
    lines = text.split("\r\n")
    status, modern = _statuses.get(lines[0]) or _read_status(lines[0])
    del lines[0], lines[-2:]
    headers = dict(map(_line, lines))
    if len(headers) < len(lines):
        headers = _joined(map(_line, lines))
    if len(lines) > HEADERS_MAX:
        raise IntegrityError(f"the answer has more than {HEADERS_MAX} headers")
    length = body_length(headers, status, method, modern=modern)
    connection = headers.get("connection")
    if connection is None:
        keep = modern
    elif connection == "keep-alive":
        keep = True
    else:
        said = {token.strip().lower() for token in connection.split(",")}
        keep = "close" not in said and (modern or "keep-alive" in said)
    return status, headers, length, keep and length != UNTIL_CLOSE


def _read_status(line: str) -> tuple[int, bool]:
    """Take a status line apart, and remember it; return the status and whether it is HTTP/1.1."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise IntegrityError("the answer does not begin with an HTTP/1 status line")
    found = int(match[2]), match[1] == "1"
    if len(_statuses) < _STATUSES_MAX and len(line) <= _LINE_LONG:
        _statuses[line] = found
    return found


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers of which some came more than once."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        if name not in headers:
            headers[name] = value
        elif name in ("content-length", "transfer-encoding"):
            raise IntegrityError(f"the answer has two {name} headers")
        else:
            headers[name] = f"{headers[name]}, {value}"
    return headers


def body_length(headers: Mapping[str, str], status: int, method: str, *, modern: bool) -> int:
    """Return what `Head.length` says of an answer.

    Args:
        headers: of the answer.
        status: of the answer.
        method: of the request.
        modern: whether the answer is HTTP/1.1.

    Raises:
        IntegrityError: where it ends may be read in two ways.
    """
    said = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    length = UNTIL_CLOSE
    if said is not None:
        if not (said.isascii() and said.isdigit()) or len(said) > 18:  # noqa: PLR2004 - int64
            raise IntegrityError("the answer's content-length is not a number")
        if coding is not None:
            raise IntegrityError("the answer has a content-length and a transfer-encoding")
        length = int(said)
    elif coding is not None:
        if coding.lower() != "chunked" or not modern:
            raise IntegrityError("the answer has a transfer-encoding other than chunked")
        length = CHUNKED
    if method == "HEAD" or status in _NO_BODY or status < 200:  # noqa: PLR2004
        return 0
    return length


def is_bad_start(data: bytes) -> bool:
    """Whether the beginning of an answer, its head not complete, cannot become a good one."""
    return data[:7] != b"HTTP/1."[: len(data)] or data.count(b"\n") != data.count(b"\r\n")
