"""`copy`: a whole dataset, with its history, from any service to any other."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.datasets.deleting import replace
from asyncstore.datasets.finding import check_name, find_whole
from asyncstore.datasets.handle import Dataset
from asyncstore.datasets.site import Site, absent
from asyncstore.datasets.transferring import WIDTH, check_apart, transfer
from asyncstore.errors import DatasetExistsError

if TYPE_CHECKING:
    from asyncstore.datasets.options import Old, Reach
    from asyncstore.url import PathLike


async def copy(
    src: PathLike | Dataset,
    dest: PathLike,
    *,
    overwrite: bool = False,
    src_creds: object = None,
    dest_creds: object = None,
    src_options: Reach | None = None,
    dest_options: Reach | None = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    num_workers: int = 0,
    progressbar: bool = True,
    **old: Unpack[Old],
) -> Dataset:
    """Copy a dataset with all its branches and commits, within a service or across two.

    Objects are copied many at once, at the service where both are in one bucket with the same
    credentials, each in the version that was listed. The copy is checked against a complete
    listing, and becomes a dataset with its last object; until then, and after a failure, nobody
    finds one there.

    Args:
        src: a dataset's path without a version, or an open `Dataset`.
        dest: where to; as in `empty`.
        overwrite: delete the dataset that is at `dest`, if one is. Other files are never deleted.
        src_creds: credentials for `src`, of any form that the service takes.
        dest_creds: credentials for `dest`; those of `src` are not used for it unless given again.
        src_options: how `src` is reached: a dict of `endpoint_url` and the others of `open_store`.
        dest_options: the same for `dest`.
        token, org_id, hub_url: as in `load`.
        old: other keywords of Deep Lake 3.9, with values that change nothing.
        num_workers: objects to copy at once; 0 is 32.
        progressbar: show progress, on a terminal only.

    Returns:
        The copy, read-only and without a lock; `load` it to write.

    Raises:
        DatasetNotFoundError: no dataset is at `src`.
        DatasetExistsError: a dataset or other files are at `dest`.
        DatasetLockedError: another process writes to `dest`.
        InvalidPathError: one is inside the other; a name or a version that cannot be.
        ObjectChangedError: the source was written to meanwhile.
        IntegrityError: the copy is not what was copied.
        StoreError: a service refused or failed. What was copied is deleted again.
    """
    keywords = dict(old)
    public = hubs.visibility(dest, keywords)
    options.reach("copy", keywords, options.COPY, names=frozenset())
    further = options.reach("src_options", src_options or {})
    from_there = options.opener(
        creds=src_creds, token=token, org_id=org_id, hub_url=hub_url, mode="r", **further
    )
    further = options.reach("dest_options", dest_options or {})
    to_there = options.opener(
        creds=dest_creds, token=token, org_id=org_id, hub_url=hub_url, mode="w", **further
    )
    async with AsyncExitStack() as stack:
        if isinstance(src, Dataset):
            source = Site(src.store)
            root = await source.root()
            if root is None:
                raise absent("copy", source)
        else:
            found = await find_whole("copy", src, from_there)
            source, root = found.site, found.root
            await stack.enter_async_context(source.store)
        target = Site(await stack.enter_async_context(to_there(dest)))
        check_name("copy", dest, target.url)
        check_apart("copy", source.url, target.url)
        commit, meta = await source.main(root)
        if await target.has_dataset():
            if not overwrite:
                raise DatasetExistsError("a dataset is there; overwrite=True replaces it").at(
                    "copy", str(target.url)
                )
            await replace(target, op="copy")
        await hubs.register(target.store, meta, op="copy", public=public)
        await transfer("copy", source, target, width=num_workers or WIDTH, progressbar=progressbar)
    return Dataset(to_there(target.url), commit, meta, root.history, read_only=_WHY)


_WHY = "what copy() returns is read-only; load() the copy to write"
