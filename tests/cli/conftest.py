"""Running the command line in this process, with what it printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from asyncstore.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable


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
        return Ended(code, printed.decode(), complained.decode(), printed)

    return run
