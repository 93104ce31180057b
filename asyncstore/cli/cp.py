"""`asyncstore cp` and `asyncstore mv`: objects, files and folders from anywhere to anywhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli import exits
from asyncstore.cli.asked import Asked
from asyncstore.cli.batch import AT_ONCE, each
from asyncstore.cli.cat import pour
from asyncstore.cli.command import command
from asyncstore.cli.folders import DRY_RUN, WORKERS, check_unused, choices
from asyncstore.cli.options import Options, connection_options, source_options
from asyncstore.cli.pipes import Pipes
from asyncstore.cli.places import Place, Stores
from asyncstore.cli.single import Single
from asyncstore.cli.trees import carry_trees
from asyncstore.errors import InvalidPathError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncstore.cli.output import Output, Progress

STANDARD = "-"


def copy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `cp` and `mv` share."""
    for add in (
        source_options,
        connection_options,
        WORKERS,
        choices,
        DRY_RUN,
        click.option(
            "--if-absent",
            "--no-clobber",
            is_flag=True,
            help="Create only: what is there already is left, and is an error.",
        ),
        click.option("-r", "--recursive", is_flag=True, help="Folders, with everything below."),
        click.argument("paths", metavar="SOURCE... TARGET", nargs=-1, required=True),
    ):
        function = add(function)
    return function


@command(
    "cp",
    examples=[
        ("asyncstore cp notes.txt s3://bucket/notes.txt", "upload a file"),
        ("asyncstore cp s3://bucket/notes.txt .", "download an object into this folder"),
        ("asyncstore cp a.log b.log s3://bucket/logs/", "several, into a folder"),
        ("asyncstore cp -r s3://bucket/photos gs://bucket/photos", "a folder to another service"),
        ("echo hello | asyncstore cp - s3://bucket/hello.txt", "from standard input"),
        ("asyncstore cp --if-absent notes.txt s3://bucket/new.txt", "never replace anything"),
    ],
)
@copy_options
async def cp(options: Options, output: Output, paths: Sequence[str], **how: Any) -> int:
    """Copy objects, files and folders, between any two places.

    TARGET is a folder where it ends in / or is a bucket or an existing local folder, or where
    there are several sources; each source then keeps its name. With -r, TARGET comes to hold
    what one SOURCE folder holds. - is standard input or output.

    Every object is verified; failures are listed and the others go on (exit code 1). Nothing is
    ever half-written at its final name. Local links and special files are skipped, and said.
    With -r, how much there is to do is said on standard error before it is done. What is there
    already, and verified, is not copied again: after whatever stopped it, run it again; it goes
    on, also within large files. Nothing is deleted; see sync for that.

    Between two services, the plain options are TARGET's and the --source-… options SOURCE's;
    within one service the plain options serve both, unless a --source-… option is given.
    """
    return await _run(options, output, paths, move=False, **how)


@command(
    "mv",
    examples=[
        ("asyncstore mv s3://bucket/a.txt s3://bucket/b.txt", "rename an object"),
        ("asyncstore mv -r photos s3://bucket/photos", "move a local folder to a bucket"),
        (
            "asyncstore mv -r --dry-run s3://bucket/photos gs://bucket/photos",
            "show what would be done",
        ),
    ],
)
@copy_options
async def mv(options: Options, output: Output, paths: Sequence[str], **how: Any) -> int:
    """Move objects, files and folders: copy, verify, and only then delete the source.

    On one disk each file is renamed, and within one bucket it is copied by the service. Else the
    target's content is compared with the source's before that is deleted: by checksums that the
    service tells, or by reading it back. A source that changed meanwhile is kept.

    With -r, the sources are deleted at the end, when all the targets are on the disk: those that
    arrived, while the others are listed (exit code 1). After whatever stopped it, run it again;
    it goes on, also within large files. The plan, paths and options are as for cp.
    """
    return await _run(options, output, paths, move=True, **how)


def _check_names(sources: Sequence[str], *, recursive: bool) -> None:
    """Refuse sources of one name, of which the second would replace the first."""
    names = [Place.parse(source, follow=False).name for source in sources]
    twice = {name for name in names if names.count(name) > 1}
    if twice and not recursive:
        raise InvalidPathError(f"several sources are named {min(twice)}: one would replace another")


async def _run(
    options: Options,
    output: Output,
    paths: Sequence[str],
    *,
    move: bool,
    recursive: bool,
    if_absent: bool,
    workers: int | None,
    dry_run: bool,
    **chosen: Any,
) -> int:
    if len(paths) < 2:  # noqa: PLR2004
        raise click.UsageError("write SOURCE and TARGET")
    asked = Asked(
        output=output,
        move=move,
        if_absent=if_absent,
        dry_run=dry_run,
        width=workers,
        choices=chosen,
    )
    if not recursive:
        check_unused(chosen)
    if STANDARD in paths:
        return await _standard(options, asked, paths)
    *sources, last = paths
    target = Place.parse(last)
    _check_names(sources, recursive=recursive)
    places = [Place.parse(source, follow=recursive or not move) for source in sources]
    if recursive:
        return await carry_trees(options, asked, places, target)
    return await _objects(options, asked, places, target)


async def _objects(options: Options, asked: Asked, sources: Sequence[Place], target: Place) -> int:
    """Carry objects; into a folder, where there are several."""
    for source in sources:
        if source.is_folder or source.is_local_folder:
            raise InvalidPathError(f"{source.text} is a folder; add -r to copy it")
    began = time.monotonic()
    several = len(sources) > 1
    into = several or target.is_folder or target.is_local_folder
    # A copy can be made again: one flush at the end holds as much as one for each file. A move
    # deletes the source, so that its target must be on the disk before.
    local = {"durability": "deferred"} if several and not asked.move else {}
    async with Stores(options, local=local) as stores:
        with asked.output.progress(asked.done) as progress:
            single = Single(stores, options, asked, progress)

            async def do(source: Place) -> None:
                await single.do(source, target.join(source.name) if into else target)

            if not several:
                await do(sources[0])
                return exits.OK
            failed = await each(
                sources, do, failed=asked.output.error, workers=asked.width or AT_ONCE
            )
    single.tally.failed = failed
    if not asked.dry_run:
        single.tally.say(asked, time.monotonic() - began)
    return exits.FAILED if failed else exits.OK


async def _standard(options: Options, asked: Asked, paths: Sequence[str]) -> int:
    if len(paths) != 2 or asked.move or asked.dry_run:  # noqa: PLR2004
        raise click.UsageError("- is standard input or output of one `cp SOURCE TARGET`")
    source, target = paths
    pipes = Pipes()
    async with Stores(options) as stores:
        if source == target:
            raise click.UsageError("- cannot be SOURCE and TARGET at once")
        if target == STANDARD:
            place = Place.parse(source)
            await pour(await stores.at(place, source=options.source.is_given), place, pipes)
            return exits.OK
        place = Place.parse(target)
        if place.is_local_folder:
            raise InvalidPathError(f"{place.text} is a folder; write the path of an object")
        with asked.output.progress(asked.done) as progress:
            store = await stores.at(place)
            meta = await store.put_stream(
                place.one(), _shown(pipes.read(), progress), if_absent=asked.if_absent
            )
        asked.say(STANDARD, place.url(), meta)
    return exits.OK


async def _shown(pieces: AsyncIterator[bytes], progress: Progress) -> AsyncIterator[bytes]:
    async for piece in pieces:
        progress.advance(len(piece))
        yield piece
