"""Places where datasets live: memory and disk on both event loops, and services."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

import asyncstore
from asyncstore.datasets import lock
from asyncstore.testing.oracle import Oracle, install

_numbers = itertools.count(1)

LOCAL = [("mem", "asyncio"), ("mem", "trio"), ("file", "asyncio"), ("file", "trio")]
CLOUD = [("seaweedfs", "asyncio"), ("ministack", "asyncio"), ("gcs", "asyncio")]


@dataclass
class Place:
    """A folder that is empty at first.

    Attributes:
        kind: `"mem"`, `"file"` or a server's name.
        base: its path.
        access: what every dataset function is to be called with.
        bucket: the name of its bucket, where it is in one.
        server: what serves it.
    """

    kind: str
    base: str
    access: dict[str, Any] = field(default_factory=dict)
    bucket: str = ""
    server: Any = None

    def __truediv__(self, name: str) -> str:
        return f"{self.base}/{name}"

    @property
    def ends(self) -> dict[str, Any]:
        """What `copy` is to be called with, both ends being here."""
        creds = self.access.get("creds")
        return {"src_creds": creds, "dest_creds": creds, "progressbar": False}

    @property
    def locks(self) -> bool:
        """Whether datasets here have locks: those in memory are one process's."""
        return self.kind != "mem"

    def store(self, name: str = "") -> asyncstore.Store:
        """Open a store that no dataset knows of."""
        return asyncstore.open_store(self / name if name else self.base, **self.access)

    async def keys(self, name: str = "") -> list[str]:
        """Return all keys below a name."""
        async with self.store(name) as store:
            try:
                return [meta.key async for meta in store.list()]
            except asyncstore.NotFoundError:
                return []


def make_place(kind: str, request: pytest.FixtureRequest) -> Place:
    number = next(_numbers)
    if kind == "mem":
        return Place(kind, f"mem://place{number}/sub")
    if kind == "file":
        return Place(kind, str(request.getfixturevalue("tmp_path") / f"place{number}"))
    if kind == "gcs":
        server = request.getfixturevalue("fake_gcs")
        request.getfixturevalue("monkeypatch").setenv("STORAGE_EMULATOR_HOST", server.url)
        bucket = server.make_bucket()
        return Place(kind, f"gs://{bucket}/sub", {"creds": "anon"}, bucket, server)
    server = request.getfixturevalue(kind)
    bucket = server.make_bucket()
    return Place(kind, f"s3://{bucket}/sub", {"creds": server.creds}, bucket, server)


@pytest.fixture(autouse=True)
def no_old_client(request: pytest.FixtureRequest) -> None:
    """Where Deep Lake takes no part, nobody waits for it."""
    if "oracle" not in request.fixturenames:
        request.getfixturevalue("monkeypatch").setattr(lock, "SETTLE", 0.01)


@pytest.fixture(params=[*LOCAL, *CLOUD], ids="-".join)
def where(request: pytest.FixtureRequest) -> tuple[str, str]:
    param: tuple[str, str] = request.param
    return param


@pytest.fixture
def anyio_backend(where: tuple[str, str]) -> str:
    return where[1]


@pytest.fixture
def place(where: tuple[str, str], request: pytest.FixtureRequest) -> Place:
    return make_place(where[0], request)


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return install()
