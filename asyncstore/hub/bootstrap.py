"""The first administrator: made with a code that the hub prints when it starts without one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from asyncstore.hub import accounts, tokens
from asyncstore.hub.faults import Refusal, conflict
from asyncstore.hub.models import Bootstrap, User
from asyncstore.hub.throttle import ADDRESS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub

_BYTES = 24


async def prepare(hub: Hub) -> str | None:
    """Return a fresh code, which replaces any before it, or `None` where there is somebody."""
    async with hub.database.writing() as session:
        await session.execute(delete(Bootstrap))
        if await _has_administrator(session):
            return None
        code = secrets.token_urlsafe(_BYTES)
        ends = hub.clock() + hub.settings.bootstrap_lifetime
        session.add(Bootstrap(id=1, hash=tokens.digest(code), expires_at=ends))
    return code


async def admit(hub: Hub, caller: Caller, password: str) -> str:
    """Return what is stored of the password of who tries a code.

    Raises:
        Refusal: 429, too many tries.
    """
    await hub.throttle.take((ADDRESS, caller.address))
    return await hub.passwords.hash(password)


async def use(
    hub: Hub,
    session: AsyncSession,
    caller: Caller,
    code: str,
    *,
    username: str,
    email: str,
    hashed: str,
) -> User:
    """Make the first administrator.

    Raises:
        Refusal: 403, the code is wrong or has ended; 409, there is one, or the name is taken.
    """
    if await _has_administrator(session):
        raise conflict("This hub has its first administrator already.")
    kept = await session.get(Bootstrap, 1, with_for_update=True)
    right = tokens.matches(code, kept.hash if kept else bytes(32))
    if kept is None or not right or kept.expires_at <= hub.clock():
        raise Refusal(
            403,
            "wrong_code",
            "The code is wrong or has ended; start the hub again for another.",
        )
    await session.delete(kept)
    return await accounts.add(
        hub,
        session,
        caller,
        username=username,
        email=email,
        hashed=hashed,
        administrator=True,
    )


async def _has_administrator(session: AsyncSession) -> bool:
    found = await session.scalar(select(User.id).where(User.administrator).limit(1))
    return found is not None
