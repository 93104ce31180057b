"""Where an organisation's stored credentials may lead: S9 of the attacks to withstand.

An administrator of an organisation writes addresses that the hub itself then calls, and that its
members' clients are sent to. They are checked when they are stored, and the numeric address once
more when the hub connects, after DNS: a name may mean something else by then.
"""

from __future__ import annotations

from dataclasses import dataclass

from asyncstore.errors import ConfigurationError
from asyncstore.http import Origin
from asyncstore.http.nowhere import is_nowhere, numeric


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far addresses in stored credentials may lead.

    Link-local addresses and metadata services are never reached, and plain HTTP on this machine
    alone.

    Attributes:
        loopback: whether to this machine too: for a hub that serves its own machine.
        private: whether into private networks: for a hub whose organisations are trusted there.
    """

    loopback: bool = False
    private: bool = False

    def check(self, url: str, name: str, /) -> Origin:
        """Read an address.

        Args:
            url: `https://host[:port]`, or `http://` on this machine.
            name: of the field that it stands in, for messages.

        Raises:
            ConfigurationError: it is no such address, or leads where it may not.
        """
        try:
            origin = Origin.parse(url)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error.message}") from None
        if origin.scheme != "https" and not origin.is_loopback:
            raise ConfigurationError(f"{name}: {origin} is plain HTTP; it must be https://")
        if is_nowhere(origin.host):
            raise ConfigurationError(f"{name}: {origin} is an address where no storage is")
        is_known = numeric(origin.host) is not None or origin.is_loopback
        if is_known and not self.permits("127.0.0.1" if origin.is_loopback else origin.host):
            raise ConfigurationError(
                f"{name}: {origin} is on this hub's own machine or network, which its "
                "settings do not let stored credentials reach"
            )
        return origin

    def permits(self, address: str, /) -> bool:
        """Whether to connect to a numeric address; what the engine asks after DNS."""
        ip = numeric(address)
        if ip is None or is_nowhere(address):
            return False
        if ip.is_loopback:
            return self.loopback
        return self.private or ip.is_global
