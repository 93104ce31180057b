"""`asyncstore presign`: a URL that works without credentials for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from asyncstore.cli import text
from asyncstore.cli.command import command, read_by
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.places import Place, Stores

if TYPE_CHECKING:
    from typing import Literal

    from asyncstore.cli.output import Output


@command(
    "presign",
    examples=[
        ("asyncstore presign s3://bucket/notes.txt", "a link to download, good for 15 minutes"),
        ("asyncstore presign --expires 1h --method PUT s3://bucket/inbox", "a link to upload to"),
    ],
)
@click.argument("path", metavar="PATH")
@click.option(
    "--expires",
    callback=read_by(text.duration),
    default="15m",
    metavar="TIME",
    show_default=True,
    help="How long it works: 90s, 15m, 12h, at most 7d.",
)
@click.option(
    "--method",
    type=click.Choice(["GET", "PUT", "HEAD", "DELETE"], case_sensitive=False),
    default="GET",
    show_default=True,
    help="What it allows.",
)
@connection_options
async def presign(
    options: Options,
    output: Output,
    path: str,
    *,
    expires: float,
    method: Literal["GET", "PUT", "HEAD", "DELETE"],
) -> None:
    """Print a URL through which anybody can reach an object for a while.

    The URL is a secret: whoever has it may do what it allows until it ends, or until the
    credentials that signed it do.
    """
    place = Place.parse(path)
    async with Stores(options) as stores:
        store = await stores.at(place)
        url = await store.presign(place.one(), method=method, expires=expires)
    ends = datetime.now(UTC) + timedelta(seconds=expires)
    output.result(
        url,
        {"url": url, "path": place.url(), "method": method, "expires_at": text.stamp(ends)},
    )
