"""Organisations: who is in them, and what a role allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from asyncstore.hub import accounts, names
from asyncstore.hub.faults import conflict, not_allowed, not_there
from asyncstore.hub.models import Event, Member, Organization, User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub

_RANKS = {"read": 1, "write": 2, "admin": 3}


@dataclass(frozen=True)
class Standing:
    """A member's place in an organisation, as far as the token presented lets it count.

    Attributes:
        organization: which.
        role: `read`, `write` or `admin`.
    """

    organization: Organization
    role: str

    def may(self, role: str) -> bool:
        """Whether this is that role or a higher one."""
        return _RANKS[self.role] >= _RANKS[role]

    def require(self, role: str) -> Organization:
        """Return the organisation.

        Raises:
            Refusal: 403, it takes a higher role.
        """
        if not self.may(role):
            raise not_allowed(
                f"It takes the role {role} in {self.organization.name}, and a token that may write."
            )
        return self.organization


async def standing(session: AsyncSession, caller: Caller, name: str) -> Standing:
    """Return the caller's place in an organisation.

    Raises:
        Refusal: 401, this is nobody; 404, they are no member of it, if there is such a one.
    """
    caller.signed_in()
    found = (
        await session.execute(
            select(Organization, Member.role)
            .join(Member, Member.organization_id == Organization.id)
            .where(Organization.name == name, Member.user_id == caller.user_id)
        )
    ).one_or_none()
    if found is None:
        raise not_there("organization")
    organization, role = found
    return Standing(organization, role if caller.access == "write" else "read")


async def mine(hub: Hub, caller: Caller) -> Sequence[tuple[str, str]]:
    """Return the names of the caller's organisations, each with their role, sorted."""
    caller.signed_in()
    async with hub.database.reading() as session:
        found = await session.execute(
            select(Organization.name, Member.role)
            .join(Member, Member.organization_id == Organization.id)
            .where(Member.user_id == caller.user_id)
            .order_by(Organization.name)
        )
        return [(name, role) for name, role in found]


async def make(hub: Hub, session: AsyncSession, caller: Caller, name: str) -> None:
    """Add an organisation, with the caller as its administrator.

    Raises:
        Refusal: 401 or 403, as `Caller.may_write`; 409, the name is taken; 422, it is none.
    """
    caller.may_write()
    names.check("account", name)
    made = Organization(name=name, folded=name.lower(), created_at=hub.clock())
    try:
        session.add(made)
        await session.flush()
    except IntegrityError:
        raise conflict("The name is taken.") from None
    session.add(Member(organization_id=made.id, user_id=caller.user_id, role="admin"))
    hub.note(session, caller, "organization.made", name, within=made)


async def members(hub: Hub, caller: Caller, name: str) -> Sequence[tuple[str, str]]:
    """Return the members' names with their roles, sorted."""
    async with hub.database.reading() as session:
        here = (await standing(session, caller, name)).organization
        found = await session.execute(
            select(User.name, Member.role)
            .join(Member, Member.user_id == User.id)
            .where(Member.organization_id == here.id)
            .order_by(User.name)
        )
        return [(username, role) for username, role in found]


async def set_member(hub: Hub, caller: Caller, name: str, username: str, role: str) -> None:
    """Give somebody a role, as a new member or in place of the role they had.

    Raises:
        Refusal: 403, it takes an administrator; 404; 409, nobody else is administrator.
    """
    async with hub.database.writing() as session:
        here = (await standing(session, caller, name)).require("admin")
        await _lock(session, here)
        user = await accounts.named(session, username)
        kept = await session.get(Member, (here.id, user.id))
        if kept is None:
            session.add(Member(organization_id=here.id, user_id=user.id, role=role))
        else:
            if role != "admin":
                await keep_one_admin(session, here, kept)
            kept.role = role
        hub.note(session, caller, "member.set", f"{username} {role}", within=here)
    hub.watch.forget()


async def remove_member(hub: Hub, caller: Caller, name: str, username: str) -> None:
    """End a membership; anybody may end their own.

    Raises:
        Refusal: 403, it takes an administrator; 404; 409, nobody else is administrator.
    """
    async with hub.database.writing() as session:
        place = await standing(session, caller, name)
        here = place.organization
        if username != caller.username:
            place.require("admin")
        else:
            caller.may_write()
        await _lock(session, here)
        user = await accounts.named(session, username)
        kept = await session.get(Member, (here.id, user.id))
        if kept is None:
            raise not_there("member")
        await keep_one_admin(session, here, kept)
        await session.delete(kept)
        hub.note(session, caller, "member.removed", username, within=here)
    hub.watch.forget()


async def events(
    hub: Hub, caller: Caller, name: str, *, before: int | None, limit: int
) -> Sequence[Event]:
    """Return lines of the organisation's audit log, newest first.

    Raises:
        Refusal: 403, it takes an administrator; 404.
    """
    async with hub.database.reading() as session:
        here = (await standing(session, caller, name)).require("admin")
        asked = select(Event).where(Event.organization_id == here.id)
        if before is not None:
            asked = asked.where(Event.id < before)
        return (await session.scalars(asked.order_by(Event.id.desc()).limit(limit))).all()


async def keep_one_admin(
    session: AsyncSession, organization: Organization, leaving: Member
) -> None:
    """Let a member leave, or have a lower role.

    Raises:
        Refusal: 409, nobody else is administrator.
    """
    if leaving.role != "admin":
        return
    others = await session.scalar(
        select(func.count())
        .select_from(Member)
        .where(
            Member.organization_id == organization.id,
            Member.role == "admin",
            Member.user_id != leaving.user_id,
        )
    )
    if not others:
        raise conflict("An organization keeps at least one administrator.")


async def _lock(session: AsyncSession, organization: Organization) -> None:
    """Wait for others who change the same organisation's members."""
    await session.refresh(organization, with_for_update=True)
