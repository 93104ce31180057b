"""Users and organisations come to their end: what goes with them, and what is in the way.

A user goes with their own organisation, their tokens, roles and agreements, and what was handed out
for these ends within a second. Rows name each other by random identifiers: whoever registers the
same name later is somebody else, and finds nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from asyncstore.hub import accounts, datasets
from asyncstore.hub.faults import conflict, invalid, not_there
from asyncstore.hub.models import Credential, Done, Member, Organization, User
from asyncstore.hub.organizations import keep_one_admin, standing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub


async def remove_user(hub: Hub, caller: Caller, username: str, *, password: str | None) -> None:
    """Remove the caller, or by an administrator of the hub somebody else.

    Args:
        hub: where.
        caller: who asks.
        username: who goes.
        password: the caller's, where it is themselves.

    Raises:
        Refusal: 401, the password is wrong; 403, the token presented is read-only; 404, there is
            no such user for the caller; 409, data sets are in their own organisation, or nobody
            else is administrator of another one or of the hub; 422, there is no password; 429,
            too many tries.
    """
    caller.may_write()
    if username == caller.username:
        if password is None:
            raise invalid("To remove oneself takes one's password.")
        await accounts.prove(hub, caller, password)
    elif not caller.administrator:
        raise not_there("user")
    async with hub.database.writing() as session:
        user = await accounts.named(session, username)
        await _keep_an_administrator(session, user)
        await _leave_organizations(hub, session, user)
        await session.execute(delete(Done).where(Done.owner == user.id))
        await session.execute(delete(User).where(User.id == user.id))
        hub.note(session, caller, "user.removed", username)
    hub.watch.forget()


async def remove_organization(hub: Hub, caller: Caller, name: str) -> None:
    """Remove an organisation that has neither data sets nor credentials.

    Raises:
        Refusal: 403, it takes an administrator; 404; 409, it is not empty, or a user's own.
    """
    async with hub.database.writing() as session:
        found = (await standing(session, caller, name)).require("admin")
        if await session.scalar(select(User.id).where(User.folded == found.folded)):
            raise conflict("This is a user's own organization; it stays as long as they do.")
        await _check_empty(hub, session, found)
        kept = select(Credential.id).where(Credential.organization_id == found.id).limit(1)
        if await session.scalar(kept):
            raise conflict("The organization has credentials; remove them first.")
        hub.note(session, caller, "organization.removed", name, within=found)
        await session.delete(found)


async def _leave_organizations(hub: Hub, session: AsyncSession, user: User) -> None:
    """Remove a user's own organisation; all others keep an administrator."""
    administered = await session.execute(
        select(Organization, Member)
        .join(Member, Member.organization_id == Organization.id)
        .where(Member.user_id == user.id, Organization.folded != user.folded)
        .order_by(Organization.id)
        .with_for_update(of=Organization)
    )
    for organization, member in administered.all():
        await keep_one_admin(session, organization, member)
    own = await session.scalar(
        select(Organization).where(Organization.folded == user.folded).with_for_update()
    )
    if own is not None:
        await _check_empty(hub, session, own)
        await session.execute(delete(Credential).where(Credential.organization_id == own.id))
        await session.execute(delete(Organization).where(Organization.id == own.id))


async def _check_empty(hub: Hub, session: AsyncSession, organization: Organization) -> None:
    if await datasets.clear(hub, session, organization):
        raise conflict(f"The organization {organization.name} has data sets; remove them first.")


async def _keep_an_administrator(session: AsyncSession, leaving: User) -> None:
    # Locked, so that the last two do not remove each other.
    found = await session.scalars(
        select(User.id).where(User.administrator).order_by(User.id).with_for_update()
    )
    if set(found.all()) == {leaving.id}:
        raise conflict("A hub keeps at least one administrator.")
