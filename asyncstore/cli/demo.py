"""`asyncstore demo`: a data set written, listed, read back and verified, on any path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

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
        ("asyncstore demo", "on a hub of its own, on this machine: no account, no cloud"),
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

    PATH is where: an absent or empty folder of any service. Without one it is a data set of a hub
    that serves for as long as the demo runs, from a new folder under the system's temporary one.
    What was made is removed at the end, also on Ctrl-C, unless
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
    work = local_files(source, output) if source else generated(chunks, seed)
    async with AsyncExitStack() as stack:
        text, access = path or "", dict[str, Any]()
        if made is not None:
            if not keep:
                stack.push_async_callback(_remove, output, made)
            text, access = await _on_a_hub(stack, output, made)
        place = Place.parse(text)
        existed = place.is_local_folder and made is None
        rehearsal = Rehearsal(options, output, place, work, workers=workers, access=access)
        try:
            code = await rehearsal.run(download_to)
        finally:
            if not keep:
                await _tidy(rehearsal, output, place, existed=existed)
    _say_what_is_next(output, place, keep=keep, made=made, own=source is not None)
    return code


async def _remove(output: Output, folder: str) -> None:
    """Remove the demo's own folder, also when interrupted."""
    try:
        await asyncio.to_thread(shutil.rmtree, folder)
    except FileNotFoundError:
        return  # without a hub it was the data set's own folder, and went with it
    except OSError as error:
        output.warning(
            f"could not remove everything in {folder}: {error}",
            {"type": "left", "url": folder, "why": str(error)},
        )


async def _on_a_hub(
    stack: AsyncExitStack, output: Output, folder: str
) -> tuple[str, dict[str, Any]]:
    """Serve a hub from a folder; return where the data set goes, and how it is reached.

    Without the packages that a hub needs, the folder itself takes the data set.
    """
    try:
        from asyncstore.cli.embedded import PERSON, embedded_hub  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "asyncstore":
            raise
        output.remark(
            "no hub    as its packages are missing: pip install 'asyncstore[hub-server]'",
            {"type": "no hub", "missing": error.name},
        )
        return folder, {}
    url, token = await stack.enter_async_context(embedded_hub(folder))
    output.remark(f"hub       {url}, in {folder}", {"type": "hub", "url": url, "folder": folder})
    output.remark(
        f"signed in as {PERSON}, its first administrator, with a token of 12 hours",
        {"type": "token", "username": PERSON},
    )
    return f"hub://{PERSON}/chunks", {"hub_url": url, "token": token}


def _folder() -> str:
    return tempfile.mkdtemp(prefix="asyncstore-demo-")


def _empty_folder(path: str) -> None:
    """Make the folder, or make sure that nothing is in it."""
    os.makedirs(path, exist_ok=True)
    if os.listdir(path):
        raise AlreadyExistsError("the folder is not empty", op="write", url=path)


async def _tidy(rehearsal: Rehearsal, output: Output, place: Place, *, existed: bool) -> None:
    """Remove what was made, also when interrupted; what else is there stays."""
    failed = sys.exc_info()[0] is not None
    try:
        async with asyncio.timeout(_TIDY):
            await rehearsal.remove()
        if place.is_local and not existed and rehearsal.made:
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


def _say_what_is_next(
    output: Output, place: Place, *, keep: bool, made: str | None, own: bool
) -> None:
    if output.as_json:
        return
    tries = []
    if keep and made is not None and not place.is_local:
        tries.append((f"asyncstore hub serve --data {made}/hub", "the hub again, in a shell"))
        tries.append(
            (f"asyncstore login --password-stdin demo < {made}/password.txt", "in another one")
        )
    elif keep:
        tries.append((f"asyncstore ls -r {place.url()}", "what was written"))
    if not own:
        tries.append(
            ("asyncstore demo --source FOLDER --download-to COPY", "the same with your own files")
        )
    if made is not None or place.is_local:
        tries.append(("asyncstore demo s3://BUCKET/demo", "the same on S3, or gs://BUCKET/demo"))
    tries.append(("asyncstore --help", "what else there is"))
    for number, (line, what) in enumerate(tries):
        output.remark(f"{'' if number else 'next':8}  {line:52}  # {what}", {})
