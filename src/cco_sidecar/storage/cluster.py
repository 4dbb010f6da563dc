"""What sidecars that share a database store about each other. See base.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestra.v1.system_service_pb2 import ClusterMember

# Without a sign of life for so long, a sidecar is not counted on, and the leader leads no more.
LEASE_SECONDS = 10.0


class Superseded(Exception):
    """The others no longer count this process as a member: it was declared lost, or another one has its ID."""


class SeenMember(NamedTuple):
    """``member``: with ``silent_seconds``; ``incarnation``: its process."""

    member: ClusterMember
    incarnation: str


class Beat(NamedTuple):
    """What a sign of life returns. ``micros``: when it was given, since 1970 UTC; ``leader``: the incarnation that
    leads; ``term``: if it is the caller, a number that grows with every leader, otherwise 0."""

    micros: int
    members: Sequence[SeenMember]
    leader: str
    term: int

    @property
    def leads(self) -> bool:
        return self.term > 0


class ClusterStore(Protocol):
    """The members of a cluster, and which of them leads. All times are those of the database, so the clocks of the
    machines do not matter. No method blocks the event loop."""

    async def members(self) -> Sequence[SeenMember]:
        """Returns all members, sorted by ID."""
        ...

    async def join(self, member: ClusterMember, incarnation: str, replaces: str) -> bool:
        """Adds a member; ``replaces``: its earlier incarnation, empty if it has none. Returns False, and changes
        nothing, if that has changed."""
        ...

    async def beat(self, member: ClusterMember, incarnation: str) -> Beat:
        """Gives a sign of life, and takes or keeps the lead if nobody else has it. Raises Superseded."""
        ...

    async def leave(self, incarnation: str, *, gone: bool) -> None:
        """Gives up the lead. ``gone``: the member counts as lost from now on."""
        ...

    async def forget(self, incarnation: str) -> None:
        """Removes a member. Only the leader does so. Raises SidecarError (CLU_001)."""
        ...
