"""`make_public` and `make_private`: who may read a hub's dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.errors import NotSupportedError
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from asyncstore.datasets.options import Reach
    from asyncstore.url import PathLike


async def make_public(
    path: PathLike,
    *,
    token: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> None:
    """Let everybody read a hub's dataset, without signing in.

    Args:
        path: `hub://organisation/name`.
        token, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Raises:
        NotSupportedError: the path is no hub's; the bucket's own settings say who may read.
        NotFoundError: there is no such dataset, or it is not to be seen.
        PermissionDeniedError: this token may not decide that.
    """
    await _publish("make_public", path, token, hub_url, reach, public=True)


async def make_private(
    path: PathLike,
    *,
    token: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> None:
    """Let members of its organisation alone read a hub's dataset.

    Args:
        path: `hub://organisation/name`.
        token, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Raises:
        NotSupportedError, NotFoundError, PermissionDeniedError: as in `make_public`.
    """
    await _publish("make_private", path, token, hub_url, reach, public=False)


async def _publish(
    op: str,
    path: PathLike,
    token: str | None,
    hub_url: str | None,
    reach: Reach,
    *,
    public: bool,
) -> None:
    further = options.reach(op, reach)
    url = StoreURL.parse(path)
    if url.scheme != "hub":
        raise NotSupportedError(
            "only a hub makes a dataset public; elsewhere the bucket's own settings do"
        ).at(op, str(url))
    opener = options.opener(token=token, hub_url=hub_url, **further)
    async with opener(url) as store:
        await hubs.publish(store, op=op, public=public)
