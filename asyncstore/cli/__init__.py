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

    sys.unraisablehook = _again
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # between two lines of `run`
        code = 130
    sys.exit(code)


def _again(ignored: sys.UnraisableHookArgs, /) -> None:
    """Send an interrupt once more that struck where no exception can come out, and was lost."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    import os  # noqa: PLC0415 - rare
    import signal  # noqa: PLC0415
    import threading  # noqa: PLC0415

    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()


__all__ = ["main"]
