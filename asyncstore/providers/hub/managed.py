"""Credentials that an organisation stored at its hub under a name, for paths that are no hub's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asyncstore.errors import IntegrityError, StoreError
from asyncstore.providers.hub import granting, login
from asyncstore.providers.hub.client import HubClient

if TYPE_CHECKING:
    from asyncstore.types import Settings


class ManagedCreds:
    """A callable for `creds=`: asks the hub again whenever what it lent nears its end.

    Args:
        organization: whose credentials.
        creds_key: their name.
        settings: which hub, as whom, and how it is reached.
    """

    def __init__(self, organization: str, creds_key: str, settings: Settings) -> None:
        self._organization = organization
        self._creds_key = creds_key
        self._settings = settings

    def __repr__(self) -> str:
        return f"ManagedCreds({self._organization!r}, {self._creds_key!r})"

    async def __call__(self) -> dict[str, Any]:
        """Return credentials with their end.

        Raises:
            NotFoundError: the organisation has none of that name.
            IntegrityError: they are of no form that can be lent.
        """
        try:
            return await self._fetch()
        except StoreError as error:
            raise error.at("creds_key", self._creds_key) from None

    async def _fetch(self) -> dict[str, Any]:
        hub = await asyncio.to_thread(login.find, self._settings)
        async with HubClient(hub, self._settings) as client:
            given, end = await client.managed(self._organization, self._creds_key)
        scheme = "gcs" if "gcs_oauth_token" in given or "type" in given else "s3"
        creds = granting.lent(scheme, given, hub, self._settings)
        if not isinstance(creds, dict) or "type" in creds:
            raise IntegrityError("the hub handed out a whole key, and a lent one was asked for")
        return {**creds, "expires_at": end}
