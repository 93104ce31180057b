"""`delete`, and what `overwrite` deletes."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.datasets.finding import find_whole
from asyncstore.datasets.lock import WriteLock, acquire
from asyncstore.datasets.site import Site, is_legal
from asyncstore.errors import (
    BatchError,
    DatasetCorruptError,
    DatasetError,
    DatasetExistsError,
    DatasetNotFoundError,
    NotSupportedError,
    StoreError,
)
from asyncstore.format import lock_key
from asyncstore.format.keys import HISTORY, META, is_lock
from asyncstore.store import open_store
from asyncstore.store._together import each
from asyncstore.types import GiB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from asyncstore.datasets.finding import Opener
    from asyncstore.datasets.options import Reach
    from asyncstore.datasets.site import Root
    from asyncstore.url import PathLike

LARGE = GiB
"""Bytes above which a dataset is deleted only with `large_ok`."""


async def delete(
    path: PathLike,
    *,
    force: bool = False,
    large_ok: bool = False,
    verbose: bool = False,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> None:
    """Delete a dataset, or with `force` whatever is at the path. It cannot be undone.

    An interrupted call leaves files without a dataset; `force` clears those.

    Args:
        path: where, without a version.
        force: delete all files at the path, whether or not they are a readable dataset, however
            large, and whoever holds a lock; only `allow_delete=False` still protects them.
        large_ok: delete a dataset of more than 1 GiB.
        verbose: print a line when it is done.
        creds, token, org_id, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Raises:
        DatasetNotFoundError: no dataset is there; with `force`, nothing at all.
        DatasetError: it is marked `allow_delete=False`, or is larger than 1 GiB.
        DatasetLockedError: another process writes to it.
        DatasetCorruptError: its files cannot be read, and `force` is not given.
        BatchError: some objects could not be deleted.
        InvalidPathError: the path means no place, or a version of a dataset.
        StoreError: the service refused or failed.
    """
    further = options.reach("delete", reach)
    opener = options.opener(
        creds=creds, token=token, org_id=org_id, hub_url=hub_url, mode="w", **further
    )
    if "/.queries/" in str(path):
        raise NotSupportedError("saved views are deleted through their dataset, not by path")
    if force:
        await _clear_all(path, opener)
    else:
        found = await find_whole("delete", path, opener)
        async with found.site.store:
            await erase(found.site, found.root, op="delete", large_ok=large_ok)
            await hubs.forget(found.site.store, op="delete")
    if verbose:
        print(f"{path} deleted")  # noqa: T201 - asked for


async def erase(
    site: Site,
    root: Root,
    /,
    *,
    op: str,
    large_ok: bool = True,
    refused: type[DatasetError] = DatasetError,
) -> None:
    """Delete a dataset under its locks, unless it is protected.

    Raises:
        DatasetError: of the kind `refused`: it is marked `allow_delete=False`, or is large.
        DatasetLockedError: another process writes to it.
    """
    await _check_protection(site, root, op, refused)
    if not large_ok:
        await _check_size(site, op)
    async with claimed(site, root.heads) as claim:
        await clear(claim.site)
        claim.gone("the dataset was deleted")


async def replace(site: Site, /, *, op: str) -> None:
    """Delete a dataset that `overwrite` replaces, unless it is protected.

    Raises:
        DatasetExistsError: it is marked `allow_delete=False`, or cannot be read.
        DatasetLockedError: another process writes to it.
    """
    try:
        root = await site.root()
    except (DatasetCorruptError, NotSupportedError) as error:
        raise DatasetExistsError(
            f"a dataset is there that cannot be read ({error.message}), so that it may be one "
            "not to be deleted; delete(path, force=True) clears it"
        ).at(op, str(site.url)) from error
    if root is not None:
        await erase(site, root, op=op, refused=DatasetExistsError)


async def clear(site: Site, /) -> None:
    """Delete everything under the path: first what makes it a dataset, last the locks.

    A dataset is whole or is none: a reader who comes meanwhile, or after this was interrupted,
    finds no dataset rather than one with holes.

    Raises:
        BatchError: some objects could not be deleted; the message says what to do.
    """
    locks: list[str] = []
    odd: list[str] = []

    async def keys() -> AsyncIterator[str]:
        async for meta in site.store.list():
            if is_lock(meta.key):
                locks.append(meta.key)
            elif is_legal(meta.key):
                yield meta.key
            else:
                odd.append(meta.key)

    await site.store.delete([META, HISTORY])
    try:
        await site.store.delete(keys())
        if site.store.prefix:
            odd.append("")  # the folder's own marker, which a listing below it does not show
        await _delete_odd(site, odd)
        await site.store.delete(locks)
    except BatchError as error:
        error.add_note(f"delete({str(site.url)!r}, force=True) deletes the rest")
        raise
    if site.url.scheme == "file":
        await _remove_folder(site)


async def _delete_odd(site: Site, keys: Sequence[str]) -> None:
    """Delete what others put there under keys that a store makes none of, such as `folder/`."""
    provider, prefix = site.store.provider, site.store.prefix
    size = provider.limits.delete
    for batch in (keys[at : at + size] for at in range(0, len(keys), size)):
        failed = await provider.delete([prefix + key for key in batch])
        if failed:
            raise BatchError(f"{len(failed)} objects were not deleted", [*failed.values()])


async def _remove_folder(site: Site) -> None:
    """Remove the empty folder itself; where that cannot be, as for a link, it stays."""
    with suppress(StoreError):
        async with open_store(site.url.parent) as above:
            # A deletion takes the folders with it that it leaves empty, up to its store's own.
            await above.delete(f"{site.url.name}/{META}")


class Claim:
    """The locks of some versions, held.

    Attributes:
        site: with a store that renews the locks as it writes, and stops where one is lost.
    """

    read_only = False

    def __init__(self, site: Site) -> None:
        self._locks: list[WriteLock] = []
        self._store = site.store
        self.site = Site(site.store.guarded(self))

    async def before_write(self) -> None:
        """Make sure that every lock is held."""
        for lock in self._locks:
            await lock.ensure()

    async def take(self, commit: str) -> None:
        """Take a version's lock."""
        self._locks.append(await acquire(self._store, lock_key(commit)))

    def gone(self, reason: str) -> None:
        """Say that the dataset, locks and all, is no longer here, for whoever shares them."""
        for lock in self._locks:
            lock.drop(reason)
        self._locks = []

    async def release(self) -> None:
        """Give the locks back."""
        for lock in self._locks:
            await lock.release()

    async def give_up(self) -> None:
        """Give the locks back where something else went wrong."""
        for lock in self._locks:
            await lock.give_up()


