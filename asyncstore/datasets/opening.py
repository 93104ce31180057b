"""`load`, `empty`, `dataset` and `exists`: from a path to a dataset."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.datasets.deleting import replace
from asyncstore.datasets.finding import UnknownVersionError, check_name, explain, find
from asyncstore.datasets.handle import Dataset
from asyncstore.datasets.lock import acquire
from asyncstore.datasets.site import Site, absent, closing_on_error
from asyncstore.datasets.transferring import check_empty
from asyncstore.errors import (
    AlreadyExistsError,
    DatasetExistsError,
    DatasetLockedError,
    DatasetNotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    ReadOnlyError,
)
from asyncstore.format import FIRST_COMMIT, DatasetMeta, History, lock_key
from asyncstore.format.keys import HISTORY, META
from asyncstore.format.versions import MAIN

if TYPE_CHECKING:
    from asyncstore.datasets.lock import WriteLock
    from asyncstore.datasets.options import Access, Keywords, Reach
    from asyncstore.datasets.site import Root
    from asyncstore.url import PathLike


async def load(
    path: PathLike,
    *,
    read_only: bool | None = None,
    verbose: bool = True,
    lock_enabled: bool = True,
    lock_timeout: float | None = 0.0,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **more: Unpack[Keywords],
) -> Dataset:
    """Open a dataset that exists.

    Args:
        path: where it is; `path@branch` or `path@commit` for another version than the head of
            `main`. Where the whole path is a dataset itself, its `@` is part of its name.
        read_only: `True` refuses writes and takes no lock; `False` fails where writing is not
            possible; `None` opens for writing where that is possible, and otherwise warns and
            opens read-only.
        verbose: whether that warning is given.
        lock_enabled: take the lock of the version, so that one process writes at a time.
        lock_timeout: seconds to wait for another process's lock; `None` is for ever.
        creds: credentials, of any form that the service takes.
        token: for `hub://` paths.
        org_id: the organisation that `creds={"creds_key": …}` belongs to.
        hub_url: the hub's address.
        more: `endpoint_url`, `region`, `retry`, `concurrency`, `deadline`, `durability`,
            `checksums`, `allow_http`, `ca_bundle` and `trace`, as in `open_store`; and other
            keywords of Deep Lake 3.9, with values that change nothing.

    Raises:
        DatasetNotFoundError: no dataset is there, or it has no such version.
        DatasetCorruptError: its own files contradict themselves.
        DatasetLockedError: `read_only=False`, and another process holds the lock.
        ReadOnlyError: `read_only=False`, and the version is a past commit.
        InvalidPathError: the path is a file, or means no place.
        NotSupportedError: a keyword asks for what this version cannot do.
        StoreError: the service refused or failed; forbidden is not absent.
    """
    reach = options.reach("load", more, options.LOAD)
    access = options.Access(
        creds=creds, token=token, org_id=org_id, hub_url=hub_url, mode=None, **reach
    )
    opening = _Opening("load", read_only, verbose, lock_enabled, lock_timeout)
    return await opening.existing(path, access)


async def dataset(
    path: PathLike,
    *,
    read_only: bool | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    lock_enabled: bool = True,
    lock_timeout: float | None = 0.0,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **more: Unpack[Keywords],
) -> Dataset:
    """Open a dataset, or create it where there is none.

    Args:
        path: where; a version after an `@` as in `load`, for a dataset that exists.
        overwrite: delete what the dataset holds, and begin with an empty one.
        read_only, verbose, lock_enabled, lock_timeout: as in `load`.
        creds, token, org_id, hub_url, more: as in `load`.

    Raises:
        DatasetExistsError: other files are there; or `overwrite`, and the dataset is marked
            `allow_delete=False`.
        DatasetNotFoundError: none is there, and `read_only=True` creates none.
        InvalidPathError: the last part is no name for a new dataset; `overwrite` of a version.
        StoreError: as in `load`.
    """
    keywords = dict(more)
    public = hubs.visibility(path, keywords)
    reach = options.reach("dataset", keywords, options.DATASET)
    access = options.Access(
        creds=creds, token=token, org_id=org_id, hub_url=hub_url, mode=None, **reach
    )
    opening = _Opening("dataset", read_only, verbose, lock_enabled, lock_timeout, public)
    if overwrite:
        return await opening.new(path, access, overwrite=True)
    try:
        return await opening.existing(path, access)
    except UnknownVersionError:
        raise
    except DatasetNotFoundError:
        if read_only:
            raise
    try:
        return await opening.new(path, access, overwrite=False)
    except DatasetExistsError:
        # Another may have created it meanwhile; then it is the one to open.
        try:
            return await opening.existing(path, access)
        except DatasetNotFoundError:
            pass
        raise


async def empty(
    path: PathLike,
    *,
    overwrite: bool = False,
    verbose: bool = True,
    lock_enabled: bool = True,
    lock_timeout: float | None = 0.0,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **more: Unpack[Keywords],
) -> Dataset:
    """Create an empty dataset. Of several who create one at once, one succeeds.

    Args:
        path: where; its last part is of letters, digits, `_` and `-`, on disk also of spaces
            and dots. A slash at its end says that another name is meant as it is.
        overwrite: delete the dataset that is there, if one is. Other files are never deleted.
        verbose, lock_enabled, lock_timeout: as in `load`.
        creds, token, org_id, hub_url, more: as in `load`.

    Raises:
        DatasetExistsError: a dataset is there and `overwrite` is not given, or it is marked
            `allow_delete=False`; or other files are there. Nothing was changed.
        DatasetLockedError: another process holds a lock of the dataset to be overwritten.
        InvalidPathError: the last part is no name for a dataset.
        StoreError: the service refused or failed.
    """
    keywords = dict(more)
    public = hubs.visibility(path, keywords)
    reach = options.reach("empty", keywords, options.EMPTY)
    access = options.Access(
        creds=creds, token=token, org_id=org_id, hub_url=hub_url, mode=None, **reach
    )
    opening = _Opening("empty", False, verbose, lock_enabled, lock_timeout, public)
    return await opening.new(path, access, overwrite=overwrite)


async def exists(
    path: PathLike,
    *,
    creds: object = None,
    token: str | None = None,
    org_id: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> bool:
    """Say whether a dataset is at a path.

    Args:
        path: where, without a version.
        creds, token, org_id, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Raises:
        InvalidPathError: the path means no place, or a version of a dataset.
        StoreError: the service does not tell: wrong credentials, no such bucket, unreachable.
            Forbidden is not absent.
    """
    further = options.reach("exists", reach)
    opener = options.opener(
        creds=creds, token=token, org_id=org_id, hub_url=hub_url, mode="r", **further
    )
    async with opener(path) as store:
        if await Site(store).has_dataset():
            return True
    await explain("exists", path, opener)
    return False


@dataclass(frozen=True, slots=True)
class _Opening:
    """How a dataset is to be opened: the keywords of `load`, under their names."""

    op: str
    read_only: bool | None
    verbose: bool
    lock_enabled: bool
    lock_timeout: float | None
    public: bool = False

    async def existing(self, path: PathLike, access: Access) -> Dataset:
        """Open a dataset that exists."""
        asked: Access = {**access, "mode": _MODES[self.read_only]}
        found = await find(self.op, path, options.opener(**asked))
        async with closing_on_error(found.site.store):
            return await self._version(found.site, found.root, found.address)

    async def new(self, path: PathLike, access: Access, *, overwrite: bool) -> Dataset:
        """Create a dataset."""
        asked: Access = {**access, "mode": "w"}
        store = options.opener(**asked)(path)
        async with closing_on_error(store):
            check_name(self.op, path, store.url)
            site = Site(store)
            if await site.has_dataset():
                if not overwrite:
                    raise DatasetExistsError(
                        "a dataset is there; load() opens it, overwrite=True replaces it"
                    ).at(self.op, str(site.url))
                await replace(site, op=self.op)
            return await self._create(site)

    async def _create(self, site: Site) -> Dataset:
        await check_empty(self.op, site)
        meta, history = DatasetMeta(), History()
        await hubs.register(site.store, meta, op=self.op, public=self.public)
        lock = await self._lock(site, FIRST_COMMIT)
        try:
            await check_empty(self.op, site)
            await _put_new(site, META, meta.dump())
            await _put_new(site, HISTORY, history.dump())
        except AlreadyExistsError:
            await _give_up(lock)
            raise DatasetExistsError("another process created a dataset there just now").at(
                self.op, str(site.url)
            ) from None
        except BaseException:
            await _give_up(lock)
            raise
        return Dataset(site.store, FIRST_COMMIT, meta, history, lock=lock)

    async def _version(self, site: Site, root: Root, address: str | None) -> Dataset:
        """Open a version; for writing under its lock, and as it is once the lock is held."""
        while True:
            commit = _commit(site, root, address, self.op)
            reason = self._why_not(root, commit)
            if reason is None:
                lock, reason = await self._try_lock(site, commit)
                if lock is not None:
                    opened, root = await self._locked(site, address, commit, lock)
                    if opened is None:
                        continue  # somebody committed: the head is another now
                    return opened
            meta = await site.meta(root, commit)
            return Dataset(site.store, commit, meta, root.history, read_only=reason)

    async def _locked(
        self, site: Site, address: str | None, commit: str, lock: WriteLock
    ) -> tuple[Dataset | None, Root]:
        """Open a version under its lock, unless it is no longer what the address stands for."""
        try:
            root = await _root(self.op, site)
            if _commit(site, root, address, self.op) == commit:
                meta = await site.meta(root, commit)
                return Dataset(site.store, commit, meta, root.history, lock=lock), root
        except BaseException:
            await lock.give_up()
            raise
        await lock.release()
        return None, root

    def _why_not(self, root: Root, commit: str) -> str | None:
        """Return why the version is not to be written to, or `None` where it may be."""
        if self.read_only:
            return "the dataset was opened with read_only=True"
        if root.history.commits[commit].is_head:
            return None
        if self.read_only is False:
            raise ReadOnlyError(f"{commit} is a past commit, which nobody writes to; load a branch")
        return f"the dataset was opened at the past commit {commit}"

    async def _try_lock(self, site: Site, commit: str) -> tuple[WriteLock | None, str | None]:
        """Take the version's lock, or say why the dataset is read-only without it."""
        try:
            await hubs.check_rights(site.store, op=self.op)
            return await self._lock(site, commit), None
        except (DatasetLockedError, PermissionDeniedError) as error:
            if self.read_only is False:
                raise
            if self.verbose:
                warnings.warn(f"opened read-only: {error}", UserWarning, stacklevel=5)
            return None, f"the dataset was opened read-only: {error.message}"

    async def _lock(self, site: Site, commit: str) -> WriteLock | None:
        if not self.lock_enabled or site.url.scheme == "mem":
            return None  # memory is one process's: there is nobody to lock out
        return await acquire(site.store, lock_key(commit), wait=self.lock_timeout)


# What a hub is asked for, by `read_only`.
_MODES: dict[bool | None, Literal["r", "w"] | None] = {True: "r", False: "w", None: None}


def _commit(site: Site, root: Root, address: str | None, op: str) -> str:
    commit = root.history.find(address or MAIN)
    if commit is None:
        what = f"no version {address!r}" if address else f"no branch {MAIN!r}"
        raise UnknownVersionError(f"the dataset has {what}").at(op, str(site.url))
    return commit


async def _root(op: str, site: Site) -> Root:
    root = await site.root()
    if root is None:
        raise absent(op, site)
    return root


async def _put_new(site: Site, key: str, data: bytes) -> None:
    """Write an object that is not there; where the service cannot promise that, the lock does."""
    try:
        await site.store.put(key, data, if_absent=True)
    except NotSupportedError:
        if await site.store.exists(key):
            raise AlreadyExistsError("there is one").at("put", str(site.url)) from None
        await site.store.put(key, data)


async def _give_up(lock: WriteLock | None) -> None:
    if lock is not None:
        await lock.give_up()
