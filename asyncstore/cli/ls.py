"""`asyncstore ls`: what is in a folder or bucket."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli.command import command
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.places import Place, Stores
from asyncstore.cli.reach import hub_client
from asyncstore.cli.text import human, stamp
from asyncstore.url import organization_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from asyncstore.cli.output import Output
    from asyncstore.providers.hub.api import Entry
    from asyncstore.providers.hub.client import HubClient
    from asyncstore.store import Store
    from asyncstore.types import ObjectMeta


@command(
    "ls",
    examples=[
        ("asyncstore ls s3://bucket", "what is in a bucket"),
        ("asyncstore ls -lH s3://bucket/photos", "with sizes and times"),
        ("asyncstore ls -r photos", "everything below a local folder"),
        ("asyncstore ls hub://acme", "an organisation's data sets"),
        ("asyncstore ls -r --json gs://bucket | head -1", "for a script, key by key"),
    ],
)
@click.argument("path", metavar="PATH")
@click.option("-l", "--long", is_flag=True, help="Time and size before each name.")
@click.option("-r", "--recursive", is_flag=True, help="Everything below PATH, not one level.")
@click.option("-H", "--human", "in_units", is_flag=True, help="Sizes in KiB, MiB and so on.")
@connection_options
async def ls(
    options: Options, output: Output, path: str, *, long: bool, recursive: bool, in_units: bool
) -> None:
    """List a folder, a bucket or an object, or a hub's organisation as hub://ORG.

    Folders end in `/`. Where PATH is a folder and an object at once, the folder is listed; an
    object is listed by its name.
    """
    organization = organization_of(path)
    if organization is not None:
        await _datasets(options, output, organization, long=long)
        return
    place = Place.parse(path)
    rows = _Rows(output, place, long=long, in_units=in_units)
    async with Stores(options) as stores:
        store = await stores.at(place)
        if recursive:
            async for meta in store.list(place.folder):
                rows.item(meta)
        else:
            await _one_level(store, place, rows)
        if rows.count == 0 and not place.is_root and not place.is_local_folder:
            rows.item(await store.head(place.key))


async def _datasets(options: Options, output: Output, organization: str, *, long: bool) -> None:
    """List an organisation's data sets; `long` asks for what hubs of others do not tell."""
    async with hub_client(options) as client:
        names = [] if long else await client.names(organization)
        entries = [entry async for entry in _entries(client, organization)] if long else []
    for name in names:
        url = f"hub://{organization}/{name}"
        output.result(f"{name}/", {"type": "dataset", "url": url, "name": name})
    for entry in entries:
        record = {"type": "dataset", "url": f"hub://{organization}/{entry.name}", **asdict(entry)}
        seen = "public" if entry.public else "private"
        line = f"{entry.created_at or '-':20}  {seen:7}  {entry.location or '-':4}  {entry.name}/"
        output.result(line, record)


async def _entries(client: HubClient, organization: str) -> AsyncIterator[Entry]:
    from asyncstore.providers.hub.api import HubAPI  # noqa: PLC0415 - help needs no HTTP

    cursor: str | None = None
    while True:
        page, cursor = await HubAPI(client).datasets(organization, cursor=cursor)
        for entry in page:
            yield entry
        if cursor is None:
            return


async def _one_level(store: Store, place: Place, rows: _Rows) -> None:
    # Page by page, as `walk`, which gives a whole folder at once, does not: one may hold millions.
    cursor: str | None = None
    strip = len(store.prefix)
    while True:
        page = await store.provider.list_page(
            store.prefix + place.folder, cursor=cursor, delimiter=True
        )
        for prefix in page.prefixes:
            rows.folder(prefix[strip:])
        for meta in page.objects:
            rows.item(meta.replace(key=meta.key[strip:]))
        cursor = page.cursor
        if cursor is None:
            return


class _Rows:
    def __init__(self, output: Output, place: Place, *, long: bool, in_units: bool) -> None:
        self._output = output
        self._place = place
        self._long = long
        self._in_units = in_units
        self.count = 0

    def folder(self, prefix: str) -> None:
        """Print a folder, whose name ends in a slash."""
        record: dict[str, object] = {
            "type": "folder",
            "url": self._place.url(prefix),
            "key": prefix,
        }
        self._print("", "", self._name(prefix), record)

    def item(self, meta: ObjectMeta) -> None:
        """Print an object; what some consoles put for an empty folder is the folder itself."""
        if meta.key == self._place.folder:
            self.count += 1
            return
        record = {
            "type": "object",
            "url": self._place.url(meta.key),
            "key": meta.key,
            "size": meta.size,
            "modified": stamp(meta.modified),
            "etag": meta.etag,
        }
        size = human(meta.size) if self._in_units else str(meta.size)
        self._print(stamp(meta.modified) or "-", size, self._name(meta.key), record)

    def _name(self, key: str) -> str:
        return key.removeprefix(self._place.folder) if key != self._place.key else self._place.name

    def _print(self, when: str, size: str, name: str, record: Mapping[str, Any]) -> None:
        self.count += 1
        self._output.result(f"{when:20}  {size:>14}  {name}" if self._long else name, record)
