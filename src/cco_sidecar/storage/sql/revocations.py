"""The revocations table."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.base import Revocation
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import revocations

# Transactions may become visible in a different order than they took their revisions, so this many are read again.
_OVERLAP = 256


class SqlRevocations:
    """Implements RevocationStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        revision = sa.select(sa.func.coalesce(sa.func.max(revocations.c.revision), 0) + 1).scalar_subquery()
        values = {"at": at, "until": until, "revision": revision}
        insert = self._database.insert(revocations).values(kind=kind, value=value, **values)
        # The clocks of two processes may differ: a revocation never becomes weaker.
        kept = {name: _larger(revocations.c[name], insert.excluded[name]) for name in ("at", "until")}
        change = insert.on_conflict_do_update(index_elements=["kind", "value"], set_=values | kept)
        await self._database.write(lambda c: c.execute(change))

    async def since(self, revision: int) -> tuple[Sequence[Revocation], int]:
        query = whole(revocations).where(revocations.c.revision > revision - _OVERLAP)
        rows = await self._database.read(lambda c: c.execute(query).all())
        newest = max((row.revision for row in rows), default=revision)
        return [Revocation(row.kind, row.value, row.at) for row in rows], newest

    def load(self, now: float) -> tuple[Sequence[Revocation], int]:
        def work(connection: sa.Connection) -> tuple[list[Revocation], int]:
            # Not the newest: revisions would begin again, and others ask for what came after theirs.
            newer = sa.select(sa.func.max(revocations.c.revision)).scalar_subquery()
            old = sa.and_(revocations.c.until < now, revocations.c.revision < newer)
            connection.execute(sa.delete(revocations).where(old))
            rows = connection.execute(whole(revocations)).all()
            newest = max((row.revision for row in rows), default=0)
            return [Revocation(row.kind, row.value, row.at) for row in rows], newest

        return self._database.run_now(work)


def _larger(one: sa.ColumnElement[float], other: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    return sa.case((one > other, one), else_=other)
