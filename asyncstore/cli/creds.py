"""`asyncstore creds`: the credentials of an organisation's own bucket, kept at its hub."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from asyncstore.cli.asking import secret_option
from asyncstore.cli.command import command
from asyncstore.cli.group import group
from asyncstore.cli.options import Options, hub_options
from asyncstore.cli.reach import hub_api
from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncstore.cli.output import Output
    from asyncstore.credentials import Secret
    from asyncstore.providers.hub.api import Managed

_FLAGS = (
    ("--access-key", "access_key", "ID", "An S3 key pair's public half; its secret is asked for."),
    (
        "--role-arn",
        "role_arn",
        "ARN",
        "The role that the hub takes on, for a data set at a time.",
    ),
    ("--external-id", "external_id", "TEXT", "What the role's owner wants to hear."),
    ("--region", "region", "NAME", "The bucket's region."),
    ("--endpoint-url", "endpoint_url", "URL", "The service's address, if it is not Amazon's."),
    ("--sts-endpoint-url", "sts_endpoint_url", "URL", "Where it hands out short-lived keys."),
    ("--impersonate", "impersonate", "EMAIL", "A Google service account to act as."),
)


def _flags(function: Any) -> Any:
    for flag, name, metavar, text in reversed(_FLAGS):
        function = click.option(flag, name, metavar=metavar, help=text)(function)
    return function


@command(
    "add",
    examples=[
        (
            "asyncstore creds add acme main --from key.json",
            "of Google, from a service account's key file",
        ),
        (
            (
                "asyncstore creds add acme lake --access-key AKIAEXAMPLE --role-arn $ROLE "
                "--secret-stdin < secret.txt"
            ),
            "of Amazon, to be lent through a role",
        ),
    ],
)
@click.argument("organization", metavar="ORG")
@click.argument("name", metavar="NAME")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="A JSON file: a Google service account's key, or all of it under the names of the "
    "options here with '_'; - is standard input.",
)
@_flags
@click.option(
    "--allow-static",
    is_flag=True,
    help="Let the hub lend the key pair itself where there is no role: it reaches all that the "
    "pair does, and does not end.",
)
@secret_option("--secret-stdin", "secret_key", "Secret key", needed_with="access_key")
@hub_options
async def add(
    options: Options,
    output: Output,
    organization: str,
    name: str,
    *,
    source: str | None,
    allow_static: bool,
    secret_key: Secret | None,
    **flags: str | None,
) -> None:
    """Store the credentials of an organisation's bucket at its hub, under a name.

    Members then open the data sets that are connected by it, and get credentials that reach one
    data set and end. The secret key is asked for without echo; it is never an argument.
    """
    managed = _document(source) if source is not None else {}
    managed |= {flag: text for flag, text in flags.items() if text is not None}
    if secret_key is not None:
        managed["secret_key"] = secret_key.reveal()
    if allow_static:
        managed["allow_static"] = True
    if not managed:
        raise click.UsageError("give --from FILE, or --access-key and what goes with it")
    managed.setdefault("kind", "gcs" if "service_account" in managed else "aws")
    async with hub_api(options) as api:
        made = await api.set_credentials(organization, name, managed)
    _row(output, made)


@command("list", examples=[("asyncstore creds list acme", "what is stored, without secrets")])
@click.argument("organization", metavar="ORG")
@hub_options
async def list_creds(options: Options, output: Output, organization: str) -> None:
    """List an organisation's stored credentials."""
    async with hub_api(options) as api:
        found = await api.credentials(organization)
    for one in found:
        _row(output, one)


@command("remove", examples=[("asyncstore creds remove acme unused", "forget credentials")])
@click.argument("organization", metavar="ORG")
@click.argument("name", metavar="NAME")
@hub_options
async def remove(options: Options, output: Output, organization: str, name: str) -> None:
    """Delete stored credentials that no data set is connected through."""
    async with hub_api(options) as api:
        await api.remove_credentials(organization, name)
    output.result(
        f"removed {name}", {"type": "removed", "organization": organization, "name": name}
    )


def _row(output: Output, one: Managed) -> None:
    output.result(
        f"{one.kind:4}  {one.identity or '-':24}  {one.name}"
        + ("  (lent as it is)" if one.allow_static else ""),
        {"type": "credentials", **asdict(one)},
    )


def _document(path: str) -> dict[str, Any]:
    """Read a JSON file of credentials; its content is in no error."""
    try:
        if path == "-":
            found = json.load(sys.stdin)
        else:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
    except OSError as error:
        raise ConfigurationError(f"--from {path}: {error.strerror}") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"--from {path}: it holds no JSON object")
    if "type" in found:  # as Google writes it
        return {"kind": "gcs", "service_account": found}
    return found


creds = group("creds", "Credentials of an organisation's own bucket.", add, list_creds, remove)
