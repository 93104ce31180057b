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
    def errors(self) -> list[dict[str, Any]]:
        return [json.loads(line)["error"] for line in self.err.splitlines()]


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
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A fresh place on each kind of service, reached as the environment says; no slash behind."""
    if request.param == "mem":
        return f"mem://cli-{next(_numbers)}"
    if request.param == "local":
        return str(tmp_path / "root")
    if request.param == "s3":
        return f"s3://{use_s3(request, monkeypatch)}"
    return f"gs://{use_gcs(request, monkeypatch)}"


def use_s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the environment lead to SeaweedFS, and return a bucket of its own."""
    server = request.getfixturevalue("seaweedfs")
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
    }.items():
        monkeypatch.setenv(name, value)
    bucket: str = server.make_bucket()
    return bucket


def use_gcs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the environment lead to the Google stand-in, and return a bucket of its own."""
    server = request.getfixturevalue("fake_gcs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    bucket: str = server.make_bucket()
    return bucket
