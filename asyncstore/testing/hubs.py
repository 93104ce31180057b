"""A real hub in a child process, with people in it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Self, TypeVar

from asyncstore.credentials import Secret
from asyncstore.providers.hub.api import HubAPI
from asyncstore.providers.hub.client import HubClient
from asyncstore.providers.hub.login import Hub
from asyncstore.testing.canary import CANARY_PASSWORD, guard
from asyncstore.testing.process import Process, answers, free_ports
from asyncstore.types import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.testing.process import Command

T = TypeVar("T")

PASSWORD = CANARY_PASSWORD
ADMINISTRATOR = "root"


class RealHub:
    """A hub that keeps its own storage, with an administrator called `root`.

    Args:
        lifetime: seconds that what it lends holds; `None` is as long as usual.
        bootstrap: make the administrator.
        private_endpoints: whether stored credentials may lead to this machine.

    Attributes:
        url: where it is.
        code: what made the first administrator, or still can.
        tokens: of the people, by name.
    """

    def __init__(
        self,
        *,
        lifetime: float | None = None,
        bootstrap: bool = True,
        private_endpoints: bool = False,
    ) -> None:
        self._lifetime = lifetime
        self._private_endpoints = private_endpoints
        self._bootstrap = bootstrap
        self.url = ""
        self.code = ""
        self.tokens: dict[str, str] = {}
        self._process = Process(self._command, self._is_ready)

    def __enter__(self) -> Self:
        self._process.__enter__()
        with open(os.path.join(self._process.folder, "code"), encoding="ascii") as file:
            self.code = guard(file.read())
        if self._bootstrap:
            self.ask(
                lambda api: api.bootstrap(
                    self.code, ADMINISTRATOR, "root@example.org", Secret(PASSWORD)
                )
            )
            self._sign_in(ADMINISTRATOR)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def _command(self, folder: str) -> Command:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        lifetime = "" if self._lifetime is None else str(self._lifetime)
        private = str(int(self._private_endpoints))
        return (sys.executable, "-m", __name__, folder, str(port), lifetime, private), {}

    def _is_ready(self) -> bool:
        there = os.path.exists(os.path.join(self._process.folder, "code"))
        return there and answers(f"{self.url}/healthz")

    def person(self, name: str) -> str:
        """Register somebody, unless that was done, and return a token of theirs."""
        if name not in self.tokens:
            self.ask(lambda api: api.register(name, f"{name}@example.org", Secret(PASSWORD)))
            self._sign_in(name)
        return self.tokens[name]

    def ask(self, call: Callable[[HubAPI], Awaitable[T]], *, token: str | None = None) -> T:
        """Make a call to the hub, from outside any event loop."""

        async def asked() -> T:
            hub = Hub(self.url, Secret(token) if token else None, "the test")
            async with HubClient(hub, Settings()) as client:
                return await call(HubAPI(client))

        return asyncio.run(asked())

    def _sign_in(self, name: str) -> None:
        session = self.ask(lambda api: api.login(name, Secret(PASSWORD), expires_in=None))
        self.tokens[name] = guard(session.token.reveal())


async def _serve(folder: str, port: int, lifetime: float | None, *, private: bool) -> None:
    from asyncstore.hub.serving import HubServer  # noqa: PLC0415 - only where the extra is
    from asyncstore.hub.settings import PasswordCost  # noqa: PLC0415

    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    server = HubServer(
        os.path.join(folder, "hub"),
        port=port,
        credential_lifetime=lifetime,
        private_endpoints=private,
        password_cost=PasswordCost(memory=64, passes=1),
    )
    async with server:
        place = os.path.join(folder, "code")
        handle = os.open(f"{place}.new", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(server.bootstrap_code or "")
        os.replace(f"{place}.new", place)
        await over.wait()


if __name__ == "__main__":
    _serve_for = float(sys.argv[3]) if sys.argv[3] else None
    _private = sys.argv[4] == "1"
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), _serve_for, private=_private))
