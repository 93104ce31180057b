"""Data sets: registered, renamed, published, agreed to, removed; and what becomes of the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from asyncstore.hub import names
from asyncstore.hub.faults import conflict
from asyncstore.hub.models import Acceptance, Dataset, Doomed
from asyncstore.hub.organizations import standing
from asyncstore.hub.seeing import bucket_of, see, see_or_set_aside
from asyncstore.hub.settings import DAY

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub
    from asyncstore.hub.models import Organization

_SET_ASIDE_FOR = 7 * DAY


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
