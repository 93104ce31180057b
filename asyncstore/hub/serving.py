"""A hub on a port: opened, served, and ended within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import uvicorn

from asyncstore.errors import ConfigurationError
from asyncstore.hub import app
from asyncstore.hub.core import Hub
from asyncstore.hub.gate import Gate
from asyncstore.hub.protocol import Protocol
from asyncstore.hub.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncstore.hub.settings import Limits, PasswordCost

_GRACE = 5
_IDLE = 75


class HubServer:
    """A hub that serves; an async context manager.

    Args:
        data: the folder with its key, its database and its storage; made where it is absent.
        host: to listen at.
        port: to listen at; 0 is any that is free.
        public_url: what clients are told to call; by default the address listened at.
        database: the URL of a database, in place of a SQLite file in `data`.
        static_credentials, private_endpoints, …: as in `Settings`.
        forwarded_from: addresses of proxies that are believed when they say whom they ask for.
        clock: epoch seconds.

    Attributes:
        url: where it is.
        bootstrap_code: makes the first administrator, once; `None` where there is one.

    Raises:
        ConfigurationError: when entered: the folder is another hub's, or a URL is none.
        OSError: when entered: the port is taken.
    """

    def __init__(
        self,
        data: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str | None = None,
        database: str | None = None,
        static_credentials: bool = False,
        private_endpoints: bool = False,
        open_registration: bool = True,
        credential_lifetime: float | None = None,
        password_cost: PasswordCost | None = None,
        limits: Limits | None = None,
        forwarded_from: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        chosen = {
            "credential_lifetime": credential_lifetime,
            "password_cost": password_cost,
            "limits": limits,
        }
        self._settings = Settings(
            data=data,
            database=database,
            public_url=_checked(public_url),
            static_credentials=static_credentials,
            private_endpoints=private_endpoints,
            open_registration=open_registration,
            **{name: value for name, value in chosen.items() if value is not None},  # type: ignore[arg-type]
        )
        self._host = host
        self._port = port
        self._forwarded_from = forwarded_from
        self.hub = Hub(self._settings, clock=clock)
        self.url = ""
        self._stack = contextlib.AsyncExitStack()

    @property
    def bootstrap_code(self) -> str | None:
        """What makes the first administrator."""
        return self.hub.bootstrap_code

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            listening = stack.enter_context(_listen(self._host, self._port))
            self.url = _url(self._host, listening.getsockname()[1])
            self.hub.public_url = self._settings.public_url or self.url
            await stack.enter_async_context(self.hub)
            server = _Server(self._config())
            task = asyncio.create_task(server.serve([listening]))
            stack.push_async_callback(_end, server, task)
            await server.listens(task)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _config(self) -> uvicorn.Config:
        limits = self._settings.limits
        protocol = type("Protocol", (Protocol,), {"limits": limits})
        return uvicorn.Config(
            Gate(app.make(self.hub), self.hub.storage, limits),
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(self._forwarded_from),
            forwarded_allow_ips=list(self._forwarded_from),
            limit_concurrency=limits.connections,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_GRACE,
        )


class _Server(uvicorn.Server):
    """uvicorn without signal handlers, which are the program's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def listens(self, task: asyncio.Task[None]) -> None:
        while not self.started:
            if task.done():
                await task
                raise ConfigurationError("the server ended while it started")
            await asyncio.sleep(0)


async def _end(server: _Server, task: asyncio.Task[None]) -> None:
    server.should_exit = True
    await task


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=1024) as listening:
        listening.setblocking(False)
        # Each connection takes it on: an answer is two writes, and the second would wait for the
        # client to acknowledge the first, which takes 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listening


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _checked(url: str | None) -> str:
    if url is None:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ConfigurationError(f"public URL {url!r}: write https://hub.example.org")
    if parts.path.strip("/"):
        # S3 clients sign the path that they ask for, and the hub would see another.
        raise ConfigurationError(f"public URL {url!r}: it has no path, as S3 clients sign theirs")
    return url.rstrip("/")
