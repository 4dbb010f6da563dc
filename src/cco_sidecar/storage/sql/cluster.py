"""The tables of members and leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from cco_sidecar.core.errors import SidecarError, unavailable
from cco_sidecar.storage.cluster import LEASE_SECONDS, Beat, SeenMember, Superseded
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import leases, members
from orchestra.v1.system_service_pb2 import ClusterMember

T = TypeVar("T")

_LEADER = "leader"


class now(FunctionElement[float]):  # noqa: N801
    """The time of the database, in seconds since 1970 UTC."""

    type = sa.Float()
    inherit_cache = True


@compiles(now)
def _clock(element: now, compiler: Any, **_: Any) -> str:
    return "extract(epoch from clock_timestamp())"


@compiles(now, "sqlite")
def _julian(element: now, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class SqlCluster:
    """Implements ClusterStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # What this process has from the lease while it leads.
        self._leading: tuple[str, int] | None = None

    async def members(self) -> Sequence[SeenMember]:
        return await self._database.read(_members)

    async def join(self, member: ClusterMember, incarnation: str, replaces: str) -> bool:
        row = _row(member) | {"incarnation": incarnation, "seen": now()}
        insert = self._database.insert(members).values(sidecar_id=member.sidecar_id, **row)
        insert = insert.on_conflict_do_nothing(index_elements=["sidecar_id"])
        update = sa.update(members).where(members.c.sidecar_id == member.sidecar_id, members.c.incarnation == replaces)
        freed = sa.update(leases).where(leases.c.holder == replaces).values(until=0.0)

        def work(connection: sa.Connection) -> bool:
            change = update.values(row) if replaces else insert
            changed = connection.execute(change.returning(members.c.sidecar_id)).first() is not None
            if changed and replaces:
                connection.execute(freed)
            return changed

        return await self._database.write(work)

    async def beat(self, member: ClusterMember, incarnation: str) -> Beat:
        update = sa.update(members).where(members.c.incarnation == incarnation).values(_row(member) | {"seen": now()})
        others = (leases.c.name == _LEADER, leases.c.holder != incarnation, leases.c.until >= now())
        taken = sa.select(leases.c.holder).where(*others)

        def work(connection: sa.Connection) -> Beat:
            # The lease first, as in `led`; and only if it may be had, so that a process that is paused within this
            # transaction holds up no leader.
            fence = 0
            if not connection.execute(taken).first():
                fence = connection.execute(self._take(incarnation)).scalar_one_or_none() or 0
            if not connection.execute(update).rowcount:
                # Undoes the rest.
                raise Superseded
            leader = connection.execute(sa.select(leases.c.holder).where(leases.c.name == _LEADER)).scalar_one()
            micros = int(connection.execute(sa.select(now())).scalar_one() * 1e6)
            return Beat(micros, _members(connection), leader, fence)

        try:
            beat = await self._database.write(work)
        except Superseded:
            self._leading = None
            raise
        self._leading = (incarnation, beat.term) if beat.leads else None
        return beat

    def _take(self, incarnation: str) -> Any:
        """Returns the statement that takes or keeps the lead, and returns the fence if it does."""
        until = now() + LEASE_SECONDS
        insert = self._database.insert(leases).values(name=_LEADER, holder=incarnation, fence=1, until=until)
        same = leases.c.holder == incarnation
        return insert.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "holder": incarnation,
                "until": until,
                "fence": sa.case((same, leases.c.fence), else_=leases.c.fence + 1),
            },
            where=same | (leases.c.until < now()),
        ).returning(leases.c.fence)

    async def leave(self, incarnation: str, *, gone: bool) -> None:
        self._leading = None

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.update(leases).where(leases.c.holder == incarnation).values(until=0.0))
            if gone:
                connection.execute(sa.update(members).where(members.c.incarnation == incarnation).values(seen=0.0))

        await self._database.write(work)

    async def forget(self, incarnation: str) -> None:
        gone = sa.delete(members).where(members.c.incarnation == incarnation)
        await self.led(lambda c: c.execute(gone))

    async def led(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a change, unless another process leads by the time it is made. Raises SidecarError (CLU_001)."""
        leading = self._leading
        if leading is None:
            raise not_leading()
        # Held until the change is made: whoever takes the lead has to wait for it.
        held = sa.select(leases.c.fence).where(leases.c.name == _LEADER, leases.c.holder == leading[0])
        held = held.with_for_update(read=True)

        def fenced(connection: sa.Connection) -> T:
            if connection.execute(held).scalar_one_or_none() != leading[1]:
                raise not_leading()
            return work(connection)

        return await self._database.write(fenced)


class LedDatabase:
    """A database whose changes only the leader makes."""

    def __init__(self, database: Database, cluster: SqlCluster) -> None:
        self.insert = database.insert
        self.read = database.read
        self.write = cluster.led


def not_leading() -> SidecarError:
    """Returns the error (CLU_001) for what only the leader may do."""
    return unavailable("CLU_001", "this sidecar does not lead the others any more; retry")


def alive() -> Any:
    """Selects the IDs of the members that gave a sign of life in time."""
    return sa.select(members.c.sidecar_id).where(members.c.seen > now() - LEASE_SECONDS)


def _row(member: ClusterMember) -> dict[str, Any]:
    return {"body": member.SerializeToString()}


def _members(connection: sa.Connection) -> list[SeenMember]:
    query = whole(members).add_columns((now() - members.c.seen).label("silent")).order_by(members.c.sidecar_id)
    found = []
    for row in connection.execute(query):
        member = ClusterMember.FromString(row.body)
        member.silent_seconds = max(0.0, row.silent)
        member.alive = row.silent < LEASE_SECONDS
        found.append(SeenMember(member, row.incarnation))
    return found
