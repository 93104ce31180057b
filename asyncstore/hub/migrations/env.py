"""Runs the steps on the connection that `asyncstore.hub.database` hands over."""

from __future__ import annotations

from alembic import context

from asyncstore.hub.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
context.run_migrations()
