"""A token for one data set in an organisation's own Google bucket, and URLs for one object of it.

The service account's own token, or that of an account that it impersonates, is traded for one
that a credential access boundary narrows. The wide token never leaves the hub.

Source: https://cloud.google.com/iam/docs/downscoping-short-lived-credentials.
"""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.hub.minting.boundary import access_boundary
from asyncstore.hub.minting.minted import Minted
from asyncstore.providers.gcs.exchange import check_token
from asyncstore.providers.gcs.sources import PLATFORM, Impersonated
from asyncstore.wire.gcs_sign import unsigned

if TYPE_CHECKING:
    from asyncstore.hub.minting.managed import Google
    from asyncstore.hub.minting.minter import Addresses
    from asyncstore.hub.minting.policy import Mode
    from asyncstore.providers.gcs.exchange import Exchange
    from asyncstore.providers.gcs.sources import Source
    from asyncstore.url import StoreURL

LONGEST = 3600
"""Most seconds that an account's token holds."""

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name


async def mint(
    exchange: Exchange,
    google: Google,
    url: StoreURL,
    *,
    mode: Mode,
    lifetime: float,
    addresses: Addresses,
) -> Minted:
    """Return a token for one data set; see `Minter.mint`."""
    boundary = access_boundary(url, mode=mode)
    wide = await _source(exchange, google, addresses).fetch(PLATFORM)
    assert wide.token is not None  # noqa: S101 - no service account is anonymous
    now = exchange.clock()
    reply = await exchange.post_form(
        f"{addresses.google_sts}/v1/token",
        {
            "grant_type": _GRANT,
            "subject_token_type": _ACCESS_TOKEN,
            "requested_token_type": _ACCESS_TOKEN,
            "subject_token": wide.token.reveal(),
            "options": json.dumps(boundary, separators=(",", ":"), ensure_ascii=False),
        },
    )
    end = _end(reply.get("expires_in"), now, wide.expires_at)
    creds = {"gcs_oauth_token": check_token(reply.get("access_token"))}
    if google.account.project is not None:
        creds["project_id"] = google.account.project
    return Minted(creds, expires=min(end, now + lifetime))


async def presign(
    exchange: Exchange, google: Google, url: StoreURL, *, expires: float, addresses: Addresses
) -> str:
    """Return a URL that reads one object; see `Minter.presign`."""
    source = _source(exchange, google, addresses)
    account = await source.account()
    if not 1 <= expires <= account.longest:
        raise ConfigurationError(f"expires={expires!r}: 1 to {account.longest} seconds")
    waiting = unsigned(
        "GET",
        addresses.google_storage,
        url.bucket,
        url.path,
        account=account.email,
        at=datetime.fromtimestamp(time.time(), UTC),
        expires=math.floor(expires),
    )
    return waiting.signed(await source.sign(waiting.text))


def _source(exchange: Exchange, google: Google, addresses: Addresses) -> Source:
    """Return who asks: the account, or the one that it impersonates."""
    if google.impersonate is None:
        return google.account
    account = quote(google.impersonate, safe="@")
    url = f"{addresses.google_iam}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    return Impersonated(exchange, google.account, url, lifetime=LONGEST)


def _end(life: object, now: float, wide: float | None) -> float:
    """Return when a narrowed token ends: with the wide one, unless Google says sooner."""
    seconds = float(life) if isinstance(life, int | float) else math.inf
    end = min(now + seconds, math.inf if wide is None else wide)
    if not now < end < math.inf:
        raise IntegrityError("Google's reply does not say how long the token holds", op="sign in")
    return end
