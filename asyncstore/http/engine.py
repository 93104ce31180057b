"""The engine: requests in, answers out, over as few connections as there are requests at once.

It does what it is told, once. It follows no redirect, retries nothing, asks for no
`100 Continue`, takes no coding off a body. One exception: a kept connection that turns out to
have been closed before any byte of the answer came costs one replay on a fresh connection, for
a request that may be replayed.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import _get_running_loop
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from asyncstore.errors import ConfigurationError, IntegrityError, UnavailableError
from asyncstore.http.connection import Connection, Stale
from asyncstore.http.head import request_head
from asyncstore.http.message import size_of
from asyncstore.http.options import DEADLINE, EngineOptions
from asyncstore.http.pool import Pool, closed_error
from asyncstore.http.proxy import proxy_for
from asyncstore.http.tls import tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from types import TracebackType

    from asyncstore.http.body import Queued
    from asyncstore.http.connection import Waiter
    from asyncstore.http.head import Head
    from asyncstore.http.message import Origin, Request, Response
    from asyncstore.types import Settings

_TICK = 0.25  # seconds between looks at what is late
_SECRET_HEADERS = ("authorization", "x-amz-security-token")
_SECRET_PARAMETERS = ("X-Amz-Signature=", "X-Goog-Signature=", "upload_id=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What an engine has done so far.

    Attributes:
        requests: exchanges begun, replays not counted.
        replays: requests sent again because a kept connection had been closed.
        opened: connections opened.
        reused: exchanges on a connection that had served before.
        open: connections open now.
        sent, received: bytes of HTTP, without TLS.
    """

    requests: int
    replays: int
    opened: int
    reused: int
    open: int
    sent: int
    received: int


