"""The `asyncstore` command.

A command is a click function in a module of its own (`ls.py`, `cp.py`, …); `app.py` gathers them
and turns whatever ends a command into one line on stderr and an exit code. Commands print through
`Output`, which has a text and a JSON form for every line, and reach stores through `Stores`.
Help loads no service's SDK: what a command needs is imported when it runs.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    from asyncstore.cli.app import run  # noqa: PLC0415 - `import asyncstore.cli` costs nothing

    sys.exit(run(sys.argv[1:]))


__all__ = ["main"]
