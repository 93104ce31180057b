"""Which proxy an origin is reached through: the environment's variables, read as Python reads them.

So do the command lines of AWS and Google, which are written in it. `HTTPS_PROXY`, `HTTP_PROXY` and
`ALL_PROXY`, in lower case first, where an empty one means none; `NO_PROXY` lists hosts, with
their subdomains, addresses and networks, each with a port or without, or `*`. This machine
itself is never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.http.message import Origin


class Proxy(NamedTuple):
    """A proxy's address, and the value of `Proxy-Authorization`, or `None`."""

    host: str
    port: int
    authorization: str | None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"

    @classmethod
    def parse(cls, url: str, name: str, /) -> Proxy:
        """Read `http://[user:password@]host[:port]`; the scheme may be left out.

        Args:
            url: the text.
            name: where it was found, for the message.

        Raises:
            ConfigurationError: for anything else.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or 80
        except ValueError:
            raise ConfigurationError(f"{name} is not http://host:port") from None
        if parts.scheme != "http" or not parts.hostname or not url.isprintable():
            raise ConfigurationError(f"{name} is not http://host:port, the one form supported")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return cls(parts.hostname, port, authorization)


def proxy_for(origin: Origin, setting: str | None, environ: Mapping[str, str], /) -> Proxy | None:
    """Return the proxy for an origin, or `None` for none.

    Args:
        origin: what is to be reached.
        setting: `EngineOptions.proxy`.
        environ: the process's environment.

    Raises:
        ConfigurationError: the proxy's URL is of no form that is supported.
    """
    if setting is None or origin.is_loopback:
        return None
    if setting != "environment":
        return Proxy.parse(setting, "proxy=")
    for name in (f"{origin.scheme}_proxy", "all_proxy"):
        variable = _variable(name, environ)
        if environ.get(variable):
            if _excluded(origin, environ.get(_variable("no_proxy", environ), "")):
                return None
            return Proxy.parse(environ[variable], variable)
    return None


def _variable(name: str, environ: Mapping[str, str]) -> str:
    """Return a variable in the spelling that counts: lower case where it is set, if to nothing."""
    # Under CGI a client's header `Proxy:` becomes HTTP_PROXY.
    forged = name == "http_proxy" and "REQUEST_METHOD" in environ
    return name if name in environ or forged else name.upper()


def _excluded(origin: Origin, text: str) -> bool:
    return any(_matches(origin, entry.strip().lower()) for entry in text.split(",") if entry)


def _matches(origin: Origin, entry: str) -> bool:
    if entry == "*":
        return True
    host = origin.host.lower().rstrip(".")
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        if int(port) != origin.port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        entry = entry.removeprefix("*").strip(".")
        return bool(entry) and (host == entry or host.endswith(f".{entry}"))
