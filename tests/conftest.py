"""Servers for the whole session: started on first use, a failure to start fails the test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from asyncstore.testing.hubs import RealHub
from asyncstore.testing.servers import FakeGCS, MiniStack, Moto, Rclone, SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Whoever runs the tests may be somebody: no test acts as them.
IDENTITIES = ("AWS_", "GOOGLE_", "GCE_", "CLOUDSDK_", "STORAGE_", "ACTIVELOOP_", "ASYNCSTORE_")
for name in [name for name in os.environ if name.startswith(IDENTITIES)]:
    del os.environ[name]
os.environ.pop("PYTHONUNBUFFERED", None)  # it would hide what a command forgets to flush
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every child would compile all that it imports

pytest_plugins = ["pytester", "asyncstore.testing.no_skips", "asyncstore.testing.watch"]


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    with SeaweedFS() as server:
        yield server


@pytest.fixture(scope="session")
def ministack() -> Iterator[MiniStack]:
    with MiniStack() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[Rclone]:
    with Rclone() as server:
        yield server


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGCS]:
    with FakeGCS() as server:
        yield server


@pytest.fixture(scope="session")
def real_hub() -> Iterator[RealHub]:
    with RealHub() as server:
        yield server


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in a shell's background, where children would never see the interrupts of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
