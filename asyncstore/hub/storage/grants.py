"""Short-lived credentials: a grant, sealed into its own session token.

Nothing is kept of what was handed out. The session token is the grant itself, encrypted and
authenticated with the server's key; the access key's name and the secret are computed from the
token and that key. So whoever presents a token of ours can be verified without a look-up, and
nobody can make one, or change one, without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import re
from base64 import b32encode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asyncstore.errors import ConfigurationError
from asyncstore.hub.storage.faults import Refused

KEY_BYTES = 32
"""Least length of the server's key, in bytes."""
_NONCE = 12
_PURPOSE = b"asyncstore hub storage, grant, 1"
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
_TOKEN_MAX = 4096
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Grant:
    """What a pair of keys may do.

    Attributes:
        bucket: the only bucket, such as `"org-7"`.
        prefix: every key must begin with it; ends with a slash.
        mode: `"r"` reads and lists, `"w"` also writes.
        expires: when it ends, in epoch seconds.
        org: the organisation's id.
        dataset: the data set's id.
        token_id: the id of the hub token it was made for; `""` for nobody's.
    """

    bucket: str
    prefix: str
    mode: Literal["r", "w"]
    expires: float
    org: str
    dataset: str
    token_id: str

    def check(self) -> None:
        """See that it is a possible one.

        Raises:
            ConfigurationError: it is not, and why.
        """
        if not _BUCKET.fullmatch(self.bucket):
            raise ConfigurationError(f"bucket {self.bucket!r}: no name of an S3 bucket")
        if not self.prefix.endswith("/") or self.prefix.startswith("/"):
            raise ConfigurationError(f"prefix {self.prefix!r}: must end with / and not begin so")
        if self.mode not in ("r", "w"):
            raise ConfigurationError(f"mode {self.mode!r}: 'r' or 'w'")
        if not math.isfinite(self.expires):
            raise ConfigurationError(f"expires {self.expires!r}: epoch seconds")

    def covers(self, bucket: str, key: str) -> bool:
        """Whether a key is inside."""
        return bucket == self.bucket and key.startswith(self.prefix)


class Opened(NamedTuple):
    """A session token that is ours.

    Attributes:
        grant: what was sealed in it; perhaps it has ended.
        access_key: the name that goes with it.
        secret: the secret that goes with it.
    """

    grant: Grant
    access_key: str
    secret: str

    def __repr__(self) -> str:
        return f"Opened({self.access_key})"


class Keyring:
    """Makes credentials of grants, and grants of credentials.

    Args:
        key: the server's own, of at least 32 random bytes.

    Raises:
        ConfigurationError: the key is shorter.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise ConfigurationError(f"the storage's key has {len(key)} bytes; {KEY_BYTES} or more")
        self._seal = AESGCM(hmac.digest(key, b"seal, 1", "sha256"))
        self._names = hmac.digest(key, b"name, 1", "sha256")
        self._secrets = hmac.digest(key, b"secret, 1", "sha256")
        self._opened: dict[str, Opened] = {}

    def mint(self, grant: Grant) -> dict[str, str]:
        """Return credentials for a grant, as clients of S3 take them.

        Raises:
            ConfigurationError: the grant is none.
        """
        grant.check()
        nonce = os.urandom(_NONCE)
        text = json.dumps(list(asdict(grant).values()), separators=(",", ":")).encode()
        token = urlsafe_b64encode(nonce + self._seal.encrypt(nonce, text, _PURPOSE)).decode()
        made = self._pair(token, grant)
        return {
            "aws_access_key_id": made.access_key,
            "aws_secret_access_key": made.secret,
            "aws_session_token": token,
            "expiration": datetime.fromtimestamp(grant.expires, UTC).isoformat(),
        }

    def open(self, token: str) -> Opened:
        """Return what a session token holds.

        Raises:
            Refused: it is not one of ours.
        """
        known = self._opened.get(token)
        if known is None:
            known = self._pair(token, self._unseal(token))
            if len(self._opened) >= _KEPT:
                self._opened.clear()
            self._opened[token] = known
        return known

    def _unseal(self, token: str) -> Grant:
        wrong = Refused("InvalidToken", "The provided token is malformed or otherwise invalid.")
        if len(token) > _TOKEN_MAX or not token.isascii():
            raise wrong
        try:
            sealed = urlsafe_b64decode(token)
            # Base64 has several spellings of the same bytes; one alone is a token.
            if urlsafe_b64encode(sealed).decode() != token or len(sealed) <= _NONCE:
                raise wrong
            text = self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], _PURPOSE)
        except (ValueError, InvalidTag):
            raise wrong from None
        return Grant(*json.loads(text))

    def _pair(self, token: str, grant: Grant) -> Opened:
        name = b32encode(hmac.digest(self._names, token.encode(), hashlib.sha256)).decode()
        secret = hmac.digest(self._secrets, token.encode(), hashlib.sha256)
        return Opened(grant, f"HUB{name[:17]}", b64encode(secret).decode().rstrip("="))
