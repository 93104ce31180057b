"""`asyncstore cp -r`: folders, each through the engine of transfers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from asyncstore.cli import exits
from asyncstore.cli.copying import copy_object
from asyncstore.cli.folders import below, carry
from asyncstore.cli.places import Stores, sides
from asyncstore.cli.text import count, human
from asyncstore.cli.tree import scan
from asyncstore.errors import InvalidPathError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.cli.options import Options
    from asyncstore.cli.output import Output
    from asyncstore.cli.places import Place
    from asyncstore.store import Store
    from asyncstore.transfer.plan import Step
    from asyncstore.types import ObjectMeta


async def copy_trees(
    options: Options,
    output: Output,
    sources: Sequence[Place],
    target: Place,
    *,
    if_absent: bool,
    width: int | None,
) -> int:
    """Copy each source with everything below it; return the exit code.

    Args:
        options: how to reach the stores.
        output: told of each object, of failures and of the sum.
        sources: folders; or objects, which keep their names.
        target: comes to hold what the one source holds; or each source, by its name.
        if_absent: create only.
        width: most objects under way at once.
    """
    began = time.monotonic()
    # A copy can be made again: one flush at the end holds as much as one for each file.
    async with Stores(options, local={"durability": "deferred"}) as stores:
        trees = _Trees(options, output, stores, if_absent=if_absent, width=width)
        for source in sources:
            await trees.copy(source, target.join(source.name) if len(sources) > 1 else target)
    seconds = time.monotonic() - began
    output.remark(
        f"copied {count(trees.copied, 'object')}, {human(trees.bytes)}, in {seconds:.1f} s"
        + (f"; {trees.skipped:,} were there" if trees.skipped else "")
        + (f"; {trees.failed} failed" if trees.failed else ""),
        {
            "type": "copied",
            "objects": trees.copied,
            "bytes": trees.bytes,
            "skipped": trees.skipped,
            "failed": trees.failed,
        },
    )
    return exits.FAILED if trees.failed else exits.OK


class _Trees:
    def __init__(
        self,
        options: Options,
        output: Output,
        stores: Stores,
        *,
        if_absent: bool,
        width: int | None,
    ) -> None:
        self._options = options
        self._output = output
        self._stores = stores
        self._if_absent = if_absent
        self._width = width
        self.copied = self.bytes = self.skipped = self.failed = 0

    async def copy(self, source: Place, target: Place) -> None:
        """Copy one source."""
        own = sides(self._options, source, target)
        here, there = await self._stores.at(source, source=own), await self._stores.at(target)
        if await _is_folder(here, source):
            await self._folder(here, source, there, target)
        else:
            if target.is_folder or target.is_local_folder:
                target = target.join(source.name)
            await self._object(here, source, there, target)

    async def _folder(self, here: Store, source: Place, there: Store, target: Place) -> None:
        if source.is_local:
            await self._tell_oddities(source)

        def settled(step: Step, meta: ObjectMeta | None, error: StoreError | None) -> None:
            if error is not None:
                self._output.error(error)
            elif meta is not None:
                self._say(source.join(step.key).url(), target.join(step.key).url(), meta)
            elif step.verb == "pass":
                self._skip(source.join(step.key).url(), step.reason)

        report = await carry(
            self._output,
            below(here, source),
            below(there, target),
            "copied",
            plan=False,
            if_absent=self._if_absent,
            width=self._width,
            settled=settled,
        )
        self.copied += report.copied
        self.bytes += report.bytes
        self.skipped += report.skipped
        self.failed += len(report.failures)

    async def _object(self, here: Store, source: Place, there: Store, target: Place) -> None:
        if here is there and source.key == target.key:
            raise InvalidPathError("source and target are the same object").at("copy", source.url())
        with self._output.progress("copied") as progress:
            try:
                _, meta = await copy_object(
                    here,
                    source.one(),
                    there,
                    target.key,
                    if_absent=self._if_absent,
                    progress=progress,
                )
            except StoreError as error:
                self.failed += 1
                self._output.error(error.at("copy", source.url()))
                return
        self.copied += 1
        self.bytes += meta.size
        self._say(source.url(), target.url(), meta)

    async def _tell_oddities(self, source: Place) -> None:
        tree = await asyncio.to_thread(scan, source.local_path, files=False)
        for path, kind in tree.skipped:
            self._skip(path, kind)

    def _skip(self, path: str, kind: str) -> None:
        record = {"type": "skipped", "path": path, "kind": kind}
        self._output.warning(f"skipped {path}: a {kind}", record)

    def _say(self, source: str, target: str, meta: ObjectMeta) -> None:
        self._output.remark(
            f"{source} -> {target}",
            {
                "type": "copied",
                "source": source,
                "target": target,
                "size": meta.size,
                "etag": meta.etag,
            },
        )


async def _is_folder(store: Store, place: Place) -> bool:
    """Whether there is a folder, rather than one object.

    Raises:
        NotFoundError: there is neither.
    """
    if place.is_local:
        if place.is_local_folder:
            return True
        if place.is_local_entry:
            return False
        raise NotFoundError("no such file or folder", op="list", url=place.url())
    listing = store.list(place.folder)
    try:
        async for _ in listing:
            return True
    finally:
        await listing.aclose()
    if place.is_folder or not await store.exists(place.key):
        raise NotFoundError("no such object or folder", op="list", url=place.url())
    return False
