"""Files on this machine: atomic, durable by default, and never outside their folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asyncstore.errors import NotSupportedError

_POSIX = os.open in os.supports_dir_fd

if TYPE_CHECKING or _POSIX:
    from asyncstore.providers.local.provider import LocalProvider

if TYPE_CHECKING:
    from asyncstore.types import Settings
    from asyncstore.url import StoreURL


def connect(url: StoreURL, settings: Settings, /) -> LocalProvider:
    """Return the provider of a folder; no I/O.

    Raises:
        NotSupportedError: the system cannot open files relative to a folder (Windows), and links
            could lead out of it.
    """
    if not _POSIX:
        raise NotSupportedError(
            "local paths need Linux, macOS or another POSIX system; on Windows, use WSL",
            op="connect",
            url=str(url),
        )
    return LocalProvider(url.path, durability=settings.durability)


__all__ = ["LocalProvider", "connect"]
