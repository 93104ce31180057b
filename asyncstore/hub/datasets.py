"""Data sets: names for places, who may see them, and what becomes of the bytes.

Whoever may not see a data set is told that there is none. Where somebody who may write asks for
one that is not there, a place is set aside, since the client writes first and registers then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from asyncstore.hub import names
from asyncstore.hub.faults import Refusal, conflict, not_allowed, not_there
from asyncstore.hub.models import Acceptance, Dataset, Doomed, Member, Organization
from asyncstore.hub.organizations import Standing, standing
from asyncstore.hub.settings import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub

MOST_LISTED = 10_000
_SET_ASIDE_FOR = 7 * DAY


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


async def create(hub: Hub, caller: Caller, organization: str, name: str, *, public: bool) -> None:
    """Register a data set; once more is as once.

    Raises:
        Refusal: 403, it takes the role write, and admin where it is to be public; 404; 422, the
            name is none.
    """
    caller.may_write()
    names.check("data set", name)
    async with hub.database.writing() as session:
        here = (await standing(session, caller, organization)).require("write")
        seen = await see_or_set_aside(hub, session, caller, organization, name)
        if public and not seen.dataset.public:
            seen.require("admin")
            seen.dataset.public = True
        if not seen.dataset.registered:
            seen.dataset.registered = True
            hub.note(session, caller, "dataset.created", name, within=here)


async def remove(hub: Hub, caller: Caller, organization: str, name: str) -> None:
    """Remove a data set, and its bytes where they are in the embedded storage.

    Credentials handed out for it hold for a second at most. What lies in the organisation's own
    bucket is left there.

    Raises:
        Refusal: 403, it takes the role write; 404.
    """
    caller.may_write()
    async with hub.database.writing() as session:
        seen = (await see(session, caller, organization, name, lock=True)).require("write")
        if seen.dataset.location == "hub":
            session.add(Doomed(dataset_id=seen.dataset.id, bucket=bucket_of(seen.organization.id)))
        await session.delete(seen.dataset)
        hub.note(session, caller, "dataset.removed", name, within=seen.organization)
    hub.watch.forget()
    if seen.dataset.location == "hub":
        await hub.storage.delete_prefix(bucket_of(seen.organization.id), f"{seen.dataset.id}/")


async def rename(hub: Hub, caller: Caller, organization: str, name: str, new: str) -> None:
    """Call a data set by another name; its bytes stay where they are.

    Raises:
        Refusal: 403, it takes the role write; 404; 409, there is one of the new name; 422, that
            is none.
    """
    caller.may_write()
    async with hub.database.writing() as session:
        seen = (await see(session, caller, organization, name, lock=True)).require("write")
        names.check("data set", new)
        if new == name:
            return
        in_the_way = await session.scalar(
            select(Dataset).where(
                Dataset.organization_id == seen.organization.id, Dataset.name == new
            )
        )
        if in_the_way is not None:
            if in_the_way.registered or await _holds_bytes(hub, in_the_way):
                raise conflict("There is a data set of that name.")
            await session.delete(in_the_way)
            await session.flush()
        seen.dataset.name = new
        hub.note(session, caller, "dataset.renamed", f"{name} {new}", within=seen.organization)


async def set_public(
    hub: Hub, caller: Caller, organization: str, name: str, *, public: bool
) -> None:
    """Let everybody read a data set, or members alone.

    Raises:
        Refusal: 403, it takes the role admin; 404.
    """
    caller.may_write()
    async with hub.database.writing() as session:
        seen = (await see(session, caller, organization, name, lock=True)).require("admin")
        seen.dataset.public = public
        action = "dataset.published" if public else "dataset.made_private"
        hub.note(session, caller, action, name, within=seen.organization)
    hub.watch.forget()


async def set_agreement(
    hub: Hub, caller: Caller, organization: str, name: str, text: str | None
) -> None:
    """Set the terms that whoever reads a data set must agree to, or none; those of before end.

    Raises:
        Refusal: 403, it takes the role admin; 404.
    """
    caller.may_write()
    async with hub.database.writing() as session:
        seen = (await see(session, caller, organization, name, lock=True)).require("admin")
        seen.dataset.agreement = text
        await session.execute(delete(Acceptance).where(Acceptance.dataset_id == seen.dataset.id))
        hub.note(session, caller, "agreement.set", name, within=seen.organization)


async def answer_agreement(
    hub: Hub, caller: Caller, organization: str, name: str, *, agreed: bool
) -> None:
    """Note that the caller agrees to a data set's terms, or does not any more.

    Raises:
        Refusal: 401, this is nobody; 404.
    """
    caller.signed_in()
    async with hub.database.writing() as session:
        seen = await see(session, caller, organization, name)
        key = (seen.dataset.id, caller.user_id)
        kept = await session.get(Acceptance, key)
        if agreed and kept is None:
            session.add(Acceptance(dataset_id=key[0], user_id=key[1], accepted_at=hub.clock()))
        elif not agreed and kept is not None:
            await session.delete(kept)
        action = "agreement.accepted" if agreed else "agreement.declined"
        hub.note(session, caller, action, name, within=seen.organization)


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


async def connect(
    hub: Hub,
    caller: Caller,
    organization: str,
    name: str,
    *,
    location: str,
    url: str,
    credential_id: str,
) -> None:
    """Register a data set that lies in the organisation's own bucket.

    Raises:
        Refusal: 403, it takes the role admin; 404; 409, there is one of that name.
    """
    names.check("data set", name)
    async with hub.database.writing() as session:
        here = (await standing(session, caller, organization)).require("admin")
        session.add(
            Dataset(
                organization_id=here.id,
                name=name,
                registered=True,
                location=location,
                url=url,
                credential_id=credential_id,
                created_at=hub.clock(),
            )
        )
        hub.note(session, caller, "dataset.connected", f"{name} {url}", within=here)
        try:
            await session.flush()
        except IntegrityError:
            raise conflict("There is a data set of that name.") from None


async def clear(hub: Hub, session: AsyncSession, organization: Organization) -> bool:
    """Give up an organisation's places that nobody wrote to; whether there is anything else."""
    found = await session.scalars(
        select(Dataset).where(Dataset.organization_id == organization.id).with_for_update()
    )
    for one in found.all():
        if one.registered or await _holds_bytes(hub, one):
            return True
        await session.execute(delete(Dataset).where(Dataset.id == one.id))
    return False


