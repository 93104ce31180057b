"""What a hub hands out, checked before anything is sent to where it leads.

A hub says where data is and lends the credentials for it; it is not trusted to lead a program
anywhere else. So: storage over https, or on this machine where the hub is on it too; no address
of a metadata service; no path on this machine's disk, unless the user said below which folder; no
identity of this machine's own. What ends is told by the hub's clock and kept by ours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.request import getproxies_environment

from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidPathError,
    NotSupportedError,
)
from asyncstore.http import Origin
from asyncstore.http.nowhere import is_nowhere, numeric
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.providers.hub.client import Told
    from asyncstore.providers.hub.login import Hub
    from asyncstore.types import Settings

FOLDER_VARIABLE = "ASYNCSTORE_HUB_FOLDER"
"""Names the folder below which a hub may say that data is."""

_LONGEST_LIFE = 43_200.0
_SAME_CLOCK = 2.0  # seconds; a `Date` has whole ones
_PAIR = ("aws_access_key_id", "aws_secret_access_key")
_S3 = (*_PAIR, "aws_session_token", "endpoint_url", "aws_region", "region")


class Grant:
    """A place, the right to it, and until when; no repr shows the credentials.

    Attributes:
        url: where the data is.
        creds: what the provider there takes as `creds=`; a dict without an end, or a word.
        expires_at: epoch seconds by this machine's clock, or `None` where nothing ends.
        mode: `"r"`, or `"w"` or `"a"` where it may be written to.
        repository: what the hub wants to be told when a data set is registered, or `None`.
    """

    __slots__ = ("creds", "expires_at", "mode", "repository", "url")

    def __init__(
        self,
        url: StoreURL,
        creds: Any,
        *,
        expires_at: float | None,
        mode: Literal["r", "w", "a"],
        repository: str | None = None,
    ) -> None:
        self.url = url
        self.creds = creds
        self.expires_at = expires_at
        self.mode = mode
        self.repository = repository

    def __repr__(self) -> str:
        return f"Grant({self.url}, {self.mode!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("what a hub lends does not pickle")

    @property
    def lends(self) -> bool:
        """Whether it lends credentials that may be renewed, and not a whole key or a word."""
        return isinstance(self.creds, dict) and "type" not in self.creds

    @property
    def ending(self) -> dict[str, Any]:
        """The credentials that it lends, with their end."""
        return {**self.creds, "expires_at": self.expires_at}

    @property
    def reach(self) -> tuple[Any, ...]:
        """What must be the same for a provider to go on with other credentials."""
        creds = self.creds if isinstance(self.creds, dict) else {}
        how = creds.get("private_key_id") if "type" in creds else type(self.creds)
        place = (creds.get("endpoint_url"), creds.get("aws_region") or creds.get("region"))
        return self.url.scheme, self.url.bucket, self.url.path, place, how


def read(told: Told, hub: Hub, settings: Settings, /, *, now: float) -> Grant:
    """Check what a hub handed out.

    Args:
        told: its answer.
        hub: who told it.
        settings: `creds` and `endpoint_url` are the user's own words, and go before the hub's.
        now: epoch seconds by this machine's clock.

    Raises:
        IntegrityError: it is not what it must be, or has ended already.
        ConfigurationError: it leads where no hub may lead.
        NotSupportedError: it leads to a service that there is no provider for.
    """
    granted = told.granted
    url = _place(granted.path)
    mode, repository = granted.mode, granted.repository
    if settings.creds is not None:
        if url.scheme != "s3":
            raise ConfigurationError("creds= goes before a hub's own for data on S3 alone")
        return Grant(url, settings.creds, expires_at=None, mode=mode, repository=repository)
    end = None
    if granted.expiration is not None:
        end = _end(granted.expiration, told.clock, now)
    creds = lent(url.scheme, granted.creds, hub, settings)
    return Grant(url, creds, expires_at=end, mode=mode, repository=repository)


def lent(scheme: str, given: Mapping[str, Any], hub: Hub, settings: Settings, /) -> Any:
    """Return what a provider takes as `creds=` from what a hub lends for it.

    Raises:
        IntegrityError: it is not what it must be.
        ConfigurationError: it leads where no hub may lead.
    """
    if scheme == "file" or not given:
        return None if scheme == "file" else "anon"
    creds = _s3(given) if scheme == "s3" else _gcs(given)
    endpoint = creds.get("endpoint_url")
    if endpoint is not None and settings.endpoint_url is None:
        _check_address(endpoint, near=hub.is_near, allow_http=settings.allow_http)
    return creds


def permits(hub: Hub, settings: Settings, /) -> Callable[[str], bool] | None:
    """Return whether connections to a numeric address are allowed where a hub leads.

    An address that the user gave is the user's business. Where a proxy resolves names, what is
    connected to is the proxy, maybe this machine's.
    """
    if settings.endpoint_url is not None:
        return None
    near = hub.is_near or bool(getproxies_environment())

    def permit(address: str) -> bool:
        ip = numeric(address)
        return ip is not None and not is_nowhere(address) and (near or not ip.is_loopback)

    return permit


def _place(path: str) -> StoreURL:
    scheme = path.partition("://")[0].lower()
    if scheme in ("az", "azure"):
        raise NotSupportedError("the hub says that the data is on Azure, which is not served")
    try:
        url = StoreURL.parse(path)
    except InvalidPathError:
        raise IntegrityError("the hub's answer has a path that means no place") from None
    if url.scheme == "file":
        return _on_disk(path, url)
    if url.scheme not in ("s3", "gcs"):
        raise IntegrityError(f"the hub says that the data is at a {url.scheme}:// path")
    return url


def _on_disk(path: str, url: StoreURL) -> StoreURL:
    allowed = os.environ.get(FOLDER_VARIABLE, "")
    if not os.path.isabs(allowed):
        raise ConfigurationError(
            f"the hub says that the data is on this machine's disk, where no hub may lead unless "
            f"{FOLDER_VARIABLE} names the folder that it may lead below"
        )
    real = os.path.realpath(url.path)
    inside = os.path.commonpath([os.path.realpath(allowed), real]) == os.path.realpath(allowed)
    if not (inside and (os.path.isabs(path) or path.startswith("file:///"))):
        raise ConfigurationError(
            f"the hub says that the data is in {url.path}, which is not below {FOLDER_VARIABLE}"
        )
    return StoreURL("file", "", real)


def _s3(given: Mapping[str, Any]) -> dict[str, Any]:
    # A profile's name would be an identity of this machine's own, chosen from afar.
    creds = {name: given[name] for name in _S3 if given.get(name)}
    if not all(isinstance(text, str) for text in creds.values()):
        raise IntegrityError("the hub's answer has credentials that are not texts")
    if not all(name in creds for name in _PAIR):
        raise IntegrityError("the hub's answer has no key pair for S3")
    return creds


def _gcs(given: Mapping[str, Any]) -> dict[str, Any]:
    token = given.get("gcs_oauth_token")
    if isinstance(token, str) and token:
        creds = {"gcs_oauth_token": token, "project_id": given.get("project_id")}
        return {name: text for name, text in creds.items() if text}
    if given.get("type") == "service_account":  # no other kind: they read files and ask addresses
        return dict(given)
    raise IntegrityError("the hub's answer has neither a token nor a service account for Google")


def _end(expiration: float, clock: float | None, now: float) -> float:
    """Return when something ends by this machine's clock, whichever of the two is wrong."""
    theirs = now if clock is None or abs(clock - now) < _SAME_CLOCK else clock
    life = expiration - theirs
    if life <= 0:
        raise IntegrityError(
            f"the hub handed out credentials that ended {-life:.0f} s ago by its own clock"
        )
    return now + min(life, _LONGEST_LIFE)


def _check_address(url: str, *, near: bool, allow_http: bool) -> None:
    try:
        origin = Origin.parse(url)
    except ConfigurationError:
        raise IntegrityError("the hub's answer has an endpoint_url that is no address") from None
    if origin.scheme == "http" and not origin.is_loopback and not allow_http:
        raise ConfigurationError(
            f"the hub leads to {origin}, where credentials would travel over plain HTTP; pass "
            "allow_http=True if the network is your own"
        )
    if is_nowhere(origin.host):
        raise ConfigurationError(f"the hub leads to {origin}, where no storage is")
    if origin.is_loopback and not near:
        raise ConfigurationError(
            f"the hub leads to {origin}, which is this machine, and is not on it itself; pass "
            "endpoint_url= if you mean it"
        )
