"""Reading JSON that may be anything: typed fields out of it, or `DatasetCorruptError`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeGuard, TypeVar

from asyncstore.errors import DatasetCorruptError
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.types import Buffer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JSON_BYTES = 32 * MiB
"""Largest JSON file that is read: some 100,000 commits, or more tensors than any dataset has."""


def parse_object(data: Buffer, name: str, /) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        data: UTF-8 text, at most `JSON_BYTES`.
        name: the file, for messages.

    Raises:
        DatasetCorruptError: it is anything else.
    """
    if len(data) > JSON_BYTES:
        raise DatasetCorruptError(f"{name} is {len(data):,} bytes; at most {JSON_BYTES:,} are read")
    try:
        value = json.loads(str(data, "utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise DatasetCorruptError(f"{name} is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of too many digits
        reason = getattr(error, "msg", None) or type(error).__name__
        raise DatasetCorruptError(f"{name} is not readable as JSON: {reason}") from None
    if not isinstance(value, dict):
        raise DatasetCorruptError(f"{name} holds {_kind(value)}, not an object")
    return value


class Rule(Generic[T_co]):
    """What a field must be.

    Args:
        fits: whether a parsed value is that.
        wanted: the same in words, for messages.
    """

    __slots__ = ("fits", "wanted")

    def __init__(self, fits: Callable[[Any], TypeGuard[T_co]], wanted: str) -> None:
        self.fits = fits
        self.wanted = wanted


class Fields:
    """An object's fields, taken one by one; what is left over is kept as it is.

    Args:
        values: the parsed object; not changed.
        name: the file and place, for messages.
    """

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._left = dict(values)
        self._name = name

    def take(self, field: str, rule: Rule[T], *default: T) -> T:
        """Take a field that fits `rule`; without a default it must be there.

        Raises:
            DatasetCorruptError: names the field and what it should be.
        """
        if field not in self._left:
            if default:
                return default[0]
            raise DatasetCorruptError(f"{self._name} lacks {field!r}")
        value = self._left.pop(field)
        if not rule.fits(value):
            raise DatasetCorruptError(
                f"{self._name}: {field!r} is {_kind(value)}, not {rule.wanted}"
            )
        return value

    def rest(self) -> dict[str, Any]:
        """Return the fields that nobody took."""
        return self._left


def dump(value: Any, *, pretty: bool) -> bytes:
    """Write JSON byte for byte as Deep Lake 3.9 does, so that equal content is equal bytes."""
    if pretty:
        return json.dumps(value, indent=4, sort_keys=True).encode("ascii")
    return json.dumps(value).encode("ascii")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _is_flag(value: Any) -> TypeGuard[bool]:
    return isinstance(value, bool)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_time(value: Any) -> TypeGuard[float | None]:
    # A number beyond this is no time that anything was done at; some are no float either.
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 60
    )


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_mapping(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_objects(value: Any) -> TypeGuard[dict[str, dict[str, Any]]]:
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())


def _is_text_or_null(value: Any) -> TypeGuard[str | None]:
    return value is None or isinstance(value, str)


TEXT = Rule(_is_text, "a text")
TEXT_OR_NULL = Rule(_is_text_or_null, "a text or null")
FLAG = Rule(_is_flag, "true or false")
COUNT = Rule(_is_count, "an integer of 0 to 2^63 - 1")
TIME = Rule(_is_time, "epoch seconds or null")
LIST = Rule(_is_list, "a list")
TEXTS = Rule(_is_texts, "a list of texts")
MAPPING = Rule(_is_mapping, "an object of texts")
OBJECTS = Rule(_is_objects, "an object of objects")

_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
