"""A Google machine's own service account, from its metadata server.

Source: https://cloud.google.com/compute/docs/metadata/querying-metadata. The server speaks plain
HTTP on a link-local address; a reply counts only with its `Metadata-Flavor: Google`, which a
captive portal or a stranger at that address does not send.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError, DeadlineError, IntegrityError, UnavailableError
from asyncstore.providers.gcs.exchange import check_token, read_json, token_of
from asyncstore.providers.gcs.sources import (
    DATA,
    IAM,
    LONGEST_BY_IAM,
    Account,
    sign_blob,
    sign_blob_url,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.http import Response
    from asyncstore.providers.gcs.exchange import Exchange, GoogleToken

_FLAVOR = {"metadata-flavor": "Google"}
_ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


@dataclass
class Metadata:
    """The machine's service account.

    Args:
        exchange: how to ask.
        environ: `GCE_METADATA_HOST` says where the server is.
        iam: where the account's key signs.
    """

    exchange: Exchange
    environ: Mapping[str, str] = field(repr=False)
    iam: str = IAM
    _email: str | None = field(default=None, init=False)
    _met: bool = field(default=False, init=False)

    @property
    def host(self) -> str:
        """Host and maybe port of the metadata server."""
        return (
            self.environ.get("GCE_METADATA_HOST")
            or self.environ.get("GCE_METADATA_ROOT")
            or "metadata.google.internal"
        )

    async def fetch(self, _: str = DATA, /) -> GoogleToken:
        """Ask for the account's token; its scopes were fixed when the machine was made.

        Raises:
            ConfigurationError: there is no such server: this is no Google machine.
        """
        now = self.exchange.clock()
        reply = await self._ask(f"{_ACCOUNT}/token")
        identity = self._email or "the machine's service account"
        return token_of(read_json(reply.body, f"http://{self.host}"), now, identity=identity)

    async def sign(self, data: bytes, /) -> bytes:
        """Let the IAM service sign with the account's key."""
        url = sign_blob_url(await self._address(), self.iam)
        return await sign_blob(self.exchange, url, await self.fetch(), data)

    async def account(self) -> Account:
        """Return the account."""
        return Account(await self._address(), LONGEST_BY_IAM)

    async def _address(self) -> str:
        if self._email is None:
            reply = await self._ask(f"{_ACCOUNT}/email")
            self._email = check_token(bytes(reply.body).decode("ascii", "replace").strip())
        return self._email

    async def _ask(self, path: str) -> Response:
        url = f"http://{self.host}{path}"
        try:
            reply = await self.exchange.get(url, _FLAVOR, plain=True)
        except (UnavailableError, DeadlineError) as error:
            if self._met or error.status is not None:
                raise
            raise ConfigurationError(
                f"no Google credentials: GOOGLE_APPLICATION_CREDENTIALS is not set, gcloud left "
                f"none (gcloud auth application-default login), and no metadata server answers "
                f"at {self.host}; or pass creds= (a key file, 'browser', 'anon')"
            ) from None
        if reply.headers.get("metadata-flavor") != "Google":
            raise IntegrityError(
                "what answers as the metadata server is not Google's", op="sign in", url=url
            )
        self._met = True
        return reply
