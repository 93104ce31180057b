"""Data sets and who may see them.

Whoever may not see a data set is told that there is none. Where somebody who may write asks for
one that is not there, a place is set aside, since the client writes first and registers then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from asyncstore.hub import names
from asyncstore.hub.faults import Refusal, not_allowed, not_there
from asyncstore.hub.models import Dataset, Member, Organization
from asyncstore.hub.organizations import Standing, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub

MOST_LISTED = 10_000


@dataclass(frozen=True)
class Seen:
    """A data set that the caller may see.

    Attributes:
        dataset: which; perhaps a place that is only set aside.
        organization: whose.
        place: the caller's in it; `None` where it is seen for being public.
    """

    dataset: Dataset
    organization: Organization
    place: Standing | None

    def may(self, role: str) -> bool:
        """Whether the caller has that role or a higher one."""
        return self.place is not None and self.place.may(role)

    def require(self, role: str) -> Seen:
        """Return this.

        Raises:
            Refusal: 403, it takes a higher role.
        """
        if self.place is None:
            raise not_allowed("This data set is public: others may read it.")
        self.place.require(role)
        return self


def bucket_of(organization_id: str) -> str:
    """Return the embedded storage's bucket of an organisation."""
    return f"org-{organization_id}"


async def see(
    session: AsyncSession, caller: Caller, organization: str, name: str, *, lock: bool = False
) -> Seen:
    """Return a data set that the caller may see, registered or set aside.

    Args:
        session: to ask in.
        caller: who.
        organization: its name.
        name: the data set's.
        lock: whether others who would change it wait.

    Raises:
        Refusal: 404, there is none, or it is not for them.
    """
    asked = (
        select(Dataset, Organization)
        .join(Organization, Organization.id == Dataset.organization_id)
        .where(Organization.name == organization, Dataset.name == name)
    )
    if lock:
        asked = asked.with_for_update(of=Dataset)
    found = (await session.execute(asked)).one_or_none()
    place = None if caller.is_anonymous else await _standing(session, caller, organization)
    if found is None or (place is None and not (found[0].public and found[0].registered)):
        raise not_there("data set")
    return Seen(found[0], found[1], place)


async def see_or_set_aside(
    hub: Hub, session: AsyncSession, caller: Caller, organization: str, name: str
) -> Seen:
    """Return a data set, or set a place aside for one, where the caller may write.

    Raises:
        Refusal: as `see`; 422, the name is none.
    """
    try:
        return await see(session, caller, organization, name)
    except Refusal as refusal:
        if refusal.status != 404 or caller.access != "write":  # noqa: PLR2004 - not found
            raise
        place = await _standing(session, caller, organization)
        if place is None or not place.may("write"):
            raise
    names.check("data set", name)
    made = Dataset(
        organization_id=place.organization.id, name=name, created_at=hub.clock(), location="hub"
    )
    try:
        async with session.begin_nested():
            session.add(made)
    except IntegrityError:  # somebody else has done so at this moment
        return await see(session, caller, organization, name)
    return Seen(made, place.organization, place)


async def visible(
    hub: Hub, caller: Caller, *, organization: str | None = None, public_only: bool = False
) -> Sequence[tuple[str, str]]:
    """Return organisations and names of registered data sets, sorted, `MOST_LISTED` at most.

    Args:
        hub: where.
        caller: who.
        organization: of this one alone; one that is not there has none.
        public_only: only public ones; else those of the caller's organisations, and the public
            ones of `organization`.
    """
    asked = (
        select(Organization.name, Dataset.name)
        .join(Organization, Organization.id == Dataset.organization_id)
        .where(Dataset.registered)
    )
    mine = Dataset.organization_id.in_(
        select(Member.organization_id).where(Member.user_id == caller.user_id)
    )
    if organization is not None:
        asked = asked.where(Organization.name == organization)
    if public_only:
        asked = asked.where(Dataset.public)
    else:
        asked = asked.where(mine if organization is None else mine | Dataset.public)
    asked = asked.order_by(Organization.name, Dataset.name).limit(MOST_LISTED)
    async with hub.database.reading() as session:
        return [(org, name) for org, name in await session.execute(asked)]


async def page(
    hub: Hub, caller: Caller, organization: str, *, after: str, limit: int
) -> Sequence[Dataset]:
    """Return registered data sets of an organisation behind a name, sorted.

    Raises:
        Refusal: 401, this is nobody; 404, the caller is no member.
    """
    async with hub.database.reading() as session:
        here = (await standing(session, caller, organization)).organization
        found = await session.scalars(
            select(Dataset)
            .where(Dataset.organization_id == here.id, Dataset.registered, Dataset.name > after)
            .order_by(Dataset.name)
            .limit(limit)
        )
        return found.all()


async def one(hub: Hub, caller: Caller, organization: str, name: str) -> Dataset:
    """Return a registered data set that the caller may see.

    Raises:
        Refusal: as `see`.
    """
    async with hub.database.reading() as session:
        found = (await see(session, caller, organization, name)).dataset
    if not found.registered:
        raise not_there("data set")
    return found


async def _standing(session: AsyncSession, caller: Caller, organization: str) -> Standing | None:
    try:
        return await standing(session, caller, organization)
    except Refusal as refusal:
        if refusal.status == 404:  # noqa: PLR2004 - not found
            return None
        raise
