"""Hubs: `hub://organisation/name`, a data set whose place and credentials a hub hands out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.providers.hub.provider import HubProvider

if TYPE_CHECKING:
    from asyncstore.providers.hub.beneath import Connect
    from asyncstore.types import Settings
    from asyncstore.url import StoreURL


def connect(url: StoreURL, settings: Settings, *, beneath: Connect) -> HubProvider:
    """Return the provider of a data set. No I/O.

    Args:
        url: `hub://organisation/name`.
        settings: see `Settings`.
        beneath: makes the provider of the path that the hub leads to.
    """
    return HubProvider(url, settings, beneath)


__all__ = ["HubProvider", "connect"]
