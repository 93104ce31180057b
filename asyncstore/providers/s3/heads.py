"""The heads of signed requests, each written in one go.

Theory of operation. Within one second, the requests of one kind (a method, a list of header
names) differ in a path, a query, some values and a signature. All else is written once, into two
texts with places for those: the canonical request, which is hashed, and the head, which is sent.

What comes out is what `request_head` makes of what `Signer.sign` returns; a test holds the two to
each other. What is out of the ordinary, such as spaces to fold, takes that way.
"""

from __future__ import annotations

import re
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncstore.http.head import request_head
from asyncstore.wire.sigv4 import UNSIGNED_PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asyncstore.wire.sigv4 import Signer

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PLACE = "\0"  # which nothing that is sent can be
_FORMS_MAX = 256  # users may invent metadata's names


class _Form(NamedTuple):
    """What the requests of one kind have in common, within one second.

    Attributes:
        pick: returns headers' values, in the order of the places for them.
        canonical: with places for the path, the query and the values.
        head: with places for the target, the values, the signature and, with a body, its length.
    """

    pick: Callable[[Mapping[str, str]], tuple[str, ...]]
    canonical: str
    head: str

    def __repr__(self) -> str:
        return "_Form(***)"  # a session's token is a header


class HeadWriter:
    """Writes the heads of one endpoint's signed requests.

    Args:
        signer: of the keys.
        authority: the `Host` header.
        read: the headers of a plain read, which is most of all requests.
    """

    __slots__ = (
        "_authority",
        "_forms",
        "_moment",
        "_plain",
        "_second",
        "_signer",
        "_versioned",
        "read",
    )

    def __init__(
        self, signer: Signer, authority: str, read: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self.read = read
        self._signer = signer
        self._authority = authority
        self._forms: dict[tuple[Any, ...], _Form] = {}
        self._begin(0.0)

    def write(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        now: float,
        length: int | None = None,
        payload: str = UNSIGNED_PAYLOAD,
    ) -> bytes:
        """Return a request's head, signed.

        Args:
            method, path, query, headers, now, payload: as in `Signer.sign`.
            length: of the body in bytes, or `None` where none is told.

        Raises:
            ConfigurationError: a header's name or value cannot be sent.
        """
        if int(now) != self._second:
            self._begin(now)
        kind = (method, length is None, *headers) if headers else (method, length is None)
        form = self._forms.get(kind)
        if form is None:
            form = self._make_form(kind, headers)
        values = form.pick(headers) if headers else ()
        target = f"{path}?{query}" if query else path
        if payload is not UNSIGNED_PAYLOAD or (headers and not _is_plain("|".join(values))):
            signed = self._signer.sign(
                method, self._authority, path, query, headers, now=now, payload=payload
            )
            return request_head(method, target, self._authority, signed, length or 0)
        signature = self._moment.signature(form.canonical % (path, query, *values))
        if length is None:
            return (form.head % (target, *values, signature)).encode()
        return (form.head % (target, *values, signature, length)).encode()

    def write_read(self, path: str, now: float) -> bytes:
        """Return the head of a plain read, signed: what `write` makes of `GET` and `read`."""
        if int(now) != self._second:
            self._begin(now)
        (_, before), (_, after, end) = self._plain
        signature = self._moment.signature(f"GET\n{path}{before}")
        return f"GET {path}{after}{signature}{end}".encode()

    def write_reads(
        self, paths: Iterable[str], versions: Iterable[str | None], now: float
    ) -> list[bytes]:
        """Return the heads of plain reads, signed.

        Args:
            paths, now: as in `write`.
            versions: of each, the `if-match` that it has besides; `None` for none.
        """
        if int(now) != self._second:
            self._begin(now)
        (_, before, rest), (_, after, more, end) = self._versioned
        sign = self._moment.signature
        heads = []
        for path, version in zip(paths, versions, strict=True):
            if version is None:
                head = self.write_read(path, now)
            elif _is_tag(version) or _is_plain(version):
                signature = sign(f"GET\n{path}{before}{version}{rest}")
                head = f"GET {path}{after}{version}{more}{signature}{end}".encode()
            else:
                head = self.write("GET", path, "", {**self.read, "if-match": version}, now=now)
            heads.append(head)
        return heads

    def _begin(self, now: float) -> None:
        """Begin a second."""
        self._second = int(now)
        self._moment = self._signer.moment(now)
        self._forms.clear()
        self._plain = self._pieces(self.read)
        self._versioned = self._pieces({**self.read, "if-match": _PLACE})

    def _pieces(self, headers: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return a read's canonical request and its head, cut at each place that is to be filled.

        Args:
            headers: of the read; a value that is `_PLACE` is such a place.
        """
        form = self._make_form(("GET", True, *headers), dict.fromkeys(headers, ""))
        values = form.pick(headers)
        canonical = form.canonical % (_PLACE, "", *values)
        head = form.head % (_PLACE, *values, _PLACE)
        return canonical.split(_PLACE), head.split(_PLACE)

    def _make_form(self, kind: tuple[Any, ...], headers: Mapping[str, str]) -> _Form:
        """Write what does not change, with a place for what does; once per second and kind."""
        method, bodiless = kind[:2]
        # What cannot be sent is refused here, as for any other request.
        request_head(method, "/", self._authority, headers, 0)
        names = sorted(headers)
        fixed = self._signer.headers(self._moment, UNSIGNED_PAYLOAD)
        values = {_literal(name): "%s" for name in names}
        values |= {name: _literal(value) for name, value in fixed.items()}
        host = _literal(self._authority)
        signed = sorted({**values, "host": host}.items())
        listed = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed)
        form = _Form(
            _picker(names),
            f"{method}\n%s\n%s\n{lines}\n{listed}\n{UNSIGNED_PAYLOAD}",
            f"{method} %s HTTP/1.1\r\nhost: {host}\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in values.items())
            + f"authorization: {_literal(self._moment.prefix)}{listed}, Signature=%s\r\n"
            + ("\r\n" if bodiless else "content-length: %d\r\n\r\n"),
        )
        if len(self._forms) >= _FORMS_MAX:
            self._forms.clear()
        self._forms[kind] = form
        return form


_is_tag = re.compile(r'"[0-9A-Za-z\-]*+"').fullmatch
"""Whether a value is as nearly all versions are: quick to know, and plain."""


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _picker(names: list[str]) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    if len(names) == 1:  # of which itemgetter would make no tuple
        name = names[0]
        return lambda headers: (headers[name],)
    return itemgetter(*names) if names else lambda _: ()


def _is_plain(joined: str) -> bool:
    """Whether values, joined by bars, are sent and signed as they stand."""
    return (
        joined.isascii()
        and joined.isprintable()
        and not ("  " in joined or "| " in joined or " |" in joined)
        and joined[:1] != " " != joined[-1:]
    )
