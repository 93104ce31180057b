"""Managed credentials: an organisation's own, stored once, sealed, and lent out narrowed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from asyncstore.errors import (
    ConfigurationError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    StoreError,
    TransientError,
    UnauthenticatedError,
)
from asyncstore.hub import datasets, names
from asyncstore.hub.faults import Refusal, bad_request, conflict, invalid, not_allowed, not_there
from asyncstore.hub.models import Credential, Dataset, new_id
from asyncstore.hub.organizations import standing
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub
    from asyncstore.hub.minting import Mode

_KINDS = {"aws": "s3", "gcs": "gcs"}


async def store(
    hub: Hub, caller: Caller, organization: str, name: str, stored: Mapping[str, Any]
) -> Credential:
    """Seal and keep credentials under a name, in place of any that were there.

    Raises:
        Refusal: 403, it takes the role admin; 404; 409, data sets are connected through others of
            that name on another service; 422, they are wrong, and which field.
    """
    names.check("credential", name)
    async with hub.database.reading() as session:
        (await standing(session, caller, organization)).require("admin")
    with _told():
        hub.minter.validate(stored)
        identity = hub.minter.identity(stored)
    async with hub.database.writing() as session:
        here = (await standing(session, caller, organization)).require("admin")
        kept = await _named(session, here.id, name)
        if kept is None:
            kept = Credential(id=new_id(), organization_id=here.id, name=name)
            session.add(kept)
        elif kept.kind != stored["kind"] and await _uses(session, kept):
            raise conflict("Data sets are connected through it, on another service.")
        kept.kind = stored["kind"]
        kept.identity = identity
        kept.allow_static = bool(stored.get("allow_static", False))
        kept.sealed = hub.vault.seal(kept.id, stored)
        kept.created_at = hub.clock()
        hub.note(session, caller, "credentials.stored", name, within=here)
    return kept


async def stored_in(hub: Hub, caller: Caller, organization: str) -> Sequence[Credential]:
    """Return what is stored, sealed, sorted by name.

    Raises:
        Refusal: 403, it takes the role write; 404.
    """
    async with hub.database.reading() as session:
        here = (await standing(session, caller, organization)).require("write")
        found = await session.scalars(
            select(Credential)
            .where(Credential.organization_id == here.id)
            .order_by(Credential.name)
        )
        return found.all()


async def remove(hub: Hub, caller: Caller, organization: str, name: str) -> None:
    """Forget credentials.

    Raises:
        Refusal: 403, it takes the role admin; 404; 409, data sets are connected through them.
    """
    async with hub.database.writing() as session:
        here = (await standing(session, caller, organization)).require("admin")
        kept = await _named(session, here.id, name)
        if kept is None:
            raise not_there("credentials")
        if await _uses(session, kept):
            raise conflict("Data sets are connected through them; remove these first.")
        await session.delete(kept)
        hub.note(session, caller, "credentials.removed", name, within=here)


async def connect(
    hub: Hub, caller: Caller, organization: str, name: str | None, *, source: str, key: str
) -> str:
    """Register what lies in the organisation's own bucket as a data set; return its name.

    Args:
        hub: where.
        caller: who.
        organization: its name.
        name: the data set's; by default the last part of its path.
        source: its place, `s3://` or `gcs://` with a prefix.
        key: the name of stored credentials.

    Raises:
        Refusal: 400, the path is none, or there are no such credentials for it; 403, it takes the
            role admin; 404; 409, there is a data set of that name.
    """
    async with hub.database.reading() as session:
        here = (await standing(session, caller, organization)).require("admin")
        kept = await _named(session, here.id, key)
    try:
        url = StoreURL.parse(source)
    except InvalidPathError:
        raise bad_request("src_path is no path of a bucket.") from None
    if url.scheme not in _KINDS.values() or not url.path:
        raise bad_request("src_path is s3:// or gcs://, a bucket and a prefix in it.")
    if kept is None or _KINDS[kept.kind] != url.scheme:
        raise bad_request(f"There are no managed credentials {key[:63]!r} for {url.scheme}://.")
    name = url.name if name is None else name
    await datasets.connect(
        hub,
        caller,
        organization,
        name,
        location=url.scheme,
        url=str(url),
        credential_id=kept.id,
    )
    return name


async def mint(
    hub: Hub, dataset: Dataset, mode: Mode, lifetime: float, *, to_nobody: bool
) -> tuple[str, dict[str, Any]]:
    """Return the place of a connected data set, and credentials for it alone.

    Who is nobody gets narrowed credentials, and never a stored key pair itself.

    Raises:
        Refusal: 403, 422 or 503: what is stored does not work, and why.
    """
    kept, stored = await _open(hub, dataset.credential_id)
    url = StoreURL.parse(dataset.url or "")
    with _told():
        minted = await hub.minter.mint(
            stored,
            url,
            mode=mode,
            lifetime=lifetime,
            allow_static=hub.settings.static_credentials and kept.allow_static and not to_nobody,
        )
    return str(url), minted.creds


async def sign_address(hub: Hub, dataset: Dataset, key: str, expires: float) -> str:
    """Return an address at which one object of a connected data set can be read.

    Raises:
        Refusal: as `mint`.
    """
    _, stored = await _open(hub, dataset.credential_id)
    with _told():
        url = StoreURL.parse(dataset.url or "").join(key)
        return await hub.minter.presign(stored, url, expires=expires)


async def sign_blob(
    hub: Hub, caller: Caller, organization: str, *, key: str, blob: str, expires: float
) -> str:
    """Return an address at which any object that stored credentials reach can be read.

    Raises:
        Refusal: 403, it takes the role admin, or a data set that the caller may see and that the
            object lies in; 404; 422, the path is none.
    """
    try:
        url = StoreURL.parse(blob)
    except InvalidPathError:
        raise invalid("blob_path is no path of an object.") from None
    if url.scheme not in _KINDS.values():  # a path of this machine would be told back in full
        raise invalid("blob_path is s3:// or gcs://, a bucket and a key in it.")
    async with hub.database.reading() as session:
        place = await standing(session, caller, organization)
        kept = await _named(session, place.organization.id, key)
        if kept is None:
            raise not_there("credentials")
        if not place.may("admin") and not await _lies_in_dataset(session, kept, url):
            raise not_allowed("The object lies in no data set of the organization.")
        organization_id = place.organization.id
    await hub.log.write(caller, "address.signed", str(url), organization_id=organization_id)
    _, stored = await _open(hub, kept.id)
    with _told():
        return await hub.minter.presign(stored, url, expires=expires)


async def lend_static(hub: Hub, caller: Caller, organization: str, key: str) -> dict[str, Any]:
    """Return a stored key pair itself, for links into the bucket from elsewhere.

    Raises:
        Refusal: 403, it takes the role write, and an administrator who allowed it, here and in
            the hub; 404, there are no such credentials.
    """
    async with hub.database.reading() as session:
        here = (await standing(session, caller, organization)).require("write")
        kept = await _named(session, here.id, key)
    if kept is None:
        raise not_there("credentials")
    if kept.kind != "aws" or not (kept.allow_static and hub.settings.static_credentials):
        raise not_allowed("These credentials are lent for data sets only, narrowed to each.")
    await hub.log.write(caller, "credentials.lent", key, organization_id=here.id)
    _, stored = await _open(hub, kept.id)
    told = ("access_key", "secret_key", "session_token", "region", "endpoint_url")
    return {name: stored[name] for name in told if name in stored}


async def _open(hub: Hub, credential_id: str | None) -> tuple[Credential, dict[str, Any]]:
    async with hub.database.reading() as session:
        kept = await session.get(Credential, credential_id or "")
    if kept is None:
        raise not_there("credentials")
    return kept, hub.vault.open(kept.id, kept.sealed)


async def _named(session: AsyncSession, organization_id: str, name: str) -> Credential | None:
    found: Credential | None = await session.scalar(
        select(Credential).where(
            Credential.organization_id == organization_id, Credential.name == name
        )
    )
    return found


async def _uses(session: AsyncSession, kept: Credential) -> int:
    asked = select(func.count()).select_from(Dataset).where(Dataset.credential_id == kept.id)
    return await session.scalar(asked) or 0


async def _lies_in_dataset(session: AsyncSession, kept: Credential, url: StoreURL) -> bool:
    roots = await session.scalars(select(Dataset.url).where(Dataset.credential_id == kept.id))
    return any(root and str(url).startswith(f"{root}/") for root in roots)


@contextmanager
def _told() -> Iterator[None]:
    """Tell the caller what is wrong with stored credentials, which the messages never show."""
    try:
        yield
    except (ConfigurationError, InvalidPathError, NotSupportedError) as error:
        refusal = invalid(error.message)
    except (PermissionDeniedError, UnauthenticatedError) as error:
        refusal = not_allowed(f"The stored credentials do not work: {error.message}")
    except TransientError:
        refusal = Refusal(
            503,
            "unavailable",
            "The storage's service could not be asked; try again.",
            headers={"Retry-After": "5"},
        )
    except StoreError:
        refusal = Refusal(502, "bad_answer", "The storage's service answered nonsense.")
    else:
        return
    raise refusal
