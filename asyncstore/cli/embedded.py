"""A hub of the demo's own: on this machine, on a folder, with one person in it."""

from __future__ import annotations

import os
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncstore.credentials import Secret
from asyncstore.hub.serving import HubServer
from asyncstore.providers.hub.api import HubAPI
from asyncstore.providers.hub.client import HubClient
from asyncstore.providers.hub.login import Hub
from asyncstore.types import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PERSON = "demo"
_PASSWORD_FILE = "password.txt"  # noqa: S105 - a name
_HOUR = 3600.0


@asynccontextmanager
async def embedded_hub(folder: str) -> AsyncIterator[tuple[str, str]]:
    """Serve a hub from a folder, with its first administrator; give its address and a token.

    Args:
        folder: for all of it; the person's password is left in it, for whoever keeps it.
    """
    password = secrets.token_urlsafe(18)
    path = os.path.join(folder, _PASSWORD_FILE)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    async with HubServer(os.path.join(folder, "hub")) as server:
        token = await _sign_in(server.url, server.bootstrap_code or "", Secret(password))
        yield server.url, token.reveal()


async def _sign_in(url: str, code: str, password: Secret) -> Secret:
    """Do what a person would: become the administrator, sign in, make a token for a program."""
    async with HubClient(Hub(url), Settings()) as client:
        api = HubAPI(client)
        await api.bootstrap(code, PERSON, f"{PERSON}@localhost.localdomain", password)
        session = await api.login(PERSON, password, expires_in=_HOUR)
        client.hub = Hub(url, session.token, "the demo")
        made = await api.create_token("the demo", expires_in=12 * _HOUR, access="write")
        await api.logout()
    return made.token
