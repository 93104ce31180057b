"""The hub's folder and the one key in it, from which every other key is derived.

The key is not in the database: who copies the database alone opens nothing with it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_NAME = "hub.key"
_KEY_BYTES = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Keys:
    """Keys for separate purposes, derived from one."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def __repr__(self) -> str:
        return "Keys(…)"

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for a purpose; those for another purpose tell nothing of them."""
        info = f"asyncstore hub, {purpose}, 1".encode()
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=info).derive(self._root)


@contextmanager
def opened(folder: str) -> Iterator[Keys]:
    """Hold a hub's folder, made on first use, and yield its keys.

    Raises:
        ConfigurationError: another hub holds the folder, or others can read its key.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lock = os.open(os.path.join(folder, "hub.lock"), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"{folder}: another hub serves this folder") from None
        yield Keys(_root_key(os.path.join(folder, KEY_NAME)))
    finally:
        os.close(lock)


def _root_key(path: str) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _make_key(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        _check_owner(path, os.fstat(handle))
        text = file.read(1024)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"{path} holds no key; put back the one this hub was made with, or remove the folder"
        )
    return key


def _make_key(path: str) -> bytes:
    """Write a new key whole: under another name first, so that a kill leaves none or one."""
    key = secrets.token_bytes(_KEY_BYTES)
    part = f"{path}.{secrets.token_hex(4)}"
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(f"{key.hex()}\n".encode())
        file.flush()
        os.fsync(handle)
    os.rename(part, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def _check_owner(path: str, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise ConfigurationError(f"{path} belongs to another user; run the hub as its owner")
    if found.st_mode & _OTHERS:
        raise ConfigurationError(f"{path} can be read by others; run: chmod 600 {path}")
