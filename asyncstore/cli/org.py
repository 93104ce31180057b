"""`asyncstore org`: organisations, and who belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asyncstore.cli.command import command
from asyncstore.cli.group import group
from asyncstore.cli.options import Options, hub_options
from asyncstore.cli.reach import hub_api

if TYPE_CHECKING:
    from asyncstore.cli.output import Output
    from asyncstore.providers.hub.api import Role


@command("create", examples=[("asyncstore org create lab", "an organisation of one's own")])
@click.argument("name", metavar="ORG")
@hub_options
async def create(options: Options, output: Output, name: str) -> None:
    """Make an organisation, and be its administrator."""
    async with hub_api(options) as api:
        made = await api.create_organization(name)
    record = {"type": "organization", "name": made.name, "role": made.role}
    output.result(f"created {made.name}", record)


@command("list", examples=[("asyncstore org list", "where one is a member, and as what")])
@hub_options
async def list_organizations(options: Options, output: Output) -> None:
    """List the organisations that one is a member of."""
    async with hub_api(options) as api:
        found = await api.organizations()
    for one in found:
        record = {"type": "organization", "name": one.name, "role": one.role}
        output.result(f"{one.role:6}  {one.name}", record)


@command("members", examples=[("asyncstore org members acme", "who belongs to it, and as what")])
@click.argument("name", metavar="ORG")
@hub_options
async def members(options: Options, output: Output, name: str) -> None:
    """List an organisation's members."""
    async with hub_api(options) as api:
        found = await api.members(name)
    for one in found:
        record = {"type": "member", "username": one.username, "role": one.role}
        output.result(f"{one.role:6}  {one.username}", record)


@command(
    "add",
    examples=[
        ("asyncstore org add acme eve", "let somebody read"),
        ("asyncstore org add --role write acme eve", "and write, who may be a member already"),
    ],
)
@click.argument("name", metavar="ORG")
@click.argument("username", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(["admin", "write", "read"]),
    default="read",
    show_default=True,
    help="What they may do: everything, read and write, or read.",
)
@hub_options
async def add(options: Options, output: Output, name: str, username: str, *, role: Role) -> None:
    """Make somebody a member of an organisation, or give a member another role."""
    async with hub_api(options) as api:
        made = await api.set_member(name, username, role)
    record = {"type": "member", "username": made.username, "role": made.role}
    output.result(f"{made.username} may {_MAY.get(made.role, made.role)} in {name}", record)


_MAY = {"admin": "do everything", "write": "read and write", "read": "read"}


@command("remove", examples=[("asyncstore org remove acme mallory", "end a membership")])
@click.argument("name", metavar="ORG")
@click.argument("username", metavar="NAME")
@hub_options
async def remove(options: Options, output: Output, name: str, username: str) -> None:
    """End somebody's membership of an organisation; its last administrator stays."""
    async with hub_api(options) as api:
        await api.remove_member(name, username)
    record = {"type": "removed", "organization": name, "username": username}
    output.result(f"{username} is no longer a member of {name}", record)


@command("delete", examples=[("asyncstore org delete old-lab", "where nothing is in it")])
@click.argument("name", metavar="ORG")
@hub_options
async def delete(options: Options, output: Output, name: str) -> None:
    """Delete an organisation that has no data sets."""
    async with hub_api(options) as api:
        await api.delete_organization(name)
    output.result(f"deleted {name}", {"type": "deleted", "organization": name})


org = group(
    "org",
    "Organisations and their members.",
    create,
    list_organizations,
    members,
    add,
    remove,
    delete,
)
