"""Alembic's entry: the connection is handed over by storage/records.py."""

from alembic import context

from cco_sidecar.storage.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
