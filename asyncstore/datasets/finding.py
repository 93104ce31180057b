"""From what the user wrote to the place and version that it means."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncstore.datasets import hubs
from asyncstore.datasets.site import Root, Site, closing_on_error
from asyncstore.errors import (
    DatasetNotFoundError,
    InvalidPathError,
    PermissionDeniedError,
    StoreError,
    UnauthenticatedError,
)
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.store import Store
    from asyncstore.url import PathLike

    Opener = Callable[[PathLike], Store]

_NAME = re.compile(r"[A-Za-z0-9_\-]+")
_NAME_ON_DISK = re.compile(r"[A-Za-z0-9_ .\-]+")


class UnknownVersionError(DatasetNotFoundError):
    """The dataset is there, and has no such branch or commit."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset that exists; whoever gets it closes the site's store.

    Attributes:
        site: where.
        root: what its files say.
        address: the branch or commit that the path names, or `None`.
    """

    site: Site
    root: Root
    address: str | None = None


async def find(op: str, path: PathLike, opener: Opener, /) -> Found:
    """Find the dataset, and the version, that a path means.

    The whole path comes first: an `@` may be part of a bucket's or folder's name. Only where no
    dataset is there does the last `@` part a path from a version.

    Raises:
        DatasetNotFoundError: neither reading is a dataset, or the version is unknown.
        StoreError: the service does not tell.
    """
    trouble: StoreError
    found: Found | None = None
    try:
        # No name of a hub's has an `@`, and asking for one may leave an entry.
        if not (hubs.is_hub(path) and _parted(path)[1] is not None):
            found = await _read(path, opener)
    except (InvalidPathError, PermissionDeniedError, UnauthenticatedError) as error:
        # Rights may end at the dataset, so that the path with its version is out of reach.
        trouble = error
    else:
        trouble = DatasetNotFoundError("no dataset is there").at(op, str(path))
    if found is not None:
        return found
    base, address = _parted(path)
    if address is None:
        raise trouble
    try:
        found = await _read(base, opener)
    except InvalidPathError:
        raise trouble from None
    if found is None:
        raise trouble
    if found.root.history.find(address) is None:
        await found.site.store.aclose()
        if not isinstance(trouble, DatasetNotFoundError | InvalidPathError):
            raise trouble
        known = ", ".join(sorted(found.root.history.branches)[:5])
        raise UnknownVersionError(
            f"the dataset has no branch or commit {address!r}; its branches are {known}"
        ).at(op, base)
    return Found(found.site, found.root, address)


async def find_whole(op: str, path: PathLike, opener: Opener, /) -> Found:
    """Find the dataset at a path that names no version.

    Raises:
        DatasetNotFoundError: none is there.
        InvalidPathError: the path names a version, or a file.
        StoreError: the service does not tell.
    """
    found = await _read(path, opener)
    if found is None:
        await explain(op, path, opener)
        raise DatasetNotFoundError("no dataset is there").at(op, str(path))
    return found


async def explain(op: str, path: PathLike, opener: Opener, /) -> None:
    """Return if a path where no dataset is can be called absent.

    Raises:
        InvalidPathError: it names a version of a dataset that is there.
    """
    base, address = _parted(path)
    if address is None:
        return
    try:
        found = await _read(base, opener)
    except StoreError:
        return  # what was asked for is absent, whatever is beside it
    if found is None:
        return
    await found.site.store.aclose()
    if found.root.history.find(address) is not None:
        raise InvalidPathError(f"{op} takes a dataset, not its version {address!r}").at(op, base)


def check_name(op: str, path: PathLike, url: StoreURL, /) -> None:
    """Refuse a last part that the old client could not name a new dataset by.

    Raises:
        InvalidPathError: says which characters are possible.
    """
    meant = isinstance(path, StoreURL) or os.fspath(path).endswith(("/", os.sep))
    if meant or not url.path.strip("/"):
        return
    on_disk = url.scheme == "file"
    if not (_NAME_ON_DISK if on_disk else _NAME).fullmatch(url.name):
        more = ", space and '.'" if on_disk else ""
        raise InvalidPathError(
            f"{url.name!r} is no name for a dataset: write letters, digits, '_', '-'{more}; "
            "or end the path in '/' if it is meant so"
        ).at(op, str(url))


async def _read(path: PathLike, opener: Opener) -> Found | None:
    store = opener(path)
    async with closing_on_error(store):
        site = Site(store)
        root = await site.root()
        if root is not None:
            return Found(site, root)
    await store.aclose()
    return None


def _parted(path: PathLike) -> tuple[str, str | None]:
    """Part a path at its last `@`; `None` where there is none, or nothing on a side of it."""
    if isinstance(path, StoreURL):
        return str(path), None
    base, at, address = os.fspath(path).rpartition("@")
    if not (at and base and address) or base.endswith("/"):
        return os.fspath(path), None
    return base, address
