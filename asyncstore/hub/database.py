"""The database: SQLite or PostgreSQL, brought up to date when opened.

One writer at a time on SQLite, in the order in which they asked; PostgreSQL sorts it out itself.
What was committed is on disk before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from asyncstore.errors import ConfigurationError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_CONNECTIONS = 8
_PATIENCE = 30.0
_MIGRATION_LOCK = 7_201_547


class Database:
    """Sessions on one database.

    Args:
        url: as SQLAlchemy takes it; the driver may be left out.

    Raises:
        ConfigurationError: the URL is none, or of another kind of database.
        NotSupportedError: PostgreSQL's extra is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            made = make_url(url)
        except ArgumentError:
            raise ConfigurationError("the database's URL cannot be read") from None
        kind = made.get_backend_name()
        if kind not in _DRIVERS:
            raise ConfigurationError(
                f"database {kind}: write sqlite:///path or postgresql://user@host/name"
            )
        if kind == "postgresql" and find_spec("asyncpg") is None:
            raise NotSupportedError(
                "PostgreSQL needs the package 'asyncpg': pip install 'asyncstore[hub-postgres]'"
            )
        self._sqlite = kind == "sqlite"
        self._url = made.set(drivername=_DRIVERS[kind])
        self._engine: AsyncEngine | None = None
        self._turn = asyncio.Lock()

    @property
    def engine(self) -> AsyncEngine:
        """The engine, once opened."""
        assert self._engine is not None, "open() was not called"  # noqa: S101 - for the checker
        return self._engine

    async def open(self) -> None:
        """Connect, and bring the tables to this version's form."""
        self._engine = create_async_engine(
            self._url,
            hide_parameters=True,  # no value reaches a log or an error's text
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_PATIENCE,
        )
        if self._sqlite:
            if self._url.database and self._url.database != ":memory:":
                await asyncio.to_thread(_make_private, self._url.database)
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        async with self._engine.execution_options(write=True).begin() as connection:
            if not self._sqlite:
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK}
                )
            await connection.run_sync(upgrade)

    async def aclose(self) -> None:
        """Disconnect."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that sees one state of the database and changes nothing."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that is committed at the end, or rolled back if that raises."""
        engine = self.engine.execution_options(write=True)
        async with (
            self._turn if self._sqlite else nullcontext(),
            AsyncSession(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision."""
    config = Config()
    config.set_main_option("script_location", "asyncstore.hub:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _make_private(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    cursor = connection.cursor()
    for setting in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer that began as a reader could not become one while others write.
    writes = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
