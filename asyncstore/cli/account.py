"""`asyncstore register`, `login`, `logout` and `whoami`: who one is at a hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from asyncstore.cli import text
from asyncstore.cli.asking import secret_option
from asyncstore.cli.command import command, read_by
from asyncstore.cli.options import Options, hub_options
from asyncstore.cli.reach import hub_api

if TYPE_CHECKING:
    from asyncstore.cli.output import Output
    from asyncstore.credentials import Secret


@command(
    "register",
    examples=[
        (
            "asyncstore register --password-stdin bob bob@example.org < password.txt",
            "an account, and an organisation of the same name",
        ),
    ],
)
@click.argument("username", metavar="NAME")
@click.argument("email", metavar="EMAIL")
@secret_option("--password-stdin", "password", "Password", again=True)
@hub_options
async def register(
    options: Options, output: Output, username: str, email: str, *, password: Secret
) -> None:
    """Make an account at a hub.

    The password is asked for without echo, twice. Sign in afterwards with `asyncstore login`.
    """
    async with hub_api(options, nobody=True) as api:
        name = await api.register(username, email, password)
    output.result(f"registered {name}", {"type": "registered", "username": name})


@command(
    "unregister",
    examples=[
        (
            "asyncstore unregister --password-stdin < password.txt",
            "end one's account, with the organisation of the same name",
        ),
    ],
)
@secret_option("--password-stdin", "password", "Password")
@hub_options
async def unregister(options: Options, output: Output, *, password: Secret) -> None:
    """End one's own account at a hub, and every token and role with it.

    The password is asked for without echo. Data sets are removed or moved to another organisation
    before, and an organisation is left to somebody else who is its administrator.
    """
    from asyncstore.providers.hub import login as kept  # noqa: PLC0415 - help needs no HTTP

    async with hub_api(options) as api:
        me = await api.me()
        await api.delete_user(me.username, password=password)
        hub = api.hub
    found = await asyncio.to_thread(kept.load)
    if found is not None and (found.url, found.username) == (hub.url, me.username):
        await asyncio.to_thread(kept.save, kept.Login(found.url))
    record = {"type": "unregistered", "hub": hub.url, "username": me.username}
    output.result(f"removed {me.username} of {hub.url}", record)


@command(
    "login",
    examples=[
        (
            "asyncstore login --password-stdin ann < password.txt",
            "sign in to the hub that was used last, or to ASYNCSTORE_HUB_URL",
        ),
        (
            "asyncstore login --hub $HUB --password-stdin --expires 12h ann < password.txt",
            "to this one, for half a day",
        ),
    ],
)
@click.argument("username", metavar="NAME")
@secret_option("--password-stdin", "password", "Password")
@click.option(
    "--expires",
    callback=read_by(text.duration),
    metavar="TIME",
    help="How long the login holds: 90m, 12h, 30d; 1000 hours where the hub does not say less.",
)
@hub_options
async def login(
    options: Options, output: Output, username: str, *, password: Secret, expires: float | None
) -> None:
    """Sign in to a hub, and keep the login and the hub's address for later commands.

    The password is asked for without echo. What is kept is a token that ends, in a file that its
    owner alone can read.
    """
    from asyncstore.providers.hub import login as kept  # noqa: PLC0415 - help needs no HTTP

    async with hub_api(options, nobody=True) as api:
        session = await api.login(username, password, expires_in=expires)
        url = api.hub.url
    made = kept.Login(url, session.token, session.username, session.expires_at)
    await asyncio.to_thread(kept.save, made)
    output.result(
        f"signed in to {url} as {session.username} until {session.expires_at}",
        {
            "type": "login",
            "hub": url,
            "username": session.username,
            "expires_at": session.expires_at,
        },
    )


@command("logout", examples=[("asyncstore logout", "end the login, here and at the hub")])
@hub_options
async def logout(options: Options, output: Output) -> None:
    """End the login that is kept here, and its token at the hub.

    The hub's address is kept. Where the hub cannot be reached, the login is forgotten here, and
    the token holds until its end.
    """
    from asyncstore.errors import TransientError, UnauthenticatedError  # noqa: PLC0415
    from asyncstore.providers.hub import login as kept  # noqa: PLC0415 - help needs no HTTP

    found = await asyncio.to_thread(kept.load)
    if found is None or found.token is None:
        output.result("nobody is signed in", {"type": "logout", "username": None})
        return
    revoked = True
    try:
        async with hub_api(options, hub=kept.Hub(found.url, found.token, "the login file")) as api:
            await api.logout()
    except UnauthenticatedError:
        pass  # it had ended already
    except TransientError as error:
        revoked = False
        output.warning(
            f"the token could not be ended at the hub, and holds until {found.expires_at}: {error}",
            {"type": "not revoked", "why": str(error), "expires_at": found.expires_at},
        )
    await asyncio.to_thread(kept.save, kept.Login(found.url))
    output.result(
        f"signed out {found.username} of {found.url}",
        {"type": "logout", "hub": found.url, "username": found.username, "revoked": revoked},
    )


@command("whoami", examples=[("asyncstore whoami", "who one is, where, and until when")])
@hub_options
async def whoami(options: Options, output: Output) -> None:
    """Say which hub is used, as whom, and by what token."""
    async with hub_api(options) as api:
        hub = api.hub
        me = await api.me() if hub.token is not None else None
    if me is None:
        output.result(f"nobody at {hub.url}", {"type": "whoami", "hub": hub.url, "username": None})
        return
    token = me.token
    roles = [{"name": one.name, "role": one.role} for one in me.organizations]
    lines = [
        ("user", me.username + (" (administrator)" if me.administrator else "")),
        ("email", me.email or "-"),
        ("hub", hub.url),
        ("token", f"from {hub.source}, until {(token and token.expires_at) or 'unknown'}"),
        ("member of", ", ".join(f"{one['name']} ({one['role']})" for one in roles) or "-"),
    ]
    output.result(
        "\n".join(f"{name:10}  {said}" for name, said in lines),
        {
            "type": "whoami",
            "hub": hub.url,
            "username": me.username,
            "email": me.email,
            "administrator": me.administrator,
            "organizations": roles,
            "source": hub.source,
            "token": token and {"id": token.id, "expires_at": token.expires_at},
        },
    )
