"""Which hub, and as whom: the caller's words, the environment, the login file, in this order.

A login is of one hub: its token goes to the address that it was made at and to no other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncstore import private
from asyncstore.credentials import Secret
from asyncstore.errors import ConfigurationError
from asyncstore.http import Origin
from asyncstore.wire import hub as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.types import Settings

USUAL = "https://app.activeloop.ai"
URL_VARIABLE, TOKEN_VARIABLE = "ASYNCSTORE_HUB_URL", "ACTIVELOOP_TOKEN"

_AGAIN = "run `asyncstore login`"
_NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub and who asks it.

    Attributes:
        url: its address, such as `"https://hub.example.org"`.
        token: whose requests they are; `None` is nobody's.
        source: where the token is from, for people, such as `"token="`.
    """

    url: str
    token: Secret | None = None
    source: str = _NOBODY

    @property
    def username(self) -> str | None:
        """The name that the token says of itself, unproven."""
        return None if self.token is None else wire.subject(self.token.reveal())

    @property
    def identity(self) -> str:
        """Who asks, for messages: `"ann (from token=)"` or `"nobody"`."""
        if self.token is None:
            return _NOBODY
        return f"{self.username or 'this token'} (from {self.source})"

    @property
    def is_near(self) -> bool:
        """Whether the hub is on this machine."""
        return Origin.parse(self.url).is_loopback


@dataclass(frozen=True, slots=True)
class Login:
    """What `asyncstore login` keeps.

    Attributes:
        url: the hub's address.
        token: the token, or `None` after a logout.
        username: whose it is.
        expires_at: when it ends, as the hub said it, or `None`.
    """

    url: str
    token: Secret | None = None
    username: str | None = None
    expires_at: str | None = None


def path(environ: Mapping[str, str] = os.environ, /) -> str:
    """Return where the login is kept."""
    return private.path_of("hub.json", environ)


def load(environ: Mapping[str, str] = os.environ, /) -> Login | None:
    """Read the login; `None` where there is none.

    Raises:
        ConfigurationError: the file is broken, or somebody else could have read or written it;
            says what to do.
    """
    place = path(environ)
    found = private.load(place, again=_AGAIN)
    if found is None:
        return None
    url, token = found.get("hub_url"), found.get("token")
    name, end = found.get("username"), found.get("expires_at")
    texts = (token, name, end)
    if not isinstance(url, str) or not all(isinstance(text, str | None) for text in texts):
        raise ConfigurationError(f"{place} holds no login; remove it and {_AGAIN}")
    return Login(_address(url, place), _token(token, place) if token else None, name, end)


def save(login: Login, environ: Mapping[str, str] = os.environ, /) -> None:
    """Keep a login in place of the one before.

    Raises:
        ConfigurationError: it cannot be kept safely; says what to do.
    """
    document = {
        "hub_url": login.url,
        "token": login.token.reveal() if login.token else None,
        "username": login.username,
        "expires_at": login.expires_at,
    }
    private.save(path(environ), document)


def find(settings: Settings, environ: Mapping[str, str] = os.environ, /) -> Hub:
    """Return the hub that is meant, and who asks it. Reads the login file if it is needed.

    Raises:
        ConfigurationError: an address is none, a token cannot be one, or the login file is not
            fit to be used.
    """
    url, token, source = settings.hub_url, settings.token, "token="
    where = "hub_url="
    if url is None and environ.get(URL_VARIABLE):
        url, where = environ[URL_VARIABLE], URL_VARIABLE
    if token is None and environ.get(TOKEN_VARIABLE):
        token, source = environ[TOKEN_VARIABLE], TOKEN_VARIABLE
    kept = load(environ) if url is None or token is None else None
    address = _address(url, where) if url is not None else kept.url if kept else USUAL
    if token is not None:
        return Hub(address, _token(token, source), source)
    if kept is not None and kept.token is not None and kept.url == address:
        return Hub(address, kept.token, "the login file")
    return Hub(address)


def _address(url: str, where: str) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"{where} is a text, not {type(url).__name__}")
    try:
        return str(Origin.parse(url if "://" in url else f"https://{url}"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message}") from None


def _token(token: str, where: str) -> Secret:
    """Return a token that can stand in a header; what it is otherwise is not said."""
    if not isinstance(token, str) or not token:
        raise ConfigurationError(f"{where}: a token is a text")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"{where}: the token has white space or another character that no token has"
        )
    return Secret(token)
