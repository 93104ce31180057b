"""What every route is given: the hub, and who calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Request
from fastapi.security import HTTPBearer

from asyncstore.hub import names, once
from asyncstore.hub.callers import Caller, identify
from asyncstore.hub.core import Hub

BEARER = HTTPBearer(auto_error=False, description="A token of a login, or an API token.")


def the_hub(request: Request) -> Hub:
    """Return the hub that the application was made for."""
    hub: Hub = request.app.state.hub
    return hub


async def the_caller(
    request: Request,
    hub: Annotated[Hub, Depends(the_hub)],
    _named_in_the_document: Annotated[object, Depends(BEARER)],
) -> Caller:
    """Return who calls; nobody without a token.

    Raises:
        Refusal: 401, the token is not valid.
    """
    address = request.client.host if request.client else ""
    async with hub.database.reading() as session:
        return await identify(
            session, request.headers.get("authorization"), address=address, now=hub.clock()
        )


TheHub = Annotated[Hub, Depends(the_hub)]
TheCaller = Annotated[Caller, Depends(the_caller)]


async def the_once(
    request: Request,
    hub: TheHub,
    caller: TheCaller,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            pattern=once.KEY,
            description=(
                "Names this request, by a random text such as a UUID. For a day, the same request "
                "with the same key is answered as the first time and not done again; 409 "
                "(`under_way`) until that is done; 409 (`made_before`, with the `id`) where what "
                "was made holds a secret; 422 (`key_used`) with another body."
            ),
        ),
    ] = None,
) -> once.Once:
    """Return the request as one that may have been sent before."""
    asked = b"\0".join((request.method.encode(), request.url.path.encode(), await request.body()))
    return once.Once(hub, caller, idempotency_key, asked)


TheRequest = Annotated[once.Once, Depends(the_once)]

# In an address any word may stand; a name that nothing can have is one that is not there.
OrganizationName = Annotated[str, Path(max_length=128, pattern=names.PLAIN)]
DatasetName = Annotated[str, Path(max_length=128, pattern=names.PLAIN)]
AnyName = Annotated[str, Path(max_length=128, pattern=names.PLAIN)]
