"""`asyncstore demo`: a data set written, listed, read back and verified, on any path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

import click

from asyncstore.cli.command import command
from asyncstore.cli.options import Options, connection_options
from asyncstore.cli.places import Place
from asyncstore.errors import AlreadyExistsError, StoreError

if TYPE_CHECKING:
    from asyncstore.cli.output import Output
    from asyncstore.cli.rehearsal import Rehearsal

_CHUNKS = 3000
_TIDY = 60.0  # seconds that tidying up may take


@command(
    "demo",
    examples=[
        ("asyncstore demo", "on this machine's disk: no account, no cloud"),
        ("asyncstore demo s3://bucket/demo", "the same on a service"),
        (
            "asyncstore demo --source photos --download-to copy",
            "on your own files, kept to compare",
        ),
    ],
)
@click.argument("path", metavar="[PATH]", required=False)
@click.option(
    "--source",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False),
    help="Use this folder's files in place of made-up chunks.",
)
@click.option(
    "--download-to",
    "--dest",
    "download_to",
    metavar="FOLDER",
    type=click.Path(file_okay=False),
    help="Keep what is read back here, in place of memory only; absent or empty.",
)
@click.option("--keep", is_flag=True, help="Leave the data set where it was written.")
@click.option(
    "--chunks",
    type=click.IntRange(1, 1_000_000),
    default=_CHUNKS,
    show_default=True,
    help="How many chunks to make up.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed makes the same bytes."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Most chunks under way at once; by default as many as pay, found by trying.",
)
@connection_options
async def demo(
    options: Options,
    output: Output,
    path: str | None,
    *,
    source: str | None,
    download_to: str | None,
    keep: bool,
    chunks: int,
    seed: int,
    workers: int | None,
) -> int:
    """Write a data set, list it, read it all back and verify every byte.

    PATH is where: an absent or empty folder of any service. Without one it is a new folder under
    the system's temporary one. What was made is removed at the end, also on Ctrl-C, unless
    --keep says otherwise. Names that cannot be keys, links and special files of --source are
    reported and counted; the exit code is 1 where a file of it was left out.
    """
    from asyncstore.cli.rehearsal import (  # noqa: PLC0415 - help needs no store
        Rehearsal,
        generated,
        local_files,
    )

    if download_to is not None:
        await asyncio.to_thread(_empty_folder, download_to)
    made = await asyncio.to_thread(_folder) if path is None else None
    place = Place.parse(made or path or "")
    existed = place.is_local_folder and made is None
    work = local_files(source, output) if source else generated(chunks, seed)
    rehearsal = Rehearsal(options, output, place, work, workers=workers)
    try:
        code = await rehearsal.run(download_to)
    finally:
        if not keep:
            await _tidy(rehearsal, output, place, made=made, existed=existed)
    _say_what_is_next(output, place, keep=keep, local=place.is_local, own=source is not None)
    return code


def _folder() -> str:
    return tempfile.mkdtemp(prefix="asyncstore-demo-")


def _empty_folder(path: str) -> None:
    """Make the folder, or make sure that nothing is in it."""
    os.makedirs(path, exist_ok=True)
    if os.listdir(path):
        raise AlreadyExistsError("the folder is not empty", op="write", url=path)


async def _tidy(
    rehearsal: Rehearsal, output: Output, place: Place, *, made: str | None, existed: bool
) -> None:
    """Remove what was made, also when interrupted; what else is there stays."""
    failed = sys.exc_info()[0] is not None
    try:
        async with asyncio.timeout(_TIDY):
            await rehearsal.remove()
        if made is not None:
            await asyncio.to_thread(shutil.rmtree, made)
        elif place.is_local and not existed and rehearsal.made:
            # Only the folders that are empty now.
            with contextlib.suppress(OSError):
                os.rmdir(place.local_path)
    except (StoreError, BaseExceptionGroup, TimeoutError, OSError) as error:
        output.warning(
            f"could not remove everything at {place.url()}: {error}",
            {"type": "left", "url": place.url(), "why": str(error)},
        )
        return
    if rehearsal.made and not failed:
        output.remark(
            f"removed   what was written to {place.url()}; --keep would leave it",
            {"type": "removed", "url": place.url()},
        )


def _say_what_is_next(output: Output, place: Place, *, keep: bool, local: bool, own: bool) -> None:
    if output.as_json:
        return
    tries = []
    if keep:
        tries.append((f"asyncstore ls -r {place.url()}", "what was written"))
    if not own:
        tries.append(
            ("asyncstore demo --source FOLDER --download-to COPY", "the same with your own files")
        )
    if local:
        tries.append(("asyncstore demo s3://BUCKET/demo", "the same on S3, or gs://BUCKET/demo"))
    tries.append(("asyncstore --help", "what else there is"))
    for number, (line, what) in enumerate(tries):
        output.remark(f"{'' if number else 'next':8}  {line:52}  # {what}", {})
