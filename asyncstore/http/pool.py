"""The connections to one origin, and the queue of those who wait for one.

At most so many are open; the most recently used is taken first. Whoever finds none waits in a
queue, and is served in order: by a connection that has become free, or by the right to open one
where another was closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from asyncstore.errors import DeadlineError, StoreError, UnavailableError
from asyncstore.http.connection import Connection
from asyncstore.http.dial import Resolver, dial
from asyncstore.http.head import HEAD_MAX
from asyncstore.http.shapes import Shapes

if TYPE_CHECKING:
    import ssl

    from asyncstore.http.message import Origin
    from asyncstore.http.options import EngineOptions
    from asyncstore.http.proxy import Proxy


class Pool:
    """The connections to one origin.

    Attributes:
        opened: how many connections were ever opened.
        reused: how many requests took a connection that had served before.
        authority: the `Host` header.
        absolute: whether a request's target names the origin, as a proxy wants it.
        guarded: whether what is sent can be read on the way, and no secret may be.
        special: whether a request's head must be looked at before it is sent: either of these.
    """

    def __init__(
        self,
        origin: Origin,
        options: EngineOptions,
        proxy: Proxy | None,
        context: ssl.SSLContext | None,
    ) -> None:
        self.origin = origin
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.proxy = proxy
        self.opened = 0
        self.reused = 0
        self.authority = origin.authority
        self.absolute = proxy is not None and origin.scheme == "http"
        clear = origin.scheme == "http" and not origin.is_loopback
        self.guarded = clear and not options.allow_http
        self.special = self.absolute or self.guarded
        self._sent = 0
        self._received = 0
        self.connections: set[Connection] = set()
        self._context = context
        self._idle: list[Connection] = []
        self._opening = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._moved = 0
        self._moved_at = 0.0
        self._closed: asyncio.Future[None] | None = None
        self._limits: set[asyncio.Timeout] = set()
        self._resolver = Resolver(options.permit)
        self._scratch = bytearray(HEAD_MAX)
        self._shapes = Shapes()

    @property
    def idle(self) -> int:
        """How many connections are free."""
        return len(self._idle)

    def take(self) -> Connection | None:
        """Return a free connection, or `None`; without waiting."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not (connection.closing or connection.is_closing()):
                self.reused += 1
                return connection
        return None

    async def acquire(self, deadline: float | None, *, fresh: bool = False) -> Connection:
        """Return a connection: a free one, a new one, or after a wait the next to become free.

        Args:
            deadline: in `time.monotonic()` seconds, or `None`.
            fresh: rather open a new one than take one that was used before.

        Raises:
            DeadlineError: it took too long.
            UnavailableError, ConfigurationError: none could be opened.
        """
        if self._closed is not None:
            raise closed_error()
        if not fresh:
            taken = self.take()
            if taken is not None:
                return taken
        if not self._waiters and len(self.connections) + self._opening < self.options.connections:
            self._opening += 1
            return await self._open(deadline)
        if fresh and self._idle:
            # Their neighbour was closed by the other side; the oldest makes room.
            self._idle.pop(0).abort()
        return await self._wait(deadline)

    async def _wait(self, deadline: float | None) -> Connection:
        if deadline is not None and monotonic() >= deadline:
            raise DeadlineError("the operation's deadline passed")
        if not self._waiters:
            self._moved_at = monotonic()
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        waiter.deadline = deadline  # type: ignore[attr-defined]
        self._waiters.append(waiter)
        try:
            connection = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise
        if connection is None:
            return await self._open(deadline)
        self.reused += 1
        return connection

    def _give_back(self, given: Connection | None) -> None:
        if given is not None:
            self.free(given)
        else:
            self._opening -= 1
            self._pass_on()

    async def _open(self, deadline: float | None) -> Connection:
        """Open a connection; the right to do so, counted in `_opening`, is ours already."""
        try:
            connection = await self._dial(deadline)
        except BaseException:
            self._opening -= 1
            self._pass_on()
            raise
        self._opening -= 1
        self.connections.add(connection)
        self.opened += 1
        return connection

    async def _dial(self, deadline: float | None) -> Connection:
        timeout = self.options.connect_timeout
        if deadline is not None:
            timeout = min(timeout, max(0.0, deadline - monotonic()))
        limit = asyncio.timeout(timeout)
        self._limits.add(limit)
        try:
            async with limit:
                connection = await dial(
                    self.origin, self.proxy, self._context, self._make, self._resolver
                )
        except TimeoutError:
            if self._closed is not None:
                raise closed_error() from None
            raise DeadlineError(f"cannot connect to {self.origin} in {timeout:.3g} s") from None
        finally:
            self._limits.discard(limit)
        if self._closed is not None:
            connection.abort()
            raise closed_error()
        if connection.closed:
            raise UnavailableError(f"{self.origin} closed the connection at once")
        return connection

    def _make(self) -> Connection:
        return Connection(
            self.options, self.free, self._lost, scratch=self._scratch, shapes=self._shapes
        )

    def free(self, connection: Connection) -> None:
        """Take a connection back, for the next in the queue or the next to ask."""
        if connection.closing:
            return  # `_lost` follows, and passes its place on
        waiters = self._waiters
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                self._moved_at = monotonic()
                waiter.set_result(connection)
                return
        connection.idle_since = 0.0
        self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._sent += connection.sent
        self._received += connection.received
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closed is not None:
            if not self.connections and not self._closed.done():
                self._closed.set_result(None)
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the next in the queue open a connection, in place of one that is gone."""
        while self._waiters:
            if len(self.connections) + self._opening >= self.options.connections:
                return
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._opening += 1
                waiter.set_result(None)

    def sent(self) -> int:
        """Count the bytes sent so far."""
        return self._sent + sum(connection.sent for connection in self.connections)

    def received(self) -> int:
        """Count the bytes received so far."""
        return self._received + sum(connection.received for connection in self.connections)

    def watch(self, now: float) -> bool:
        """Give up what is late; return whether anything is left to watch."""
        for connection in tuple(self.connections):
            connection.watch(now)
        self._watch_waiters(now)
        self._drop_idle(now)
        return bool(self.connections or self._waiters or self._opening)

    def _watch_waiters(self, now: float) -> None:
        if not self._waiters:
            return
        moved = sum(connection.received + connection.sent for connection in self.connections)
        if moved != self._moved or self._opening:
            self._moved, self._moved_at = moved, now
        stuck = now - self._moved_at >= self.options.connect_timeout
        for waiter in tuple(self._waiters):
            deadline = waiter.deadline  # type: ignore[attr-defined]
            if waiter.done():
                continue
            if deadline is not None and now >= deadline:
                waiter.set_exception(DeadlineError("the operation's deadline passed in the queue"))
            elif stuck:
                waiter.set_exception(
                    DeadlineError(
                        f"no connection to {self.origin} came free, and none of the "
                        f"{self.options.connections} moved a byte, "
                        f"in {self.options.connect_timeout:g} s"
                    )
                )
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()

    def _drop_idle(self, now: float) -> None:
        for connection in self._idle:
            connection.idle_since = connection.idle_since or now
        oldest = now - self.options.idle_timeout
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).abort()

    async def aclose(self) -> None:
        """Close every connection; what is under way fails."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(closed_error())
            self._waiters.clear()
            self._idle.clear()
            if not self.connections:
                self._closed.set_result(None)
            for limit in self._limits:
                limit.reschedule(asyncio.get_running_loop().time())
            for connection in tuple(self.connections):
                connection.fail(closed_error())
            self._resolver.close()
        await asyncio.shield(self._closed)


def closed_error() -> StoreError:
    """Make the error of a request to an engine that is closed."""
    return StoreError("the store's connections are closed")
