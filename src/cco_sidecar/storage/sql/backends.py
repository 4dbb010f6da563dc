"""Chooses the database."""

from __future__ import annotations

from pathlib import Path

from cco_sidecar.storage.sql.base import Backend
from cco_sidecar.storage.sql.postgres import PostgreSQL
from cco_sidecar.storage.sql.sqlite import Sqlite


def backend_of(url: str | None, path: Path) -> Backend:
    """Returns PostgreSQL for a URL, otherwise SQLite at ``path``."""
    return PostgreSQL(url) if url else Sqlite(path)
