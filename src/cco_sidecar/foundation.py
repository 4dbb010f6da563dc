"""What all parts of a sidecar stand on: its records, who shares them, and the tokens of its callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cco_sidecar.auth.identity_key import IdentityKey
from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.auth.passes import Passes
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.engine import EventEngine
from cco_sidecar.cluster.assembly import cluster_of
from cco_sidecar.cluster.duties import Duties, Duty
from cco_sidecar.cluster.identity import sidecar_id_of
from cco_sidecar.cluster.membership import Membership
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.settings import DATABASE, Settings
from cco_sidecar.rpc.forwarding import Forwarding
from cco_sidecar.rpc.homes import Homes
from cco_sidecar.rpc.peers import Peers
from cco_sidecar.storage.sql.backends import backend_of
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.stores import SqlStores
from cco_sidecar.supervision.lost import LostSidecars
from cco_sidecar.supervision.supervision import Supervision


class Foundation:
    """``forwarding``: calls of the other sidecars; None for a sidecar of its own."""

    def __init__(self, settings: Settings, types: AgentTypes, clock: Clock) -> None:
        """Opens the database. ``settings`` must contain the ports in use. Raises SettingsError."""
        key, sidecar_id, shared = SigningKey.of(settings), sidecar_id_of(settings.storage), settings.shares
        backend = backend_of(settings.database_url, settings.storage / DATABASE)
        self.database = Database(backend, exclusive=not shared, shared=shared, sidecar_id=sidecar_id)
        self.stores = SqlStores(self.database, sidecar_id=sidecar_id, shared=shared)
        self.tokens = Tokens(key, self.stores.revocations, types, clock)
        self.duties = Duties()
        self.cluster = cluster_of(settings, self.stores.cluster, sidecar_id, key.fingerprint, self.duties, clock)
        self.forwarding: Forwarding | None = None
        if self.cluster.shared:
            IdentityKey.share(settings.storage, key.derive("identity"))
            homes = Homes(self.cluster, self.stores)
            self.forwarding = Forwarding(self.cluster, homes, Peers(settings), Passes(key, self.cluster, clock))
        self._lost_after = settings.cluster_lost_after
        self._background = Background()

    def connect(
        self, supervision: Supervision, events: EventEngine, handover: Duty, take_over: Callable[[str], Awaitable[None]]
    ) -> None:
        """Says what is to be done when agents end, when this sidecar leads, and when another is lost; ``take_over``: of
        sessions."""
        supervision.leases.listen(events.consumers.release)
        self.tokens.listen(events.consumers.release)
        self._lost = LostSidecars(self.cluster, self._lost_after, supervision.take_over, take_over)
        self.duties.set(events.duties, handover, self._lost)
        if isinstance(self.cluster, Membership):
            self.cluster.describe(supervision.describe)
            self.cluster.on_superseded(supervision.give_up)

    def start(self) -> None:
        """Follows what other processes do with the database."""
        if self.database.shared:
            self._background.start(self.tokens.follow_revocations(), "revocations")
            self._background.start(self.database.keep_claim(), "claim of the database")

    async def stop(self) -> None:
        """Ends the periodic work, except the signs of life. Takes over no more agents."""
        await asyncio.gather(self._background.end(), self._lost.drop())

    async def close(self) -> None:
        if self.forwarding is not None:
            await self.forwarding.close()
        await asyncio.to_thread(self.database.close)
