"""`/api/v1/`: managed credentials, stored and listed, and never told again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from asyncstore.hub import managed
from asyncstore.hub.models import Credential
from asyncstore.hub.routes.models import CredentialSaid, CredentialsSaid
from asyncstore.hub.routes.request import AnyName, OrganizationName, TheCaller, TheHub

router = APIRouter(
    prefix="/api/v1/organizations/{organization}/credentials", tags=["managed credentials"]
)


@router.get("")
async def list_credentials(
    organization: OrganizationName, hub: TheHub, caller: TheCaller
) -> CredentialsSaid:
    """List them by name."""
    rows = await managed.stored_in(hub, caller, organization)
    return CredentialsSaid(credentials=[_said(row) for row in rows])


@router.put("/{name}")
async def store_credentials(
    organization: OrganizationName,
    name: AnyName,
    body: Annotated[dict[str, Any], Body()],
    hub: TheHub,
    caller: TheCaller,
) -> CredentialSaid:
    """Store credentials of the organisation's bucket, sealed, in place of any of that name.

    `{"kind": "aws", "access_key", "secret_key", "role_arn"?, "external_id"?, "endpoint_url"?,
    "sts_endpoint_url"?, "region"?, "allow_static"?}`, or
    `{"kind": "gcs", "service_account": {…}, "impersonate"?}`.
    """
    return _said(await managed.store(hub, caller.may_write(), organization, name, body))


@router.delete("/{name}", status_code=204)
async def remove_credentials(
    organization: OrganizationName, name: AnyName, hub: TheHub, caller: TheCaller
) -> None:
    """Forget credentials through which no data set is connected."""
    await managed.remove(hub, caller.may_write(), organization, name)


def _said(row: Credential) -> CredentialSaid:
    return CredentialSaid.model_validate(row, from_attributes=True)
