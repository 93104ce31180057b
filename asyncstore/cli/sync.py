"""`asyncstore sync` and `asyncstore verify`: two folders, made or found to be the same."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli import exits
from asyncstore.cli.command import command
from asyncstore.cli.folders import (
    DRY_RUN,
    WORKERS,
    below,
    carry,
    choices,
    is_folder,
    tell_oddities,
)
from asyncstore.cli.options import connection_options, source_options
from asyncstore.cli.places import Place, Stores, sides
from asyncstore.cli.text import count
from asyncstore.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncstore.cli.options import Options
    from asyncstore.cli.output import Output
    from asyncstore.store import Store
    from asyncstore.transfer import Report


def folder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `sync` and `verify` share."""
    for add in (
        source_options,
        connection_options,
        WORKERS,
        choices,
        click.argument("target"),
        click.argument("source"),
    ):
        function = add(function)
    return function


@command(
    "sync",
    examples=[
        ("asyncstore sync photos s3://bucket/photos", "upload what is not there yet"),
        ("asyncstore sync s3://bucket/photos photos --dry-run", "show what would be done"),
        ("asyncstore sync --delete photos s3://bucket/photos", "delete what the source has not"),
        ("asyncstore sync s3://bucket/photos gs://bucket/photos", "from one service to another"),
    ],
)
@folder_options
@DRY_RUN
@click.option("--delete", is_flag=True, help="Delete from TARGET what SOURCE has not, at the end.")
async def sync(
    options: Options,
    output: Output,
    *,
    source: str,
    target: str,
    workers: int | None,
    dry_run: bool,
    **how: Any,
) -> int:
    """Make the folder TARGET hold what the folder SOURCE holds; skip what is there, verified.

    What is there is skipped by checksum, or because an earlier run wrote and verified it and
    nothing has changed since; never by name, size or time alone. How much there is to do is said
    before it is done. Run it again after whatever stopped it: it goes on, also within large
    files. Failures are listed and the others go on (exit code 1); nothing is deleted then.
    """
    async with _opened(options, output, source, target) as (here, there):
        report = await carry(
            output,
            here,
            there,
            "sync",
            planned=lambda plan: output.remark(f"plan: {plan}", {"type": "plan", **plan.as_dict()}),
            dry_run=dry_run,
            width=workers,
            **how,
        )
    if not dry_run:
        return _end(output, report, str(report))
    for verb, key in report.planned:
        if verb != "skip":
            output.result(f"{verb} {key}", {"type": "planned", "verb": verb, "key": key})
    return exits.OK if report.ok else exits.FAILED


@command(
    "verify",
    examples=[
        ("asyncstore verify photos s3://bucket/photos", "compare every byte, change nothing"),
        (
            "asyncstore verify photos gs://bucket/photos --failures-to d.jsonl",
            "write down what differs",
        ),
    ],
)
@folder_options
async def verify(
    options: Options,
    output: Output,
    *,
    source: str,
    target: str,
    workers: int | None,
    **how: Any,
) -> int:
    """Compare the content of the folders SOURCE and TARGET, and change nothing.

    Content is compared by checksums that both sides tell, or else by reading. What is missing on
    either side, or differs, is listed (exit code 1).
    """
    async with _opened(options, output, source, target) as (here, there):
        report = await carry(
            output,
            here,
            there,
            "verify",
            delete=not how["keys_from"],
            verify=True,
            width=workers,
            **how,
        )
    failed = f", {len(report.failures):,} are not" if report.failures else ""
    same = count(report.skipped, "object")
    return _end(output, report, f"{same} the same{failed}, in {report.seconds:.1f} s")


@asynccontextmanager
async def _opened(
    options: Options, output: Output, source: str, target: str
) -> AsyncIterator[tuple[Store, Store]]:
    here, there = Place.parse(source), Place.parse(target)
    if here.is_local_entry and not here.is_local_folder:
        raise NotFoundError("no such folder; cp copies a file").at("sync", here.url())
    if here.is_local and not here.is_local_folder:
        raise NotFoundError("no such folder").at("sync", here.url())
    async with Stores(options) as stores:
        own = sides(options, here, there)
        one, other = await stores.at(here, source=own), await stores.at(there)
        if here.is_local:
            await tell_oddities(output, here)
        elif not here.is_root and not await is_folder(one, here):
            raise NotFoundError("no such folder; cp copies an object").at("sync", here.url())
        yield below(one, here), below(other, there)


def _end(output: Output, report: Report, text: str) -> int:
    for failure in report.failures:
        output.error(failure.error)
    facts = report.as_dict()
    del facts["planned"], facts["plan"]
    facts["failed"] = len(report.failures)
    output.remark(text, {"type": "report", **facts})
    return exits.OK if report.ok else exits.FAILED
