"""How an engine behaves, and the deadline that its callers set."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.types import Settings

DEADLINE: ContextVar[float | None] = ContextVar("asyncstore_deadline", default=None)
"""When the operation under way must have ended, in `time.monotonic()` seconds, or `None`."""

ENVIRONMENT = "environment"
"""The value of `EngineOptions.proxy` that means `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What an `Engine` is made from; times are seconds.

    Attributes:
        connections: most connections to one origin; further requests wait, first come first
            served.
        connect_timeout: for DNS, TCP, proxy and TLS together; and the longest wait for a
            connection while none of the origin's moves a byte.
        read_timeout: from the last byte of a request sent to the last byte of the answer's head.
        least_speed: bytes per second, in either direction, below which a transfer is given up.
        speed_window: over how long the speed is taken.
        idle_timeout: how long an unused connection is kept.
        ca_bundle: a PEM file of certificate authorities, in place of the system's.
        allow_http: let credentials travel over plain HTTP to a host that is not loopback.
        proxy: `"environment"`, or an `http://[user:password@]host:port` for every origin that
            is not loopback, or `None` for no proxy.
        permit: whether to connect to a numeric address, asked after DNS; `None` permits all.
    """

    connections: int = 128
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    least_speed: float = 1024.0
    speed_window: float = 10.0
    idle_timeout: float = 20.0
    ca_bundle: str | None = None
    allow_http: bool = False
    proxy: str | None = ENVIRONMENT
    permit: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ConfigurationError(f"connections={self.connections}: at least 1")
        for name in ("connect_timeout", "read_timeout", "speed_window", "idle_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: more than 0 seconds")
        if self.least_speed < 0:
            raise ConfigurationError(f"least_speed={self.least_speed}: 0 or more bytes a second")

    @classmethod
    def from_settings(cls, settings: Settings, /, **changes: Any) -> Self:
        """Take from a provider's settings what concerns the engine."""
        fields: dict[str, Any] = {
            "connections": settings.connections,
            "connect_timeout": settings.connect_timeout,
            "read_timeout": settings.read_timeout,
            "least_speed": settings.least_speed,
            "ca_bundle": settings.ca_bundle,
            "allow_http": settings.allow_http,
            "permit": settings.permit,
        }
        return cls(**(fields | changes))
