"""The kinds of Google credentials, each as a source of tokens.

A source is made from checked values and fetches one token per call; `Refreshing` decides when.
Private keys stay in memory: they are read by `cryptography` from text and touch no file.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote

from asyncstore.credentials import Secret, called, read_expiry
from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.providers.gcs.exchange import (
    Exchange,
    GoogleToken,
    check_token,
    token_of,
)
from asyncstore.wire.gcs_sign import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = "https://www.googleapis.com/auth/devstorage.read_write"
PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
IAM = "https://iamcredentials.googleapis.com"

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_HOUR = 3600
LONGEST_BY_IAM = 12 * _HOUR


class Account(NamedTuple):
    """Who signs.

    Attributes:
        email: the service account's address.
        longest: most seconds that a URL may hold: 7 days by a key of one's own, 12 hours by the
            keys that Google keeps and changes.
    """

    email: str
    longest: int


class Source(Protocol):
    """Where tokens come from."""

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Return a new token for a scope."""
        ...

    async def account(self) -> Account:
        """Return the account that `sign` signs for.

        Raises:
            ConfigurationError: these credentials cannot sign; says which can.
        """
        ...

    async def sign(self, data: bytes, /) -> bytes:
        """Return the account's signature of `data`: RSA, PKCS #1 v1.5, SHA-256."""
        ...


class CannotSign:
    """Credentials of a person, or of no known account, have no key to sign with."""

    async def account(self) -> Account:
        """Refuse."""
        raise _cannot_sign()

    async def sign(self, _: bytes, /) -> bytes:
        """Refuse."""
        raise _cannot_sign()


def _cannot_sign() -> ConfigurationError:
    return ConfigurationError(
        "these credentials cannot sign URLs; use a service account's key, an impersonated "
        "service account, or a machine's own service account"
    )


class Anonymous(CannotSign):
    """Unsigned requests."""

    async def fetch(self, _: str = DATA, /) -> GoogleToken:
        """Return the token that is none."""
        return GoogleToken(None, identity="anonymous")


class Fixed(CannotSign):
    """One token that the user has; it cannot be renewed."""

    def __init__(self, token: str, expires_at: float | None, project: str | None) -> None:
        self._token = GoogleToken(
            token, expires_at=expires_at, identity="gcs_oauth_token", project=project
        )

    async def fetch(self, _: str = DATA, /) -> GoogleToken:
        """Return the token."""
        return self._token


class Called(CannotSign):
    """The user's own callable, sync or async."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    async def fetch(self, _: str = DATA, /) -> GoogleToken:
        """Call it and read what it returns."""
        value = await called(self._function)
        if isinstance(value, GoogleToken):
            return value
        return GoogleToken(
            _text_of(value),
            expires_at=_end_of(value),
            identity="a callable",
            project=_get(value, "project_id"),
        )


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _text_of(value: Any) -> str:
    text = value if isinstance(value, str) else None
    for name in ("token", "access_token", "gcs_oauth_token"):
        text = text or _get(value, name)
    text = text.reveal() if isinstance(text, Secret) else text
    try:
        return check_token(text)
    except IntegrityError:
        raise ConfigurationError(
            "the callable for Google credentials returned no token; return a text, or a dict or "
            "object with token and expires_at"
        ) from None


def _end_of(value: Any) -> float | None:
    end = _get(value, "expires_at")
    if end is None:
        end = _get(
            value, "expiry"
        )  # google-auth's name for it; and its time is UTC and says no zone
        if isinstance(end, datetime) and end.tzinfo is None:
            end = end.replace(tzinfo=UTC)
    return read_expiry(end)


@dataclass(frozen=True)
class ServiceAccount:
    """A service account's key: it signs for its own tokens, and for URLs."""

    exchange: Exchange
    email: str
    key: Any = field(repr=False)
    key_id: str | None = None
    token_uri: str = TOKEN_URI
    project: str | None = None

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Trade a signed assertion for a token."""
        now = self.exchange.clock()
        header = {"alg": "RS256", "typ": "JWT"} | ({"kid": self.key_id} if self.key_id else {})
        claims = {
            "iss": self.email,
            "scope": scope,
            "aud": self.token_uri,
            "iat": int(now),
            "exp": int(now) + _HOUR,
        }
        text = f"{_segment(header)}.{_segment(claims)}"
        assertion = f"{text}.{_base64url(await self.sign(text.encode()))}"
        reply = await self.exchange.post_form(
            self.token_uri, {"grant_type": _JWT_GRANT, "assertion": assertion}
        )
        return token_of(reply, now, identity=self.email, project=self.project)

    async def account(self) -> Account:
        """Return the account."""
        return Account(self.email, LONGEST)

    async def sign(self, data: bytes, /) -> bytes:
        """Sign with the account's own key, in a thread: it takes a millisecond."""
        return await asyncio.to_thread(_rs256, self.key, data)


