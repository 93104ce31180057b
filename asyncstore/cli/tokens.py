"""`asyncstore tokens`: tokens for programs, each with an end of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from asyncstore.cli import text
from asyncstore.cli.command import command, read_by
from asyncstore.cli.group import group
from asyncstore.cli.options import Options, hub_options
from asyncstore.cli.reach import hub_api

if TYPE_CHECKING:
    from asyncstore.cli.output import Output


@command(
    "create",
    examples=[
        (
            "asyncstore tokens create --expires 30d nightly > token.txt",
            "for a month, into a file",
        ),
        ("asyncstore tokens create --read-only --expires 8h look", "that can only read"),
    ],
)
@click.argument("name", metavar="NAME")
@click.option(
    "--expires",
    callback=read_by(text.duration),
    default="30d",
    show_default=True,
    metavar="TIME",
    help="How long it holds: 90m, 12h, 30d.",
)
@click.option("--read-only", is_flag=True, help="A token that can change nothing.")
@hub_options
async def create(
    options: Options, output: Output, name: str, *, expires: float, read_only: bool
) -> None:
    """Make a token, and print it: this once, for the hub keeps only what it is known again by.

    A program takes it as `token=`, or from ACTIVELOOP_TOKEN.
    """
    async with hub_api(options) as api:
        made = await api.create_token(
            name, expires_in=expires, access="read" if read_only else "write"
        )
    secret = made.token.reveal()
    output.result(
        secret,
        {
            "type": "token",
            "id": made.id,
            "name": made.name,
            "token": secret,
            "access": made.access,
            "expires_at": made.expires_at,
        },
    )


@command("list", examples=[("asyncstore tokens list", "one's tokens, logins included")])
@hub_options
async def list_tokens(options: Options, output: Output) -> None:
    """List one's tokens: identifier, kind, access, end and name."""
    async with hub_api(options) as api:
        found = await api.tokens()
    for one in found:
        output.result(
            f"{one.id}  {one.kind or '-':6}  {one.access or '-':5}  {one.expires_at or '-':20}  "
            f"{one.name or '-'}",
            {"type": "token", **asdict(one)},
        )


@command(
    "revoke",
    examples=[
        (
            "asyncstore tokens revoke $TOKEN_ID",
            "end a token, by what `tokens list` calls it",
        )
    ],
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@hub_options
async def revoke(options: Options, output: Output, ids: tuple[str, ...]) -> None:
    """End tokens at once, by the identifiers that `tokens list` shows."""
    async with hub_api(options) as api:
        for one in ids:
            await api.revoke_token(one)
            output.result(f"revoked {one}", {"type": "revoked", "id": one})


tokens = group("tokens", "Tokens for programs.", create, list_tokens, revoke)
