"""Credentials for a data set: which mode, for how long, for which place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from asyncstore.errors import InvalidPathError
from asyncstore.hub import managed, seeing
from asyncstore.hub.faults import Refusal, invalid, not_allowed
from asyncstore.hub.models import Acceptance
from asyncstore.hub.storage import Grant
from asyncstore.url import check_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub

REGION = "us-east-1"
Mode = Literal["r", "w"]


@dataclass(frozen=True, repr=False)
class Handed:
    """What a client needs to work on a data set.

    Attributes:
        path: its place, as a URL of a storage.
        creds: for that place alone, with `expiration` in epoch seconds.
        mode: `r` or `w`.
        repository: what old clients send back when they register the data set.
    """

    path: str
    creds: Mapping[str, Any]
    mode: Mode
    repository: str


async def hand_out(
    hub: Hub, caller: Caller, organization: str, name: str, wanted: str | None
) -> Handed:
    """Return credentials for a data set.

    Args:
        hub: where.
        caller: who.
        organization: its name.
        name: the data set's.
        wanted: `r`; `w` or `a`; or `None`, as much as they may.

    Raises:
        Refusal: 403, they may not write, have not agreed to its terms, or are nobody and it is
            not public; 404, as `seeing.see`.
    """
    async with hub.database.reading() as session:
        seen = await _seen(session, caller, organization, name)
    if seen is None and caller.is_anonymous:
        # Whether it is there or not. Old clients read these words, and ask the person to sign in.
        raise not_allowed("You don't have permission to see this data set. Sign in first.")
    if seen is None:
        async with hub.database.writing() as session:
            seen = await seeing.see_or_set_aside(hub, session, caller, organization, name)
    mode = _mode(seen, wanted)
    await _check_agreement(hub, caller, seen)
    await hub.log.write(
        caller, "credentials.handed_out", f"{name} {mode}", organization_id=seen.organization.id
    )
    repository = f"protected/{organization}"
    if seen.dataset.location != "hub":
        lifetime = hub.settings.credential_lifetime
        if not caller.is_anonymous:
            lifetime = min(lifetime, caller.expires_at - hub.clock())
        path, lent = await managed.mint(
            hub, seen.dataset, mode, lifetime, to_nobody=caller.is_anonymous
        )
        return Handed(path, lent, mode, repository)
    grant = _grant(hub, caller, seen, mode, hub.settings.credential_lifetime)
    creds = hub.storage.mint(grant) | {
        "expiration": grant.expires,
        "endpoint_url": hub.public_url,
        "aws_region": REGION,
    }
    path = f"s3://{grant.bucket}/{seen.dataset.id}"
    return Handed(path, creds, mode, repository)


async def sign_address(
    hub: Hub, caller: Caller, organization: str, name: str, *, key: str, expires: float
) -> str:
    """Return an address at which one object can be read without credentials, for some time.

    Args:
        hub: where.
        caller: who.
        organization: its name.
        name: the data set's.
        key: the object's, in the data set.
        expires: seconds; `presign_lifetime` at most.

    Raises:
        Refusal: 404, as `seeing.see`; 422, the key is none.
    """
    try:
        check_key(key)
    except InvalidPathError:
        raise invalid("chunk_path is not a key.") from None
    async with hub.database.reading() as session:
        seen = await seeing.see(session, caller, organization, name)
    await _check_agreement(hub, caller, seen)
    await hub.log.write(
        caller, "address.signed", f"{name} {key}", organization_id=seen.organization.id
    )
    lifetime = min(expires, hub.settings.presign_lifetime)
    if seen.dataset.location != "hub":
        return await managed.sign_address(hub, seen.dataset, key, lifetime)
    grant = _grant(hub, caller, seen, "r", lifetime)
    host = urlsplit(hub.public_url).netloc
    path = hub.storage.presign(grant, f"{grant.prefix}{key}", lifetime, host=host)
    return hub.public_url + path


async def _seen(
    session: AsyncSession, caller: Caller, organization: str, name: str
) -> seeing.Seen | None:
    try:
        return await seeing.see(session, caller, organization, name)
    except Refusal as refusal:
        if refusal.status == 404:  # noqa: PLR2004 - not found
            return None
        raise


def _mode(seen: seeing.Seen, wanted: str | None) -> Mode:
    if wanted == "r":
        return "r"
    if seen.may("write"):
        return "w"
    if wanted is None:
        return "r"
    raise not_allowed(
        f"You don't have permission to write to {seen.organization.name}/{seen.dataset.name}."
    )


async def _check_agreement(hub: Hub, caller: Caller, seen: seeing.Seen) -> None:
    if seen.dataset.agreement is None or seen.may("admin"):
        return
    if caller.is_anonymous:
        raise Refusal(403, 2, "Sign in to agree to the terms of this data set.")
    async with hub.database.reading() as session:
        if await session.get(Acceptance, (seen.dataset.id, caller.user_id)) is None:
            raise Refusal(
                403,
                1,
                "Agree to the terms of this data set first.",
                extra={"agreements": [{"text": seen.dataset.agreement}]},
            )


def _grant(hub: Hub, caller: Caller, seen: seeing.Seen, mode: Mode, lifetime: float) -> Grant:
    ends = hub.clock() + lifetime
    return Grant(
        bucket=seeing.bucket_of(seen.organization.id),
        prefix=f"{seen.dataset.id}/",
        mode=mode,
        # Credentials do not outlive the token that they were asked for with.
        expires=ends if caller.is_anonymous else min(ends, caller.expires_at),
        org=seen.organization.id,
        dataset=seen.dataset.id,
        token_id=caller.token_id,
    )
