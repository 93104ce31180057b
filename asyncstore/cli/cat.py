"""`asyncstore cat`: objects' bytes to stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asyncstore.cli import text
from asyncstore.cli.command import command, read_by
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.pipes import Pipes
from asyncstore.cli.places import Place, Stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.cli.output import Output
    from asyncstore.store import Store


@command(
    "cat",
    examples=[
        ("asyncstore cat s3://bucket/notes.txt", "print an object"),
        ("asyncstore cat --range -10: s3://bucket/notes.txt", "its last ten bytes"),
        ("asyncstore cat a.log gs://bucket/b.log > both.log", "one behind the other"),
    ],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--range",
    "span",
    callback=read_by(text.span),
    metavar="START:STOP",
    help="Only these bytes, as a Python slice: 0:100, 100: or -100:.",
)
@connection_options
async def cat(
    options: Options,
    output: Output,
    paths: Sequence[str],
    *,
    span: tuple[int | None, int | None] | None,
) -> None:
    """Write objects' bytes to standard output, one behind the other.

    The bytes are written as they arrive, and are checked: where the last of them do not fit the
    object's checksum the exit code is 7. With --json the bytes are the only thing on standard
    output, as without.
    """
    del output
    pipes = Pipes()
    async with Stores(options) as stores:
        for path in paths:
            place = Place.parse(path)
            await pour(await stores.at(place), place, pipes, span=span)


async def pour(
    store: Store,
    place: Place,
    pipes: Pipes,
    *,
    span: tuple[int | None, int | None] | None = None,
) -> int:
    """Write one object to stdout; return how many bytes."""
    size = 0
    async with store.stream(place.one(), span=span or (None, None)) as stream:
        async for view in stream:
            await pipes.write(view)
            size += len(view)
    return size