class Engine:
    """Sends HTTP/1.1 requests from one asyncio event loop.

    Args:
        options: how it behaves; by default as `EngineOptions` does.
    """

    def __init__(self, options: EngineOptions | None = None, /) -> None:
        self.options = options or EngineOptions()
        self._pools: dict[Origin, Pool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._context: ssl.SSLContext | None = None
        self._tick = min(
            _TICK,
            *(
                getattr(self.options, name) / 4
                for name in ("connect_timeout", "read_timeout", "speed_window", "idle_timeout")
            ),
        )
        self._requests = 0
        self._replays = 0
        self._closed = False

    @classmethod
    def from_settings(cls, settings: Settings, /) -> Self:
        """Make one that behaves as a provider's settings say."""
        return cls(EngineOptions.from_settings(settings))

    async def send(self, request: Request, /) -> Response:
        """Send a request and return its answer, of whatever status, complete.

        Raises:
            UnavailableError: no connection, or it was closed in the middle.
            DeadlineError: the deadline, a timeout or the least speed was not kept.
            IntegrityError: the answer is malformed, or its length is not what was expected.
            InvalidSpanError: `Request.into` is too small for the body of a 2xx answer.
            ConfigurationError: the request, the proxy or the certificate is not acceptable.
        """
        # Spelled out, and in `_exchange` again: each coroutine on the way costs every request.
        pool, head = self._prepare(request)
        self._requests += 1
        deadline = DEADLINE.get()
        connection = pool.take() or await pool.acquire(deadline)
        future: asyncio.Future[Response] = pool.loop.create_future()
        connection.begin(request, head, deadline, future)
        try:
            response = await future
        except asyncio.CancelledError:
            _leave(connection, future)
            raise
        except Stale:
            pass
        else:
            return response
        return await self.replay(request)

    def idle(self, origin: Origin, /) -> int:
        """Return how many connections to an origin are free."""
        pool = self._pools.get(origin)
        return 0 if pool is None or pool.loop is not _get_running_loop() else pool.idle

    def start(
        self, requests: Sequence[Request], waiters: Sequence[Waiter], deadline: float | None, /
    ) -> list[Connection]:
        """Send requests to one origin, as many as there are connections free.

        For many requests at once: no task waits for each.

        Args:
            requests: as in `send`.
            waiters: of each request, who is told of its answer as a future is, from a callback
                of the event loop; also of `Stale`, after which `replay` may be tried.
            deadline: in `time.monotonic()` seconds, or `None`.

        Returns:
            For each of the first ones, which were sent, its connection; `abandon(waiter)` of
            that gives the request up. Nothing was sent of the others.
        """
        begun: list[Connection] = []
        if not requests:
            return begun
        pool, _ = self._prepare(requests[0])
        special = pool.special
        for request, waiter in zip(requests, waiters, strict=True):
            connection = pool.take()
            if connection is None:
                break
            head = request.head
            if head is None or special:
                head = self._head(request, pool)
            connection.begin(request, head, deadline, waiter)
            begun.append(connection)
        self._requests += len(begun)
        return begun

    async def replay(self, request: Request, /) -> Response:
        """Send a request again, once, where a kept connection turned out to have been closed.

        Errors as in `send`.
        """
        pool, head = self._prepare(request)
        replayed: Response = (await self._replay(request, pool, head, DEADLINE.get()))[1]
        return replayed

    def stream(self, request: Request, /) -> Streaming:
        """Send a request; as a context manager, give the answer as it arrives.

        Errors as in `send`, on entering and on each read.
        """
        return Streaming(self, request)

    def _prepare(self, request: Request) -> tuple[Pool, bytes]:
        """Return the pool and the request's head."""
        pool = self._pools.get(request.origin)
        if pool is None or pool.loop is not _get_running_loop():
            pool = self._make_pool(request.origin)
        head = request.head
        if head is None or pool.special:
            head = self._head(request, pool)
        if self._timer is None:
            self._timer = pool.loop.call_later(self._tick, self._watch)
        return pool, head

    async def _exchange(self, request: Request) -> tuple[Connection, Any]:
        """Do as `send` does, for an answer that is streamed."""
        pool, head = self._prepare(request)
        self._requests += 1
        deadline = DEADLINE.get()
        connection = pool.take() or await pool.acquire(deadline)
        future: asyncio.Future[Any] = pool.loop.create_future()
        connection.begin(request, head, deadline, future, streamed=True)
        try:
            return connection, await future
        except asyncio.CancelledError:
            _leave(connection, future)
            raise
        except Stale:
            pass
        return await self._replay(request, pool, head, deadline, streamed=True)

    async def _replay(
        self,
        request: Request,
        pool: Pool,
        head: bytes,
        deadline: float | None,
        *,
        streamed: bool = False,
    ) -> tuple[Connection, Any]:
        """Send a request again, once, where a kept connection turned out to have been closed."""
        if not request.replayable:
            raise _closed_early(request)
        self._replays += 1
        connection = await pool.acquire(deadline, fresh=True)
        future: asyncio.Future[Any] = pool.loop.create_future()
        connection.begin(request, head, deadline, future, streamed=streamed)
        try:
            return connection, await future
        except asyncio.CancelledError:
            _leave(connection, future)
            raise
        except Stale:
            raise _closed_early(request) from None

    def _head(self, request: Request, pool: Pool) -> bytes:
        if pool.guarded:
            _check_clear(request, pool)
        head = request.head
        if head is None:
            target = request.target
            if target[:1] != "/":
                raise ConfigurationError("a request's target begins with a slash")
            length = size_of(request.body)
            head = request_head(request.method, target, pool.authority, request.headers, length)
        return _through(head, request.origin, pool) if pool.absolute else head

    def _make_pool(self, origin: Origin) -> Pool:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise closed_error()
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                raise ConfigurationError("an engine serves one event loop; make one for each")
            # The old loop has ended, and its connections with it.
            self._pools = {}
            self._timer = None
            self._loop = loop
        pool = self._pools.get(origin)
        if pool is None:
            proxy = proxy_for(origin, self.options.proxy, os.environ)
            pool = Pool(origin, self.options, proxy, self._tls(origin))
            self._pools[origin] = pool
        return pool

    def _tls(self, origin: Origin) -> ssl.SSLContext | None:
        if origin.scheme != "https":
            return None
        if self._context is None:
            self._context = tls_context(self.options.ca_bundle)
        return self._context

    def _watch(self) -> None:
        now = monotonic()
        # A list: every pool is to be watched, also behind one that has something left.
        busy = [pool.watch(now) for pool in self._pools.values()]
        self._timer = None
        if any(busy):
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._watch)

    def counters(self) -> Counters:
        """Return what has been done so far."""
        pools = self._pools.values()
        return Counters(
            requests=self._requests,
            replays=self._replays,
            opened=sum(pool.opened for pool in pools),
            reused=sum(pool.reused for pool in pools),
            open=sum(len(pool.connections) for pool in pools),
            sent=sum(pool.sent() for pool in pools),
            received=sum(pool.received() for pool in pools),
        )

    async def aclose(self) -> None:
        """Close every connection; requests under way fail. Twice is as once."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is asyncio.get_running_loop():
            for pool in tuple(self._pools.values()):
                await pool.aclose()
        self._pools = {}


class Reply:
    """An answer whose body arrives as it is read; an async iterator of views.

    A view is valid until the next one is asked for.

    Attributes:
        status: three digits.
        headers: names in lower case.
        length: of the body in bytes, or `None` where the answer does not say.
    """

    __slots__ = ("_queue", "headers", "length", "status")

    def __init__(self, head: Head, queue: Queued) -> None:
        self.status = head.status
        self.headers = head.headers
        self.length = head.length if head.length >= 0 else None
        self._queue = queue

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next bytes of the body.

        Raises:
            UnavailableError, DeadlineError, IntegrityError: the rest will not come.
        """
        piece = await self._queue.next()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def read(self, cap: int = 64 << 20) -> bytes:
        """Return all of the body.

        Args:
            cap: most bytes of it. An error's body is cut there.

        Raises:
            IntegrityError: there is more, and the status is a success.
        """
        pieces = []
        room = cap
        async for piece in self:
            if len(piece) > room:
                if 200 <= self.status < 300:  # noqa: PLR2004
                    raise IntegrityError(
                        f"the answer's body is longer than {cap} bytes", status=self.status
                    )
                pieces.append(piece[:room])
                break
            pieces.append(piece)
            room -= len(piece)
        return b"".join(pieces)