@dataclass(frozen=True)
class AuthorizedUser(CannotSign):
    """A person's login, as a refresh token."""

    exchange: Exchange
    client_id: str
    client_secret: Secret
    refresh_token: Secret
    token_uri: str = TOKEN_URI
    project: str | None = None
    basic: bool = False  # workforce logins authenticate the client in a header

    async def fetch(self, _: str = DATA, /) -> GoogleToken:
        """Trade the refresh token for an access token; its scopes were fixed at the login."""
        now = self.exchange.clock()
        fields = {"grant_type": "refresh_token", "refresh_token": self.refresh_token.reveal()}
        client = {"client_id": self.client_id, "client_secret": self.client_secret.reveal()}
        if self.basic:
            reply = await self.exchange.post_form(self.token_uri, fields, basic=basic_of(**client))
        else:
            reply = await self.exchange.post_form(self.token_uri, fields | client)
        return token_of(reply, now, identity="an authorised user", project=self.project)


@dataclass(frozen=True)
class Impersonated:
    """A service account, on behalf of which other credentials may act."""

    exchange: Exchange
    source: Source
    url: str
    delegates: tuple[str, ...] = ()
    lifetime: int = _HOUR
    project: str | None = None

    @property
    def email(self) -> str:
        """The account's address, which the URL names."""
        return self.url.rsplit("/", 1)[-1].partition(":")[0]

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Fetch the other credentials' token, and trade it for the account's."""
        outer = await self.source.fetch(PLATFORM)
        assert outer.token is not None  # noqa: S101 - no source of documents is anonymous
        reply = await self.exchange.post_json(
            self.url,
            {
                "scope": [scope],
                "delegates": list(self.delegates),
                "lifetime": f"{self.lifetime}s",
            },
            bearer=outer.token,
        )
        return GoogleToken(
            check_token(reply.get("accessToken")),
            expires_at=_rfc3339(reply.get("expireTime")),
            identity=self.email,
            project=self.project,
        )

    async def account(self) -> Account:
        """Return the account."""
        return Account(self.email, LONGEST_BY_IAM)

    async def sign(self, data: bytes, /) -> bytes:
        """Let the IAM service sign with the account's key."""
        url = self.url.removesuffix(":generateAccessToken") + ":signBlob"
        outer = await self.source.fetch(PLATFORM)
        return await sign_blob(self.exchange, url, outer, data, self.delegates)


async def sign_blob(
    exchange: Exchange, url: str, bearer: GoogleToken, data: bytes, delegates: tuple[str, ...] = ()
) -> bytes:
    """Let the IAM service sign `data` with an account's key."""
    assert bearer.token is not None  # noqa: S101 - an anonymous source cannot sign
    payload = {"payload": base64.b64encode(data).decode(), "delegates": list(delegates)}
    reply = await exchange.post_json(url, payload, bearer=bearer.token)
    try:
        return base64.b64decode(reply["signedBlob"], validate=True)
    except (KeyError, ValueError, TypeError):
        raise IntegrityError("the IAM service returned no signature", op="presign") from None


def sign_blob_url(email: str, iam: str = IAM, /) -> str:
    """Return the address at which an account's key signs."""
    return f"{iam}/v1/projects/-/serviceAccounts/{quote(email, safe='@')}:signBlob"


@dataclass(frozen=True)
class External(CannotSign):
    """Workload identity: another platform's token, traded for Google's."""

    exchange: Exchange
    audience: str
    token_type: str
    token_url: str
    subject: Callable[[], Any] = field(repr=False)
    basic: str | None = field(default=None, repr=False)
    user_project: str | None = None
    project: str | None = None

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Fetch the other platform's token, and trade it at Google's token service."""
        now = self.exchange.clock()
        fields = {
            "grant_type": _EXCHANGE_GRANT,
            "audience": self.audience,
            "scope": scope,
            "requested_token_type": _ACCESS_TOKEN,
            "subject_token": await self.subject(),
            "subject_token_type": self.token_type,
        }
        if self.user_project:
            fields["options"] = json.dumps({"userProject": self.user_project})
        reply = await self.exchange.post_form(self.token_url, fields, basic=self.basic)
        return token_of(reply, now, identity="a workload identity", project=self.project)


def basic_of(*, client_id: str, client_secret: str) -> str:
    """Return what follows `Basic` in an authorization header."""
    pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return base64.b64encode(pair.encode()).decode()


def load_key(pem: str, /) -> Any:
    """Read an RSA private key from PEM text.

    Raises:
        ConfigurationError: it is none; its text is not repeated.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - 30 ms
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("private_key is not an RSA key in PEM text")
    return key


def _rs256(key: Any, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - 30 ms
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    signature: bytes = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return signature


def _rfc3339(text: Any) -> float:
    try:
        end = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        end = None
    if end is None or end.tzinfo is None:
        raise IntegrityError("Google's reply does not say how long the token holds", op="sign in")
    return end.timestamp()


def _segment(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


__all__ = [
    "Anonymous",
    "AuthorizedUser",
    "Called",
    "External",
    "Fixed",
    "Impersonated",
    "ServiceAccount",
    "Source",
    "basic_of",
    "load_key",
    "sign_blob",
    "sign_blob_url",
]
