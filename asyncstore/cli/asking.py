"""Secrets that a command needs: asked for on the terminal without echo, or read from a pipe.

They are read while the command line is, before an event loop runs, so that Ctrl-C ends the wait.
"""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asyncstore.credentials import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_LONGEST = 1 << 16


def secret_option(
    flag: str, name: str, prompt: str, *, again: bool = False, needed_with: str | None = None
) -> Callable[[F], F]:
    """Add an option under which a secret comes from standard input; without it, ask for one.

    Args:
        flag: such as `"--password-stdin"`.
        name: the parameter that gets the `Secret`.
        prompt: what to ask for.
        again: ask twice, as for a new password.
        needed_with: an option without which the secret is not needed; the parameter is then `None`.
    """

    def read(ctx: click.Context, parameter: click.Parameter, piped: bool) -> Secret | None:  # noqa: FBT001 - click's
        del parameter
        if needed_with is not None and ctx.params.get(needed_with) is None and not piped:
            return None
        return _piped(prompt) if piped else _asked(prompt, flag, again=again)

    return click.option(
        flag,
        name,
        is_flag=True,
        callback=read,
        help=f"Read the {prompt.lower()} from standard input, in place of asking for it.",
    )


def _piped(prompt: str) -> Secret:
    text = sys.stdin.read(_LONGEST + 1).removesuffix("\n").removesuffix("\r")
    if not text or len(text) > _LONGEST:
        raise click.UsageError(f"standard input holds no {prompt.lower()}")
    return Secret(text)


def _asked(prompt: str, flag: str, *, again: bool) -> Secret:
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"there is no terminal to ask for the {prompt.lower()} on; write {flag} and pipe it in"
        )
    text = getpass.getpass(f"{prompt}: ")
    if not text:
        raise click.UsageError(f"no {prompt.lower()} was given")
    if again and getpass.getpass(f"{prompt}, again: ") != text:
        raise click.UsageError("the two are not the same")
    return Secret(text)