class Streaming:
    """The context manager of `Engine.stream`."""

    __slots__ = ("_connection", "_engine", "_queue", "_request")

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request

    async def __aenter__(self) -> Reply:
        exchange = self._engine._exchange(self._request)  # noqa: SLF001
        self._connection, (head, queue) = await exchange
        self._queue: Queued = queue
        return Reply(head, queue)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._queue.done:
            # The rest of the body is in the way of any other answer.
            self._connection.abort()


def _leave(connection: Connection, future: asyncio.Future[Any]) -> None:
    """Give up an exchange whose waiter is cancelled: nobody else may meet its rest."""
    if future.cancelled():
        connection.abandon(future)
    elif future.exception() is None and isinstance(future.result(), tuple):
        _, queue = future.result()
        if not queue.done:
            connection.abort()


def _closed_early(request: Request) -> UnavailableError:
    read = request.method in ("GET", "HEAD")
    return UnavailableError(
        "the connection was closed before the answer began",
        outcome="not_applied" if read else "unknown",
    )


def _through(head: bytes, origin: Origin, pool: Pool) -> bytes:
    """Return a head as a proxy wants it, which is told where to go, and perhaps by whom."""
    first, host, rest = head.split(b"\r\n", 2)
    method, target, version = first.split(b" ")
    lines = [b"%b %b%b %b" % (method, str(origin).encode(), target, version), host]
    if pool.proxy is not None and pool.proxy.authorization:
        lines.append(b"proxy-authorization: " + pool.proxy.authorization.encode())
    return b"\r\n".join([*lines, rest])


def _check_clear(request: Request, pool: Pool) -> None:
    """Refuse to show a secret to everybody on the way."""
    secret = any(name in request.headers for name in _SECRET_HEADERS) or any(
        name in request.target for name in _SECRET_PARAMETERS
    )
    if secret or (request.head is not None and b"\r\nauthorization: " in request.head):
        way = f"to {request.origin}"
        if pool.proxy is not None:
            way += f" through the proxy {pool.proxy.host}:{pool.proxy.port}"
        raise ConfigurationError(
            f"credentials do not travel over plain HTTP {way}; "
            "use https, or say allow_http=True if the network is your own"
        )
