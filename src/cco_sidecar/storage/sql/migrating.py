"""The versions of a database: which one it has, which one this program needs, and the way there."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import alembic.script
import sqlalchemy as sa

from cco_sidecar.storage.sql.base import Backend


def newest() -> str:
    """Returns the version that this program needs, such as ``0014``."""
    return alembic.script.ScriptDirectory.from_config(_config()).get_current_head() or ""


def is_known(version: str) -> bool:
    """Reports whether this program can migrate from a version. Later programs have others."""
    scripts = alembic.script.ScriptDirectory.from_config(_config())
    return any(script.revision == version for script in scripts.walk_revisions())


def migrate(backend: Backend, connection: sa.Connection) -> None:
    """Brings a database to the newest version, in the transaction of the connection. Of several processes, one does.
    Raises alembic.util.CommandError for a version that is not known."""
    backend.lock_migrations(connection)
    config = _config()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config
