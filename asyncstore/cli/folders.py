"""Folders through the engine of transfers: what `cp -r`, `sync`, `verify` and `demo` share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli.tree import scan
from asyncstore.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.cli.output import Output
    from asyncstore.cli.output import Progress as Bar
    from asyncstore.cli.places import Place
    from asyncstore.store import Store
    from asyncstore.transfer import Plan, Progress, Report


WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Most objects under way at once; by default what pays is found.",
)
DRY_RUN = click.option(
    "-n", "--dry-run", is_flag=True, help="Print what would be done, and change nothing."
)


def choices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which of a folder's objects take part."""
    for add in (
        click.option(
            "--failures-to",
            type=click.Path(dir_okay=False, writable=True),
            metavar="FILE",
            help="Write what failed to FILE, a JSON object a line.",
        ),
        click.option(
            "--keys-from",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="Only the keys in FILE: what --failures-to wrote, or a key a line.",
        ),
        click.option(
            "--exclude", multiple=True, metavar="GLOB", help="Leave out keys of this pattern."
        ),
        click.option(
            "--include",
            multiple=True,
            metavar="GLOB",
            help="Only keys of this pattern; * matches slashes too.",
        ),
    ):
        function = add(function)
    return function


def check_unused(chosen: Mapping[str, Any]) -> None:
    """Refuse choices where there is no folder to choose from.

    Raises:
        click.UsageError: one was made.
    """
    for name, value in chosen.items():
        if value:
            raise click.UsageError(f"--{name.replace('_', '-')} is for folders: add -r")


async def is_folder(store: Store, place: Place) -> bool:
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


async def tell_oddities(output: Output, place: Place) -> None:
    """Say what lies in a folder on this machine's disk and is no object."""
    tree = await asyncio.to_thread(scan, place.local_path, files=False)
    for path, kind in tree.skipped:
        tell_skipped(output, path, kind)


def tell_skipped(output: Output, path: str, kind: str) -> None:
    """Say that something is no object, and stays where it is."""
    record = {"type": "skipped", "path": path, "kind": kind}
    output.warning(f"skipped {path}: a {kind}", record)


def below(store: Store, place: Place) -> Store:
    """Return the store of a folder, given the store that the place is in."""
    return store.child(place.key) if place.key else store


async def carry(
    output: Output,
    source: Store,
    target: Store,
    title: str,
    *,
    planned: Callable[[Plan], None] | None = None,
    **how: Any,
) -> Report:
    """Run the engine between two folders, with its progress shown.

    Args:
        output: where the progress goes.
        source: read from.
        target: written to.
        title: what is being done.
        planned: told what is to be done, before it is.
        how: as `asyncstore.store._transfers.transfer` takes it.
    """
    from asyncstore.store._transfers import transfer  # noqa: PLC0415 - help needs no store

    with output.progress(title) as bar:
        move = moving(bar)
        said = False

        def tell(now: Progress) -> None:
            nonlocal said
            if planned is not None and now.plan is not None and not said:
                said = True
                planned(now.plan)
            move(now)

        return await transfer(source, target, title, progress=tell, **how)


def moving(bar: Bar) -> Callable[[Progress], None]:
    """Return what moves a bar as a transfer goes on."""
    done = total = 0

    def move(now: Progress) -> None:
        nonlocal done, total
        bar.expect(now.bytes_total - total)
        bar.advance(now.bytes - done)
        done, total = now.bytes, now.bytes_total

    return move
