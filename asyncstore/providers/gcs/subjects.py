"""Workload identity: where another platform's token comes from, to be traded for Google's.

A file (Kubernetes, GitHub), an address (Azure, and services of one's own), or AWS, whose token is
a signed request that Google sends for itself. Executables are refused: a data file must not be
able to start a program.

Source: https://google.aip.dev/auth/4117.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from asyncstore.errors import ConfigurationError
from asyncstore.providers.gcs.exchange import check_token, read_json, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asyncstore.providers.gcs.exchange import Exchange

    Subject = Callable[[], Awaitable[str]]

_CAP = 64 * 1024
_LINK_LOCAL = ("169.254.169.254", "fd00:ec2::254")
_TTL = {"x-aws-ec2-metadata-token-ttl-seconds": "300"}


def read(
    source: Mapping[str, Any],
    place: str,
    /,
    exchange: Exchange,
    *,
    audience: str,
    environ: Mapping[str, str],
) -> Subject:
    """Read a `credential_source`.

    Raises:
        ConfigurationError: it is none of the kinds that are served.
    """
    if "executable" in source:
        raise ConfigurationError(f"{place}: executable is not served: it would start a program")
    if "environment_id" in source:
        return Amazon.read(source, place, exchange, audience, environ).token
    form = _Format.read(source.get("format"), place)
    if "file" in source:
        return _File(_text(source, "file", place), form, place).token
    if "url" in source:
        url = _text(source, "url", place)
        _check_near(url, place)
        return _Address(exchange, url, _headers(source, place), form).token
    raise ConfigurationError(f"{place} has none of file, url and environment_id")


@dataclass(frozen=True)
class _Format:
    """How the token is in what was read: the whole text, or a field of JSON."""

    field: str | None

    @classmethod
    def read(cls, value: Any, place: str) -> _Format:
        value = {} if value is None else value
        if isinstance(value, dict) and value.get("type", "text") == "text":
            return cls(None)
        if isinstance(value, dict) and value.get("type") == "json":
            return cls(_text(value, "subject_token_field_name", f"{place}: format"))
        raise ConfigurationError(f"{place}: format is text, or json with subject_token_field_name")

    def token(self, data: bytes, place: str) -> str:
        if self.field is not None:
            return check_token(read_json(data, place).get(self.field))
        return check_token(data.decode("ascii", "replace").strip())


@dataclass(frozen=True)
class _File:
    path: str
    form: _Format
    place: str

    async def token(self) -> str:
        return self.form.token(await asyncio.to_thread(self._read), self.path)

    def _read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read(_CAP)
        except OSError as error:
            raise ConfigurationError(
                f"{self.place}: {self.path!r} cannot be read: {error.strerror}"
            ) from None


@dataclass(frozen=True)
class _Address:
    exchange: Exchange
    url: str
    headers: Mapping[str, str] = field(repr=False)
    form: _Format

    async def token(self) -> str:
        reply = await self.exchange.get(self.url, self.headers, plain=True)
        return self.form.token(bytes(reply.body), "the credential source")


class _Keys(NamedTuple):
    access_key: str
    secret_key: str
    session_token: str | None


@dataclass(frozen=True)
class Amazon:
    """An AWS machine's identity: a signed `GetCallerIdentity`, which Google sends to AWS.

    Keys and region come from the environment, and else from the machine's metadata service.
    """

    exchange: Exchange
    audience: str
    verify_url: str
    region_url: str | None
    keys_url: str | None
    session_url: str | None
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(
        cls,
        source: Mapping[str, Any],
        place: str,
        exchange: Exchange,
        audience: str,
        environ: Mapping[str, str],
    ) -> Amazon:
        """Check the source's fields; addresses are AWS's metadata service or this machine."""
        if source["environment_id"] != "aws1":
            raise ConfigurationError(f"{place}: environment_id is 'aws1'")
        region, keys, session = (
            _near(source, name, place) for name in ("region_url", "url", "imdsv2_session_token_url")
        )
        verify = _text(source, "regional_cred_verification_url", place)
        split(verify.replace("{region}", "us-east-1"))
        return cls(exchange, audience, verify, region, keys, session, environ)

    async def token(self) -> str:
        """Return the signed request as Google's token service takes it."""
        session = await self._session()
        region = await self._region(session)
        return sign_caller_identity(
            await self._keys(session),
            region,
            self.verify_url.replace("{region}", region),
            self.audience,
            datetime.fromtimestamp(self.exchange.clock(), UTC),
        )

    async def _session(self) -> dict[str, str]:
        if self.session_url is None or self._environment_keys() is not None:
            return {}
        reply = await self.exchange.get(self.session_url, _TTL, method="PUT", plain=True)
        return {
            "x-aws-ec2-metadata-token": check_token(bytes(reply.body).decode("ascii", "replace"))
        }

    async def _region(self, session: Mapping[str, str]) -> str:
        region = self.environ.get("AWS_REGION") or self.environ.get("AWS_DEFAULT_REGION")
        if region is None:
            region = (await self._ask(self.region_url, session, "region_url"))[:-1]
        if not region.replace("-", "").isalnum() or not region.isascii():
            raise ConfigurationError("the AWS region is none")
        return region

    def _environment_keys(self) -> _Keys | None:
        access, secret = (
            self.environ.get(f"AWS_{n}") for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        )
        if not access or not secret:
            return None
        return _Keys(access, secret, self.environ.get("AWS_SESSION_TOKEN"))

    async def _keys(self, session: Mapping[str, str]) -> _Keys:
        keys = self._environment_keys()
        if keys is not None:
            return keys
        role = await self._ask(self.keys_url, session, "url")
        reply = await self._ask(f"{self.keys_url}/{quote(role, safe='')}", session, "url")
        found = read_json(reply.encode(), "the AWS metadata service")
        return _Keys(
            check_token(found.get("AccessKeyId")),
            check_token(found.get("SecretAccessKey")),
            check_token(found.get("Token")),
        )

    async def _ask(self, url: str | None, session: Mapping[str, str], name: str) -> str:
        if url is None:
            raise ConfigurationError(
                f"credential_source has no {name}, and the AWS_ variables are not set"
            )
        reply = await self.exchange.get(url, session, plain=True)
        return check_token(bytes(reply.body).decode("ascii", "replace").strip())


