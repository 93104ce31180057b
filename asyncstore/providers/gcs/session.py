"""One endpoint and one identity: requests out, replies or errors in.

The bearer is added here and nowhere else. A 401 costs one renewal and one repetition; a second
one is the answer.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from asyncstore.credentials import Refreshing
from asyncstore.errors import ConfigurationError, DeadlineError, StoreError
from asyncstore.http import DEADLINE, Engine, EngineOptions, Origin, Request, Stale
from asyncstore.providers.gcs.credentials import source_of
from asyncstore.providers.gcs.exchange import Exchange
from asyncstore.providers.gcs.sources import Anonymous
from asyncstore.wire.gcs_errors import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping

    from asyncstore.http import Reply, Response
    from asyncstore.http.message import Body
    from asyncstore.providers.gcs.exchange import GoogleToken
    from asyncstore.providers.gcs.sources import Source
    from asyncstore.types import Settings
    from asyncstore.wire.gcs_errors import Question

GOOGLE = "https://storage.googleapis.com"
_UNAUTHENTICATED = 401
_ERROR_CAP = 64 * 1024
_UPLOAD = re.compile(r"[?&]upload_id=([^&]+)")


class Sent(NamedTuple):
    """A request that was sent, and what came of it.

    Attributes:
        request: as it was sent.
        token: that it was sent with.
        outcome: the answer, or the error in its place.
    """

    request: Request
    token: GoogleToken
    outcome: Response | Exception

    def __repr__(self) -> str:
        return f"Sent({self.request!r})"


class Session:
    """Requests to one endpoint as one identity.

    Args:
        settings: credentials, endpoint and transport.
        environ: the environment.

    Raises:
        ConfigurationError: the credentials are of no known form, or would travel in clear.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._settings = settings
        self._engine: Engine | None = None
        self._near: Engine | None = None
        self.exchange = Exchange(lambda: self.engine, near=self._near_engine)
        url, emulated = _endpoint(settings, environ)
        self.origin = Origin.parse(url)
        self.source: Source
        if emulated and settings.creds is None:
            self.source, self.place = Anonymous(), "STORAGE_EMULATOR_HOST"
        else:
            self.source, self.place = source_of(settings.creds, self.exchange, environ)
        self._check_clear()
        self._credentials: Refreshing[GoogleToken] = Refreshing(
            self._fetch,
            clock=lambda: self.exchange.clock(),  # noqa: PLW0108 - it may be replaced
        )

    @property
    def is_google(self) -> bool:
        """Whether the endpoint is Google's own, whose abilities are known."""
        host = self.origin.host
        return host == "googleapis.com" or host.endswith(".googleapis.com")

    @property
    def reads_by_path(self) -> bool:
        """Whether objects are read over the XML API, which alone brings the user's metadata.

        Google's endpoint has both APIs; an emulator surely has the JSON one at any host name.
        """
        return self.is_google

    @property
    def engine(self) -> Engine:
        """The transport, made when first used."""
        if self._engine is None:
            self._engine = Engine.from_settings(self._settings)
        return self._engine

    def _near_engine(self) -> Engine:
        if self._near is None:
            options = EngineOptions.from_settings(
                self._settings, proxy=None, connect_timeout=3.0, connections=4
            )
            self._near = Engine(options)
        return self._near

    def _check_clear(self) -> None:
        clear = self.origin.scheme == "http" and not self.origin.is_loopback
        if clear and not self._settings.allow_http and not isinstance(self.source, Anonymous):
            raise ConfigurationError(
                f"credentials would travel in clear to {self.origin}; write https://, or "
                "allow_http=True if you mean it"
            )

    async def _fetch(self) -> GoogleToken:
        # The first of many waiters starts this: its deadline is not the others'.
        DEADLINE.set(None)
        return await self.source.fetch()

    def ready(self) -> GoogleToken | None:
        """Return the token that holds now, where it need not be waited for."""
        return self._credentials.current()

    async def token(self) -> GoogleToken:
        """Return the token that holds now, within the operation's deadline."""
        token = self._credentials.current()
        if token is not None:
            return token
        deadline = DEADLINE.get()
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(patience) as limit:
                return await self._credentials.get()
        except TimeoutError as error:
            if isinstance(error, StoreError) or not limit.expired():
                raise
            raise DeadlineError("no access token came in time") from None

    async def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        /,
        *,
        body: Body = b"",
        into: memoryview | None = None,
        limit: int | None = None,
        expect: Collection[int] = (200,),
        write: bool = False,
        once: bool = False,
        question: Question = None,
        first: Sent | None = None,
    ) -> Response:
        """Send a request; return a reply of an expected status.

        Args:
            method: upper case.
            target: encoded path and query.
            headers: besides the bearer.
            body: what to send.
            into: where a reply's body goes.
            limit: most bytes of it.
            expect: what is no error.
            write: whether it changes anything, for the error's outcome.
            once: whether doing it twice is not as doing it once, so that the engine must not
                send it again where a kept connection turns out to have been closed.
            question: what its condition asks.
            first: the request, where it was sent once already, and what came of that.
        """
        for is_last in (False, True):
            if first is not None and not is_last:
                token, reply = first.token, await self._came_of(first)
            else:
                request, token = await self._request(method, target, headers)
                request.body, request.into, request.limit = body, into, limit
                request.replayable = not once
                reply = await self.engine.send(request)
            if reply.status in expect:
                return reply
            if reply.status == _UNAUTHENTICATED and not is_last and await self._renewed(token):
                continue
            raise refusal(
                reply.status,
                reply.headers,
                reply.body,
                write=write,
                question=question,
                hide=_shown(token, target),
            )
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def stream(
        self, target: str, headers: Mapping[str, str], /, *, question: Question = None
    ) -> AsyncIterator[Reply]:
        """Fetch; give a reply of status 200, 206 or 416 as it arrives."""
        for is_last in (False, True):
            request, token = await self._request("GET", target, headers)
            async with self.engine.stream(request) as reply:
                if reply.status in (200, 206, 416):
                    yield reply
                    return
                body = await reply.read(_ERROR_CAP)
                status, told = reply.status, reply.headers
            if status == _UNAUTHENTICATED and not is_last and await self._renewed(token):
                continue
            raise refusal(status, told, body, question=question, hide=_shown(token, target))

    async def _came_of(self, sent: Sent) -> Response:
        outcome = sent.outcome
        if isinstance(outcome, Stale):
            return await self.engine.replay(sent.request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def idle(self) -> int:
        """Return how many requests could be sent now without waiting for anything."""
        if self._engine is None or self.ready() is None:
            return 0
        return self._engine.idle(self.origin)

    async def _request(
        self, method: str, target: str, headers: Mapping[str, str] | None
    ) -> tuple[Request, GoogleToken]:
        token = await self.token()
        target, full = self.addressed(target, headers, token)
        return Request(method, self.origin, target, full), token

    def addressed(
        self, target: str, headers: Mapping[str, str] | None, token: GoogleToken
    ) -> tuple[str, dict[str, str]]:
        """Return a request's target and headers as they are sent with a token."""
        full = dict(headers or {})
        if token.token is not None:
            full["authorization"] = f"Bearer {token.token.reveal()}"
        if token.project is not None:
            full["x-goog-user-project"] = token.project
            if "/storage/v1/" in target:
                project = quote(token.project, safe="")
                target += f"{'&' if '?' in target else '?'}userProject={project}"
        return target, full

    async def _renewed(self, used: GoogleToken) -> bool:
        """Have the refused token renewed; return whether another one came."""
        if used.token is None:
            return False
        self._credentials.invalidate(used)
        return (await self.token()).token != used.token

    async def aclose(self) -> None:
        """Close every connection and end a renewal under way."""
        await self._credentials.aclose()
        for engine in (self._engine, self._near):
            if engine is not None:
                await engine.aclose()


@contextmanager
def placed(op: str, url: str) -> Iterator[None]:
    """Say in the body's errors where they happened."""
    try:
        yield
    except StoreError as error:
        error.at(op, url)
        raise


def _shown(token: GoogleToken, target: str) -> list[str]:
    """Return the secrets that the request carried, which the reply might repeat."""
    shown = [token.token.reveal()] if token.token is not None else []
    upload = _UPLOAD.search(target)
    return shown if upload is None else [*shown, upload[1], unquote(upload[1])]


def _endpoint(settings: Settings, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Return the address, and whether it is an emulator's from the environment."""
    if settings.endpoint_url:
        return settings.endpoint_url, False
    emulator = environ.get("STORAGE_EMULATOR_HOST") if settings.use_environment else None
    if emulator:
        return (emulator if "://" in emulator else f"http://{emulator}").rstrip("/"), True
    return GOOGLE, False
