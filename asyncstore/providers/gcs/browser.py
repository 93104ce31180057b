"""Signing in through the browser: OAuth's authorisation code with PKCE and a loopback redirect.

Source: RFC 8252, RFC 7636 and https://developers.google.com/identity/protocols/oauth2/native-app.
The listener takes one GET on a random port of 127.0.0.1. A redirect whose `state` is not ours is
refused and changes nothing: whoever sent it did not see the page that we opened.

The library has no OAuth client of its own: an embedded secret would be everybody's. The user's
client comes from `creds={"type": "browser", …}` or from the file that `ASYNCSTORE_GOOGLE_CLIENT`
names, as Google's console hands it out.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import sys
import webbrowser
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from asyncstore.credentials import Secret
from asyncstore.errors import (
    ConfigurationError,
    DeadlineError,
    IntegrityError,
    UnauthenticatedError,
)
from asyncstore.providers.gcs import cache
from asyncstore.providers.gcs.exchange import split, token_of
from asyncstore.providers.gcs.sources import DATA, TOKEN_URI, AuthorizedUser, CannotSign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.providers.gcs.exchange import Exchange, GoogleToken

CLIENT_VARIABLE = "ASYNCSTORE_GOOGLE_CLIENT"
AUTH_URI = "https://accounts.google.com/o/oauth2/v2/auth"
PATIENCE = 300.0
"""Seconds that a person has for the consent page."""

_HOW = (
    "signing in through the browser needs an OAuth client of your own: make one of the type "
    "'desktop app' in Google's console, download its JSON, and set ASYNCSTORE_GOOGLE_CLIENT to "
    "that file's path, or pass creds={'type': 'browser', 'client_id': …, 'client_secret': …}"
)
_LINE = 8192
_KEYS = ("client_id", "client_secret", "auth_uri", "token_uri")


@dataclass(frozen=True)
class Client:
    """An OAuth client of the user's: whom Google's consent page names."""

    client_id: str
    client_secret: Secret
    auth_uri: str = AUTH_URI
    token_uri: str = TOKEN_URI

    @classmethod
    def read(cls, fields: Mapping[str, Any], place: str, /) -> Client:
        """Read a client's fields, or the file of Google's console that has them in `installed`.

        Raises:
            ConfigurationError: says what is missing.
        """
        inner = fields.get("installed", fields)
        values = {name: inner.get(name) for name in _KEYS} if isinstance(inner, dict) else {}
        given = {name: value for name, value in values.items() if value}
        if not all(isinstance(v, str) for v in given.values()) or not (
            given.keys() >= {"client_id", "client_secret"}
        ):
            raise ConfigurationError(f"{place}: no client_id and client_secret; {_HOW}")
        for name in ("auth_uri", "token_uri"):
            split(given.get(name, AUTH_URI))
        return cls(client_secret=Secret(given.pop("client_secret")), **given)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], /) -> Client:
        """Read the file that `ASYNCSTORE_GOOGLE_CLIENT` names."""
        path = environ.get(CLIENT_VARIABLE)
        if not path:
            raise ConfigurationError(_HOW)
        try:
            with open(path, "rb") as file:
                fields = json.loads(file.read(_LINE * 8))
        except OSError as error:
            raise ConfigurationError(
                f"{CLIENT_VARIABLE}: {path!r} cannot be read: {error.strerror}"
            ) from None
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise ConfigurationError(f"{CLIENT_VARIABLE}: {path!r} is no JSON object; {_HOW}")
        return cls.read(fields, f"{CLIENT_VARIABLE} {path!r}")


@dataclass
class Browser(CannotSign):
    """A login through the browser, once; afterwards its refresh token.

    Args:
        exchange: how to trade the code.
        client: returns the OAuth client; called when the login begins.
        path: where the login is kept.
        show: opens an address in the user's browser; the system's own by default.
        patience: seconds to wait for the person.
    """

    exchange: Exchange
    client: Callable[[], Client]
    path: str
    show: Callable[[str], Any] | None = None
    patience: float = PATIENCE
    _user: AuthorizedUser | None = field(default=None, init=False)

    async def fetch(self, scope: str = DATA, /) -> GoogleToken:
        """Sign in, or renew what a login gave."""
        if self._user is not None:
            return await self._user.fetch(scope)
        client = await asyncio.to_thread(self.client)
        verifier = secrets.token_urlsafe(64)
        async with _Redirect() as redirect:
            await self._open_page(client, redirect, verifier, scope)
            try:
                async with asyncio.timeout(self.patience):
                    code = await redirect.code
            except TimeoutError:
                raise DeadlineError(
                    f"nobody signed in through the browser within {self.patience:.0f} s",
                    op="sign in",
                ) from None
        return await self._trade(client, code, redirect.uri, verifier)

    async def _open_page(
        self, client: Client, redirect: _Redirect, verifier: str, scope: str
    ) -> None:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        query = {
            "client_id": client.client_id,
            "redirect_uri": redirect.uri,
            "response_type": "code",
            "scope": scope,
            "state": redirect.state,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "access_type": "offline",
            "prompt": "consent",
        }
        page = f"{client.auth_uri}?{urlencode(query)}"
        print(  # noqa: T201 - a person waits for it
            f"Sign in to Google in your browser; if it does not open, go to:\n  {page}",
            file=sys.stderr,
            flush=True,
        )
        # Without a browser the printed address is the way; that is not an error.
        with contextlib.suppress(webbrowser.Error):
            await asyncio.to_thread(self.show or webbrowser.open, page)

    async def _trade(
        self, client: Client, code: str, redirect_uri: str, verifier: str
    ) -> GoogleToken:
        now = self.exchange.clock()
        reply = await self.exchange.post_form(
            client.token_uri,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
                "client_id": client.client_id,
                "client_secret": client.client_secret.reveal(),
            },
        )
        token = token_of(reply, now, identity="an authorised user")
        refresh = reply.get("refresh_token")
        if not isinstance(refresh, str) or not refresh:
            raise IntegrityError("Google returned no refresh token", op="sign in")
        user = AuthorizedUser(
            self.exchange, client.client_id, client.client_secret, Secret(refresh), client.token_uri
        )
        await asyncio.to_thread(cache.save, self.path, _document(user))
        self._user = user
        return token


def _document(user: AuthorizedUser) -> dict[str, str]:
    return {
        "type": "authorized_user",
        "client_id": user.client_id,
        "client_secret": user.client_secret.reveal(),
        "refresh_token": user.refresh_token.reveal(),
        "token_uri": user.token_uri,
    }


class _Redirect:
    """Listens on this machine for the browser's way back."""

    def __init__(self) -> None:
        self.state = secrets.token_urlsafe(32)
        self.uri = ""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LINE)
        self.uri = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None  # noqa: S101 - entered
        self._server.close()
        self.code.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                line = (await reader.readline()).decode("ascii", "replace")
                while (await reader.readline()).strip():
                    pass
                status, text, settle = self._judge(line)
                writer.write(_page(status, text))
                await writer.drain()
                settle()
        except (TimeoutError, OSError, ValueError):
            pass  # a stranger at the port; the person's browser may still come
        finally:
            writer.close()

    def _judge(self, line: str) -> tuple[str, str, Callable[[], None]]:
        """Return the page for a request line, and what to do once it is sent."""
        method, _, rest = line.partition(" ")
        parts = urlsplit(rest.split(" ")[0])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if method != "GET" or parts.path != "/" or self.code.done():
            return "404 Not Found", "There is nothing here.", lambda: None
        if not hmac.compare_digest(query.get("state", "").encode(), self.state.encode()):
            return "400 Bad Request", "This is not the sign-in that was begun.", lambda: None
        if "code" in query:
            return "200 OK", "Signed in. You can close this page.", self._settler(query["code"])
        return "200 OK", "Not signed in. You can close this page.", self._settler(None)

    def _settler(self, code: str | None) -> Callable[[], None]:
        def settle() -> None:
            if self.code.done():
                return
            if code is None:
                self.code.set_exception(
                    UnauthenticatedError("the sign-in was declined in the browser", op="sign in")
                )
            else:
                self.code.set_result(code)

        return settle


def _page(status: str, text: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>asyncstore</title><p>{text}</p>".encode()
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\n"
        "referrer-policy: no-referrer\r\nconnection: close\r\n\r\n"
    ).encode() + body
