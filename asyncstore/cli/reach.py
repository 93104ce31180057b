"""How a command reaches a hub, and as whom."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncstore.cli.options import Options
    from asyncstore.providers.hub.api import HubAPI
    from asyncstore.providers.hub.client import HubClient
    from asyncstore.providers.hub.login import Hub
    from asyncstore.types import Settings


def settings_of(options: Options) -> Settings:
    """Return what the shared options say of a hub."""
    from asyncstore.types import Settings  # noqa: PLC0415 - help needs none

    connection = options.connection
    return Settings(
        hub_url=connection.hub_url,
        allow_http=connection.allow_http,
        ca_bundle=connection.ca_bundle,
    )


@asynccontextmanager
async def hub_client(
    options: Options, *, nobody: bool = False, hub: Hub | None = None
) -> AsyncIterator[HubClient]:
    """Give a client of a hub.

    Args:
        options: say which, unless `hub` does.
        nobody: ask as nobody, whoever is signed in.
        hub: the hub, and who asks.

    Raises:
        StoreError: the hub refused or failed; told with its address.
    """
    from asyncstore.providers.hub import login  # noqa: PLC0415 - help needs no HTTP
    from asyncstore.providers.hub.client import HubClient  # noqa: PLC0415

    settings = settings_of(options)
    if hub is None:
        hub = await asyncio.to_thread(login.find, settings)
    if nobody:
        hub = login.Hub(hub.url)
    try:
        async with HubClient(hub, settings) as client:
            yield client
    except StoreError as error:
        raise error.at("ask", hub.url) from None


@asynccontextmanager
async def hub_api(
    options: Options, *, nobody: bool = False, hub: Hub | None = None
) -> AsyncIterator[HubAPI]:
    """Give a hub's own calls; as `hub_client`."""
    from asyncstore.providers.hub.api import HubAPI  # noqa: PLC0415 - help needs no HTTP

    async with hub_client(options, nobody=nobody, hub=hub) as client:
        yield HubAPI(client)
