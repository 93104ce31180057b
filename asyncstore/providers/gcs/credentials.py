"""What `creds=` may be for Google, and which source of tokens it means. Fails closed.

What was asked for is used, or is an error: nothing here falls through to another identity. The
one order there is, Application Default Credentials, is asked for by name or by giving nothing,
and stops at the first place that holds anything, right or wrong.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncstore.credentials import read_expiry
from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.providers.gcs import cache, documents
from asyncstore.providers.gcs.browser import Browser, Client
from asyncstore.providers.gcs.exchange import check_token
from asyncstore.providers.gcs.metadata import Metadata
from asyncstore.providers.gcs.sources import DATA, Anonymous, Called, CannotSign, Fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.providers.gcs.exchange import Exchange, GoogleToken
    from asyncstore.providers.gcs.sources import Account, Source

FORMS = (
    "creds= for Google is the path of a key file, its JSON as a dict, 'browser', 'cache', "
    "'google_default', 'anon', {'gcs_oauth_token': …}, or a callable that returns a token"
)

_TOKEN_KEYS = {"gcs_oauth_token", "project_id", "expires_at"}
_BROWSER_KEYS = {"type", "client_id", "client_secret", "auth_uri", "token_uri"}
_CAP = 1 << 20


def source_of(
    creds: Any, exchange: Exchange, environ: Mapping[str, str] = os.environ, /
) -> tuple[Source, str]:
    """Return the source that `creds=` means, and its name for messages. No I/O.

    Raises:
        ConfigurationError: it is of no form that is known; names the forms.
    """
    if creds is None or creds == "google_default":
        return Default(exchange, environ), "Application Default Credentials"
    if isinstance(creds, str | os.PathLike):
        return _named(os.fspath(creds), exchange, environ)
    if isinstance(creds, dict):
        return _mapping(creds, exchange, environ), "creds="
    if callable(creds):
        return Called(creds), "the callable given as creds="
    raise ConfigurationError(f"{FORMS}; not {type(creds).__name__}")


def _named(name: Any, exchange: Exchange, environ: Mapping[str, str]) -> tuple[Source, str]:
    if name == "anon":
        return Anonymous(), "creds='anon'"
    path = cache.cache_path
    if name == "cache":
        return Cached(exchange, path(environ), environ), "the browser login kept before"
    if name == "browser":
        client = _client(environ)
        return Browser(exchange, client, path(environ)), "a login through the browser"
    if not isinstance(name, str) or not name:
        raise ConfigurationError(FORMS)
    return FromFile(exchange, os.path.expanduser(name), environ, "creds="), _shown(name)


def _client(environ: Mapping[str, str]) -> Callable[[], Client]:
    return lambda: Client.from_environment(environ)


def _shown(name: str) -> str:
    """Name a file, unless what was given looks like a secret in the wrong place."""
    is_path = len(name) < 256 and name.isprintable() and ("/" in name or name.endswith(".json"))  # noqa: PLR2004
    return f"the file {name!r}" if is_path and "{" not in name else "the file given as creds="


def _mapping(creds: dict[Any, Any], exchange: Exchange, environ: Mapping[str, str]) -> Source:
    if "gcs_oauth_token" in creds:
        return _fixed(creds)
    if creds.get("type") == "browser":
        documents.check_known(creds, _BROWSER_KEYS, "creds=")
        client = Client.read(creds, "creds=")
        return Browser(exchange, lambda: client, cache.cache_path(environ))
    if "type" in creds:
        return documents.read(creds, "creds=", exchange, environ=environ)
    documents.check_known(creds, _TOKEN_KEYS | {"type"}, f"creds= ({FORMS})")
    raise ConfigurationError(FORMS)


def _fixed(creds: dict[Any, Any]) -> Source:
    documents.check_known(creds, _TOKEN_KEYS, "creds=")
    end, project = read_expiry(creds.get("expires_at")), creds.get("project_id")
    if not isinstance(project, str | None):
        raise ConfigurationError("creds=: project_id is a text")
    try:
        return Fixed(check_token(creds["gcs_oauth_token"]), end, project)
    except IntegrityError:
        raise ConfigurationError("creds=: gcs_oauth_token is no access token") from None


@dataclass
class FromFile:
    """A credential file, read again at each renewal: who manages it may replace it."""

    exchange: Exchange
    path: str = field(repr=False)  # a misplaced secret, for all that is known
    environ: Mapping[str, str] = field(repr=False)
    asked_by: str
    _source: Source | None = field(default=None, init=False)

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Read the file and let what it says fetch a token."""
        self._source = await asyncio.to_thread(self._read)
        return await self._source.fetch(scope)

    async def account(self) -> Account:
        """Return the account that the file names."""
        return await (await self._latest()).account()

    async def sign(self, data: bytes, /) -> bytes:
        """Sign as what the file says does."""
        return await (await self._latest()).sign(data)

    async def _latest(self) -> Source:
        if self._source is None:
            self._source = await asyncio.to_thread(self._read)
        return self._source

    def _read(self) -> Source:
        place = f"{self.asked_by}: {_shown(self.path)}"
        text, trouble = _read_file(self.path)
        if trouble:
            # Raised out here: the system's error has the name, which may be a misplaced secret.
            raise ConfigurationError(f"{place} {trouble}. {FORMS}")
        return documents.parse(text, place, self.exchange, environ=self.environ)


