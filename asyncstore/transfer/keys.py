"""Files of keys: what failed, a JSON object on each line, to be fed back in; or bare keys.

Everything here blocks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.transfer.report import Failure


def read_keys(path: str | os.PathLike[str], /) -> list[str]:
    """Return the keys of a file: each line is a key, or a JSON object with one as `"key"`.

    Raises:
        ConfigurationError: it cannot be read, or a line holds no key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"keys_from={os.fspath(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"keys_from={os.fspath(path)!r}: no UTF-8 text") from None
    return [_key(line) for line in text.split("\n") if line.strip()]


def _key(line: str) -> str:
    if not line.startswith("{"):
        return line.rstrip("\r")
    try:
        key = json.loads(line)["key"]
    except (ValueError, KeyError):
        key = None
    if not isinstance(key, str):
        raise ConfigurationError(f"a line of keys_from without a key: {line[:100]!r}")
    return key


def check_writable(path: str | os.PathLike[str], /) -> None:
    """Make sure that a file can be written at the end; what is in it stays until then.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise ConfigurationError(f"failures_to={os.fspath(path)!r}: {error.strerror}") from None


def write_failures(path: str | os.PathLike[str], failures: Sequence[Failure], /) -> None:
    """Write what failed, for `read_keys`; an empty file where nothing did.

    Raises:
        ConfigurationError: it cannot be written.
    """
    lines = [json.dumps(failure.as_dict()) + "\n" for failure in failures]
    try:
        Path(path).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"failures_to={os.fspath(path)!r}: {error.strerror}") from None
