"""Running the command line in this process, with what it printed."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from asyncstore.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Ended:
    code: int
    out: str
    err: str
    out_bytes: bytes

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def complaints(self) -> list[str]:
        """What is on stderr besides the plan."""
        return [line for line in self.err.splitlines() if not line.startswith("plan: ")]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [json.loads(line)["error"] for line in self.err.splitlines()]


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch):
    """Keep the records of transfers out of the user's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def cli() -> Callable[..., Ended]:
    """Run `asyncstore` with words, here; returns its exit code and what it printed."""

    def run(*words: str, stdin: bytes | None = None) -> Ended:
        with CliRunner().isolation(stdin) as (out, err, _):
            code = app.run([str(word) for word in words])
            printed, complained = out.getvalue(), err.getvalue()
        return Ended(code, printed.decode(errors="surrogateescape"), complained.decode(), printed)

    return run


_numbers = itertools.count(1)


@pytest.fixture(params=["mem", "local", "s3", "gcs"])
def root(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    s3: Callable[[], str],
    gcs: Callable[[], str],
) -> str:
    """A fresh place on each kind of service, reached as the environment says; no slash behind."""
    if request.param == "mem":
        return f"mem://cli-{next(_numbers)}"
    if request.param == "local":
        return str(tmp_path / "root")
    return f"s3://{s3()}" if request.param == "s3" else f"gs://{gcs()}"


@pytest.fixture
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Let the environment lead to SeaweedFS; each call makes a bucket and returns its name."""

    def bucket() -> str:
        server = request.getfixturevalue("seaweedfs")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        monkeypatch.setenv("AWS_REGION", server.region)
        name: str = server.make_bucket()
        return name

    return bucket


@pytest.fixture
def gcs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Let the environment lead to the Google stand-in; each call makes a bucket."""

    def bucket() -> str:
        server = request.getfixturevalue("fake_gcs")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        name: str = server.make_bucket()
        return name

    return bucket
