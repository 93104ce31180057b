"""`asyncstore rm`: delete objects, and folders when told so."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import click

from asyncstore.cli import exits
from asyncstore.cli.command import command
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.places import Place, Stores
from asyncstore.cli.tree import prune
from asyncstore.errors import BatchError, InvalidPathError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from asyncstore.cli.output import Output
    from asyncstore.store import Store


@command(
    "rm",
    examples=[
        ("asyncstore rm s3://bucket/old.txt", "delete an object"),
        ("asyncstore rm -r --dry-run s3://bucket/photos", "say what would be deleted"),
        ("asyncstore rm -r s3://bucket/photos", "delete a folder"),
    ],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Delete everything below PATH too.")
@click.option("--yes", is_flag=True, help="Yes, a whole bucket.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing."
)
@connection_options
async def rm(
    options: Options,
    output: Output,
    paths: Sequence[str],
    *,
    recursive: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """Delete objects; with -r also folders.

    An absent object is an error (exit code 3). A whole bucket is deleted only with -r and
    --yes; the bucket itself stays.
    """
    places = [
        _checked(Place.parse(path, follow=False), recursive=recursive, yes=yes) for path in paths
    ]
    failures = 0
    async with Stores(options) as stores:
        for place in places:
            try:
                store = await stores.at(place)
                await _remove(store, place, output, recursive=recursive, dry_run=dry_run)
            except (StoreError, BatchError) as error:
                if len(paths) == 1:
                    raise
                output.error(error)
                failures += 1
    return exits.FAILED if failures else exits.OK


def _checked(place: Place, *, recursive: bool, yes: bool) -> Place:
    if place.is_local and recursive and place.local_path in ("/", os.path.expanduser("~")):
        raise InvalidPathError(f"{place.text}: this command does not delete {place.local_path}")
    if place.is_root and not (recursive and yes):
        raise InvalidPathError(f"{place.text} is a whole bucket; to empty it, add -r and --yes")
    if place.is_folder and not recursive:
        raise InvalidPathError(f"{place.text} is a folder; add -r to delete everything in it")
    return place


async def _remove(
    store: Store, place: Place, output: Output, *, recursive: bool, dry_run: bool
) -> None:
    def say(keys: Iterable[str]) -> None:
        for key in keys:
            verb = "would delete" if dry_run else "deleted"
            record = {"type": verb.replace(" ", "_"), "url": place.url(key)}
            output.remark(f"{verb} {place.url(key)}", record)

    if not recursive:
        await (store.head(place.key) if dry_run else store.delete(place.key, missing_ok=False))
        say([place.key])
        return
    found = 0
    failures: list[StoreError] = []
    async for keys in _batches(store, place):
        found += len(keys)
        refused = {} if dry_run else await _delete(store, keys)
        failures += refused.values()
        say(key for key in keys if key not in refused)
    if place.is_local and not dry_run:
        # Only a bucket has no folders of its own.
        left = await asyncio.to_thread(prune, place.local_path)
        found += left is not None
        failures += left or []
    if not found and not place.is_root:
        raise NotFoundError("no such object or folder", op="delete", url=place.url())
    if failures:
        raise BatchError(f"{len(failures)} objects were not deleted", failures)


async def _batches(store: Store, place: Place) -> AsyncIterator[list[str]]:
    """Yield the keys below a place, and then its own where it is an object too."""
    most = store.provider.limits.delete
    keys: list[str] = []
    async for meta in store.list(place.folder):
        keys.append(meta.key)
        if len(keys) == most:
            yield keys
            keys = []
    if keys:
        yield keys
    if place.key and not place.is_local_folder and await store.exists(place.key):
        yield [place.key]


async def _delete(store: Store, keys: Sequence[str]) -> dict[str, StoreError]:
    """Delete keys of a listing, also those that nobody could write here; return what failed."""
    prefix = store.prefix
    failed = await store.provider.delete([prefix + key for key in keys])
    return {key.removeprefix(prefix): error for key, error in failed.items()}
