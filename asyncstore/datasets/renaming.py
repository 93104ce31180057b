"""`rename`: a dataset to another name, or another path in its bucket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.datasets.deleting import claimed, clear
from asyncstore.datasets.finding import check_name, find_whole
from asyncstore.datasets.handle import Dataset
from asyncstore.datasets.site import Site
from asyncstore.datasets.transferring import check_apart, check_empty, transfer
from asyncstore.errors import (
    AlreadyExistsError,
    DatasetExistsError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    StoreError,
)
from asyncstore.format import lock_key
from asyncstore.provider import MovesPrefix, ability
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from asyncstore.datasets.finding import Opener
    from asyncstore.datasets.options import Reach
    from asyncstore.datasets.site import Root
    from asyncstore.url import PathLike


async def rename(
    path: PathLike,
    new_name: PathLike,
    *,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> Dataset:
    """Give a dataset another name.

    At a hub that is one call, and nothing moves. On disk it is one atomic rename of its folder.
    In a bucket, every object is copied at the service, the copy is checked, and only then the
    old ones are deleted: at any moment one of the two is whole.

    Args:
        path: where it is, without a version.
        new_name: a name beside the old one, or a whole path in the same bucket, or on disk.
        creds, token, org_id, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Returns:
        The dataset at its new path, read-only and without a lock; `load` it to write.

    Raises:
        DatasetNotFoundError: no dataset is at `path`.
        DatasetExistsError: a dataset or other files are at the new path.
        DatasetLockedError: another process writes to it.
        InvalidPathError: the new path is in another bucket, where `copy` and `delete` do it; or
            is no name for a dataset.
        StoreError: the service refused or failed. The dataset is at one of the two paths; notes
            on the error say at which, and what to delete.
    """
    further = options.reach("rename", reach)
    opener = options.opener(
        creds=creds, token=token, org_id=org_id, hub_url=hub_url, mode="w", **further
    )
    found = await find_whole("rename", path, opener)
    async with found.site.store:
        source, root = found.site, found.root
        target_url = _target(source.url, new_name)
        check_apart("rename", source.url, target_url)
        commit, meta = await source.main(root)
        if source.url.scheme == "hub":
            await _rename_at_hub(source, root, target_url)
        else:
            await _rename_in_storage(source, root, target_url, opener)
    return Dataset(opener(target_url), commit, meta, root.history, read_only=_WHY)


_WHY = "what rename() returns is read-only; load() the dataset to write"


def _target(source: StoreURL, new_name: PathLike) -> StoreURL:
    if isinstance(new_name, StoreURL):
        target = new_name
    elif isinstance(new_name, str) and "/" not in new_name and os.sep not in new_name:
        target = source.parent.join(new_name)
    else:
        target = StoreURL.parse(new_name)
    check_name("rename", new_name, target)
    if (target.scheme, target.bucket) != (source.scheme, source.bucket):
        raise InvalidPathError(
            f"it is not where {source} is; copy() it there, and delete() the old one"
        ).at("rename", str(target))
    return target


async def _rename_at_hub(source: Site, root: Root, target: StoreURL) -> None:
    """Change the name that the hub has for it; nothing moves."""
    hubs.check(target)
    async with claimed(source, root.heads) as claim:
        await claim.before_write()
        try:
            await hubs.rename(source.store, target.path)
        except AlreadyExistsError as error:
            raise DatasetExistsError(f"the hub has one of that name: {error.message}").at(
                "rename", str(target)
            ) from None


async def _rename_in_storage(
    source: Site, root: Root, target_url: StoreURL, opener: Opener
) -> None:
    async with opener(target_url) as store:
        target = Site(store)
        await check_empty("rename", target)
        if not await _move(source, root, target, opener):
            await _copy_and_delete(source, root, target)


async def _move(source: Site, root: Root, target: Site, opener: Opener) -> bool:
    """Rename the folder where the service can; say whether it could."""
    top = StoreURL(source.url.scheme, source.url.bucket, _common(source.url, target.url))
    async with opener(top) as store:
        mover = ability(store.provider, MovesPrefix)  # type: ignore[type-abstract]
        if mover is None:
            return False
        old, new = (store.prefix + _below(top, url) for url in (source.url, target.url))
        async with claimed(source, root.heads) as claim:
            await claim.before_write()
            try:
                await mover.move_prefix(old, new)
            except (NotFoundError, InvalidPathError, NotSupportedError):
                return False  # it is reached through a link, or on another file system
            except AlreadyExistsError:
                raise DatasetExistsError("something is there").at(
                    "rename", str(target.url)
                ) from None
            claim.gone(f"the dataset was renamed to {target.url}")
    await target.store.delete([lock_key(head) for head in root.heads])
    return True


async def _copy_and_delete(source: Site, root: Root, target: Site) -> None:
    async with claimed(source, root.heads) as claim:
        await transfer("rename", claim.site, target)
        try:
            await clear(claim.site)
        except (StoreError, ExceptionGroup) as error:
            error.add_note(
                f"the dataset is whole at {target.url}; "
                f"delete({str(source.url)!r}, force=True) deletes what is left of the old one"
            )
            raise
        claim.gone(f"the dataset was renamed to {target.url}")


def _common(one: StoreURL, other: StoreURL) -> str:
    if one.scheme == "file":
        return os.path.commonpath([os.path.dirname(one.path), os.path.dirname(other.path)])
    return ""


def _below(top: StoreURL, url: StoreURL) -> str:
    return url.path[len(top.path) :].lstrip("/") if top.path else url.path
