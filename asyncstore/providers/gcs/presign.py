"""Signed URLs: V4, by a service account's own key, or by the IAM service on its behalf."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError
from asyncstore.wire.gcs_sign import LONGEST, unsigned

if TYPE_CHECKING:
    from asyncstore.providers.gcs.session import Session


async def presign(
    session: Session,
    bucket: str,
    key: str,
    method: str,
    expires: float,
    *,
    content_type: str | None,
) -> str:
    """Return a URL for one method on one object; see `Presigns.presign`."""
    if method not in ("GET", "PUT", "HEAD", "DELETE"):
        raise ConfigurationError(f"a URL is signed for GET, PUT, HEAD or DELETE, not {method!r}")
    if not isinstance(expires, int | float) or not 1 <= expires <= LONGEST:  # NaN too
        raise ConfigurationError(f"expires is 1 to {LONGEST} seconds (7 days), not {expires!r}")
    account = await session.source.account()
    if expires > account.longest:
        raise ConfigurationError(
            f"Google keeps this account's key and changes it: expires is at most "
            f"{account.longest} seconds, but with a key file of the account's own"
        )
    waiting = unsigned(
        method,
        str(session.origin),
        bucket,
        key,
        account=account.email,
        at=datetime.fromtimestamp(session.exchange.clock(), UTC),
        expires=math.floor(expires),
        headers={"content-type": content_type} if content_type is not None else None,
    )
    return waiting.signed(await session.source.sign(waiting.text))
