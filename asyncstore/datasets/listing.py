"""`list`: the datasets below a path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.errors import NotFoundError
from asyncstore.format.keys import HISTORY, META
from asyncstore.store import open_store
from asyncstore.store._together import each
from asyncstore.url import StoreURL, organization_of

if TYPE_CHECKING:
    import builtins

    from asyncstore.datasets.options import Reach
    from asyncstore.store import Store
    from asyncstore.url import PathLike

_WIDTH = 16
_WORD = re.compile(r"[A-Za-z0-9_\-]+")
_ROOT_FILES = frozenset({META, HISTORY})


async def list(  # noqa: A001 - the old client's name
    path: PathLike,
    *,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> builtins.list[str]:
    """Find the datasets at and below a path; what is inside a dataset is not looked at.

    Args:
        path: a bucket, or a folder in one or on disk; or a hub's organisation, as `hub://name`
            or, with `token` or `hub_url`, by its name alone.
        creds, token, org_id, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Returns:
        Their paths, sorted; empty where there are none.

    Raises:
        StoreError: the service does not tell: wrong credentials, no such bucket, unreachable.
    """
    further = options.reach("list", reach)
    organization = _organization(path, named=token is not None or hub_url is not None)
    if organization is not None:
        async with open_store(organization, token=token, hub_url=hub_url, **further) as store:
            return [f"{organization}/{name}" for name in await hubs.names(store)]
    opener = options.opener(creds=creds, token=token, org_id=org_id, hub_url=hub_url, **further)
    found: builtins.list[str] = []
    async with opener(path) as store:
        level = [""]
        while level:
            below: builtins.list[str] = []

            async def look(folder: str, below: builtins.list[str] = below) -> None:
                folders = await _folders(store, folder)
                if folders is None:
                    found.append(_path(store, folder))
                else:
                    below.extend(folders)

            await each(level, look, width=_WIDTH)
            level = below
    return sorted(found)


def _organization(path: PathLike, *, named: bool) -> StoreURL | None:
    """Return the organisation that is meant, or `None` where a path below one or elsewhere is."""
    if isinstance(path, StoreURL):
        return path if path.scheme == "hub" and not path.path else None
    name = organization_of(path)
    # A word alone is a folder's name, unless it comes with what only a hub has a use for.
    if name is None and named and isinstance(path, str) and _WORD.fullmatch(path):
        name = path
    return None if name is None else StoreURL("hub", name, "")


async def _folders(store: Store, folder: str) -> builtins.list[str] | None:
    """Return the folders directly in one, or `None` where it is a dataset."""
    walk = store.walk(folder)
    try:
        async for _, folders, objects in walk:
            if any(meta.key[len(folder) :] in _ROOT_FILES for meta in objects):
                return None
            return [*folders]
    except NotFoundError:
        if store.url.scheme != "file":
            raise  # a bucket; a folder that is not there has nothing in it
    finally:
        await walk.aclose()
    return []


def _path(store: Store, folder: str) -> str:
    return str(store.url.join(folder.removesuffix("/")) if folder else store.url)
