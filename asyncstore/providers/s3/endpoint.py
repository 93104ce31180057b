"""Where a bucket's requests go and how they are signed; computed once per set of keys.

AWS's own hosts are built here, from a region's name, and from nothing that a server says; a
custom endpoint is the one that was given. So no answer can send a request elsewhere.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError
from asyncstore.http import Origin
from asyncstore.http.message import size_of
from asyncstore.providers.s3.heads import NO_HEADERS, HeadWriter
from asyncstore.wire.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Signer,
    encode_path,
    payload_sha256,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.providers.s3.client import Ask
    from asyncstore.providers.s3.credentials import S3Credentials
    from asyncstore.types import Settings

DEFAULT_REGION = "us-east-1"
_AWS_REGION = re.compile(r"(?:[a-z]{2,3})(?:-[a-z]+)+-\d{1,2}")
_AWS_HOST = re.compile(
    r"(?:.+\.)?s3[.-](?:dualstack\.)?([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?"
)
READ: Mapping[str, str] = MappingProxyType({"x-amz-checksum-mode": "ENABLED"})
"""The headers of a plain read."""

_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_SUFFIXES = {"cn": "amazonaws.com.cn"}


def is_aws_region(region: str, /) -> bool:
    """Whether it has the form of a region of AWS, so that a host may be built from it."""
    return _AWS_REGION.fullmatch(region) is not None


def partition(region: str, /) -> str:
    """Return the part of AWS that a region is in: identities and buckets end at its border."""
    for name in ("cn-", "us-gov-", "us-iso", "eu-isoe-"):
        if region.startswith(name):
            return name
    return "aws"


class Endpoint:
    """A bucket's origin and paths, and the keys that sign for it.

    Args:
        bucket: its name.
        creds: whose requests they are, and what their source says of the place.
        settings: `endpoint_url`, `region` and `allow_http` go before what `creds` says.
        region: what the service said that the bucket's region is; goes before all.

    Attributes:
        is_aws: whether the hosts are AWS's own, by us built.
        region: what requests are signed for.

    Raises:
        ConfigurationError: keys would travel in clear, or the address is none.
    """

    __slots__ = (
        "_hash_payload",
        "_signer",
        "_writer",
        "authority",
        "bucket",
        "creds",
        "is_aws",
        "origin",
        "prefix",
        "region",
        "url",
    )

    def __init__(
        self, bucket: str, creds: S3Credentials, settings: Settings, *, region: str | None = None
    ) -> None:
        url = settings.endpoint_url or creds.endpoint_url
        told = region or settings.region or creds.region
        self.bucket = bucket
        self.creds = creds
        self.is_aws = url is None
        if url is None:
            self.region = told or DEFAULT_REGION
            base = _aws_origin(self.region)
            virtual = "." not in bucket and creds.style != "path"
        else:
            base = Origin.parse(url)
            found = _AWS_HOST.fullmatch(base.host)
            self.region = told or (found[1] if found else DEFAULT_REGION)
            virtual = creds.style == "virtual"
        self.url = str(base)
        self.origin = base._replace(host=f"{bucket}.{base.host}") if virtual else base
        self.authority = self.origin.authority
        self.prefix = "/" if virtual else f"/{bucket}/"
        self._signer = self._make_signer() if creds.access_key else None
        self._writer = None
        if self._signer is not None:
            read = READ if settings.checksums else NO_HEADERS
            self._writer = HeadWriter(self._signer, self.authority, read)
        far = base.scheme == "http" and not base.is_loopback
        if far and self._signer is not None and not settings.allow_http:
            raise ConfigurationError(
                f"{self.url} would carry credentials over plain HTTP; use https://, or pass "
                "allow_http=True"
            )
        # Where nothing else protects the bytes on their way, the signature does.
        self._hash_payload = far

    def _make_signer(self) -> Signer:
        token = self.creds.session_token
        return Signer(
            self.creds.access_key,
            self.creds.secret_key.reveal(),
            token.reveal() if token else None,
            region=self.region,
        )

    def path(self, key: str | None) -> str:
        """Return the encoded path of a key, or of the bucket."""
        if key is None:
            return self.prefix if self.prefix == "/" else self.prefix[:-1]
        return self.prefix + encode_path(key)

    def sign(self, ask: Ask, now: float) -> Ask:
        """Make a request one that can be sent, here and now; return it.

        Args:
            ask: what for.
            now: epoch seconds, as the service's clock shows them.
        """
        method, key, query, body = ask.method, ask.key, ask.query, ask.body
        path = self.path(key) if key is None else self.prefix + encode_path(key)
        ask.endpoint = self
        ask.origin = self.origin
        ask.target = f"{path}?{query}" if query else path
        if self._writer is None:
            ask.head = None
            return ask
        plain = ask.headers is self._writer.read and not query and not self._hash_payload
        if plain and method == "GET":
            ask.head = self._writer.write_read(path, now)
            return ask
        payload = UNSIGNED_PAYLOAD
        if self._hash_payload:
            payload = payload_sha256(body) if body else EMPTY_SHA256
        length = size_of(body) if body or method not in _BODILESS else None
        ask.head = self._writer.write(
            method, path, query, ask.headers, now=now, length=length, payload=payload
        )
        return ask

    def sign_reads(self, asks: Sequence[Ask], versions: Sequence[str | None], now: float) -> None:
        """Do as `sign` does for plain reads of whole objects.

        Args:
            asks: the reads.
            versions: of each, the `if-match` that is among its headers.
            now: as in `sign`.
        """
        if self._writer is None or self._hash_payload:
            for ask in asks:
                self.sign(ask, now)
            return
        prefix, origin = self.prefix, self.origin
        paths = [prefix + encode_path(ask.key) for ask in asks if ask.key is not None]
        heads = self._writer.write_reads(paths, versions, now)
        for ask, path, head in zip(asks, paths, heads, strict=True):
            ask.endpoint = self
            ask.origin = origin
            ask.target = path
            ask.head = head

    def presign(
        self, method: str, key: str, headers: Mapping[str, str], *, now: float, expires: int
    ) -> str:
        """Return a URL that works without credentials; it is a secret.

        Raises:
            ConfigurationError: there are no keys to sign with, or `expires` is out of range.
        """
        if self._signer is None:
            raise ConfigurationError("an anonymous store cannot presign; pass creds=")
        path = self.path(key)
        query = self._signer.presign(
            method, self.authority, path, (), headers, now=now, expires=expires
        )
        return f"{self.origin}{path}?{query}"

    def copy_source(self, key: str) -> str:
        """Return what names a source object in `x-amz-copy-source`."""
        return f"/{self.bucket}/{encode_path(key)}"


def _aws_origin(region: str) -> Origin:
    if not is_aws_region(region):
        raise ConfigurationError(
            f"AWS has no region {region!r}; write one like 'eu-central-1', or give endpoint_url"
        )
    suffix = _SUFFIXES.get(region.partition("-")[0], "amazonaws.com")
    return Origin("https", f"s3.{region}.{suffix}", 443)
