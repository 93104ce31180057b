"""The mint: from what an administrator stored to what a member is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from asyncstore.errors import ConfigurationError
from asyncstore.http import Engine, EngineOptions
from asyncstore.hub.minting import amazon, google
from asyncstore.hub.minting.managed import Amazon, parse
from asyncstore.hub.minting.policy import check_place
from asyncstore.hub.minting.reach import Reach
from asyncstore.providers.gcs.exchange import Exchange
from asyncstore.providers.gcs.session import GOOGLE
from asyncstore.providers.gcs.sources import IAM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.hub.minting.managed import Google
    from asyncstore.hub.minting.minted import Minted
    from asyncstore.hub.minting.policy import Mode
    from asyncstore.url import StoreURL


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where Google's services are; others than its own are for tests.

    Attributes:
        google_sts: where tokens are narrowed.
        google_iam: where accounts are impersonated.
        google_storage: where signed URLs lead.
    """

    google_sts: str = "https://sts.googleapis.com"
    google_iam: str = IAM
    google_storage: str = GOOGLE


class Minter:
    """Mints short-lived credentials; an async context manager that keeps its connections.

    Args:
        reach: where stored credentials may lead; by default to public addresses alone.
        addresses: where Google's services are.
    """

    def __init__(self, reach: Reach | None = None, *, addresses: Addresses | None = None) -> None:
        self._reach = reach or Reach()
        self._addresses = addresses or Addresses()
        self._engine: Engine | None = None
        self._exchange = Exchange(self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; twice is as once."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()

    def validate(self, managed: Mapping[str, Any], /) -> None:
        """Refuse, before it is stored, what could not be used. Nobody is asked.

        Args:
            managed: `{"kind": "aws", "access_key", "secret_key", "session_token"?, "role_arn"?,
                "external_id"?, "endpoint_url"?, "sts_endpoint_url"?, "region"?,
                "allow_static"?}`, or `{"kind": "gcs", "service_account": {…}, "impersonate"?}`.

        Raises:
            ConfigurationError: names the field that is wrong, missing or unknown, never its value.
        """
        self._parse(managed)

    def identity(self, managed: Mapping[str, Any], /) -> str:
        """Return who stored credentials are, for people; keys' names are shortened.

        Raises:
            ConfigurationError: as `validate`.
        """
        return self._parse(managed).identity

    async def mint(
        self,
        managed: Mapping[str, Any],
        url: StoreURL,
        /,
        *,
        mode: Mode,
        lifetime: float,
        allow_static: bool = False,
    ) -> Minted:
        """Return credentials that reach one data set and nothing else.

        Args:
            managed: what is stored, as `validate` takes it.
            url: the data set's place, `s3://` or `gcs://` with a prefix.
            mode: `"r"` to read, `"w"` to write and delete too.
            lifetime: seconds until a client is to ask for others. S3's keys go on working until
                15 minutes have passed; Google's token holds for an hour at most.
            allow_static: whether whoever asks may have the stored key pair itself, which nothing
                narrows or ends, where there is no role and an administrator allowed it.

        Raises:
            ConfigurationError: the credentials, the place or the role is wrong.
            PermissionDeniedError: the role or account may not be used; or a key pair alone is
                stored, and may not be handed out.
            UnauthenticatedError: the stored keys are not known, or were revoked.
            NotSupportedError: the path is too long to be named in a policy.
            TransientError: the service could not be asked now.
        """
        parsed = self._for(managed, url)
        if isinstance(parsed, Amazon):
            return await amazon.mint(
                self._transport(), parsed, url, mode=mode, lifetime=lifetime, static=allow_static
            )
        return await google.mint(
            self._exchange, parsed, url, mode=mode, lifetime=lifetime, addresses=self._addresses
        )

    async def presign(self, managed: Mapping[str, Any], url: StoreURL, /, *, expires: float) -> str:
        """Return a URL that reads one object without credentials; it is a secret.

        Args:
            managed: what is stored.
            url: the object's place.
            expires: how long it holds, in seconds, to 7 days; no longer than a role's session
                where one signs, and 12 hours where Google signs for an impersonated account.

        Raises:
            StoreError: as `mint`; `ConfigurationError` where `expires` is out of range.
        """
        parsed = self._for(managed, url)
        if isinstance(parsed, Amazon):
            return await amazon.presign(self._transport(), parsed, url, expires=expires)
        return await google.presign(
            self._exchange, parsed, url, expires=expires, addresses=self._addresses
        )

    def _parse(self, managed: Mapping[str, Any]) -> Amazon | Google:
        return parse(managed, self._reach, self._exchange)

    def _for(self, managed: Mapping[str, Any], url: StoreURL) -> Amazon | Google:
        """Read what is stored for the service that a place is on."""
        parsed = self._parse(managed)
        scheme = "s3" if isinstance(parsed, Amazon) else "gcs"
        if url.scheme != scheme:
            raise ConfigurationError(f"{url}: the stored credentials are for {scheme}:// paths")
        check_place(url)
        return parsed

    def _transport(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(EngineOptions(permit=self._reach.permits))
        return self._engine
