"""Alembic's entry point. storage/sql/database.py passes the connection."""

from alembic import context

from cco_sidecar.storage.sql.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
