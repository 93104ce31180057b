"""Files on this machine: atomic, durable by default, and never outside their folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.providers.local.provider import LocalProvider

if TYPE_CHECKING:
    from asyncstore.types import Settings
    from asyncstore.url import StoreURL


def connect(url: StoreURL, settings: Settings, /) -> LocalProvider:
    """Return the provider of a folder; no I/O."""
    return LocalProvider(url.path, durability=settings.durability)


__all__ = ["LocalProvider", "connect"]
