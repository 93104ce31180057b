"""The command line's page in the documentation, made from the commands' own help.

`python -m asyncstore.cli.reference docs/reference/cli.md` writes it; a test compares the two.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

import click

from asyncstore.cli import exits
from asyncstore.cli.app import app
from asyncstore.cli.command import Command
from asyncstore.cli.group import leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = """\
<!-- Made by `python -m asyncstore.cli.reference docs/reference/cli.md` from the help. -->

# Command line

```
asyncstore [OPTIONS] COMMAND [ARGS]...
```

{about}

- **Output.** Results go to standard output, errors and progress to standard error. With `--json`
  each line is one JSON object: results with a `type` or the object's own facts, errors as
  `{{"error": {{"type": …, "op": …, "url": …, "message": …, "retryable": …}}}}`. A bar is shown only
  where standard error is a terminal.
- **Names.** On a terminal, control characters in names are escaped. Into a pipe or file names go
  as they are.
- **Errors.** One line each, such as `asyncstore: get s3://bucket/key: …`; `--debug` adds a
  traceback. No credential is ever printed.

## Exit codes

| Code | Meaning |
|---|---|
{codes}

## Options of every command

They may stand before the command or behind it.

{shared}
"""


_ONLY_THERE = {"--version"}


def reference() -> str:
    """Return the page, in Markdown."""
    with click.Context(app, info_name="asyncstore") as ctx:
        own = {name for parameter in app.params for name in parameter.opts}
        parts = [
            _HEAD.format(
                about=inspect.cleandoc(app.help or ""),
                codes="\n".join(
                    f"| {code} | {_cell(text)} |" for code, text in exits.MEANINGS.items()
                ),
                shared="\n".join(_options(app.params, _ONLY_THERE)),
            )
        ]
        for words, command in leaves(app):
            if isinstance(command, Command):
                parts.append("\n".join(_command(words, command, ctx, own)))
    return "\n".join(parts)


def _command(
    words: str, command: Command, parent: click.Context, shared: set[str]
) -> Iterator[str]:
    with click.Context(command, parent=parent, info_name=words) as ctx:
        usage = " ".join(command.collect_usage_pieces(ctx))
        yield f"## {words}\n"
        yield f"```\n{ctx.command_path} {usage}\n```\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        if any(
            isinstance(one, click.Option) and not shared & {*one.opts} for one in command.params
        ):
            yield "\n".join(_options(command.params, shared)) + "\n"
        lines = (f"# {one.what}\n{one.line}" for one in command.examples)
        yield "```sh\n" + "\n".join(lines) + "\n```\n"


def _options(parameters: Iterable[click.Parameter], left_out: set[str]) -> Iterator[str]:
    yield "| Option | Meaning |"
    yield "|---|---|"
    for parameter in parameters:
        if not isinstance(parameter, click.Option) or left_out & {*parameter.opts}:
            continue
        names = ", ".join(f"`{name}`" for name in parameter.opts)
        if not parameter.is_flag:
            names += f" {parameter.metavar or '|'.join(getattr(parameter.type, 'choices', 'N'))}"
        text = parameter.help or ""
        if parameter.show_default and not parameter.is_flag:
            text += f" Default: `{parameter.default}`."
        yield f"| {_cell(names)} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as page:
        page.write(reference())
