"""What `creds=` may be for S3, read strictly: what is wrong is refused, never replaced.

Keys that the user gives are used, or an error says what to write instead; no other identity is
looked for. Only `None`, `"ENV"` and a profile's name lead to the machine's own configuration,
which `chain` resolves.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from asyncstore.credentials import Secret, called, masked, read_expiry
from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.types import Settings

    Source = Callable[[], "S3Credentials | Awaitable[S3Credentials]"]

AddressingStyle = Literal["auto", "path", "virtual"]

_PAIR = ("aws_access_key_id", "aws_secret_access_key")
_PLACE = ("endpoint_url", "aws_region", "region")
_KEYS = (*_PAIR, "aws_session_token", *_PLACE, "profile_name", "expires_at")
_SYNONYMS = {
    "accesskeyid": "aws_access_key_id",
    "accesskey": "aws_access_key_id",
    "awsaccesskey": "aws_access_key_id",
    "key": "aws_access_key_id",
    "secretaccesskey": "aws_secret_access_key",
    "secretkey": "aws_secret_access_key",
    "awssecretkey": "aws_secret_access_key",
    "secret": "aws_secret_access_key",
    "sessiontoken": "aws_session_token",
    "securitytoken": "aws_session_token",
    "token": "aws_session_token",
    "endpoint": "endpoint_url",
    "awsendpointurl": "endpoint_url",
    "awsendpointurls3": "endpoint_url",
    "awsdefaultregion": "aws_region",
    "regionname": "aws_region",
    "profile": "profile_name",
    "awsprofile": "profile_name",
    "expiration": "expires_at",
    "expiry": "expires_at",
    "expirytime": "expires_at",
}
_FORMS = (
    "creds is a dict of aws_access_key_id and aws_secret_access_key (and aws_session_token, "
    "endpoint_url, aws_region) or of profile_name, a callable that returns such a dict, "
    '"ENV", "anon" or None'
)
_REGION = re.compile(r"[a-z0-9][a-z0-9\-]{0,62}")


class S3Credentials:
    """Keys, where they come from and, where the source says it, which endpoint they are for.

    Attributes:
        access_key: `""` means unsigned requests.
        secret_key, session_token: secrets; the token is `None` where there is none.
        expires_at: epoch seconds, or `None` where they have no end.
        source: for people, such as `"creds="` or `"environment"`.
        endpoint_url, region, style: what the same source says of the service, or `None`.
    """

    __slots__ = (
        "access_key",
        "endpoint_url",
        "expires_at",
        "region",
        "secret_key",
        "session_token",
        "source",
        "style",
    )

    def __init__(
        self,
        access_key: str = "",
        secret_key: Secret | None = None,
        session_token: Secret | None = None,
        *,
        expires_at: float | None = None,
        source: str = "creds=",
        endpoint_url: str | None = None,
        region: str | None = None,
        style: AddressingStyle = "auto",
    ) -> None:
        self.access_key = access_key
        self.secret_key = secret_key or Secret("")
        self.session_token = session_token
        self.expires_at = expires_at
        self.source = source
        self.endpoint_url = endpoint_url
        self.region = region
        self.style: AddressingStyle = style

    @property
    def identity(self) -> str:
        """Who that is, for messages: `"AKIA…WXYZ (from creds=)"` or `"anonymous"`."""
        if not self.access_key:
            return "anonymous"
        return f"{masked(self.access_key)} (from {self.source})"

    def is_same_key(self, other: S3Credentials, /) -> bool:
        """Whether a service could not tell them apart."""
        return (self.access_key, self.secret_key, self.session_token) == (
            other.access_key,
            other.secret_key,
            other.session_token,
        )

    def __repr__(self) -> str:
        return f"S3Credentials({self.identity})"


def source_of(settings: Settings, /) -> Source:
    """Return what hands out the credentials that `settings.creds` asks for. No I/O.

    Raises:
        ConfigurationError: they are of no known form; the message says what to write instead.
    """
    creds = settings.creds
    if creds is None or creds == "ENV":
        return _machine(settings, None)
    if isinstance(creds, str) and creds == "anon":
        return partial(_anonymous, _usual(settings))
    if isinstance(creds, Mapping):
        return _read_mapping(creds, settings)
    if callable(creds):
        return _Called(creds, _usual(settings))
    raise ConfigurationError(_what_else(creds))


def _usual(settings: Settings) -> Callable[[], tuple[str | None, str | None]]:
    """Return what tells the address and the region where the credentials do not."""
    return from_environment if settings.use_environment else lambda: (None, None)


def _anonymous(usual: Callable[[], tuple[str | None, str | None]]) -> S3Credentials:
    endpoint_url, region = usual()
    return S3Credentials(source='creds="anon"', endpoint_url=endpoint_url, region=region)


def _what_else(creds: Any) -> str:
    if isinstance(creds, str):
        # The text itself may be a secret in the wrong place.
        meant = {"env": '"ENV"', "anon": '"anon"', "anonymous": '"anon"'}.get(creds.lower())
        hint = f"; write creds={meant}" if meant else ""
        return f"creds is a text that S3 does not know{hint}. {_FORMS}"
    return f"creds is of type {type(creds).__name__}. {_FORMS}"


def _machine(settings: Settings, profile: str | None, **place: str | None) -> Source:
    chain: Any = None

    async def resolve() -> S3Credentials:
        nonlocal chain
        if chain is None:
            from asyncstore.providers.s3.chain import Chain  # noqa: PLC0415 - loads the SDK

            chain = Chain(settings, profile)
        found: S3Credentials = await chain()
        for name, value in place.items():
            if value is not None:
                setattr(found, name, value)
        return found

    return resolve


def _read_mapping(creds: Mapping[Any, Any], settings: Settings) -> Source:
    texts = _check_keys(creds)
    endpoint_url, region = _place(texts)
    profile = texts.get("profile_name")
    if profile is not None:
        if any(name in texts for name in (*_PAIR, "aws_session_token", "expires_at")):
            raise ConfigurationError("creds has profile_name and keys; give one or the other")
        return _machine(settings, profile, endpoint_url=endpoint_url, region=region)
    if not any(name in texts for name in (*_PAIR, "aws_session_token", "expires_at")):
        # It says where, and leaves it to the machine who.
        return _machine(settings, None, endpoint_url=endpoint_url, region=region)
    fixed = _keys(texts, "creds=", _usual(settings))
    return lambda: fixed


def _check_keys(creds: Mapping[Any, Any]) -> dict[str, Any]:
    if not creds:
        raise ConfigurationError(f"creds is empty; leave it out, or fill it: {_FORMS}")
    texts: dict[str, Any] = {}
    for name, value in creds.items():
        if name not in _KEYS:
            raise ConfigurationError(f"creds has the unknown key {name!r}{_meant(name)}")
        if value is None and name not in (*_PAIR, "profile_name"):
            continue  # as good as left out
        if name != "expires_at":
            _check_text(name, value)
        texts[name] = value
    return texts


def _meant(name: Any) -> str:
    if not isinstance(name, str):
        return f"; the keys are {', '.join(_KEYS)}"
    lower = name.lower()
    if lower in _KEYS:
        return f"; write {lower!r}, in lower case"
    known = _SYNONYMS.get(re.sub(r"[^a-z0-9]", "", lower))
    close = [known] if known else difflib.get_close_matches(lower, _KEYS, 1)
    return f"; write {close[0]!r}" if close else f"; the keys are {', '.join(_KEYS)}"


def _check_text(name: str, value: Any) -> None:
    """Refuse what cannot be the value, without showing it: it may be the secret."""
    if not isinstance(value, str):
        unset = value is None
        what = "None; is a variable unset?" if unset else f"of type {type(value).__name__}"
        raise ConfigurationError(f"creds[{name!r}] is {what}; it must be a text")
    if not value:
        raise ConfigurationError(f"creds[{name!r}] is empty")
    if value != value.strip() or not value.isprintable():
        raise ConfigurationError(
            f"creds[{name!r}] has white space at an end or a control character in it"
        )
    if name in (*_PAIR, "aws_session_token") and not value.isascii():
        raise ConfigurationError(f"creds[{name!r}] has a character that no key has")


def _place(texts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    region, other = texts.get("aws_region"), texts.get("region")
    if region and other and region != other:
        raise ConfigurationError("creds has aws_region and region, which differ; give one")
    region = region or other
    if region is not None:
        check_region(region)
    return texts.get("endpoint_url"), region


def is_region(name: str, /) -> bool:
    """Whether a name has the form of a region's, of AWS or of anybody."""
    return _REGION.fullmatch(name) is not None


