"""`asyncstore cp` and `asyncstore mv`: objects, files and folders from anywhere to anywhere."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli import exits
from asyncstore.cli.batch import WORKERS, each
from asyncstore.cli.cat import pour
from asyncstore.cli.command import command
from asyncstore.cli.copying import copy_object, unchanged
from asyncstore.cli.options import Options, connection_options, source_options
from asyncstore.cli.pipes import Pipes
from asyncstore.cli.places import Place, Stores, sides
from asyncstore.cli.text import count, human
from asyncstore.cli.tree import scan
from asyncstore.cli.trees import copy_trees
from asyncstore.errors import (
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncstore.cli.output import Output, Progress
    from asyncstore.store import Store
    from asyncstore.types import ObjectMeta

STANDARD = "-"


def copy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `cp` and `mv` share."""
    for add in (
        source_options,
        connection_options,
        click.option(
            "--workers",
            type=click.IntRange(1, 1024),
            help="Most objects under way at once; by default cp -r finds by itself what pays.",
        ),
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
    With -r, what is there already, and verified, is not copied again: after whatever stopped it,
    run it again. Nothing is deleted; see sync for that.

    Between two services, the plain options are TARGET's and the --source-… options SOURCE's;
    within one service the plain options serve both, unless a --source-… option is given.
    """
    return await _run(options, output, paths, move=False, **how)


@command(
    "mv",
    examples=[
        ("asyncstore mv s3://bucket/a.txt s3://bucket/b.txt", "rename an object"),
        ("asyncstore mv -r photos s3://bucket/photos", "move a local folder to a bucket"),
    ],
)
@copy_options
async def mv(options: Options, output: Output, paths: Sequence[str], **how: Any) -> int:
    """Move objects, files and folders: copy, verify, and only then delete the source.

    On one disk a file is renamed. Between two stores, the target is read back and its SHA-256
    compared before the source is deleted. A source that changed meanwhile is kept. Paths and
    options are as for `cp`.
    """
    return await _run(options, output, paths, move=True, **how)


def _check_names(sources: Sequence[str], *, recursive: bool) -> None:
    """Refuse sources of one name, of which the second would replace the first."""
    names = [Place.parse(source, follow=False).name for source in sources]
    twice = {name for name in names if names.count(name) > 1}
    if twice and not recursive:
        raise InvalidPathError(f"several sources are named {min(twice)}: one would replace another")


@dataclass(frozen=True, slots=True)
class Job:
    """One object to copy; `size` in bytes, where it is known already."""

    source: Place
    target: Place
    size: int | None = None


async def _run(
    options: Options,
    output: Output,
    paths: Sequence[str],
    *,
    move: bool,
    recursive: bool,
    if_absent: bool,
    workers: int | None,
) -> int:
    if len(paths) < 2:  # noqa: PLR2004
        raise click.UsageError("write SOURCE and TARGET")
    *sources, last = paths
    if STANDARD in paths:
        return await _standard(options, output, paths, if_absent=if_absent, plain=not move)
    target = Place.parse(last)
    _check_names(sources, recursive=recursive)
    places = [Place.parse(source, follow=not move) for source in sources]
    if recursive and not move:
        return await copy_trees(options, output, places, target, if_absent=if_absent, width=workers)
    began = time.monotonic()
    # A copy can be made again: one flush at the end holds as much as one for each file. A move
    # deletes the source, so that its target must be on the disk before.
    several = recursive or len(sources) > 1
    local = {"durability": "deferred"} if several and not move else {}
    async with Stores(options, local=local) as stores:
        with output.progress("moved" if move else "copied") as progress:
            copier = _Copier(stores, options, output, progress, move=move, if_absent=if_absent)
            planner = Planner(stores, options, output, target, recursive=recursive, move=move)
            jobs = planner.jobs(places)
            if len(sources) == 1 and not recursive:
                async for job in jobs:
                    await copier.do(job)
                return exits.OK
            workers = workers or WORKERS
            failures = await each(jobs, copier.do, failed=output.error, workers=workers)
    failures += planner.refused
    verb = "moved" if move else "copied"
    seconds = time.monotonic() - began
    output.remark(
        f"{verb} {count(copier.done, 'object')}, {human(copier.bytes)}, in {seconds:.1f} s"
        + (f"; {failures} failed" if failures else ""),
        {"type": verb, "objects": copier.done, "bytes": copier.bytes, "failed": failures},
    )
    return exits.FAILED if failures else exits.OK


class Planner:
    """Says which object goes where.

    Attributes:
        refused: how many local files cannot be copied; each was reported.
    """

    def __init__(
        self,
        stores: Stores,
        options: Options,
        output: Output,
        target: Place,
        *,
        recursive: bool,
        move: bool,
    ) -> None:
        self._stores = stores
        self._options = options
        self._output = output
        self._target = target
        self._recursive = recursive
        self._move = move
        self.refused = 0

    async def jobs(self, sources: Sequence[Place]) -> AsyncIterator[Job]:
        """Yield what to copy, source by source."""
        into = len(sources) > 1 or (
            not self._recursive and (self._target.is_folder or self._target.is_local_folder)
        )
        for source in sources:
            target = self._target.join(source.name) if into else self._target
            if not self._recursive:
                if source.is_folder or source.is_local_folder:
                    raise InvalidPathError(f"{source.text} is a folder; add -r to copy it")
                yield Job(source, target)
                continue
            self._check_apart(source, target)
            if source.is_local:
                async for job in self._local(source, target):
                    yield job
            else:
                async for job in self._remote(source, target):
                    yield job

    def _check_apart(self, source: Place, target: Place) -> None:
        """Refuse to copy a folder into itself, which would never end."""
        if source.root.scheme != target.root.scheme or sides(self._options, source, target):
            return
        inner, outer = f"{target.url()}/", f"{source.url()}/"
        if inner.startswith(outer):
            raise InvalidPathError(f"{target.text} lies in {source.text}, which is to be copied")

    async def _local(self, source: Place, target: Place) -> AsyncIterator[Job]:
        if not source.is_local_folder:
            if not source.is_local_entry:
                raise NotFoundError("no such file or folder", op="list", url=source.url())
            yield Job(source, self._file_target(source, target))
            return
        tree = scan(source.local_path)
        for path, kind in tree.skipped:
            self._skip(path, kind)
        for error in tree.refused:
            self._output.error(error)
        self.refused += len(tree.refused)
        for file in tree.files:
            yield Job(source.join(file.key), target.join(file.key), file.size)

    async def _remote(self, source: Place, target: Place) -> AsyncIterator[Job]:
        store = await self._stores.at(source, source=sides(self._options, source, target))
        found = False
        async for meta in store.list(source.folder):
            found = True
            below = meta.key[len(source.folder) :]
            if meta.size == 0 and (not below or below.endswith("/")):
                self._skip(source.url(meta.key), "folder marker")
                continue
            yield Job(source.join(below), target.join(below), meta.size)
        if not found:
            if source.is_folder or not await store.exists(source.key):
                raise NotFoundError("no such object or folder", op="list", url=source.url())
            yield Job(source, self._file_target(source, target))

    def _skip(self, path: str, kind: str) -> None:
        record = {"type": "skipped", "path": path, "kind": kind}
        self._output.warning(f"skipped {path}: a {kind}", record)

    def _file_target(self, source: Place, target: Place) -> Place:
        is_folder = target.is_folder or target.is_local_folder
        return target.join(source.name) if is_folder else target


class _Copier:
    def __init__(
        self,
        stores: Stores,
        options: Options,
        output: Output,
        progress: Progress,
        *,
        move: bool,
        if_absent: bool,
    ) -> None:
        self._stores = stores
        self._options = options
        self._output = output
        self._progress = progress
        self._move = move
        self._if_absent = if_absent
        self.done = 0
        self.bytes = 0

    async def do(self, job: Job) -> None:
        """Copy or move one object, and say so."""
        try:
            await self._do(job)
        except StoreError as error:
            error.at("move" if self._move else "copy", job.source.url())
            raise

    async def _do(self, job: Job) -> None:
        if self._move and await self._renamed(job):
            return
        source, target = await self._both(job)
        if source is target and job.source.key == job.target.key:
            raise InvalidPathError("source and target are the same object").at(
                "copy", job.source.url()
            )
        before, after = await copy_object(
            source,
            job.source.one(),
            target,
            job.target.key,
            if_absent=self._if_absent,
            read_back=self._move,
            progress=self._progress,
        )
        if self._move:
            await unchanged(source, job.source.key, before)
            await source.delete(job.source.key)
        self._say(job, after)

    async def _renamed(self, job: Job) -> bool:
        """Rename a file, where both names are on this machine and the system can."""
        if not (job.source.is_local and job.target.is_local):
            return False
        folder = os.path.commonpath([job.source.root.path, job.target.root.path])
        source, target = job.source.within(folder), job.target.within(folder)
        if source.key == target.key:
            return False
        store = await self._stores.at(source)
        try:
            after = await store.move(source.one(), target.key, if_absent=self._if_absent)
        except (NotSupportedError, InvalidPathError, PermissionDeniedError):
            return False  # such as a folder on the way that may not be listed: copied, it may work
        self._progress.expect(after.size)
        self._progress.advance(after.size)
        self._say(job, after)
        return True

    def _say(self, job: Job, after: ObjectMeta) -> None:
        self.done += 1
        self.bytes += after.size
        self._output.remark(
            f"{job.source.url()} -> {job.target.url()}",
            {
                "type": "moved" if self._move else "copied",
                "source": job.source.url(),
                "target": job.target.url(),
                "size": after.size,
                "etag": after.etag,
            },
        )

    async def _both(self, job: Job) -> tuple[Store, Store]:
        own = sides(self._options, job.source, job.target)
        return await self._stores.at(job.source, source=own), await self._stores.at(job.target)


async def _standard(
    options: Options, output: Output, paths: Sequence[str], *, if_absent: bool, plain: bool
) -> int:
    if len(paths) != 2 or not plain:  # noqa: PLR2004
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
        with output.progress("copied") as progress:
            store = await stores.at(place)
            meta = await store.put_stream(
                place.one(), _shown(pipes.read(), progress), if_absent=if_absent
            )
        output.remark(
            f"- -> {place.url()}",
            {
                "type": "copied",
                "source": STANDARD,
                "target": place.url(),
                "size": meta.size,
                "etag": meta.etag,
            },
        )
    return exits.OK


async def _shown(pieces: AsyncIterator[bytes], progress: Progress) -> AsyncIterator[bytes]:
    async for piece in pieces:
        progress.advance(len(piece))
        yield piece
