"""Secrets that must never be seen, and how to look for them.

Tests use these values wherever the library takes a secret, or `guard` one that a server has made
up. `asyncstore.testing.watch` then looks for them in everything that a test run puts out.
"""

from __future__ import annotations

import base64
import pickle
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "cAnArY7z"
"""What every canary begins with: letters and digits, so that it survives quoting."""

CANARY_SECRET = f"{MARK}SecretAccessKeyNobodyShouldSee01"
"""A secret key, 40 characters long as Amazon's are."""

CANARY_TOKEN = f"{MARK}TokenNobodyShouldSee02"
"""A bearer, session or hub token."""

CANARY_PASSWORD = f"{MARK}PasswordNobodyShouldSee03"
"""A password, client secret or refresh token."""

_LEAST = 8
_STRIDE = 4
_PIECE = _LEAST - _STRIDE + 1
_MOST_DEEP = 50


def _forms(secret: str) -> Iterator[str]:
    """Yield the secret as it may look: plain, quoted, escaped, in base 64 and base 16."""
    yield secret
    yield quote(secret, safe="")
    yield secret.encode("unicode_escape").decode()
    raw = secret.encode()
    yield raw.hex()
    for shift in range(3):
        # Characters that also depend on what stands before or after are cut off.
        coded = base64.b64encode(bytes(shift) + raw)
        cut = coded[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
        yield cut.decode()
        yield cut.translate(bytes.maketrans(b"+/", b"-_")).decode()


_guarded: set[str] = set()
_pieces: dict[str, list[tuple[int, str]]] = {}
_rest = re.compile("[A-Za-z0-9+/=%_-]*")


def guard(secret: str, /) -> str:
    """Have a secret looked for from now on, besides the canaries; return it.

    Args:
        secret: at least 8 characters, of which none is found elsewhere by chance.
    """
    if len(secret) < _LEAST:
        raise ValueError(f"a secret of fewer than {_LEAST} characters is found everywhere")
    if secret not in _guarded:
        _guarded.add(secret)
        for form in dict.fromkeys(_forms(secret)):
            for offset in range(_STRIDE):
                piece = form[offset : offset + _PIECE]
                _pieces.setdefault(piece, []).append((offset, form))
    return secret


guard(MARK)


def find(text: str | bytes, /) -> str | None:
    """Return what surrounds the first secret in `text`, itself masked, or `None`."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    span = next(_spans(text), None)
    if span is None:
        return None
    start, end = span
    return f"{text[max(0, start - 60) : start]}<SECRET>{_masked(text[end : end + 200])[:60]}"


def _masked(text: str) -> str:
    kept, at = "", 0
    for start, end in _spans(text):
        kept += f"{text[at:start]}<SECRET>"
        at = end
    return kept + text[at:]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets begin and end, with the letters and digits that follow.

    Hundreds are guarded in a long run: what this takes does not grow with them. Pieces are cut
    from the text at every fourth character, so that one lies in each form, at one of the first
    four places in it; those of the forms are looked up.
    """
    after = 0
    for at in range(0, len(text) - _PIECE + 1, _STRIDE):
        candidates = _pieces.get(text[at : at + _PIECE])
        if candidates is None:
            continue
        found = [
            (at - offset, at - offset + len(form))
            for offset, form in candidates
            if at - offset >= after and text.startswith(form, at - offset)
        ]
        if found:
            start, end = min(found, key=lambda span: (span[0], -span[1]))
            rest = _rest.match(text, end)
            assert rest is not None  # it matches nothing, too
            after = rest.end()
            yield start, after


def told(error: BaseException, /) -> Iterator[str]:
    """Yield what an exception tells: texts, reprs, attributes, notes, pickle; causes and members.

    The context counts even where `from None` hides it: debuggers and error trackers show it.
    """
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting and len(seen) < _MOST_DEEP:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield f"{type(one).__name__}: {one}"
        yield f"{one!r} {one.args!r} {vars(one)!r}"
        if isinstance(one, StoreError):
            yield pickle.dumps(one).decode("latin-1")
        waiting += [link for link in (one.__cause__, one.__context__) if link is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def shows(value: Any, /) -> str | None:
    """Return where a value shows a secret by `repr`, `str`, `format` or pickle, or `None`.

    A value that refuses to be pickled shows nothing that way. For an exception, all that it tells.
    """
    texts = [repr(value), str(value), f"{value}"]
    if isinstance(value, BaseException):
        texts += told(value)
    with suppress(TypeError, AttributeError, pickle.PicklingError, StoreError):
        texts.append(pickle.dumps(value).decode("latin-1"))
    return next((place for text in texts if (place := find(text))), None)
