"""What an administrator stores of an organisation's bucket, checked field by field.

A field that is wrong is a `ConfigurationError` that names it and never its value. Nothing is
looked up in this machine's own environment or files, and nothing here leads to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncstore.credentials import Secret, masked
from asyncstore.errors import ConfigurationError
from asyncstore.providers.gcs.documents import check_known, read
from asyncstore.providers.gcs.sources import ServiceAccount
from asyncstore.providers.s3.credentials import check_region
from asyncstore.providers.s3.endpoint import DEFAULT_REGION, is_aws_region

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.hub.minting.reach import Reach
    from asyncstore.providers.gcs.exchange import Exchange

_AWS = {
    "kind",
    "access_key",
    "secret_key",
    "session_token",
    "role_arn",
    "external_id",
    "endpoint_url",
    "sts_endpoint_url",
    "region",
    "allow_static",
}
_GCS = {"kind", "service_account", "impersonate"}
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::[0-9a-zA-Z]*:role/[\w+=,.@/-]{1,600}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_KEY = re.compile(r"[!-~]{1,128}")
_EMAIL = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}@[a-z0-9][a-z0-9.:-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Amazon:
    """A bucket of S3's, or of what speaks its language.

    Attributes:
        access_key, secret_key, session_token: the stored keys; the token of temporary ones.
        role_arn: the role that is narrowed to one data set.
        external_id: what the role's trust asks for besides.
        endpoint_url: the service's address, or `None` for AWS's own.
        sts_endpoint_url: where the role is assumed.
        region: of the bucket.
        allow_static: whether the stored keys themselves may be handed out.
    """

    access_key: str
    secret_key: Secret
    session_token: Secret | None
    role_arn: str | None
    external_id: str | None
    endpoint_url: str | None
    sts_endpoint_url: str
    region: str | None
    allow_static: bool

    @property
    def identity(self) -> str:
        """Who that is, for people."""
        key = masked(self.access_key)
        return f"{key} as {self.role_arn}" if self.role_arn else key

    @property
    def partition(self) -> str:
        """The part of AWS that the role, and so the bucket, is in."""
        found = _ROLE.fullmatch(self.role_arn or "")
        return found[1] if found else "aws"


@dataclass(frozen=True, slots=True)
class Google:
    """A bucket of Google's.

    Attributes:
        account: the stored service account.
        impersonate: the account that it acts on behalf of, or `None`.
    """

    account: ServiceAccount = field(repr=False)
    impersonate: str | None

    @property
    def identity(self) -> str:
        """Who that is, for people."""
        if self.impersonate:
            return f"{self.account.email} as {self.impersonate}"
        return self.account.email


def parse(managed: Mapping[str, Any], reach: Reach, exchange: Exchange, /) -> Amazon | Google:
    """Read what was stored.

    Args:
        managed: as the administrator gave it.
        reach: where its addresses may lead.
        exchange: how Google is asked for tokens.

    Raises:
        ConfigurationError: names the field that is wrong, missing or unknown.
    """
    kind = managed.get("kind")
    if kind == "aws":
        check_known(managed, _AWS, "credentials")
        return _amazon(managed, reach)
    if kind == "gcs":
        check_known(managed, _GCS, "credentials")
        return _google(managed, reach, exchange)
    raise ConfigurationError("credentials: kind is 'aws' or 'gcs'")


def _amazon(managed: Mapping[str, Any], reach: Reach) -> Amazon:
    texts = {name: _text(managed, name) for name in _AWS - {"kind", "allow_static"}}
    for name in ("access_key", "secret_key"):
        if not _KEY.fullmatch(texts[name] or ""):
            raise ConfigurationError(f"credentials: {name} is missing, or is no key")
    role, external = texts["role_arn"], texts["external_id"]
    if role is not None and not _ROLE.fullmatch(role):
        raise ConfigurationError("credentials: role_arn is arn:aws:iam::ACCOUNT:role/NAME")
    if external is not None and (role is None or not _EXTERNAL_ID.fullmatch(external)):
        raise ConfigurationError("credentials: external_id goes with a role_arn, and is a word")
    static = managed.get("allow_static") or False
    if not isinstance(static, bool):
        raise ConfigurationError("credentials: allow_static is true or false")
    if role is None and not static:
        raise ConfigurationError(
            "credentials: without a role_arn there is nothing that can be narrowed to a data set; "
            "name a role, or say allow_static to hand out the key pair itself"
        )
    for name in ("endpoint_url", "sts_endpoint_url"):
        if texts[name] is not None:
            reach.check(texts[name] or "", f"credentials: {name}")
    region = texts["region"]
    if region is not None:
        check_region(region)
    token = texts["session_token"]
    return Amazon(
        access_key=texts["access_key"] or "",
        secret_key=Secret(texts["secret_key"] or ""),
        session_token=Secret(token) if token else None,
        role_arn=role,
        external_id=external,
        endpoint_url=texts["endpoint_url"],
        sts_endpoint_url=texts["sts_endpoint_url"] or texts["endpoint_url"] or _sts(region),
        region=region,
        allow_static=static,
    )


def _sts(region: str | None) -> str:
    region = region or DEFAULT_REGION
    if not is_aws_region(region):
        raise ConfigurationError(
            f"credentials: AWS has no region {region!r}; give endpoint_url for another service"
        )
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://sts.{region}.{suffix}"


def _google(managed: Mapping[str, Any], reach: Reach, exchange: Exchange) -> Google:
    document = managed.get("service_account")
    if not isinstance(document, dict) or document.get("type") != "service_account":
        # Other kinds read files and ask addresses of the hub's own machine.
        raise ConfigurationError("credentials: service_account is a service account's key file")
    if "token_uri" in document:
        origin = str(document["token_uri"]).split("/", 3)
        reach.check("/".join(origin[:3]), "credentials: service_account: token_uri")
    account = read(document, "credentials: service_account", exchange, strict=False)
    if not isinstance(account, ServiceAccount):
        raise ConfigurationError("credentials: service_account is of another kind")
    target = _text(managed, "impersonate")
    if target is not None and not _EMAIL.fullmatch(target):
        raise ConfigurationError("credentials: impersonate is a service account's address")
    return Google(account, target)


def _text(managed: Mapping[str, Any], name: str) -> str | None:
    value = managed.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigurationError(f"credentials: {name} is not a text")
    return value