def sign_caller_identity(
    keys: tuple[str, str, str | None], region: str, url: str, audience: str, at: datetime
) -> str:
    """Sign a `GetCallerIdentity` request with SigV4, as text for Google's token service."""
    access, secret, session = keys
    origin, target = split(url)
    path, _, query = target.partition("?")
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "host": origin.authority,
        "x-amz-date": stamp,
        "x-goog-cloud-target-resource": audience,
    }
    if session:
        headers["x-amz-security-token"] = session
    ordered = dict(sorted(headers.items()))
    names = ";".join(ordered)
    lines = "".join(f"{name}:{value}\n" for name, value in ordered.items())
    canonical_query = "&".join(sorted(query.split("&")))
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"POST\n{path}\n{canonical_query}\n{lines}\n{names}\n{empty}"
    scope = f"{stamp[:8]}/{region}/sts/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    ordered["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    listed = [{"key": name, "value": value} for name, value in ordered.items()]
    return quote(json.dumps({"url": url, "method": "POST", "headers": listed}), safe="")


def _check_near(url: str, place: str) -> None:
    """Allow https, this machine and the machines' metadata addresses; nothing else."""
    origin, _ = split(url, plain=True)
    if origin.scheme != "https" and not origin.is_loopback and origin.host not in _LINK_LOCAL:
        raise ConfigurationError(f"{place}: {origin} is neither https nor this machine")


def _near(source: Mapping[str, Any], name: str, place: str) -> str | None:
    if not source.get(name):
        return None
    url = _text(source, name, place)
    _check_near(url, place)
    return url


def _headers(source: Mapping[str, Any], place: str) -> dict[str, str]:
    headers = source.get("headers") or {}
    if not isinstance(headers, dict) or not all(
        isinstance(n, str) and isinstance(v, str) and f"{n}{v}".isprintable() and n.isascii()
        for n, v in headers.items()
    ):
        raise ConfigurationError(f"{place}: headers is not an object of texts")
    return {name.lower(): value for name, value in headers.items()}


def _text(fields: Mapping[str, Any], name: str, place: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{place}: {name} is not a text")
    return value
