"""A command whose help has examples, and whose body is async."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asyncstore.cli.options import Options, output_options
from asyncstore.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """A line that a user can type.

    Attributes:
        line: the command line; the tests run it.
        what: what it does, in a few words.
    """

    line: str
    what: str


class Command(click.Command):
    """A click command with examples at the end of its help."""

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}# {example.what}\n")
                    formatter.write(f"{'':>{formatter.current_indent}}{example.line}\n")


def command(
    name: str, *, examples: Sequence[tuple[str, str]]
) -> Callable[[Callable[..., Coroutine[Any, Any, int | None]]], Command]:
    """Make a click command of an async function `(options, output, **parameters)`.

    What the function returns is the exit code; `None` is 0.

    Args:
        name: as typed.
        examples: pairs of a command line and what it does.
    """

    def make(function: Callable[..., Coroutine[Any, Any, int | None]]) -> Command:
        @functools.wraps(function)
        @click.pass_context
        def call(ctx: click.Context, /, **parameters: Any) -> int:
            options = ctx.ensure_object(Options)
            output = Output(as_json=options.as_json, quiet=options.quiet, debug=options.debug)
            return run_async(lambda: function(options, output, **parameters)) or 0

        made = click.command(
            name,
            cls=Command,
            examples=[Example(*pair) for pair in examples],
            short_help=(function.__doc__ or "").partition("\n")[0].rstrip("."),
        )(output_options(call))
        assert isinstance(made, Command)  # noqa: S101 - for the type checker
        return made

    return make


def read_by(read: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, Any], T | None]:
    """Make an option's callback of a function that reads a text or raises `ValueError`."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> T | None:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=parameter) from None

    return callback


def run_async(body: Callable[[], Awaitable[int | None]]) -> int | None:
    """Run a command's body in an event loop of its own, a fast one where there is one."""

    async def main() -> int | None:
        return await body()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
