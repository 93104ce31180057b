"""Which keys may become files: none that would lie elsewhere, or be taken for another.

A listing is the service's word, and anybody may have written it. What is no legal key is refused
everywhere. Of the names that only Windows gives a meaning, a drive letter is refused on every
platform, since a folder is carried from one to another; the rest on Windows alone, where a key
such as `time=12:00` would write to a hidden stream, and `aux` to a device. Links that lie in the
folder are the local provider's business: it follows none.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncstore.errors import InvalidPathError
from asyncstore.url import are_plain, check_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?:\..*)?", re.IGNORECASE
)
_ODD = frozenset('<>:"|?*')


def refusal(key: str, *, local: bool, windows: bool = sys.platform == "win32") -> str | None:
    """Return why a key is not written, or `None`.

    Args:
        key: as a listing told it.
        local: whether it is to be a file.
        windows: whether Windows is to make that file.
    """
    try:
        check_key(key)
    except InvalidPathError as error:
        return error.message
    if local and _DRIVE.match(key):
        return f"key {key!r} begins like a drive of Windows"
    if local and windows:
        for part in key.split("/"):
            if _DEVICE.fullmatch(part) or part.endswith((" ", ".")) or _ODD.intersection(part):
                return f"key {key!r} has a part {part!r}, which Windows takes for another name"
    return None


def accepts(keys: Sequence[str], *, local: bool, windows: bool = sys.platform == "win32") -> bool:
    """Whether `refusal` surely has nothing against any of some keys, and none names a folder.

    Args:
        keys: as a listing told them; at least one.
        local, windows: as of `refusal`.
    """
    if local and (windows or ":" in "".join(keys)):
        return False
    return are_plain(keys)


def folds(folder: Path) -> bool:
    """Whether a folder takes names for one that differ in case only; makes it; blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f".asyncstore-{secrets.token_hex(8)}.tmp"
    probe = folder / name
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with suppress(FileNotFoundError):
            return os.path.samefile(probe, folder / name.upper())
        return False
    finally:
        probe.unlink()
