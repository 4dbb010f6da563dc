"""All stores on one database."""

from __future__ import annotations

from cco_sidecar.storage.sql.agents import SqlAgents
from cco_sidecar.storage.sql.approvals import SqlApprovals
from cco_sidecar.storage.sql.cluster import LedDatabase, SqlCluster
from cco_sidecar.storage.sql.consumers import SqlConsumers
from cco_sidecar.storage.sql.credentials import SqlCredentials
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.documents import SqlDocuments
from cco_sidecar.storage.sql.handover import SqlHandover
from cco_sidecar.storage.sql.keyed import KeyedMessages
from cco_sidecar.storage.sql.knowledge import SqlKnowledge
from cco_sidecar.storage.sql.outbox import SqlOutbox
from cco_sidecar.storage.sql.results import SqlResults
from cco_sidecar.storage.sql.revocations import SqlRevocations
from cco_sidecar.storage.sql.schedules import SqlSchedules
from cco_sidecar.storage.sql.schema import event_schemas
from cco_sidecar.storage.sql.sessions import SqlSessions
from cco_sidecar.storage.sql.webhooks import SqlWebhooks
from orchestra.v1.schema_service_pb2 import EventSchema


class SqlStores:
    """Implements Stores."""

    def __init__(self, database: Database, *, sidecar_id: str = "", shared: bool = False) -> None:
        """``shared``: other sidecars use the database too."""
        self.cluster = SqlCluster(database)
        # What the leader alone changes.
        led = LedDatabase(database, self.cluster) if shared else database
        self.agents = SqlAgents(database, sidecar_id if shared else None)
        self.handover = SqlHandover(led)
        self.knowledge = SqlKnowledge(database)
        self.results = SqlResults(database, self.knowledge)
        self.documents = SqlDocuments(database)
        self.approvals = SqlApprovals(database)
        self.consumers = SqlConsumers(led)
        self.credentials = SqlCredentials(database)
        self.revocations = SqlRevocations(database)
        self.schedules = SqlSchedules(led)
        self.schemas = KeyedMessages(led, event_schemas, "event_type", EventSchema)
        self.webhooks = SqlWebhooks(led)
        self.sessions = SqlSessions(database)
        self.outbox = SqlOutbox(database, self.cluster if shared else None, sidecar_id)
