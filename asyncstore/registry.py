"""Which scheme is served by which provider, and what must be installed for it.

A new service is one file in `providers` and one line here. A provider's module, and with it a
service's SDK, is imported when a path of its scheme is opened, never before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncstore.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.provider import Provider
    from asyncstore.types import Settings
    from asyncstore.url import StoreURL


@dataclass(frozen=True, slots=True)
class Service:
    """How a scheme is served.

    Attributes:
        connect: `"module:function"`; the function makes a provider from a URL and settings,
            without I/O.
        engine: whether its calls need the HTTP engine, and so an asyncio loop. What does not is
            made once per process and serves every event loop.
        extra: what to install for it, as in `asyncstore[extra]`, or `None`.
        beneath: whether it works through another service's provider. Its function then takes a
            third argument, by name: `beneath`, which connects a path of any scheme.
    """

    connect: str
    engine: bool = False
    extra: str | None = None
    beneath: bool = False


SERVICES = {
    "mem": Service("asyncstore.providers.memory:connect"),
    "file": Service("asyncstore.providers.local:connect"),
    "s3": Service("asyncstore.providers.s3:connect", engine=True, extra="s3"),
    "gcs": Service("asyncstore.providers.gcs:connect", engine=True, extra="gcs"),
    "hub": Service("asyncstore.providers.hub:connect", engine=True, beneath=True),
}


def connector(scheme: str, /) -> Callable[[StoreURL, Settings], Provider]:
    """Import what serves a scheme and return its `connect`.

    Raises:
        NotSupportedError: says what to install, or that this version has no such provider.
    """
    service = SERVICES[scheme]
    home, _, name = service.connect.partition(":")
    try:
        module: Any = import_module(home)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == home:
            raise NotSupportedError(
                f"{scheme}:// paths are not served by this version of asyncstore yet"
            ) from None
        if service.extra is None or missing.partition(".")[0] == "asyncstore":
            raise
        raise NotSupportedError(
            f"{scheme}:// needs the package {missing!r}: pip install 'asyncstore[{service.extra}]'"
        ) from error
    connect: Callable[..., Provider] = getattr(module, name)
    return partial(connect, beneath=_connect) if service.beneath else connect


def _connect(url: StoreURL, settings: Settings) -> Provider:
    """Make the provider of any path. No I/O."""
    return connector(url.scheme)(url, settings)
