"""The options that every command shares, written before the command or behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass
class Connection:
    """How to reach a store: what `--endpoint-url`, `--creds` and their like said."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    anon: bool = False
    creds: str | None = None
    allow_http: bool = False
    ca_bundle: str | None = None
    hub_url: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether any of it was said."""
        return self != type(self)()

    def settings(self, scheme: str) -> dict[str, Any]:
        """Return it as `open_store`'s keywords for a store of `scheme`.

        Raises:
            click.UsageError: two identities at once.
            ConfigurationError: `--creds` names no readable file of credentials.
        """
        if scheme in ("file", "mem"):
            return {}
        given: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "ca_bundle": self.ca_bundle,
            "creds": self._creds(scheme),
            "hub_url": self.hub_url if scheme == "hub" else None,
        }
        if self.allow_http:
            given["allow_http"] = True
        return {name: value for name, value in given.items() if value is not None}

    def _creds(self, scheme: str) -> Any:
        if (self.profile is not None) + self.anon + (self.creds is not None) > 1:
            raise click.UsageError("--profile, --anon and --creds are three identities: give one")
        if self.anon:
            return "anon"
        if self.profile is not None:
            return {"profile_name": self.profile}
        if self.creds is None:
            return None
        if self.creds.lower() in ("env", "anon"):
            return "ENV" if self.creds.lower() == "env" else "anon"
        if scheme == "gcs":
            return self.creds
        return _read_creds(self.creds)


@dataclass
class Options:
    """What the shared options said."""

    connection: Connection = field(default_factory=Connection)
    source: Connection = field(default_factory=Connection)
    as_json: bool = False
    quiet: bool = False
    debug: bool = False


def _read_creds(path: str) -> Any:
    """Read a JSON file of credentials; its content is in no error."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise ConfigurationError(f"--creds {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(
            f"--creds {path}: not JSON; write a file with the keys aws_access_key_id and "
            "aws_secret_access_key"
        ) from None


def _keep(target: str, name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        del parameter
        options = ctx.ensure_object(Options)
        if value not in (None, False):
            setattr(getattr(options, target) if target else options, name, value)

    return keep


def _option(*names: str, to: str, target: str = "", **attrs: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_keep(target, to), **attrs)


_CONNECTION: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "--endpoint-url",
        "endpoint_url",
        {"metavar": "URL", "help": "The service's address, in place of its usual one."},
    ),
    ("--region", "region", {"metavar": "NAME", "help": "The service's region."}),
    (
        "--profile",
        "profile",
        {"metavar": "NAME", "help": "A profile that `aws configure` made."},
    ),
    (
        "--anon",
        "anon",
        {"is_flag": True, "help": "Send no credentials: public data."},
    ),
    (
        "--creds",
        "creds",
        {
            "metavar": "FILE|WORD",
            "help": "A JSON file of credentials, or a word: env, anon; on Google Cloud also "
            "google_default, browser, cache.",
        },
    ),
    (
        "--allow-http",
        "allow_http",
        {"is_flag": True, "help": "Let credentials travel unencrypted to another machine."},
    ),
    (
        "--ca-bundle",
        "ca_bundle",
        {
            "metavar": "FILE",
            "type": click.Path(exists=True, dir_okay=False),
            "help": "Certificate authorities to trust, in place of the system's.",
        },
    ),
    (
        "--hub",
        "hub_url",
        {"metavar": "URL", "help": "The hub's address, in place of the one signed in to."},
    ),
)
_OF_HUBS = ("allow_http", "ca_bundle", "hub_url")


def output_options(command: F) -> F:
    """Add `--json`, `--quiet` and `--debug`."""
    for add in (
        _option("--debug", to="debug", is_flag=True, help="Print a traceback with each error."),
        _option("--quiet", "-q", to="quiet", is_flag=True, help="Results and errors only."),
        _option("--json", to="as_json", is_flag=True, help="One JSON object per line."),
    ):
        command = add(command)
    return command


def connection_options(command: F) -> F:
    """Add the options that say how to reach a store."""
    for name, to, attrs in reversed(_CONNECTION):
        command = _option(name, to=to, target="connection", **attrs)(command)
    return command


def hub_options(command: F) -> F:
    """Add the options that say how to reach a hub."""
    for name, to, attrs in reversed(_CONNECTION):
        if to in _OF_HUBS:
            command = _option(name, to=to, target="connection", **attrs)(command)
    return command


def source_options(command: F) -> F:
    """Add `--source-…` for each option that says how to reach a store, for the side read from."""
    for name, to, attrs in reversed(_CONNECTION):
        text = f"As {name}, for SOURCE."
        add = _option(f"--source-{name[2:]}", to=to, target="source", **(attrs | {"help": text}))
        command = add(command)
    return command


_KNOWN = {item.name for item in fields(Connection)}
assert {to for _, to, _ in _CONNECTION} == _KNOWN  # noqa: S101 - a slip here would drop an option
