"""`.ci/run`, with stand-ins for the tools: it fails where one does, and ends as promised."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("pip", "pytest", "ruff", "mypy", "lint-imports", "sphinx-build")
CLOSING = "=== 12 passed, 1 xfailed in 3.45s (0:00:03) ==="

# Stands in for python3: "makes" the environment with the tools in it.
PYTHON = """#!/bin/sh
mkdir -p .venv/bin
for tool in {tools}; do
    printf '#!/bin/sh\\n%s\\n' "$(cat stand-ins/$tool)" > .venv/bin/$tool
    chmod +x .venv/bin/$tool
done
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="platform: no bash")


@pytest.fixture
def run(tmp_path):
    def run(**tools):
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
        (tmp_path / "stand-ins").mkdir()
        said = {"pytest": f"echo 'a test: 1 passed in 0.1s'; echo '{CLOSING}'"} | tools
        for tool in TOOLS:
            text = said.get(tool.replace("-", "_"), f"echo {tool} ran with CI=$CI")
            (tmp_path / "stand-ins" / tool).write_text(text)
        (tmp_path / "bin").mkdir()
        python = tmp_path / "bin" / "python3"
        python.write_text(PYTHON.format(tools=" ".join(TOOLS)))
        python.chmod(0o755)
        # Called from elsewhere, with nobody at the keyboard.
        return subprocess.run(
            ["bash", tmp_path / ".ci" / "run"],
            env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    return run


def last(done):
    return done.stdout.splitlines()[-1]


def test_it_runs_every_tool_and_ends_with_the_closing_line(run):
    done = run()

    assert done.returncode == 0, done.stdout
    for tool in TOOLS:
        assert tool == "pytest" or f"{tool} ran with CI=true" in done.stdout
    assert last(done) == CLOSING


@pytest.mark.parametrize("tool", ["ruff", "mypy", "lint_imports", "sphinx_build", "pip"])
def test_it_fails_where_a_tool_fails(run, tool):
    done = run(**{tool: "exit 3"})

    assert done.returncode != 0
    assert "FAILED: " in done.stdout


def test_it_fails_where_a_test_fails_and_still_ends_with_the_closing_line(run):
    closing = "=== 1 failed, 11 passed in 3.45s ==="
    done = run(pytest=f"echo '{closing}'; exit 1")

    assert done.returncode != 0
    assert "mypy ran" in done.stdout
    assert last(done) == closing


SUMMARY = """\
tests/a.py .F [100%]
FAILED tests/a.py::test_progress is no part of the summary
=========================== short test summary info ============================
XFAIL tests/a.py::test_known - as everybody knows
FAILED tests/a.py::test_one - AssertionError: first
second
third
fourth
ERROR tests/b.py::test_two[x] - RuntimeError: the server did not start
XFAIL tests/a.py::test_known_too
and why
LEAKED SECRET: file left behind
=== 1 failed, 2 xfailed, 1 error in 3.45s ==="""


def test_what_failed_is_told_again_at_the_end(run):
    done = run(pytest=f"cat <<'EOF'\n{SUMMARY}\nEOF\nexit 1")

    assert done.stdout.partition("FAILED: tests\n")[2].splitlines() == [
        "FAILED tests/a.py::test_one - AssertionError: first",
        "second",
        "third",
        "ERROR tests/b.py::test_two[x] - RuntimeError: the server did not start",
        "LEAKED SECRET: file left behind",
        "=== 1 failed, 2 xfailed, 1 error in 3.45s ===",
    ]


def test_many_failures_are_told_briefly(run):
    failed = "".join(f"FAILED tests/a.py::test_{n} - why\n" for n in range(100))
    closing = "=== 100 failed in 3.45s ==="
    head = "=== short test summary info ==="
    done = run(pytest=f"cat <<'EOF'\n{head}\n{failed}{closing}\nEOF\nexit 1")

    *told, more, last_line = done.stdout.partition("FAILED: tests\n")[2].splitlines()
    assert len(told) == 40
    assert (more, last_line) == ("and 60 more", closing)


def test_it_fails_where_no_test_ran(run):
    done = run(pytest="exit 0")

    assert done.returncode != 0
    assert last(done) == "no tests were run"