@asynccontextmanager
async def claimed(site: Site, commits: Iterable[str], /) -> AsyncIterator[Claim]:
    """Hold the locks of some versions, so that nobody else writes to them.

    Raises:
        DatasetLockedError: another process holds one.
    """
    claim = Claim(site)
    try:
        if site.url.scheme != "mem":  # memory is one process's: there is nobody to lock out
            await each(commits, claim.take, width=16)
        yield claim
    except BaseException:
        await claim.give_up()
        raise
    await claim.release()


async def _check_protection(site: Site, root: Root, op: str, refused: type[DatasetError]) -> None:
    metas = (await site.with_heads(root)).metas
    if not all(meta.allow_delete for meta in metas.values()):
        raise refused(
            "the dataset is marked allow_delete=False; it is left as it is until it is marked "
            "allow_delete=True"
        ).at(op, str(site.url))


async def _check_size(site: Site, op: str) -> None:
    size = 0
    async with aclosing(site.objects()) as objects:
        async for meta in objects:
            size += meta.size
            if size > LARGE:
                raise DatasetError(
                    f"the dataset is larger than {LARGE:,} bytes; write large_ok=True to delete it"
                ).at(op, str(site.url))


async def _clear_all(path: PathLike, opener: Opener) -> None:
    async with opener(path) as store:
        site = Site(store)
        try:
            root = await site.root()
        except (DatasetCorruptError, NotSupportedError):
            root = None
        if root is not None:
            await _check_protection(site, root, "delete", DatasetError)
        elif await site.is_empty():
            if await hubs.forget(store, op="delete"):
                return  # an entry without files, as an interrupted call leaves it
            raise DatasetNotFoundError("nothing is there").at("delete", str(site.url))
        await clear(site)
        await hubs.forget(store, op="delete")
