"""`/api/v1/`: an organisation's data sets, listed; the rest of them is in `compatible`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from asyncstore.hub import datasets, seeing
from asyncstore.hub.models import Dataset
from asyncstore.hub.routes.models import AgreementAsked, DatasetSaid, DatasetsSaid
from asyncstore.hub.routes.request import DatasetName, OrganizationName, TheCaller, TheHub

router = APIRouter(prefix="/api/v1/organizations/{organization}/datasets", tags=["data sets"])


@router.get("")
async def list_datasets(
    organization: OrganizationName,
    hub: TheHub,
    caller: TheCaller,
    cursor: Annotated[str, Query(max_length=128, pattern=r"^[A-Za-z0-9_-]*$")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DatasetsSaid:
    """List an organisation's data sets by name, a page at a time."""
    rows = await seeing.page(hub, caller, organization, after=cursor, limit=limit)
    return DatasetsSaid(
        datasets=[_said(row) for row in rows],
        cursor=rows[-1].name if len(rows) == limit else None,
    )


@router.get("/{name}")
async def get_dataset(
    organization: OrganizationName, name: DatasetName, hub: TheHub, caller: TheCaller
) -> DatasetSaid:
    """Tell of one data set."""
    return _said(await seeing.one(hub, caller, organization, name))


@router.put("/{name}/agreement", status_code=204)
async def set_agreement(
    organization: OrganizationName,
    name: DatasetName,
    body: AgreementAsked,
    hub: TheHub,
    caller: TheCaller,
) -> None:
    """Ask whoever reads the data set to agree to terms; earlier agreements end."""
    await datasets.set_agreement(hub, caller, organization, name, body.text)


@router.delete("/{name}/agreement", status_code=204)
async def remove_agreement(
    organization: OrganizationName, name: DatasetName, hub: TheHub, caller: TheCaller
) -> None:
    """Ask for no agreement any more."""
    await datasets.set_agreement(hub, caller, organization, name, None)


def _said(row: Dataset) -> DatasetSaid:
    return DatasetSaid.model_validate(
        {
            "name": row.name,
            "public": row.public,
            "location": row.location,
            "created_at": row.created_at,
        }
    )
