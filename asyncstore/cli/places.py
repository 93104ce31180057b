"""Where a path on the command line leads: which store to open, and which key in it."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import click

from asyncstore.errors import InvalidPathError
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from asyncstore.cli.options import Options
    from asyncstore.store import Store


@dataclass(frozen=True)
class Place:
    """A path, cut in two.

    Attributes:
        root: what a store is opened at: the bucket, or the local folder around the last name.
        key: the rest; `""` is the root itself.
        is_folder: whether the path can only be a folder: it ends in `/` or is a root.
        text: the path as the user wrote it.
    """

    root: StoreURL
    key: str
    is_folder: bool
    text: str

    @classmethod
    def parse(cls, text: str, *, follow: bool = True) -> Place:
        """Read a path.

        Args:
            text: as the user wrote it.
            follow: a local link stands for what it points to, not for itself.

        Raises:
            InvalidPathError: as `StoreURL.parse` does.
        """
        url = StoreURL.parse(text)
        ends_in_slash = text.endswith("/") or os.path.basename(text) in (".", "..")
        if url.scheme == "file":
            # What the user names may lie behind links; what a store finds below it is not followed.
            folder, name = os.path.split(os.path.realpath(url.path) if follow else url.path)
            if not name:
                return cls(url, "", True, text)
            return cls(StoreURL("file", "", os.path.realpath(folder)), name, ends_in_slash, text)
        if url.scheme == "hub":
            dataset, _, key = url.path.partition("/")
            return cls(StoreURL("hub", url.bucket, dataset), key, ends_in_slash or not key, text)
        root = StoreURL(url.scheme, url.bucket, "")
        return cls(root, url.path, ends_in_slash or not url.path, text)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's disk."""
        return self.root.scheme == "file"

    @property
    def local_path(self) -> str:
        """The path on this machine's disk."""
        return os.path.join(self.root.path, self.key)

    @property
    def is_local_folder(self) -> bool:
        """Whether it is a folder on this machine's disk."""
        return self.is_local and os.path.isdir(self.local_path)

    @property
    def is_local_entry(self) -> bool:
        """Whether anything is there on this machine's disk, a broken link included."""
        return self.is_local and os.path.lexists(self.local_path)

    @property
    def is_root(self) -> bool:
        """Whether it is a whole bucket, or the root of the file system."""
        return not self.key

    @property
    def folder(self) -> str:
        """What the keys of everything below it begin with."""
        return f"{self.key}/" if self.key else ""

    @property
    def name(self) -> str:
        """Its last part."""
        return self.key.rpartition("/")[2] or self.root.name

    def join(self, name: str) -> Place:
        """Return the place `name` below this one."""
        return Place(self.root, self.folder + name, False, f"{self.text.rstrip('/')}/{name}")

    def as_root(self) -> Place:
        """Return the same place with its store opened there, where that is a local folder."""
        if not self.is_local or (self.is_local_entry and not self.is_local_folder):
            return self
        return Place(StoreURL("file", "", self.local_path), "", True, self.text)

    def within(self, folder: str) -> Place:
        """Return the same place with its store opened at a local folder around it."""
        above = os.path.relpath(self.root.path, folder)
        key = self.key if above == "." else f"{above}/{self.key}"
        return Place(StoreURL("file", "", folder), key, self.is_folder, self.text)

    def url(self, key: str | None = None) -> str:
        """Return the URL of a key of its store, or its own."""
        key = self.key if key is None else key
        root = str(self.root).rstrip("/")
        return f"{root}/{key}" if key else str(self.root)

    def one(self) -> str:
        """Return its key, as that of one object.

        Raises:
            InvalidPathError: it can only be a folder.
        """
        if self.is_folder:
            raise InvalidPathError(f"{self.text} is a folder; write the path of an object")
        return self.key


class Stores:
    """The stores that a command uses: each opened once, all closed at the end.

    Args:
        options: how to reach them.
        local: `open_store`'s keywords for those on this machine's disk.
    """

    def __init__(self, options: Options, *, local: Mapping[str, Any] | None = None) -> None:
        self._options = options
        self._local = local or {}
        self._open: dict[tuple[StoreURL, bool], Store] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._exits.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.__aexit__(kind, error, trace)

    async def at(self, place: Place, *, source: bool = False) -> Store:
        """Return the store that holds `place`.

        Args:
            place: any place in it.
            source: reach it as the `--source-…` options say.

        Raises:
            StoreError: as `open_store` does.
        """
        key = (place.root, source)
        if key not in self._open:
            from asyncstore.store import open_store  # noqa: PLC0415 - help needs no store

            connection = self._options.source if source else self._options.connection
            settings = connection.settings(place.root.scheme)
            if place.is_local:
                settings |= self._local
            store = open_store(place.root, **settings)
            self._open[key] = await self._exits.enter_async_context(store)
        return self._open[key]


def sides(options: Options, source: Place, target: Place) -> bool:
    """Say whether `source` is reached as the `--source-…` options say.

    The plain options serve both sides where both are of one service. Where they differ, the
    plain ones are the target's, so that one service's address never gets the other's identity.

    Raises:
        click.UsageError: `--source-…` was given for a local source.
    """
    if options.source.is_given:
        if source.is_local:
            raise click.UsageError(f"{source.text} is local: the --source-… options say nothing")
        return True
    return source.root.scheme != target.root.scheme and not target.is_local
