"""The handover table: how far the handover rules have read."""

from __future__ import annotations

from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Connected
from cco_sidecar.storage.sql.schema import handover


class SqlHandover:
    """Implements HandoverStore."""

    def __init__(self, database: Connected) -> None:
        self._database = database

    async def positions(self) -> dict[str, int]:
        rows = await self._database.read(lambda c: c.execute(whole(handover)).all())
        return {row.project_id: row.seq for row in rows}

    async def set_position(self, project: str, seq: int) -> None:
        change = self._database.insert(handover).values(project_id=project, seq=seq)
        change = change.on_conflict_do_update(index_elements=["project_id"], set_={"seq": seq})
        await self._database.write(lambda c: c.execute(change))