def _read_file(path: str) -> tuple[bytes, str]:
    """Return a file's bytes, and what was wrong with it, or nothing."""
    try:
        with open(path, "rb") as file:
            return file.read(_CAP), ""
    except FileNotFoundError:
        return b"", "does not exist"
    except OSError as error:
        return b"", f"cannot be read: {error.strerror}"
    except ValueError:
        return b"", "cannot be the path of a file"


@dataclass
class Cached(CannotSign):
    """A login made before through the browser."""

    exchange: Exchange
    path: str
    environ: Mapping[str, str] = field(repr=False)

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Read the cache and trade its refresh token."""
        return await (await asyncio.to_thread(self._read)).fetch(scope)

    def _read(self) -> Source:
        document = cache.load(self.path)
        if document.get("type") != "authorized_user":
            raise ConfigurationError(f"{self.path} holds no login; sign in with creds='browser'")
        return documents.read(document, self.path, self.exchange, strict=False)


@dataclass
class Default:
    """Application Default Credentials: the variable, gcloud's file, the metadata server.

    Which of them holds is decided once: a file that vanishes in the middle of the work is an
    error, not another identity.
    """

    exchange: Exchange
    environ: Mapping[str, str] = field(repr=False)
    _chosen: Source | None = field(default=None, init=False)

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Fetch from the first place that holds anything."""
        return await self._choose().fetch(scope)

    async def account(self) -> Account:
        """Return the account that the first place that holds anything names."""
        return await self._choose().account()

    async def sign(self, data: bytes, /) -> bytes:
        """Sign as the first place that holds anything does."""
        return await self._choose().sign(data)

    @property
    def place(self) -> str:
        """Where the credentials are from, for messages."""
        chosen = self._choose()
        if isinstance(chosen, FromFile):
            return f"{chosen.asked_by}: {_shown(chosen.path)}"
        return f"the metadata server at {Metadata(self.exchange, self.environ).host}"

    def _choose(self) -> Source:
        if self._chosen is None:
            self._chosen = self._find()
        return self._chosen

    def _find(self) -> Source:
        variable = "GOOGLE_APPLICATION_CREDENTIALS"
        path = self.environ.get(variable)
        if path:
            return FromFile(self.exchange, path, self.environ, variable)
        path = gcloud_path(self.environ)
        if path is not None and os.path.lexists(path):
            return FromFile(self.exchange, path, self.environ, "gcloud's credentials")
        return Metadata(self.exchange, self.environ)


def gcloud_path(environ: Mapping[str, str], /) -> str | None:
    """Return where `gcloud auth application-default login` leaves its credentials."""
    folder = environ.get("CLOUDSDK_CONFIG")
    if not folder and os.name == "nt":
        folder = environ.get("APPDATA") and os.path.join(environ["APPDATA"], "gcloud")
    elif not folder:
        home = environ.get("HOME") or os.path.expanduser("~")
        folder = os.path.join(home, ".config", "gcloud")
    return os.path.join(folder, "application_default_credentials.json") if folder else None
