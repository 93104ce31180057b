"""`asyncstore head`: objects' metadata."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli import exits
from asyncstore.cli.command import command
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.places import Place, Stores
from asyncstore.cli.text import escaped, human, stamp
from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.cli.output import Output
    from asyncstore.types import ObjectMeta

_AT_ONCE = 32


@command(
    "head",
    examples=[
        ("asyncstore head s3://bucket/notes.txt", "size, time, ETag and checksums"),
        ("asyncstore head --json s3://bucket/notes.txt gs://bucket/b.log", "of several"),
    ],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@connection_options
async def head(options: Options, output: Output, paths: Sequence[str]) -> int:
    """Print objects' metadata: size, time, ETag, checksums and what users attached."""
    places = iter([Place.parse(path) for path in paths])
    failures = 0
    async with Stores(options) as stores:

        async def one(place: Place) -> ObjectMeta:
            return await (await stores.at(place)).head(place.one())

        while some := list(itertools.islice(places, _AT_ONCE)):
            found = await asyncio.gather(*map(one, some), return_exceptions=True)
            for place, meta in zip(some, found, strict=True):
                if isinstance(meta, BaseException):
                    if len(paths) == 1 or not isinstance(meta, StoreError):
                        raise meta
                    output.error(meta)
                    failures += 1
                else:
                    record = facts(place, meta)
                    output.result(_text(record), record)
    return exits.FAILED if failures else exits.OK


def facts(place: Place, meta: ObjectMeta) -> dict[str, Any]:
    """Return an object's metadata as JSON values, without what is not known."""
    found = {
        "url": place.url(),
        "key": meta.key,
        "size": meta.size,
        "modified": stamp(meta.modified),
        "etag": meta.etag,
        "version": meta.version,
        "content_type": meta.content_type,
        "metadata": dict(meta.metadata),
        "checksums": dict(meta.checksums),
    }
    return {name: value for name, value in found.items() if value not in (None, {})}


def _text(record: dict[str, Any]) -> str:
    lines = [str(record["url"])]
    for name, value in record.items():
        if name in ("url", "key"):
            continue
        if isinstance(value, dict):
            lines += [
                f"  {name[:-1] if name == 'checksums' else name} {k}: {v}" for k, v in value.items()
            ]
        elif name == "size":
            lines.append(f"  size: {value} ({human(value)})")
        else:
            lines.append(f"  {name}: {value}")
    return "\n".join(escaped(line) for line in lines)
