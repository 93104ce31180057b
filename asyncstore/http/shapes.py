"""Heads of one server's answers, read by what is different in them.

Theory of operation. The heads of answers to requests of one kind have the same lines, but for a
few values: a version, a checksum, the time. So a head that was read by the book is kept as a
shape: texts that are to be found again as they are, with places between them. A head that has the
shape differs from one that was read by the book in values alone, and those are looked at as the
book says; any other is read by the book. Which values differ is learnt from heads that do not
have the shape, though they name the same headers.
"""

from __future__ import annotations

from asyncstore.http.head import body_length, read_fields

_SHAPES_MAX = 64
_LONG = 2048  # a head that is longer is not kept
_FIXED = frozenset({"connection", "transfer-encoding"})
"""Headers whose values decide what an answer is, and so are no matter of places."""

Fields = tuple[int, dict[str, str], int, bool]


class Shapes:
    """Reads heads as `read_fields` does, most of them in a third of the time."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, str], _Shape] = {}
        self._latest: dict[tuple[str, str], tuple[str, Fields]] = {}

    def __repr__(self) -> str:
        return f"Shapes({len(self._shapes)})"  # an upload's address is a secret

    def read(self, text: str, method: str, /) -> Fields:
        """Return the fields of a `Head`; arguments and errors as of `read_head`."""
        kind = method, text[:12]  # up to the status
        shape = self._shapes.get(kind)
        if shape is not None:
            found = shape.read(text)
            if found is not None:
                if self._latest:
                    self._latest.pop(kind, None)
                return found
        found = read_fields(text, method)
        if len(text) <= _LONG:
            self._learn(kind, text, found)
        return found

    def _learn(self, kind: tuple[str, str], text: str, found: Fields) -> None:
        """Take a head that has no known shape for one of a new shape, if it is the second such."""
        shape = self._shapes.get(kind)
        if shape is not None and shape.names == (*found[1],):
            self._keep(kind, _shape_of(kind[0], text, found, shape.text, shape.places))
            return
        latest = self._latest.pop(kind, None)
        if latest is not None and (*latest[1][1],) == (*found[1],):
            self._keep(kind, _shape_of(kind[0], text, found, latest[0], frozenset()))
        elif len(self._latest) < _SHAPES_MAX:
            self._latest[kind] = text, found

    def _keep(self, kind: tuple[str, str], shape: _Shape | None) -> None:
        if shape is None:
            self._shapes.pop(kind, None)
        elif len(self._shapes) < _SHAPES_MAX or kind in self._shapes:
            self._shapes[kind] = shape


class _Shape:
    """A head with places for some values.

    Args:
        method: of the request.
        text: of a head that has the shape.
        fields: of that head.
        begin: its text up to the first place.
        rest: for each place, the header's name and the text from behind the place up to the next
            one, or the end.
    """

    __slots__ = (
        "_begin", "_headers", "_keep", "_length", "_method", "_rest", "_start",
        "_status", "names", "places", "text",
    )  # fmt: skip

    def __init__(
        self, method: str, text: str, fields: Fields, begin: str, rest: list[tuple[str, str]]
    ) -> None:
        self.text = text
        self.names = (*fields[1],)
        self.places = frozenset(name for name, _ in rest)
        self._method = method
        self._status, self._headers, length, self._keep = fields
        self._length = None if "content-length" in self.places else length
        self._begin = begin
        self._start = len(begin)
        self._rest = [(name, behind, len(behind)) for name, behind in rest]

    def read(self, text: str) -> Fields | None:
        """Return the fields of a head that has this shape, `None` of any other."""
        if not text.startswith(self._begin):
            return None
        headers = self._headers.copy()
        at = self._start
        for name, behind, count in self._rest:
            end = text.find("\r\n", at)
            value = text[at:end]
            if not (text.startswith(behind, end) and value.isprintable()) or (
                " " in value and value != value.strip(" ")
            ):
                return None
            headers[name] = value
            at = end + count
        if at != len(text):
            return None
        length = self._length
        if length is None:
            length = body_length(headers, self._status, self._method, modern=True)
        return self._status, headers, length, self._keep


def _shape_of(
    method: str, text: str, fields: Fields, other: str, places: frozenset[str]
) -> _Shape | None:
    """Return the shape that two heads have in common; `None` where there is none to learn.

    Args:
        method: of both requests.
        text: of one head.
        fields: of that.
        other: the text of the other, which names the same headers, in the same order.
        places: of headers that are known to differ.
    """
    headers = fields[1]
    lines, others = text.split("\r\n"), other.split("\r\n")
    if not len(lines) == len(others) == len(headers) + 3:
        return None  # a header came twice
    pieces = [lines[0] + "\r\n"]
    names = []
    for name, line, another in zip(headers, lines[1:], others[1:], strict=False):
        value = headers[name]
        if line == another and name not in places:
            pieces[-1] += line + "\r\n"
            continue
        if name in _FIXED or not line.endswith(value):
            return None
        pieces[-1] += line[: len(line) - len(value)]
        pieces.append("\r\n")
        names.append(name)
    pieces[-1] += "\r\n"
    return _Shape(method, text, fields, pieces[0], [*zip(names, pieces[1:], strict=True)])
