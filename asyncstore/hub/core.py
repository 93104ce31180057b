"""A hub: its folder, database, storage and keys, opened and closed together."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from asyncstore.hub import bootstrap, datasets, keys, once
from asyncstore.hub.audit import Log, event
from asyncstore.hub.database import Database
from asyncstore.hub.minting import Minter, Reach, Vault
from asyncstore.hub.passwords import Passwords
from asyncstore.hub.storage import Storage
from asyncstore.hub.throttle import Throttle
from asyncstore.hub.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.models import Organization
    from asyncstore.hub.settings import Settings


class Hub:
    """What every request works with; an async context manager.

    Args:
        settings: how it behaves.
        clock: epoch seconds.

    Attributes:
        bootstrap_code: makes the first administrator, once; `None` where there is one.
        under_way: requests that are being done, by whose they are and their keys.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.database = Database(settings.database_url)
        self.log = Log(self.database, clock)
        self.watch = Watch(self.database, clock)
        self.throttle = Throttle(self.database, clock)
        self.public_url = settings.public_url
        self.bootstrap_code: str | None = None
        self.under_way: set[tuple[str, str]] = set()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            made = stack.enter_context(keys.opened(self.settings.data))
            self.passwords = Passwords(self.settings.password_cost)
            stack.callback(self.passwords.close)
            self.vault = Vault(made.derive("vault"))
            self.request_key = made.derive("requests")
            private = self.settings.private_endpoints
            self.minter = Minter(Reach(loopback=private, private=private))
            stack.push_async_callback(self.minter.aclose)
            stack.push_async_callback(self.database.aclose)
            await self.database.open()
            self.storage = Storage(
                self.settings.storage_folder, made.derive("storage"), allowed=self.watch.allows
            )
            await self.storage.open()
            stack.push_async_callback(self.storage.aclose)
            stack.push_async_callback(self.log.aclose)
            self.bootstrap_code = await bootstrap.prepare(self)
            await datasets.sweep(self)
            async with self.database.writing() as session:
                await once.sweep(self, session)
            self._open = stack.pop_all()
        return self

    def note(
        self,
        session: AsyncSession,
        caller: Caller,
        action: str,
        subject: str,
        *,
        within: Organization | None = None,
    ) -> None:
        """Write a line of the audit log in the session of the change that it tells of.

        Args:
            session: which commits both.
            caller: who.
            action: what, as `dataset.removed`.
            subject: to what; names and identifiers alone.
            within: the organisation whose administrators may read it.
        """
        organization_id = within.id if within is not None else ""
        line = event(caller, action, subject, at=self.clock(), organization_id=organization_id)
        session.add(line)

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()
