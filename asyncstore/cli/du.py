"""`asyncstore du`: how much there is below a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asyncstore.cli import exits
from asyncstore.cli.command import command
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.places import Place, Stores
from asyncstore.cli.text import count, human
from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.cli.output import Output


@command(
    "du",
    examples=[
        ("asyncstore du s3://bucket/photos", "bytes and objects below a folder"),
        ("asyncstore du -H s3://bucket gs://bucket .", "of several, in units"),
    ],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-H", "--human", "in_units", is_flag=True, help="Sizes in KiB, MiB and so on.")
@connection_options
async def du(options: Options, output: Output, paths: Sequence[str], *, in_units: bool) -> int:
    """Add up the sizes of everything below each PATH: bytes, objects and the path."""
    failures = 0
    async with Stores(options) as stores:
        for path in paths:
            try:
                size, objects = await _total(stores, Place.parse(path))
            except StoreError as error:
                if len(paths) == 1:
                    raise
                output.error(error)
                failures += 1
                continue
            written = human(size) if in_units else str(size)
            output.result(
                f"{written:>14}  {count(objects, 'object'):>16}  {path}",
                {"url": Place.parse(path).url(), "size": size, "objects": objects},
            )
    return exits.FAILED if failures else exits.OK


async def _total(stores: Stores, place: Place) -> tuple[int, int]:
    store = await stores.at(place)
    size = objects = 0
    async for meta in store.list(place.folder):
        size += meta.size
        objects += 1
    if objects == 0 and not place.is_root and not place.is_local_folder:
        size, objects = (await store.head(place.key)).size, 1
    return size, objects
