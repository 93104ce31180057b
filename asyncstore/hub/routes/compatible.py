"""The calls of Deep Lake 3.x clients, as they make them and with the answers that they read.

Fields that they send and the hub has no use for are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from asyncstore.hub import (
    accounts,
    datasets,
    handing,
    managed,
    names,
    organizations,
    seeing,
    tokens,
)
from asyncstore.hub.faults import Refusal, invalid
from asyncstore.hub.routes.models import AnyUsername, Email, NewPassword, Username
from asyncstore.hub.routes.request import DatasetName, OrganizationName, TheCaller, TheHub
from asyncstore.url import KEY_BYTES

router = APIRouter(prefix="/api", tags=["Deep Lake 3.x clients"])

_TAG_PARTS = 2


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Registration(_Body):
    """What the old command line sends to register."""

    username: Username
    email: Email
    password: NewPassword


class SignIn(_Body):
    """What the old command line sends to sign in; `public` with no password is nobody."""

    username: AnyUsername
    password: Annotated[str, Field(max_length=256)]


class Creation(_Body):
    """A data set to be registered: `tag` is `organization/name`."""

    tag: Annotated[str, Field(max_length=300)]
    public: bool = False


class Connection(_Body):
    """What lies in an organisation's own bucket, to be a data set."""

    src_path: Annotated[str, Field(max_length=2_000)]
    org_id: Annotated[str, Field(max_length=128, pattern=names.PLAIN)]
    ds_name: Annotated[str, Field(max_length=300)] | None = None
    creds_key: Annotated[str, Field(max_length=128, pattern=names.PLAIN)]


class Change(_Body):
    """A new name, or whether it is public."""

    basename: Annotated[str, Field(max_length=300)] | None = None
    public: bool | None = None


@router.post("/user/register")
async def register(body: Registration, hub: TheHub, caller: TheCaller) -> dict[str, Any]:
    """Register a user, and an organisation of the same name."""
    hashed = await accounts.admit(hub, caller, username=body.username, password=body.password)
    async with hub.database.writing() as session:
        user = await accounts.add(
            hub, session, caller, username=body.username, email=body.email, hashed=hashed
        )
    return {"username": user.name}


@router.post("/user/token")
async def sign_in(body: SignIn, hub: TheHub, caller: TheCaller) -> dict[str, str]:
    """Sign in; as `public` without a password, get the token of nobody."""
    if body.username == tokens.ANONYMOUS and not body.password:
        return {"token": tokens.make_anonymous()}
    user = await accounts.recognize(hub, caller, username=body.username, password=body.password)
    async with hub.database.writing() as session:
        _, text = await accounts.sign_in(hub, session, caller, user)
    return {"token": text}


@router.get("/user/profile")
async def profile(hub: TheHub, caller: TheCaller) -> dict[str, Any]:
    """Tell who calls, and their organisations."""
    if caller.is_anonymous:
        mine = [tokens.ANONYMOUS]
    else:
        mine = [name for name, _ in await organizations.mine(hub, caller)]
    return {"_id": caller.username, "name": caller.username, "organizations": mine}


@router.get("/org/{organization}/ds/{name}/creds")
async def credentials(
    organization: OrganizationName,
    name: DatasetName,
    hub: TheHub,
    caller: TheCaller,
    mode: Annotated[Literal["r", "w", "a"] | None, Query()] = None,
) -> dict[str, Any]:
    """Get credentials for a data set; every call makes new ones."""
    handed = await handing.hand_out(hub, caller, organization, name, mode)
    return {
        "path": handed.path,
        "creds": handed.creds,
        "mode": handed.mode,
        "repository": handed.repository,
    }


@router.get("/org/{organization}/ds/{name}/chunks/url/presigned")
async def sign_chunk(
    organization: OrganizationName,
    name: DatasetName,
    hub: TheHub,
    caller: TheCaller,
    chunk_path: Annotated[str, Query(max_length=KEY_BYTES)],
    expiration: Annotated[int, Query(ge=1, le=604_800)] = 3600,
) -> dict[str, str]:
    """Get an address at which one object can be read for some seconds."""
    address = await handing.sign_address(
        hub, caller, organization, name, key=chunk_path, expires=expiration
    )
    return {"data": address}


@router.post("/dataset/create")
async def create(body: Creation, hub: TheHub, caller: TheCaller) -> dict[str, str]:
    """Register a data set that has been written; once more is as once."""
    organization, name = _tag(body.tag)
    await datasets.create(hub, caller, organization, name, public=body.public)
    return {"_id": f"{organization}/{name}"}


@router.post("/dataset/connect")
async def connect(body: Connection, hub: TheHub, caller: TheCaller) -> dict[str, str]:
    """Register what lies in the organisation's own bucket as a data set."""
    name = await managed.connect(
        hub, caller, body.org_id, body.ds_name, source=body.src_path, key=body.creds_key
    )
    return {"generated_id": f"{body.org_id}/{name}"}


