"""`asyncstore hub serve` as a process: from an empty folder, to a signal, and through a kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from asyncstore.cli.hub import serve
from asyncstore.testing.canary import guard
from tests.hub.people import Town

PROGRAM = Path(sys.executable).parent / "asyncstore"
EXAMPLES = [example.line for example in serve.examples]


@contextlib.contextmanager
def served(*words, cwd):
    """Run `asyncstore hub serve`; yields the process, the URL and the code printed."""
    environment = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "HOME": str(cwd)}
    with subprocess.Popen(
        [PROGRAM, "--json", "hub", "serve", *words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        umask=0,  # the widest
    ) as child:
        try:
            assert child.stdout is not None
            url = json.loads(child.stdout.readline())["url"]
            yield child, url
        finally:
            child.kill()


def bootstrap_code(child):
    return guard(json.loads(child.stdout.readline())["code"])


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_serves_until_it_is_told_to_stop(line, tmp_path):
    words = shlex.split(line)[3:]
    if "--port" not in words:
        words += ["--port", "0"]  # the usual one may be in use
    with served(*words, cwd=tmp_path) as (child, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        bootstrap_code(child)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=10) == 0
        assert time.monotonic() - began < 5
        assert child.stderr.read() == ""


def test_ctrl_c_ends_it_with_its_own_code(tmp_path):
    with served("--data", "hub", "--port", "0", cwd=tmp_path) as (child, _):
        bootstrap_code(child)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130


def test_nobody_else_can_read_the_folder_or_the_key(tmp_path):
    with served("--data", "hub", "--port", "0", cwd=tmp_path) as (child, _):
        bootstrap_code(child)
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (tmp_path / "hub", *(tmp_path / "hub").iterdir())
        }
    assert modes["hub"] == 0o700
    assert modes["hub.key"] == modes["hub.sqlite3"] == modes["hub.lock"] == 0o600


def test_a_second_hub_on_the_same_folder_is_refused(tmp_path):
    with served("--data", "hub", "--port", "0", cwd=tmp_path) as (child, _):
        bootstrap_code(child)
        second = subprocess.run(
            [PROGRAM, "hub", "serve", "--data", "hub", "--port", "0"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 2
    assert "another hub serves this folder" in second.stderr


def test_a_key_that_others_can_read_is_refused(tmp_path):
    with served("--data", "hub", "--port", "0", cwd=tmp_path) as (child, _):
        bootstrap_code(child)
    (tmp_path / "hub" / "hub.key").chmod(0o644)
    ended = subprocess.run(
        [PROGRAM, "hub", "serve", "--data", "hub", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "chmod 600" in ended.stderr


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_was_acknowledged_outlives_a_kill(kind, tmp_path, request):
    words = ["--data", "hub", "--port", "0"]
    if kind == "postgresql":
        words += ["--database", await request.getfixturevalue("postgres").make_database()]
    acknowledged: list[str] = []
    async with aiohttp.ClientSession() as session:
        with served(*words, cwd=tmp_path) as (child, url):
            root = await Town(session, url).first(bootstrap_code(child))

            async def create(start):
                for number in range(start, 10_000, 4):
                    try:
                        await root.create(f"root/d{number}")
                    except aiohttp.ClientError:
                        return
                    acknowledged.append(f"d{number}")
                    if len(acknowledged) == 40:
                        child.kill()

            await asyncio.gather(*(create(start) for start in range(4)))
        with served(*words, cwd=tmp_path) as (child, url):
            again = Town(session, url).nobody.with_token(root.token)
            listed = await again.get("/api/datasets/all?organization=root")
            assert len(acknowledged) >= 40
            assert {f"root/{name}" for name in acknowledged} <= {row["_id"] for row in listed.body}
            child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=60) == 0
