"""The tables: from nothing to what the models say, on both databases."""

import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from asyncstore.errors import ConfigurationError, NotSupportedError
from asyncstore.hub.database import Database
from asyncstore.hub.models import Base

pytestmark = pytest.mark.asyncio


def differences(connection):
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return compare_metadata(context, Base.metadata)


async def test_the_steps_lead_from_nothing_to_what_the_models_say(database, tmp_path):
    made = Database(database or f"sqlite:///{tmp_path}/hub.sqlite3")
    for _ in range(2):  # the second time there is nothing to do
        await made.open()
        async with made.engine.connect() as connection:
            assert await connection.run_sync(differences) == []
        await made.aclose()


async def test_a_column_that_no_step_makes_is_found(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/hub.sqlite3")
    await made.open()
    async with made.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE users DROP COLUMN email"))
        assert await connection.run_sync(differences) != []
    await made.aclose()


@pytest.mark.parametrize("url", ["mysql://h/d", "nonsense", ""])
async def test_another_kind_of_database_is_refused(url):
    with pytest.raises(ConfigurationError):
        Database(url)


async def test_without_the_extra_of_postgresql_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(NotSupportedError, match="hub-postgres"):
        Database("postgresql://me@host/hub")


async def test_an_error_of_the_database_holds_no_values(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/hub.sqlite3")
    await made.open()
    async with made.engine.connect() as connection:
        with pytest.raises(Exception, match="hidden due to hide_parameters") as failed:
            await connection.execute(text("SELECT :v FROM absent"), {"v": "a value"})
    await made.aclose()
    assert "a value" not in str(failed.value)
