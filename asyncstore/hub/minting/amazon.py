"""Keys for one data set in an organisation's own S3 bucket, and URLs for one object of it.

A role is assumed with a session policy that names the data set. Where an administrator allowed
it, the stored key pair itself is handed out instead, which nothing can narrow.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from asyncstore.credentials import Secret
from asyncstore.errors import ConfigurationError, PermissionDeniedError, StoreError
from asyncstore.http import DEADLINE, Origin, Request
from asyncstore.hub.minting.minted import Minted
from asyncstore.hub.minting.policy import session_policy
from asyncstore.providers.s3.credentials import S3Credentials
from asyncstore.providers.s3.endpoint import DEFAULT_REGION, Endpoint
from asyncstore.types import Settings
from asyncstore.wire import sts
from asyncstore.wire.sigv4 import Signer, payload_sha256

if TYPE_CHECKING:
    from asyncstore.http import Engine
    from asyncstore.hub.minting.managed import Amazon
    from asyncstore.hub.minting.policy import Mode
    from asyncstore.url import StoreURL

SHORTEST = 900
"""Fewest seconds that a session may last."""
LONGEST = 12 * 3600
"""Most seconds that a session may last."""
CHAINED = 3600
"""Most seconds of a session that is begun with another session's keys; always allowed."""

_PATIENCE = 30.0  # seconds for one answer
_SESSION = "asyncstore-hub"


def session_seconds(lifetime: float, /, *, chained: bool) -> int:
    """Return how long a session is asked for that is to hold for `lifetime` seconds."""
    return min(max(math.ceil(lifetime), SHORTEST), CHAINED if chained else LONGEST)


async def mint(
    engine: Engine, amazon: Amazon, url: StoreURL, *, mode: Mode, lifetime: float, static: bool
) -> Minted:
    """Return keys for one data set; see `Minter.mint`."""
    policy = session_policy(url, mode=mode, partition=amazon.partition)
    end = time.time() + lifetime
    place = {"endpoint_url": amazon.endpoint_url, "aws_region": amazon.region}
    given = {name: text for name, text in place.items() if text is not None}
    if amazon.role_arn is not None:
        keys = await _assume(engine, amazon, policy, lifetime)
        # Such a session may outlast what was asked for: the client asks for others all the same.
        end = min(end, keys.ends)
        pair = (keys.access_key, keys.secret_key)
        token: str | None = keys.session_token
    elif static and amazon.allow_static:
        pair = (amazon.access_key, amazon.secret_key.reveal())
        token = amazon.session_token.reveal() if amazon.session_token else None
    else:
        raise PermissionDeniedError(
            "the stored credentials are a key pair without a role, and an administrator has not "
            "allowed that it is handed out"
        )
    given |= dict(zip(("aws_access_key_id", "aws_secret_access_key"), pair, strict=True))
    if token is not None:
        given["aws_session_token"] = token
    return Minted(given, expires=end)


async def presign(engine: Engine, amazon: Amazon, url: StoreURL, *, expires: float) -> str:
    """Return a URL that reads one object; see `Minter.presign`."""
    creds = S3Credentials(
        amazon.access_key,
        amazon.secret_key,
        amazon.session_token,
        endpoint_url=amazon.endpoint_url,
        region=amazon.region,
    )
    if amazon.role_arn is not None:
        # The policy names what is below a prefix: the object's folder, which the URL goes into.
        policy = session_policy(url.parent, mode="r", partition=amazon.partition)
        keys = await _assume(engine, amazon, policy, expires)
        creds = S3Credentials(
            keys.access_key,
            Secret(keys.secret_key),
            Secret(keys.session_token),
            endpoint_url=amazon.endpoint_url,
            region=amazon.region,
        )
        expires = min(expires, keys.ends - time.time())
    endpoint = Endpoint(url.bucket, creds, Settings(use_environment=False))
    return endpoint.presign("GET", url.path, {}, now=time.time(), expires=math.floor(expires))


async def _assume(engine: Engine, amazon: Amazon, policy: str, lifetime: float) -> sts.Assumed:
    seconds = session_seconds(lifetime, chained=amazon.session_token is not None)
    try:
        return await _ask(engine, amazon, policy, seconds)
    except sts.SessionTooLongError:
        if seconds <= CHAINED:
            raise
        return await _ask(engine, amazon, policy, CHAINED)


async def _ask(engine: Engine, amazon: Amazon, policy: str, seconds: int) -> sts.Assumed:
    origin = Origin.parse(amazon.sts_endpoint_url)
    assert amazon.role_arn is not None  # noqa: S101 - whoever asks has looked
    body = sts.assume_role(
        amazon.role_arn,
        session=_SESSION,
        policy=policy,
        seconds=seconds,
        external_id=amazon.external_id,
    )
    signer = Signer(
        amazon.access_key,
        amazon.secret_key.reveal(),
        amazon.session_token.reveal() if amazon.session_token else None,
        region=amazon.region or DEFAULT_REGION,
        service="sts",
    )
    headers = signer.sign(
        "POST",
        origin.authority,
        "/",
        headers={"content-type": "application/x-www-form-urlencoded"},
        now=time.time(),
        payload=payload_sha256(body),
    )
    request = Request("POST", origin, "/", headers, body=body, limit=sts.BODY_MAX)
    end = time.monotonic() + _PATIENCE
    mark = DEADLINE.set(min(DEADLINE.get() or end, end))
    try:
        reply = await engine.send(request)
    except StoreError as error:
        raise error.at("assume role", str(origin)) from None
    finally:
        DEADLINE.reset(mark)
    if reply.status != 200:  # noqa: PLR2004
        raise sts.refusal(reply.status, reply.body).at("assume role", str(origin))
    keys = sts.assumed(reply.body)
    if keys.ends <= time.time():
        raise ConfigurationError(
            "the token service's keys have ended already; its clock or this machine's is wrong"
        )
    return keys
