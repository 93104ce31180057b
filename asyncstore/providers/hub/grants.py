"""Grants for one data set: asked of the hub when needed, renewed in time, of one identity.

A renewal may lead to another address or path, but only to the same data set: in the same bucket,
and with the same root files. Whose login it was at first stays so; a login file that is replaced
by the same user's is read again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from asyncstore.credentials import Refreshing
from asyncstore.errors import ConfigurationError, DeadlineError, IntegrityError, StoreError
from asyncstore.http import DEADLINE
from asyncstore.providers.hub import granting, login
from asyncstore.providers.hub.client import HubClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.providers.hub.granting import Grant
    from asyncstore.providers.hub.login import Hub
    from asyncstore.types import Settings


class Grants:
    """The grant that holds now.

    Args:
        organization, dataset: of what.
        settings: which hub, as whom, and how it is reached.
        same: returns whether a grant that leads elsewhere leads to the same data.

    Attributes:
        refreshing: hands it out; for who renews what it gave away.
    """

    def __init__(
        self,
        organization: str,
        dataset: str,
        settings: Settings,
        same: Callable[[Grant, Grant], Awaitable[bool]],
    ) -> None:
        self._organization = organization
        self._dataset = dataset
        self._settings = settings
        self._same = same
        self._client: HubClient | None = None
        self._hub: Hub | None = None
        self._last: Grant | None = None
        self.refreshing: Refreshing[Grant] = Refreshing(self._fetch)

    @property
    def hub(self) -> Hub:
        """The hub, once it was asked."""
        if self._hub is None:
            raise RuntimeError("the hub was not asked yet")
        return self._hub

    async def get(self) -> Grant:
        """Return the grant that holds now, within the operation's deadline.

        Raises:
            StoreError: the hub refused or failed, and no earlier grant holds.
        """
        grant = self.refreshing.current()
        if grant is not None:
            return grant
        deadline = DEADLINE.get()
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(patience) as limit:
                return await self.refreshing.get()
        except TimeoutError as error:
            if isinstance(error, StoreError) or not limit.expired():
                raise
            raise DeadlineError("the hub did not answer in time") from None

    async def client(self) -> HubClient:
        """Return what makes calls to the hub, as who is signed in now.

        Raises:
            ConfigurationError: the login is not what it was.
        """
        hub = await asyncio.to_thread(login.find, self._settings)
        first = self._hub
        if first is None:
            self._hub = hub
        elif _who(hub) != _who(first):
            raise ConfigurationError(
                f"the work began as {first.identity} at {first.url}, and that login is gone; "
                "sign in as the same user again"
            )
        if self._client is None:
            self._client = HubClient(hub, self._settings)
        self._client.hub = hub
        return self._client

    async def _fetch(self) -> Grant:
        # The first of many waiters starts this: its deadline is not the others'.
        DEADLINE.set(None)
        client = await self.client()
        before = self._last
        told = await client.granted(
            self._organization,
            self._dataset,
            mode=self._settings.mode,
            again=before is not None,
        )
        grant = await asyncio.to_thread(
            granting.read, told, client.hub, self._settings, now=time.time()
        )
        if before is not None and grant.url != before.url and not await self._same(before, grant):
            raise IntegrityError(
                f"the hub leads to {grant.url} now, and led to {before.url} before; it cannot be "
                "told whether that is the same data set. Open it again if it is"
            )
        self._last = grant
        return grant

    async def aclose(self) -> None:
        """Close connections and end a renewal under way; twice is as once."""
        await self.refreshing.aclose()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _who(hub: Hub) -> tuple[str, str, str | None]:
    return hub.url, hub.source, hub.username
