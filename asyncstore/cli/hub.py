"""`asyncstore hub`: a hub of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asyncstore.cli.asking import secret_option
from asyncstore.cli.command import command
from asyncstore.cli.group import group
from asyncstore.cli.options import Options, hub_options
from asyncstore.cli.reach import hub_api

if TYPE_CHECKING:
    from asyncstore.cli.output import Output
    from asyncstore.credentials import Secret


@command(
    "bootstrap",
    examples=[
        (
            (
                "asyncstore hub bootstrap --code $CODE --password-stdin root root@example.org "
                "< password.txt"
            ),
            "the first administrator of a hub that was just started",
        )
    ],
)
@click.argument("username", metavar="NAME")
@click.argument("email", metavar="EMAIL")
@click.option(
    "--code", required=True, metavar="CODE", help="What the server printed when it first started."
)
@secret_option("--password-stdin", "password", "Password", again=True)
@hub_options
async def bootstrap(
    options: Options, output: Output, username: str, email: str, *, code: str, password: Secret
) -> None:
    """Make a new hub's first administrator, which can be done once.

    The password is asked for without echo, twice.
    """
    async with hub_api(options, nobody=True) as api:
        name = await api.bootstrap(code, username, email, password)
    record = {"type": "bootstrapped", "username": name}
    output.result(f"{name} is the hub's administrator", record)


hub = group("hub", "A hub of one's own.", bootstrap)
