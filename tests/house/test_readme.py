"""The README's commands are the ones that CI runs, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
COMMANDS = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)


def test_the_readme_has_a_line_for_the_main_job_and_one_for_the_tests():
    job, tests = COMMANDS

    assert job.endswith("asyncstore demo")
    assert ".venv/bin/pytest" in tests


def test_ci_runs_the_line_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert f'TESTS="{COMMANDS[1]}"' in script


def test_ci_is_a_script_that_bash_can_read():
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


@pytest.mark.timeout(600)  # a package index may be slow
def test_the_main_job_runs_in_a_fresh_copy(tmp_path):
    copy, home = tmp_path / "copy", tmp_path / "home"
    copy.mkdir()
    home.mkdir()
    shutil.copytree(ROOT / "asyncstore", copy / "asyncstore")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)

    # What every machine has, and nothing of ours.
    python = Path(sys.base_prefix, "bin")
    environment = {"PATH": f"{python}:/usr/bin:/bin", "HOME": str(home)}
    pip = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
    done = subprocess.run(
        ["bash", "-c", COMMANDS[0]],
        env=environment | pip,
        cwd=copy,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_links_to_our_own_files_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")

    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