async def sweep(hub: Hub) -> None:
    """Remove what earlier runs left: bytes of deleted data sets, and places nobody wrote to."""
    await _remove_doomed(hub)
    async with hub.database.writing() as session:
        stale = await session.scalars(
            select(Dataset).where(
                ~Dataset.registered, Dataset.created_at < hub.clock() - _SET_ASIDE_FOR
            )
        )
        for one in stale.all():
            if not await _holds_bytes(hub, one):
                await session.delete(one)


async def _remove_doomed(hub: Hub) -> None:
    # At a start nobody writes any more, as somebody may have while the data set was deleted.
    async with hub.database.reading() as session:
        doomed = (await session.scalars(select(Doomed))).all()
    for one in doomed:
        await hub.storage.delete_prefix(one.bucket, f"{one.dataset_id}/")
        async with hub.database.writing() as session:
            await session.execute(delete(Doomed).where(Doomed.dataset_id == one.dataset_id))


async def _holds_bytes(hub: Hub, dataset: Dataset) -> bool:
    bucket = bucket_of(dataset.organization_id)
    return await hub.storage.size_of(bucket, f"{dataset.id}/") > 0


async def _standing(session: AsyncSession, caller: Caller, organization: str) -> Standing | None:
    try:
        return await standing(session, caller, organization)
    except Refusal as refusal:
        if refusal.status == 404:  # noqa: PLR2004 - not found
            return None
        raise
