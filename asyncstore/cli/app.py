"""The `asyncstore` group, and the end of every command: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

import asyncstore
from asyncstore.cli import exits
from asyncstore.cli.account import login, logout, register, unregister, whoami
from asyncstore.cli.cat import cat
from asyncstore.cli.cp import cp, mv
from asyncstore.cli.creds import creds
from asyncstore.cli.demo import demo
from asyncstore.cli.doctor import doctor
from asyncstore.cli.du import du
from asyncstore.cli.group import Group
from asyncstore.cli.head import head
from asyncstore.cli.hub import hub
from asyncstore.cli.ls import ls
from asyncstore.cli.options import Options, connection_options, output_options
from asyncstore.cli.org import org
from asyncstore.cli.output import Output
from asyncstore.cli.presign import presign
from asyncstore.cli.rm import rm
from asyncstore.cli.sync import sync, verify
from asyncstore.cli.tokens import tokens
from asyncstore.errors import BatchError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO


class App(Group):
    """The group of all, which ends its help with the exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit codes."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in exits.MEANINGS.items()])


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    asyncstore.__version__, prog_name="asyncstore", message="%(prog)s %(version)s"
)
@connection_options
@output_options
def app() -> None:
    """Store, read and move data on S3, Google Cloud Storage and disk.

    A PATH is s3://bucket/key, gs://bucket/key (or gcs://, gcp://), hub://organisation/name/key, or
    a local path. The options here may also be written behind the command.
    """


_COMMANDS = (
    *(ls, cat, head, cp, mv, sync, verify, rm, du, presign),
    *(register, unregister, login, logout, whoami, tokens, creds, org, hub),
    *(demo, doctor),
)
for _command in _COMMANDS:
    app.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised.

    Args:
        arguments: the words behind `asyncstore`.
    """
    options = Options()
    stdout = sys.stdout
    if hasattr(stdout, "reconfigure"):
        # A local name that is not UTF-8 goes out as the bytes that it came in as.
        stdout.reconfigure(errors="surrogateescape")
    try:
        try:
            # Not `main`, which has words and codes of its own for Ctrl-C and a broken pipe.
            with app.make_context("asyncstore", list(arguments), obj=options) as ctx:
                code = app.invoke(ctx)
        finally:
            stdout.flush()
    except click.exceptions.Exit as end:
        return int(end.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except click.ClickException as error:
        return _usage(error, _output(options, arguments))
    except Exception as error:  # noqa: BLE001 - the edge: whatever it is, one line and a code
        code = _failed(error, _output(options, arguments))
        _drop_what_is_left(stdout)
    return code if isinstance(code, int) else exits.OK


def _output(options: Options, arguments: Sequence[str]) -> Output:
    # A usage error may come before `--json` was reached.
    return Output(as_json=options.as_json or "--json" in arguments, debug=options.debug)


def _usage(error: click.ClickException, output: Output) -> int:
    if output.as_json:
        output.error(error)
    else:
        error.show()
    return error.exit_code


def _failed(error: Exception, output: Output) -> int:
    output.error(error)
    if (
        not isinstance(error, StoreError | OSError | BatchError)
        and not output.debug
        and not output.as_json
    ):
        print("asyncstore: this is a bug; --debug shows where", file=sys.stderr, flush=True)
    return exits.code_of(error)


def _broken_pipe() -> int:
    _to_nowhere()
    return exits.BROKEN_PIPE


def _drop_what_is_left(stdout: TextIO) -> None:
    """Forget output that cannot be written, as onto a full disk; the error is told already."""
    try:
        stdout.flush()
    except OSError:
        _to_nowhere()


def _to_nowhere() -> None:
    # What is still in the buffer goes nowhere; the interpreter must not try it again at exit.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
