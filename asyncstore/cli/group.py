"""Commands that belong together, under one word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncstore.cli.command import Command


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        del ctx
        return list(self.commands)


def group(name: str, about: str, *commands: Command) -> Group:
    """Make a group.

    Args:
        name: as typed.
        about: what its commands are for, in a sentence.
        commands: in the order in which the help has them.
    """
    made = Group(name, help=about, short_help=about.rstrip("."))
    for command in commands:
        made.add_command(command)
    return made


def leaves(top: click.Group, words: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words that lead to it."""
    for name, command in top.commands.items():
        path = f"{words} {name}".lstrip()
        if isinstance(command, click.Group):
            yield from leaves(command, path)
        else:
            yield path, command
