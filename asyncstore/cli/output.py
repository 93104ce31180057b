"""What a command says: results on stdout, errors and progress on stderr, as text or as JSON.

Every line has two forms. In text it is for a person; names are escaped where stdout is a
terminal, since a key may hold what drives one. With `--json` it is one object per line, the same
facts with full precision, and nothing else is printed on either stream.
"""

from __future__ import annotations

import json
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from click import ClickException

from asyncstore.cli.text import escaped
from asyncstore.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Output:
    """Where a command's lines go.

    Args:
        as_json: one JSON object per line, on stdout for results and on stderr for errors.
        quiet: no remarks and no progress; results and errors only.
        debug: a traceback behind each error.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.debug = debug
        self._bar: Any = None

    def result(self, text: str, record: Mapping[str, Any], /) -> None:
        """Print a line that was asked for."""
        self._print(json.dumps(record) if self.as_json else text, sys.stdout)

    def remark(self, text: str, record: Mapping[str, Any], /) -> None:
        """Print a line about what is being done, unless `--quiet`."""
        if not self.quiet:
            self.result(text, record)
            sys.stdout.flush()  # whoever reads a pipe wants to know now

    def notice(self, text: str, /) -> None:
        """Print, on stderr, what a person may want to know now; programs are told elsewhere."""
        if not (self.quiet or self.as_json):
            self._print(text, sys.stderr)

    def error(self, error: BaseException, /) -> None:
        """Print what went wrong, on one line; a group's errors on one each."""
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                self.error(one)
            return
        if self.as_json:
            text = json.dumps({"error": describe(error)})
        else:
            text = f"asyncstore: {escaped(_message(error))}"
        self._print(text, sys.stderr)
        if self.debug:
            self._print("".join(traceback.format_exception(error)).rstrip(), sys.stderr)

    def warning(self, text: str, record: Mapping[str, Any], /) -> None:
        """Print, on stderr and whatever `--quiet` says, what the user would want to know."""
        line = json.dumps({"warning": record}) if self.as_json else f"asyncstore: {escaped(text)}"
        self._print(line, sys.stderr)

    @contextmanager
    def progress(self, title: str, *, total: int | None = None) -> Iterator[Progress]:
        """Show a bar on stderr if that is a terminal and nobody asked for silence.

        Args:
            title: what is being done.
            total: in bytes, where known.
        """
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield UNSEEN
            return
        from tqdm import tqdm  # noqa: PLC0415 - 30 ms, and only terminals see it

        with tqdm(
            desc=title,
            total=total,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            dynamic_ncols=True,
            file=sys.stderr,
        ) as bar:
            self._bar = bar
            try:
                yield Progress(bar)
            finally:
                self._bar = None

    def _print(self, line: str, stream: Any) -> None:
        if self._bar is not None:
            self._bar.clear()
        if stream.isatty():
            line = "\n".join(escaped(part) for part in line.split("\n"))
        print(line, file=stream, flush=stream is sys.stderr)
        if self._bar is not None:
            self._bar.refresh()


class Progress:
    """A bar, or nothing that behaves like one."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, size: int, /) -> None:
        """Say that `size` more bytes are done."""
        if self._bar is not None:
            self._bar.update(size)

    def expect(self, size: int, /) -> None:
        """Say that there are `size` more bytes to do than was known."""
        if self._bar is not None:
            self._bar.total = (self._bar.total or 0) + size
            self._bar.refresh()


UNSEEN = Progress(None)
"""Progress that nobody watches."""


def describe(error: BaseException) -> dict[str, Any]:
    """Return an error's facts as JSON values."""
    facts: dict[str, Any] = {"type": type(error).__name__}
    if isinstance(error, StoreError):
        facts["message"] = error.message
        facts |= {
            name: value
            for name in ("op", "url", "status", "request_id", "outcome")
            if (value := getattr(error, name)) is not None
        }
        facts["retryable"] = error.retryable
    else:
        facts["message"] = _message(error)
    return facts


def _message(error: BaseException) -> str:
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