def check_region(region: str, /) -> str:
    """Return a region's name if it is one by its form.

    Raises:
        ConfigurationError: it would make another host name.
    """
    if not is_region(region):
        raise ConfigurationError(f"{region!r} is not a region; write one like 'eu-central-1'")
    return region


def _keys(
    texts: Mapping[str, Any], source: str, usual: Callable[[], tuple[str | None, str | None]]
) -> S3Credentials:
    for name, other in (_PAIR, _PAIR[::-1]):
        if name not in texts:
            there = other if other in texts else "aws_session_token"
            raise ConfigurationError(f"creds has {there} and no {name}; give the whole key pair")
    endpoint_url, region = _place(texts)
    token = texts.get("aws_session_token")
    usual_url, usual_region = usual()
    return S3Credentials(
        texts["aws_access_key_id"],
        Secret(texts["aws_secret_access_key"]),
        Secret(token) if token else None,
        expires_at=read_expiry(texts.get("expires_at")),
        source=source,
        endpoint_url=endpoint_url or usual_url,
        region=region or usual_region,
    )


def from_environment() -> tuple[str | None, str | None]:
    """Return the endpoint and the region of the environment variables."""
    environ = os.environ
    ignored = environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return None if ignored else endpoint or None, check_region(region) if region else None


class _Called:
    """The user's own callable as a source."""

    def __init__(
        self, function: Callable[[], Any], usual: Callable[[], tuple[str | None, str | None]]
    ) -> None:
        self._function = function
        self._usual = usual

    async def __call__(self) -> S3Credentials:
        made = await called(self._function)
        if isinstance(made, S3Credentials):
            return made
        if not isinstance(made, Mapping):
            raise ConfigurationError(
                f"the creds callable returned a {type(made).__name__}; it returns a dict of "
                "aws_access_key_id, aws_secret_access_key, aws_session_token and expires_at"
            )
        texts = _check_keys(made)
        if "profile_name" in texts:
            raise ConfigurationError("the creds callable returned a profile_name; it returns keys")
        return _keys(texts, "creds callable", self._usual)