@router.get("/org/{organization}/storage/name")
async def managed_credentials(
    organization: OrganizationName,
    hub: TheHub,
    caller: TheCaller,
    query: Annotated[str, Query(max_length=128, pattern=names.PLAIN)],
) -> dict[str, Any]:
    """Get a stored key pair itself, where administrators allow that."""
    return {"creds": await managed.lend_static(hub, caller, organization, query)}


@router.get("/org/{organization}/managed-credentials/blob/url/presigned")
async def sign_blob(
    organization: OrganizationName,
    hub: TheHub,
    caller: TheCaller,
    creds_key: Annotated[str, Query(max_length=128, pattern=names.PLAIN)],
    blob_path: Annotated[str, Query(max_length=2_000)],
    expiration: Annotated[int, Query(ge=1, le=604_800)] = 3600,
) -> dict[str, str]:
    """Get an address at which an object of the organisation's own bucket can be read."""
    expires = min(expiration, hub.settings.presign_lifetime)
    address = await managed.sign_blob(
        hub, caller, organization, key=creds_key, blob=blob_path, expires=expires
    )
    return {"data": address}


@router.delete("/dataset/{organization}/{name}")
async def delete(
    organization: OrganizationName, name: DatasetName, hub: TheHub, caller: TheCaller
) -> dict[str, str]:
    """Remove a data set, with its bytes where they are in the hub's own storage."""
    await datasets.remove(hub, caller, organization, name)
    return {"_id": f"{organization}/{name}"}


@router.put("/org/{organization}/dataset/{name}")
async def change(
    organization: OrganizationName,
    name: DatasetName,
    body: Change,
    hub: TheHub,
    caller: TheCaller,
) -> dict[str, str]:
    """Rename a data set, or make it public or private."""
    if (body.basename is None) == (body.public is None):
        raise invalid("Send one of basename and public.")
    if body.basename is not None:
        # Deep Lake's client sends what its user wrote: a name, or the whole new path.
        basename = body.basename.removeprefix(f"hub://{organization}/")
        await datasets.rename(hub, caller, organization, name, basename)
        name = basename
    elif body.public is not None:
        await datasets.set_public(hub, caller, organization, name, public=body.public)
    return {"_id": f"{organization}/{name}"}


@router.get("/datasets/all")
async def list_all(
    hub: TheHub,
    caller: TheCaller,
    organization: Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")] = None,
) -> list[dict[str, str]]:
    """List the data sets of one's organisations, or those of one that one may see."""
    found = await seeing.visible(hub, caller, organization=organization)
    return [{"_id": f"{org}/{name}"} for org, name in found]


@router.get("/datasets/public")
async def list_public(
    hub: TheHub,
    caller: TheCaller,
    organization: Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")] = None,
) -> list[dict[str, str]]:
    """List public data sets."""
    found = await seeing.visible(hub, caller, organization=organization, public_only=True)
    return [{"_id": f"{org}/{name}"} for org, name in found]


@router.post("/organization/{organization}/dataset/{name}/agree")
async def agree(
    organization: OrganizationName, name: DatasetName, hub: TheHub, caller: TheCaller
) -> dict[str, bool]:
    """Agree to a data set's terms."""
    await datasets.answer_agreement(hub, caller, organization, name, agreed=True)
    return {"agreed": True}


@router.post("/organization/{organization}/dataset/{name}/disagree")
async def disagree(
    organization: OrganizationName, name: DatasetName, hub: TheHub, caller: TheCaller
) -> dict[str, bool]:
    """Do not agree, or not any more."""
    await datasets.answer_agreement(hub, caller, organization, name, agreed=False)
    return {"agreed": False}


@router.post("/event")
async def drop_event() -> dict[str, bool]:
    """Take what a client reports of its user, and forget it."""
    return {"accepted": True}


@router.get("/organizations/{organization}/features/{feature}")
async def feature(
    organization: OrganizationName,
    feature: Literal["dataset_query", "deepmemory"],
    hub: TheHub,
    caller: TheCaller,
) -> dict[str, bool]:
    """Tell one's own organisation that a feature of the old service is not here."""
    del feature
    await organizations.members(hub, caller, organization)
    return {"available": False}


@router.post("/query/dataset/{organization}/{name}")
async def query(organization: OrganizationName, name: DatasetName, caller: TheCaller) -> None:
    """Refuse to run a query: this hub keeps data, and computes nothing on it."""
    del organization, name
    caller.signed_in()
    raise Refusal(400, "not_available", "This hub runs no queries.")


def _tag(tag: str) -> tuple[str, str]:
    parts = tag.split("/")
    if len(parts) != _TAG_PARTS:
        raise invalid("A tag is organization/name.")
    return parts[0], parts[1]
