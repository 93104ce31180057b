"""`asyncstore hub`: a hub of one's own."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import click

from asyncstore.cli.asking import secret_option
from asyncstore.cli.command import command
from asyncstore.cli.group import group
from asyncstore.cli.options import Options, hub_options
from asyncstore.cli.reach import hub_api, hub_client
from asyncstore.cli.text import escaped
from asyncstore.errors import InvalidPathError, NotSupportedError
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from asyncstore.cli.output import Output
    from asyncstore.credentials import Secret


_TERMS_MAX = 20_000


@command(
    "remove-user",
    examples=[("asyncstore hub remove-user zoe", "end somebody's account, as the administrator")],
)
@click.argument("username", metavar="NAME")
@hub_options
async def remove_user(options: Options, output: Output, username: str) -> None:
    """Remove somebody from a hub, with every token and role, as its administrator.

    The organisation of the same name goes too; where data sets are in it, nothing is done. One's
    own account ends by `asyncstore unregister`.
    """
    async with hub_api(options) as api:
        await api.delete_user(username)
    record = {"type": "removed", "username": username}
    output.result(f"removed {username}", record)


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


@command(
    "serve",
    examples=[
        ("asyncstore hub serve --data hub", "on this machine, with nothing but that folder"),
        (
            "asyncstore hub serve --data hub --port 0 --database sqlite:///people.sqlite3",
            "at any free port, with its database elsewhere",
        ),
    ],
)
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The folder with its key, database and storage; made where it is absent.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=7777,
    show_default=True,
    help="Where to listen; 0 is any that is free.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="What clients are told to call, where a proxy stands before the hub.",
)
@click.option(
    "--forwarded-from",
    metavar="ADDRESS",
    multiple=True,
    help="Believe this proxy when it says whom it asks for; may be given again.",
)
@click.option(
    "--database",
    metavar="URL",
    envvar="ASYNCSTORE_HUB_DATABASE",
    help="postgresql://user@host/name, or sqlite:///path; by default a file in DIR.",
)
@click.option(
    "--static-credentials",
    is_flag=True,
    help="Let organisations hand out their own key pairs, where no role can be assumed.",
)
@click.option(
    "--private-endpoints",
    is_flag=True,
    help="Let organisations' credentials lead to this machine and into private networks.",
)
@click.option(
    "--closed", is_flag=True, help="Only administrators register people, instead of anybody."
)
@click.option(
    "--credentials-last",
    "credential_lifetime",
    type=click.FloatRange(60, 43_200),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long credentials for a data set hold.",
)
async def serve(  # noqa: PLR0917 - click passes by keyword
    options: Options,
    output: Output,
    data: str,
    host: str,
    port: int,
    public_url: str | None,
    forwarded_from: tuple[str, ...],
    database: str | None,
    *,
    static_credentials: bool,
    private_endpoints: bool,
    closed: bool,
    credential_lifetime: float,
) -> None:
    """Serve a hub until Ctrl-C or SIGTERM.

    It prints its address, and how to make its first administrator while there is none; there is
    no default password. The key that everything is sealed with is made in DIR: keep a copy of it
    apart from the database.
    """
    del options
    try:
        from asyncstore.hub.serving import HubServer  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise NotSupportedError(
            f"a hub needs the extra hub-server ({error.name} is missing); "
            "run: pip install 'asyncstore[hub-server]'"
        ) from None
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with HubServer(
        data,
        host=host,
        port=port,
        public_url=public_url,
        forwarded_from=forwarded_from,
        database=database,
        static_credentials=static_credentials,
        private_endpoints=private_endpoints,
        open_registration=not closed,
        credential_lifetime=credential_lifetime,
    ) as server:
        output.remark(f"serving   {server.url}", {"type": "serving", "url": server.url})
        if server.bootstrap_code is not None:
            line = f"asyncstore hub bootstrap --hub {server.url} --code {server.bootstrap_code}"
            output.result(
                f"The first administrator is made within an hour by:\n  {line} NAME EMAIL",
                {"type": "bootstrap", "url": server.url, "code": server.bootstrap_code},
            )
            sys.stdout.flush()
        await ended.wait()


@command(
    "agree",
    examples=[("asyncstore hub agree hub://acme/photos", "read a data set's terms, and agree")],
)
@click.argument("path", metavar="HUB_PATH")
@click.option("--yes", is_flag=True, help="Agree without being asked.")
@hub_options
async def agree(options: Options, output: Output, path: str, *, yes: bool) -> None:
    """Show the terms of a data set, and agree to them; without them it does not open.

    On a terminal the data set's name is asked for; elsewhere only --yes agrees.
    """
    organization, name = _data_set(path)
    url = f"hub://{organization}/{name}"
    async with hub_client(options) as client:
        texts = await client.terms(organization, name)
        for text in texts:
            shown = "\n".join(map(escaped, text.splitlines()))
            output.result(shown, {"type": "terms", "url": url, "text": text})
        if not texts:
            output.remark(f"{url} asks for nothing", {"type": "no terms", "url": url})
            return
        if not yes:
            await asyncio.to_thread(_ask_for_name, name)
        await client.agree(organization, name)
    output.remark(f"agreed to the terms of {url}", {"type": "agreed", "url": url})


@command(
    "terms",
    examples=[
        (
            "asyncstore hub terms hub://acme/photos < notes.txt",
            "what others have to agree to before the data set opens",
        ),
        ("asyncstore hub terms --none hub://acme/photos", "nothing any more"),
    ],
)
@click.argument("path", metavar="HUB_PATH")
@click.option("--none", "nothing", is_flag=True, help="Ask for nothing any more.")
@hub_options
async def terms(options: Options, output: Output, path: str, *, nothing: bool) -> None:
    """Set the terms of a data set, read from standard input.

    Whoever is no administrator of the organisation has to agree to them before it opens.
    """
    organization, name = _data_set(path)
    text = None if nothing else await asyncio.to_thread(sys.stdin.read, _TERMS_MAX + 1)
    if text is not None and not 0 < len(text.strip()) <= _TERMS_MAX:
        raise click.UsageError(f"terms are a text of at most {_TERMS_MAX:,} characters")
    async with hub_api(options) as api:
        await api.set_terms(organization, name, None if text is None else text.strip())
    what = "has no terms now" if text is None else "has these terms now"
    record = {"type": "terms", "url": f"hub://{organization}/{name}", "set": text is not None}
    output.remark(f"hub://{organization}/{name} {what}", record)


def _data_set(path: str) -> tuple[str, str]:
    url = StoreURL.parse(path)
    if url.scheme != "hub" or not url.path or "/" in url.path:
        raise InvalidPathError(f"{path!r}: write hub://organisation/name")
    return url.bucket, url.path


def _ask_for_name(name: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; --yes agrees")
    sys.stderr.write(f"Type {name} to agree: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise click.UsageError("that is another name; nothing was agreed to")


hub = group(
    "hub",
    "A hub of one's own, and what a hub asks for.",
    serve,
    bootstrap,
    remove_user,
    terms,
    agree,
)
