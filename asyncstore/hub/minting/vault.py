"""Secrets at rest: sealed with a key that is not in the database, each bound to its row.

An envelope: every sealing draws a data key, which encrypts the row (AES-256-GCM), and which is
itself encrypted with the vault's key. The row's id is authenticated with both, so that a sealed
text that is moved to another row does not open there. A sealed text begins with the id of the key
that it wants, so that older keys go on opening what they sealed until it is sealed anew.

    b"asv1" · key id (8) · nonce (12) · wrapped data key (48) · nonce (12) · text (…, tag 16)
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asyncstore.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY_BYTES = 32
"""The length of a vault's key."""

_MARK = b"asv1"
_ID, _NONCE, _WRAPPED = 8, 12, KEY_BYTES + 16
_HEAD = len(_MARK) + _ID
_TEXT = _HEAD + _NONCE + _WRAPPED + _NONCE


class Vault:
    """Seals rows, and opens those that it or an older key sealed.

    Args:
        key: 32 random bytes, kept outside the database.
        older: keys that were used before; they open and never seal.

    Raises:
        ConfigurationError: a key is not 32 bytes long.
    """

    def __init__(self, key: bytes, /, *, older: Sequence[bytes] = ()) -> None:
        for each in (key, *older):
            if not isinstance(each, bytes) or len(each) != KEY_BYTES:
                raise ConfigurationError(f"a vault's key is {KEY_BYTES} random bytes")
        self.key_id = _id_of(key)
        self._keys = {_id_of(each): AESGCM(each) for each in (*older, key)}

    def __repr__(self) -> str:
        return f"Vault({self.key_id.hex()})"

    def seal(self, row_id: str, mapping: Mapping[str, Any], /) -> bytes:
        """Return a mapping of JSON values as bytes that open for this row alone."""
        head = _MARK + self.key_id
        bound = _bound(head, row_id)
        data_key = os.urandom(KEY_BYTES)
        outer, inner = os.urandom(_NONCE), os.urandom(_NONCE)
        wrapped = self._keys[self.key_id].encrypt(outer, data_key, bound)
        text = json.dumps(mapping, separators=(",", ":")).encode()
        return head + outer + wrapped + inner + AESGCM(data_key).encrypt(inner, text, bound)

    def open(self, row_id: str, sealed: bytes, /) -> dict[str, Any]:
        """Return what was sealed for this row.

        Raises:
            ConfigurationError: the key that sealed it is not among this vault's.
            IntegrityError: it was altered, cut, or sealed for another row.
        """
        head, rest = sealed[:_HEAD], sealed[_HEAD:]
        if not head.startswith(_MARK) or len(sealed) < _TEXT:
            raise IntegrityError(f"what is stored for {row_id} is nothing that a vault sealed")
        key = self._keys.get(head[len(_MARK) :])
        if key is None:
            raise ConfigurationError(
                f"what is stored for {row_id} was sealed with the key "
                f"{head[len(_MARK) :].hex()}, which was not given; add it to the older keys"
            )
        bound = _bound(head, row_id)
        try:
            data_key = key.decrypt(rest[:_NONCE], rest[_NONCE : _NONCE + _WRAPPED], bound)
            inner = rest[_NONCE + _WRAPPED :]
            text = AESGCM(data_key).decrypt(inner[:_NONCE], inner[_NONCE:], bound)
        except InvalidTag:
            text = None
        if text is None:
            raise IntegrityError(
                f"what is stored for {row_id} was altered, or belongs to another row"
            )
        found: dict[str, Any] = json.loads(text)
        return found

    def is_current(self, sealed: bytes, /) -> bool:
        """Whether it was sealed with the key that seals now; else open it and seal it anew."""
        return sealed[len(_MARK) : _HEAD] == self.key_id


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"asyncstore vault key id" + key).digest()[:_ID]


def _bound(head: bytes, row_id: str) -> bytes:
    return head + row_id.encode()
