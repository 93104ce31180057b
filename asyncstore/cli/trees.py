"""`asyncstore cp -r` and `mv -r`: folders, each through the engine of transfers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli import exits
from asyncstore.cli.asked import Tally
from asyncstore.cli.folders import below, carry, is_folder, tell_oddities, tell_skipped
from asyncstore.cli.places import Stores, sides
from asyncstore.cli.single import Single
from asyncstore.errors import InvalidPathError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.cli.asked import Asked
    from asyncstore.cli.options import Options
    from asyncstore.cli.places import Place
    from asyncstore.store import Store
    from asyncstore.transfer import Report
    from asyncstore.transfer.plan import Step
    from asyncstore.types import ObjectMeta


async def carry_trees(
    options: Options, asked: Asked, sources: Sequence[Place], target: Place
) -> int:
    """Copy or move each source with everything below it; return the exit code.

    Args:
        options: how to reach the stores.
        asked: what is to be done.
        sources: folders; or objects, which keep their names.
        target: comes to hold what the one source holds; or each source, by its name.
    """
    if len(sources) > 1:
        for name in ("keys_from", "failures_to"):
            if asked.choices.get(name):
                raise click.UsageError(f"--{name.replace('_', '-')} is for one SOURCE")
    began = time.monotonic()
    # What is copied by the engine is flushed once, at its end or before the sources are deleted.
    deferred = {"durability": "deferred"}
    async with Stores(options, local=deferred) as folders, Stores(options) as objects:
        trees = _Trees(options, asked, folders, objects)
        if len(sources) == 1:
            await trees.carry(sources[0], target)
        else:
            await trees.carry_each(sources, target)
    if not asked.dry_run:
        trees.tally.say(asked, time.monotonic() - began)
    return exits.FAILED if trees.tally.failed else exits.OK


class _Trees:
    def __init__(self, options: Options, asked: Asked, folders: Stores, objects: Stores) -> None:
        self._options = options
        self._asked = asked
        self._folders = folders
        self._objects = objects
        self.tally = Tally()

    async def carry_each(self, sources: Sequence[Place], target: Place) -> None:
        """Copy or move several sources, each by its name; go on after one that cannot be."""
        for source in sources:
            try:
                await self.carry(source, target.join(source.name))
            except StoreError as error:
                self._fail(error)

    async def carry(self, source: Place, target: Place) -> None:
        """Copy or move one source."""
        here, there = await self._sides(source, target)
        if await is_folder(here, source):
            await self._folder(source, here, target, there)
            return
        if target.is_folder or target.is_local_folder:
            target = target.join(source.name)
        with self._asked.output.progress(self._asked.done) as progress:
            single = Single(self._objects, self._options, self._asked, progress)
            try:
                await single.do(source, target)
            except StoreError as error:
                self._fail(error)
        self.tally.objects += single.tally.objects
        self.tally.bytes += single.tally.bytes

    async def _sides(self, source: Place, target: Place) -> tuple[Store, Store]:
        own = sides(self._options, source, target)
        return await self._folders.at(source, source=own), await self._folders.at(target)

    async def _folder(self, source: Place, here: Store, target: Place, there: Store) -> None:
        if source.is_local:
            await tell_oddities(self._asked.output, source)
        both = await self._renaming(source, target) if self._asked.move else None
        if both is None:
            both = below(here, source), below(there, target)
        report = await carry(
            self._asked.output,
            *both,
            self._asked.done,
            planned=lambda plan: self._asked.output.notice(f"plan: {plan}"),
            move=self._asked.move,
            if_absent=self._asked.if_absent,
            dry_run=self._asked.dry_run,
            width=self._asked.width,
            settled=self._settling(source, target),
            **self._asked.choices,
        )
        if self._asked.dry_run:
            self._rehearsed(report, source, target)
        self._add(report)

    async def _renaming(self, source: Place, target: Place) -> tuple[Store, Store] | None:
        """Return both folders in one store on this machine's disk, where files can be renamed."""
        if not (source.is_local and target.is_local):
            return None
        folder = os.path.commonpath([source.root.path, target.root.path])
        if not all(_is_open(place.root.path, folder) for place in (source, target)):
            return None
        one, other = source.within(folder), target.within(folder)
        store = await self._folders.at(one)
        try:
            return below(store, one), below(store, other)
        except InvalidPathError:
            return None  # a folder on the way has a name that is no key

    def _settling(self, source: Place, target: Place) -> Any:
        def settled(step: Step, meta: ObjectMeta | None, error: StoreError | None) -> None:
            if error is not None:
                self._asked.output.error(error)
            elif meta is not None:
                self._asked.say(source.join(step.key).url(), target.join(step.key).url(), meta)
            elif step.verb == "pass":
                tell_skipped(self._asked.output, source.join(step.key).url(), step.reason)

        return settled

    def _rehearsed(self, report: Report, source: Place, target: Place) -> None:
        """Say what would be done; a source whose target is there already would only go."""
        for verb, key in report.planned:
            here, there = source.join(key).url(), target.join(key).url()
            if verb == "skip":
                if self._asked.move:
                    self._asked.plan("delete", here, None)
            else:
                self._asked.plan(self._asked.op if verb == "copy" else verb, here, there)

    def _add(self, report: Report) -> None:
        self.tally.objects += report.moved if self._asked.move else report.copied
        self.tally.bytes += report.bytes
        self.tally.skipped += report.skipped
        self.tally.resumed += report.resumed
        self.tally.retries += report.retries
        self.tally.failed += len(report.failures)

    def _fail(self, error: StoreError) -> None:
        self.tally.failed += 1
        self._asked.output.error(error)


def _is_open(path: str, above: str) -> bool:
    """Whether a store at `above` gets to `path`: what is there of the way can be listed."""
    while path != above:
        if os.path.exists(path) and not os.access(path, os.R_OK | os.X_OK):
            return False
        path = os.path.dirname(path)
    return os.access(above, os.R_OK | os.X_OK)
