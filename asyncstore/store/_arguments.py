"""What callers pass, looked at before anything is sent: one set of rules for every service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from asyncstore.errors import ConfigurationError
from asyncstore.types import WRITE_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

METHODS = ("GET", "PUT", "HEAD", "DELETE")
LONGEST = 7 * 86_400
"""Most seconds that a URL may hold."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Conditions(TypedDict):
    """What `Provider.put` and `Provider.begin_upload` take alike."""

    if_match: str | None
    if_absent: bool
    content_type: str | None
    metadata: Mapping[str, str] | None


def conditions(
    *,
    if_absent: bool,
    if_match: str | None,
    content_type: str | None,
    metadata: Mapping[str, str] | None,
) -> Conditions:
    """Return a write's conditions and what goes along with its bytes, if every service could.

    Raises:
        ConfigurationError: they contradict each other, or are of a wrong form.
    """
    if if_absent and if_match is not None:
        raise ConfigurationError("if_absent and if_match exclude each other")
    if if_match is not None and not isinstance(if_match, str):
        raise ConfigurationError(f"if_match={if_match!r}: an ObjectMeta.etag, which is a text")
    if content_type is not None and not _is_plain(content_type):
        raise ConfigurationError(
            f"content_type={content_type!r} is not printable ASCII without spaces at its ends"
        )
    if metadata:
        if not isinstance(metadata, Mapping):
            raise ConfigurationError(f"metadata is a dict, not {type(metadata).__name__}")
        for name, value in metadata.items():
            _check_pair(name, value)
    return {
        "if_match": if_match,
        "if_absent": if_absent,
        "content_type": content_type,
        "metadata": metadata or None,
    }


def _check_pair(name: Any, value: Any) -> None:
    if not (isinstance(name, str) and name and _NAME.issuperset(name)) or name == WRITE_ID:
        raise ConfigurationError(f"metadata name {name!r}: names are lower-case a-z, 0-9 and '-'")
    if not _is_plain(value):
        raise ConfigurationError(
            f"metadata {name!r}: values are printable ASCII text without spaces at their ends"
        )


def _is_plain(text: Any) -> bool:
    """Whether a header carries a text as it is."""
    return isinstance(text, str) and text.isascii() and text.isprintable() and text.strip() == text


def check_signing(method: str, expires: float, /) -> None:
    """Refuse a URL that no service signs.

    Raises:
        ConfigurationError: another method, or no time between a second and seven days.
    """
    if method not in METHODS:
        raise ConfigurationError(f"method={method!r}: a URL is for GET, PUT, HEAD or DELETE")
    is_number = isinstance(expires, int | float) and not isinstance(expires, bool)
    if not (is_number and 1 <= expires <= LONGEST):  # nor NaN
        raise ConfigurationError(f"expires={expires!r}: 1 to {LONGEST} seconds, which is 7 days")


def writable(buffer: Any, /) -> memoryview:
    """View memory that is to be filled as flat bytes.

    Raises:
        TypeError: it is none, read-only or not contiguous.
    """
    try:
        into = memoryview(buffer)
    except TypeError:
        into = None
    if into is None or into.readonly or not into.c_contiguous:
        raise TypeError("get_into needs a writable, contiguous buffer, such as a bytearray")
    return into.cast("B") if into.nbytes else memoryview(bytearray())


def several(keys: Any, /) -> Iterable[str] | AsyncIterable[str]:
    """Return what is iterable.

    Raises:
        TypeError: it is not.
    """
    if not (hasattr(keys, "__iter__") or hasattr(keys, "__aiter__")):
        raise TypeError(f"delete takes a key or an iterable of keys, not {type(keys).__name__}")
    several: Iterable[str] | AsyncIterable[str] = keys
    return several
