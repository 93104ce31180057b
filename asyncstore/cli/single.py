"""One object from anywhere to anywhere, copied or moved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asyncstore.cli.asked import Tally
from asyncstore.cli.copying import copy_object, unchanged
from asyncstore.cli.places import sides
from asyncstore.errors import (
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    StoreError,
)

if TYPE_CHECKING:
    from asyncstore.cli.asked import Asked
    from asyncstore.cli.options import Options
    from asyncstore.cli.output import Progress
    from asyncstore.cli.places import Place, Stores
    from asyncstore.types import ObjectMeta


class Single:
    """Copies or moves objects, one at each call.

    Args:
        stores: where each is opened; those on disk flush each write where objects are moved.
        options: how to reach them.
        asked: what is to be done.
        progress: told of the bytes.

    Attributes:
        tally: of what was done.
    """

    def __init__(self, stores: Stores, options: Options, asked: Asked, progress: Progress) -> None:
        self._stores = stores
        self._options = options
        self._asked = asked
        self._progress = progress
        self.tally = Tally()

    async def do(self, source: Place, target: Place) -> None:
        """Copy or move one object, and say so.

        Raises:
            StoreError: it was not done; a source that was to be moved is there.
        """
        try:
            await self._do(source, target)
        except StoreError as error:
            error.at(self._asked.op, source.url())
            raise

    async def _do(self, source: Place, target: Place) -> None:
        asked = self._asked
        if asked.move and not asked.dry_run and await self._renamed(source, target):
            return
        own = sides(self._options, source, target)
        here, there = await self._stores.at(source, source=own), await self._stores.at(target)
        if here is there and source.key == target.key:
            raise InvalidPathError("source and target are the same object")
        if asked.dry_run:
            await here.head(source.one())
            asked.plan(asked.op, source.url(), target.url())
            return
        before, after = await copy_object(
            here,
            source.one(),
            there,
            target.key,
            if_absent=asked.if_absent,
            read_back=asked.move,
            progress=self._progress,
        )
        if asked.move:
            await unchanged(here, source.key, before)
            await here.delete(source.key)
        self._say(source, target, after)

    async def _renamed(self, source: Place, target: Place) -> bool:
        """Rename a file, where both names are on this machine and the system can."""
        if not (source.is_local and target.is_local):
            return False
        folder = os.path.commonpath([source.root.path, target.root.path])
        one, other = source.within(folder), target.within(folder)
        if one.key == other.key:
            return False
        store = await self._stores.at(one)
        try:
            after = await store.move(one.one(), other.key, if_absent=self._asked.if_absent)
        except (NotSupportedError, InvalidPathError, PermissionDeniedError):
            return False  # such as a folder on the way that may not be listed: copied, it may work
        self._progress.expect(after.size)
        self._progress.advance(after.size)
        self._say(source, target, after)
        return True

    def _say(self, source: Place, target: Place, after: ObjectMeta) -> None:
        self.tally.objects += 1
        self.tally.bytes += after.size
        self._asked.say(source.url(), target.url(), after)
