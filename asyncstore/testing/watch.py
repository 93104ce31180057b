"""A pytest plugin: a secret that shows in anything a test puts out fails that test.

Searched for the secrets of `asyncstore.testing.canary`: captured output and error output, also
where a test takes it itself (`capsys`, `CliRunner`, `subprocess`); log records of every level;
warnings; every `StoreError` as it is made, and every exception that a test expects; reprs of the
library's live objects, once per test file; files that the run leaves in the system's temporary
folder or in the working directory.

A library's own DEBUG records are heard too, so loggers stand at DEBUG while tests run.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from asyncstore import errors
from asyncstore.testing import canary

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import FrameType

_MOST_READ = 64 << 20


class Watch(logging.Handler):
    """Collects what was seen; see the module."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(logging.NOTSET)
        self._config = config
        self._leaks: list[str] = []
        self._late: list[str] = []
        self._undo: list[Callable[[], None]] = []
        self._temp = ""
        self._before: set[str] = set()

    def see(self, where: str, *texts: str | bytes | None) -> None:
        """Look for secrets in texts, and remember where one was."""
        for text in texts:
            place = canary.find(text) if text else None
            if place is not None:
                self._leaks.append(f"{where}: {place!r}")

    def see_error(self, where: str, error: BaseException | None) -> None:
        """Look for secrets in all that an exception tells."""
        if error is not None:
            self.see(where, *canary.told(error))

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one log record."""
        if record.name.startswith("botocore.") and not _is_called_by("aiobotocore."):
            return  # a client of the tests' own, which the library has no say in
        where = f"log record of {record.name!r}"
        self.see(where, record.getMessage())
        self.see_error(where, record.exc_info[1] if record.exc_info else None)

    # What pytest calls.

    def pytest_sessionstart(self) -> None:
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        self._undo += [lambda: root.setLevel(level), lambda: root.removeHandler(self)]
        self._wrap_takers()
        self._redirect_temporary_files()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        with self._judged(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        with self._judged(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, Any, Any]:
        with self._judged(item):
            if nextitem is None or nextitem.path != item.path:
                self._see_live_objects()
            return (yield)

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        place = canary.find(str(warning_message.message))
        if place is not None:
            self._late.append(f"warning in {nodeid}: {place!r}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._late += getattr(node, "workeroutput", {}).get("leaks", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        while self._undo:
            self._undo.pop()()
        self._see_files()
        self._late += self._leaks
        output = getattr(self._config, "workeroutput", None)  # one of several processes of xdist
        if output is not None:
            output["leaks"] = self._late
        if self._late:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for leak in self._late:
            terminalreporter.write_line(f"LEAKED SECRET: {leak}", red=True)

    @contextmanager
    def _judged(self, item: pytest.Item) -> Iterator[None]:
        """Fail the phase of a test in which a secret showed, whatever else came of it."""
        before = len(item._report_sections)  # noqa: SLF001 - pytest keeps captured output there
        try:
            yield
        finally:
            for _, name, text in item._report_sections[before:]:  # noqa: SLF001
                self.see(f"captured {name}", text)
            leaks, self._leaks = self._leaks, []
            if leaks:
                pytest.fail("a secret showed in\n  " + "\n  ".join(leaks), pytrace=False)

    def _see_live_objects(self) -> None:
        for thing in gc.get_objects():
            module = type(thing).__module__
            if isinstance(module, str) and module.startswith("asyncstore."):
                if module.startswith("asyncstore.testing"):
                    continue
                name = f"{module}.{type(thing).__qualname__}"
                with suppress(AttributeError):  # half made: its making raised
                    self.see(f"repr of a live {name}", repr(thing))

    def _redirect_temporary_files(self) -> None:
        # tmp_path and its kind hold what tests write on purpose, so they stay where they were.
        self._config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # noqa: SLF001
        old, old_name = os.environ.get("TMPDIR"), tempfile.tempdir
        self._temp = tempfile.mkdtemp(prefix="asyncstore-watched-")
        self._before = set(os.listdir())
        os.environ["TMPDIR"] = tempfile.tempdir = self._temp

        def undo() -> None:
            tempfile.tempdir = old_name
            if old is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = old

        self._undo.append(undo)

    def _see_files(self) -> None:
        # Hypothesis keeps the constants that it finds in the code, the canaries among them.
        new = (name for name in os.listdir() if name not in {*self._before, ".hypothesis"})
        for path in (*_files([self._temp]), *_files(new)):
            with open(path, "rb") as file:
                self.see(f"file {path} left behind", file.read(_MOST_READ))
        shutil.rmtree(self._temp)

    def _wrap_takers(self) -> None:
        """See what tests take for themselves, before they do."""
        import click.testing  # noqa: PLC0415 - only where tests run

        def raised(_: Any, kind: Any, error: BaseException | None, trace: Any) -> None:
            del kind, trace
            self.see_error("exception that the test expects", error)

        def made(error: errors.StoreError, *args: Any, **where: Any) -> None:
            self.see(f"{type(error).__name__} as it is made", repr(args), repr(where))

        self._wrap(pytest.RaisesExc, "__exit__", before=raised)
        self._wrap(pytest.RaisesGroup, "__exit__", before=raised)
        self._wrap(errors.StoreError, "__init__", before=made)
        self._wrap(pytest.CaptureFixture, "readouterr", after=lambda out: self.see("output", *out))
        self._wrap(
            subprocess.Popen, "communicate", after=lambda out: self.see("a child's output", *out)
        )
        self._wrap(
            pytest.WarningsRecorder,
            "__exit__",
            before=lambda recorder, *_: self.see(
                "warning that the test expects", *(str(w.message) for w in recorder.list)
            ),
        )
        self._wrap(click.testing.CliRunner, "invoke", after=self._see_result)

    def _see_result(self, result: Any) -> None:
        self.see("output of a command", result.output, result.stderr)
        self.see_error("exception of a command", result.exception)

    def _wrap(
        self,
        owner: type,
        name: str,
        *,
        before: Callable[..., None] | None = None,
        after: Callable[[Any], None] | None = None,
    ) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **keywords: Any) -> Any:
            if before is not None:
                before(*args, **keywords)
            result = original(*args, **keywords)
            if after is not None:
                after(result)
            return result

        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, original))


def _is_called_by(module: str) -> bool:
    caller: FrameType | None = sys._getframe()  # noqa: SLF001 - as traceback.walk_stack does
    while caller is not None:
        if caller.f_globals.get("__name__", "").startswith(module):
            return True
        caller = caller.f_back
    return False


def _files(roots: Iterable[str]) -> Iterator[str]:
    for root in roots:
        if os.path.isfile(root) and not os.path.islink(root):
            yield root
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch."""
    config.pluginmanager.register(Watch(config), "asyncstore-watch")
