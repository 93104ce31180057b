"""Small JSON files that are their owner's alone, in the user's configuration folder.

A file is written beside its place under a random name, flushed, and put in place whole. One that
somebody else could have read or written is not read.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from typing import TYPE_CHECKING, Any

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CAP = 64 * 1024
# Neither is on Windows.
_CAREFUL = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_OTHERS = 0o077
_WRITERS = 0o022


def path_of(name: str, environ: Mapping[str, str] = os.environ, /) -> str:
    """Return where a file is: in the user's configuration folder, never the working one.

    Raises:
        ConfigurationError: there is no such folder.
    """
    if os.name == "nt":
        base = environ.get("APPDATA", "")
    else:
        base = environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(base):  # a relative one is to be ignored, by its specification
            base = os.path.join(environ.get("HOME", "") or os.path.expanduser("~"), ".config")
    if not os.path.isabs(base):
        raise ConfigurationError("there is no configuration folder for the login; set HOME")
    return os.path.join(base, "asyncstore", name)


def load(path: str, /, *, again: str) -> dict[str, Any] | None:
    """Read a file; `None` where there is none.

    Args:
        path: where.
        again: what makes a new one, in words for the message.

    Raises:
        ConfigurationError: it is broken, or somebody else could have read or written it; says
            what to do.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _CAREFUL)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}): it must be a file, not a link; "
            f"remove it and {again}"
        ) from None
    with os.fdopen(handle, "rb") as file:
        _check_private(os.fstat(handle), path, again)
        text = file.read(_CAP + 1)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or len(text) > _CAP:
        raise ConfigurationError(f"{path} is broken; remove it and {again}")
    return value


def save(path: str, document: Mapping[str, Any], /) -> None:
    """Write a file: a new one beside it with a random name, flushed, then put in its place.

    Raises:
        ConfigurationError: the folder is not the user's own, or cannot be written to.
    """
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or not _is_ours(found) or found.st_mode & _WRITERS:
            raise ConfigurationError(
                f"{folder} can be written to by others; run chmod 700 on it, as its owner"
            )
        _replace(path, json.dumps(document).encode())
    except OSError as error:
        raise ConfigurationError(f"the login cannot be kept in {path}: {error.strerror}") from None


def _replace(path: str, data: bytes) -> None:
    beside = f"{path}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFUL
    handle = os.open(beside, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _check_private(found: os.stat_result, path: str, again: str) -> None:
    if os.name == "nt":
        return
    if not stat.S_ISREG(found.st_mode) or not _is_ours(found):
        raise ConfigurationError(f"{path} is another user's; remove it and {again}")
    if found.st_mode & _OTHERS:
        raise ConfigurationError(
            f"{path} can be read or written to by others; run chmod 600 {path}, or remove it "
            f"and {again}"
        )


def _is_ours(found: os.stat_result) -> bool:
    return os.name == "nt" or found.st_uid == os.geteuid()
