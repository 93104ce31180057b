"""A place where a dataset is, or may be: its root files, and what else is there."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import anyio

from asyncstore.errors import (
    DatasetCorruptError,
    DatasetNotFoundError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
)
from asyncstore.format import FIRST_COMMIT, DatasetMeta, History, meta_key
from asyncstore.format.fields import JSON_BYTES
from asyncstore.format.keys import HISTORY, HISTORY_PICKLED, META, is_lock
from asyncstore.format.versions import MAIN
from asyncstore.store._together import each
from asyncstore.url import check_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from asyncstore.store import Store
    from asyncstore.types import Buffer, ObjectMeta
    from asyncstore.url import StoreURL

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Root:
    """What a dataset's files say.

    Attributes:
        history: its commits and branches.
        metas: the metadata of versions that were read, by commit.
    """

    history: History
    metas: Mapping[str, DatasetMeta]

    @property
    def heads(self) -> list[str]:
        """The commits that somebody may be writing to."""
        commits = self.history.commits
        return sorted({head for head in self.history.branches.values() if commits[head].is_head})


class Site:
    """A store at the path of a dataset.

    Args:
        store: opened at the path; the site's user closes it.
    """

    __slots__ = ("store",)

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def url(self) -> StoreURL:
        """Where it is."""
        return self.store.url

    async def has_dataset(self) -> bool:
        """Say whether a dataset is here: either of its two root files.

        Raises:
            StoreError: the service does not tell; forbidden is not absent.
        """
        return await self._exists(META) or await self._exists(HISTORY)

    async def root(self) -> Root | None:
        """Read the dataset's root files, or return `None` where no dataset is.

        Raises:
            DatasetCorruptError: a file contradicts itself or the other.
            NotSupportedError: the history is a pickle.
            StoreError: the service does not tell.
        """
        found: dict[str, DatasetMeta | History | None] = {}

        async def read(key: str) -> None:
            parse = History.parse if key == HISTORY else DatasetMeta.parse
            found[key] = await self._read(key, parse)

        await each((META, HISTORY), read, width=2)
        meta, history = found[META], found[HISTORY]
        if meta is None and history is None:
            # Absent files do not tell an absent dataset from an absent bucket.
            await self._exists(META)
            return None
        if history is None and await self._exists(HISTORY_PICKLED):
            raise NotSupportedError(
                "the dataset's history is a pickle, which is not read because a pickle may run "
                "code; open it once with Deep Lake 3.9 and commit"
            ).at("load", str(self.url))
        metas = {FIRST_COMMIT: meta} if isinstance(meta, DatasetMeta) else {}
        return Root(history if isinstance(history, History) else History(), metas)

    async def meta(self, root: Root, commit: str) -> DatasetMeta:
        """Return a version's metadata.

        Raises:
            DatasetCorruptError: it is missing or unreadable.
        """
        known = root.metas.get(commit)
        if known is not None:
            return known
        meta = await self._read(meta_key(commit), DatasetMeta.parse)
        if meta is None:
            raise DatasetCorruptError(f"{meta_key(commit)} is missing").at("load", str(self.url))
        return meta

    async def main(self, root: Root) -> tuple[str, DatasetMeta]:
        """Return the commit that `main` stands at, or the first one, and its metadata.

        Raises:
            DatasetCorruptError: the metadata is missing or unreadable.
        """
        commit = root.history.find(MAIN) or FIRST_COMMIT
        return commit, await self.meta(root, commit)

    async def with_heads(self, root: Root) -> Root:
        """Return the root with the metadata of every head read, as far as it is there."""
        metas = dict(root.metas)

        async def read(commit: str) -> None:
            meta = await self._read(meta_key(commit), DatasetMeta.parse)
            if meta is not None:
                metas[commit] = meta

        await each([head for head in root.heads if head not in metas], read, width=16)
        return replace(root, metas=metas)

    async def first_key(self) -> str | None:
        """Return a key that is no lock, or `None` where nothing else is."""
        async with aclosing(self.objects()) as objects:
            async for meta in objects:
                return meta.key
        return None

    async def is_empty(self) -> bool:
        """Say whether nothing at all is here."""
        try:
            async for _ in self.store.list():
                return False
        except NotFoundError:
            if self.url.scheme != "file":
                raise
        return True

    async def objects(self) -> AsyncGenerator[ObjectMeta]:
        """Iterate over what is here, but for locks, probes and the markers that consoles make."""
        try:
            async for meta in self.store.list():
                if not (is_lock(meta.key) or is_probe(meta.key) or is_marker(meta)):
                    yield meta
        except NotFoundError:
            if self.url.scheme != "file":
                raise  # a bucket; a folder that is not there is empty

    async def _exists(self, key: str) -> bool:
        try:
            return await self.store.exists(key)
        except NotFoundError:
            if self.url.scheme != "hub":
                raise
            return False  # that is how a hub says that it has no such data set, or shows none

    async def _read(self, key: str, parse: Callable[[Buffer], T]) -> T | None:
        try:
            blob = await self.store.get(key, span=(0, JSON_BYTES + 1))
        except NotFoundError:
            return None
        try:
            return parse(blob.data)
        except DatasetCorruptError as error:
            raise error.at("load", str(self.url)) from None


def absent(op: str, site: Site, /) -> DatasetNotFoundError:
    """Return the error that says that no dataset is there."""
    return DatasetNotFoundError("no dataset is there").at(op, str(site.url))


def is_marker(meta: ObjectMeta, /) -> bool:
    """Whether an object stands for a folder, as some consoles make them, and holds nothing."""
    return meta.size == 0 and (not meta.key or meta.key.endswith("/"))


def is_probe(key: str, /) -> bool:
    """Whether an object is there for a moment only, to find out what the service can."""
    return key.rpartition("/")[2].startswith(".asyncstore-probe-")


def is_legal(key: str, /) -> bool:
    """Whether a store would make an object of this key; others may have made some of any."""
    try:
        check_key(key)
    except InvalidPathError:
        return False
    return True


@asynccontextmanager
async def closing_on_error(store: Store) -> AsyncIterator[None]:
    """Close a store if the block fails; otherwise it is the block's result's."""
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await store.aclose()
        raise
