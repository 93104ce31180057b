"""`/api/v1/`: organisations, their members and their audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from asyncstore.hub import ending, organizations
from asyncstore.hub.routes.models import (
    EventSaid,
    EventsSaid,
    MemberSaid,
    MembershipSaid,
    MembersSaid,
    OrganizationAsked,
    OrganizationsSaid,
    RoleAsked,
)
from asyncstore.hub.routes.request import AnyName, OrganizationName, TheCaller, TheHub, TheRequest

router = APIRouter(prefix="/api/v1/organizations", tags=["organizations"])


@router.post("", status_code=201)
async def make(
    body: OrganizationAsked, hub: TheHub, caller: TheCaller, request: TheRequest
) -> MembershipSaid:
    """Make an organisation, with oneself as its administrator."""
    caller.may_write()
    async with request.making() as session:
        await organizations.make(hub, session, caller, body.name)
        return request.told(MembershipSaid(name=body.name, role="admin"))


@router.get("")
async def list_mine(hub: TheHub, caller: TheCaller) -> OrganizationsSaid:
    """List one's own organisations."""
    mine = await organizations.mine(hub, caller)
    return OrganizationsSaid(
        organizations=[MembershipSaid.model_validate({"name": n, "role": r}) for n, r in mine]
    )


@router.delete("/{organization}", status_code=204)
async def remove(organization: OrganizationName, hub: TheHub, caller: TheCaller) -> None:
    """Remove an organisation without data sets and credentials."""
    await ending.remove_organization(hub, caller.may_write(), organization)


@router.get("/{organization}/members")
async def list_members(
    organization: OrganizationName, hub: TheHub, caller: TheCaller
) -> MembersSaid:
    """List the members with their roles."""
    found = await organizations.members(hub, caller, organization)
    return MembersSaid(
        members=[MemberSaid.model_validate({"username": n, "role": r}) for n, r in found]
    )


@router.put("/{organization}/members/{username}")
async def set_member(
    organization: OrganizationName,
    username: AnyName,
    body: RoleAsked,
    hub: TheHub,
    caller: TheCaller,
) -> MemberSaid:
    """Give somebody a role."""
    await organizations.set_member(hub, caller, organization, username, body.role)
    return MemberSaid(username=username, role=body.role)


@router.delete("/{organization}/members/{username}", status_code=204)
async def remove_member(
    organization: OrganizationName, username: AnyName, hub: TheHub, caller: TheCaller
) -> None:
    """End a membership, somebody's or one's own."""
    await organizations.remove_member(hub, caller, organization, username)


@router.get("/{organization}/events")
async def list_events(
    organization: OrganizationName,
    hub: TheHub,
    caller: TheCaller,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EventsSaid:
    """Read the audit log, newest first."""
    rows = await organizations.events(
        hub, caller, organization, before=None if cursor is None else int(cursor), limit=limit
    )
    return EventsSaid(
        events=[
            EventSaid(
                id=row.id,
                at=row.at,
                action=row.action,
                actor=row.actor,
                token_id=row.token_id,
                address=row.address,
                subject=row.subject,
            )
            for row in rows
        ],
        cursor=str(rows[-1].id) if len(rows) == limit else None,
    )
