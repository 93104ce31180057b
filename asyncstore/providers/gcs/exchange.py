"""How tokens are asked for over HTTP: to whom secrets may go, for how long, and what refusals mean.

Everything runs on the library's engine: no redirects, no proxies of the environment's, a
deadline of its own for each exchange, replies of at most 64 KiB. Secrets go to https or to this
machine only. An error holds the place and Google's one-word reason, never the reply's text.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from asyncstore.credentials import Secret
from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.http import DEADLINE, Origin, Request
from asyncstore.wire.gcs_errors import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.http import Engine, Response

PATIENCE = 30.0
"""Seconds that one exchange may take."""

_CAP = 64 * 1024
_LONGEST_LIFE = 43_200.0
_WORD = re.compile(r"[A-Za-z_]{1,40}")


class GoogleToken:
    """An access token and whose it is; no repr or log shows it.

    Attributes:
        token: the bearer token, or `None` for unsigned requests.
        expires_at: epoch seconds, or `None` where that is unknown.
        identity: the account's e-mail address where known, or the kind of credentials.
        project: who is billed where requesters pay, or `None`.
    """

    __slots__ = ("expires_at", "identity", "project", "token")

    def __init__(
        self,
        token: str | None,
        *,
        expires_at: float | None = None,
        identity: str,
        project: str | None = None,
    ) -> None:
        self.token = Secret(token) if token is not None else None
        self.expires_at = expires_at
        self.identity = identity
        self.project = project

    def __repr__(self) -> str:
        return f"GoogleToken({self.identity!r})"


class Exchange:
    """Requests for tokens.

    Args:
        engine: makes or returns the transport; called when first needed.
        near: the same without any proxy, for a machine's own metadata server.
        clock: epoch seconds; for tests.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        near: Callable[[], Engine] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._near = near or engine
        self.clock = clock

    async def post_form(
        self, url: str, fields: Mapping[str, str], /, *, basic: str | None = None
    ) -> dict[str, Any]:
        """Post a form with secrets in it; return the JSON reply."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if basic:
            headers["authorization"] = f"Basic {basic}"
        return await self._ask("POST", url, headers, urlencode(fields).encode())

    async def post_json(
        self, url: str, payload: Mapping[str, Any], /, *, bearer: Secret
    ) -> dict[str, Any]:
        """Post JSON as the bearer of a token; return the JSON reply."""
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {bearer.reveal()}",
        }
        return await self._ask("POST", url, headers, json.dumps(payload).encode())

    async def get(
        self, url: str, headers: Mapping[str, str], /, *, method: str = "GET", plain: bool = False
    ) -> Response:
        """Fetch a small text, such as a subject token.

        Args:
            url: where from.
            headers: what to send.
            method: some services hand out tokens for a PUT.
            plain: allow http to any host, and ask no proxy, for the metadata servers that have
                nothing else.
        """
        origin, target = split(url, plain=plain)
        engine = self._near() if plain else self._engine()
        reply = await _send(engine, Request(method, origin, target, headers, limit=_CAP))
        if reply.status != 200:  # noqa: PLR2004
            raise _refused(origin, reply)
        return reply

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        origin, target = split(url)
        headers = {"accept": "application/json", **headers}
        request = Request(method, origin, target, headers, body=body, limit=_CAP)
        reply = await _send(self._engine(), request)
        if reply.status != 200:  # noqa: PLR2004
            raise _refused(origin, reply)
        return read_json(reply.body, str(origin))


async def _send(engine: Engine, request: Request) -> Response:
    end = time.monotonic() + PATIENCE
    mark = DEADLINE.set(min(DEADLINE.get() or end, end))
    try:
        return await engine.send(request)
    except StoreError as error:
        raise error.at("sign in", str(request.origin)) from None
    finally:
        DEADLINE.reset(mark)


def split(url: str, /, *, plain: bool = False) -> tuple[Origin, str]:
    """Return the origin and target of a URL that secrets may go to.

    Raises:
        ConfigurationError: it is neither https nor this machine, or no such URL at all.
    """
    try:
        parts = urlsplit(url)
        origin = Origin.parse(f"{parts.scheme}://{parts.netloc}")
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(
            "a URL in the Google credentials is not https://host/path"
        ) from None
    if not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        raise ConfigurationError("a URL in the Google credentials is not https://host/path")
    if origin.scheme != "https" and not origin.is_loopback and not plain:
        raise ConfigurationError(
            f"the Google credentials would send secrets to {origin} in clear; it must be https"
        )
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def read_json(body: Any, place: str, /) -> dict[str, Any]:
    """Parse a reply that must be one JSON object; its text goes into no error."""
    try:
        value = json.loads(bytes(body))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise IntegrityError(
            "the reply is not the JSON that was asked for", op="sign in", url=place
        )
    return value


def token_of(
    reply: Mapping[str, Any], now: float, /, *, identity: str, project: str | None = None
) -> GoogleToken:
    """Read an OAuth token reply.

    Raises:
        IntegrityError: there is no usable token in it.
    """
    text, life = reply.get("access_token"), reply.get("expires_in")
    check_token(text)
    try:
        seconds = float(life)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_LIFE:
        raise IntegrityError("Google's reply does not say how long the token holds", op="sign in")
    return GoogleToken(text, expires_at=now + seconds, identity=identity, project=project)


def check_token(text: Any, /) -> str:
    """Return a text that can be a bearer token in a header.

    Raises:
        IntegrityError: it is none; what it was is not said.
    """
    if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable():
        raise IntegrityError("there is no token in the reply", op="sign in")
    return text


def _refused(origin: Origin, reply: Response) -> StoreError:
    reason = _reason(reply.body)
    where: dict[str, Any] = {"op": "sign in", "url": str(origin), "status": reply.status}
    text = f"the sign-in was refused ({reply.status}{f', {reason}' if reason else ''})"
    if reply.status == 429:  # noqa: PLR2004
        return ThrottledError(text, retry_after=retry_after(reply.headers), **where)
    if reply.status >= 500 or reply.status == 408:  # noqa: PLR2004
        return UnavailableError(text, retry_after=retry_after(reply.headers), **where)
    if reply.status == 403:  # noqa: PLR2004
        return PermissionDeniedError(text, **where)
    if 300 <= reply.status < 400:  # noqa: PLR2004
        return ConfigurationError("the sign-in was redirected, which is not followed", **where)
    if reason == "invalid_grant":
        text += "; the key or the login was revoked, or this machine's clock is wrong"
    return UnauthenticatedError(text, **where)


def _reason(body: Any) -> str:
    """Return Google's one word for the refusal, such as `invalid_grant`, or nothing."""
    try:
        error = json.loads(bytes(body[:_CAP]))["error"]
        word = error.get("status", "") if isinstance(error, dict) else error
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return word if isinstance(word, str) and _WORD.fullmatch(word) else ""
