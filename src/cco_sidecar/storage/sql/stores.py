"""All stores on one database."""

from __future__ import annotations

from cco_sidecar.storage.sql.agents import SqlAgents
from cco_sidecar.storage.sql.approvals import SqlApprovals
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

    def __init__(self, database: Database) -> None:
        self.agents = SqlAgents(database)
        self.handover = SqlHandover(database)
        self.knowledge = SqlKnowledge(database)
        self.results = SqlResults(database, self.knowledge)
        self.documents = SqlDocuments(database)
        self.approvals = SqlApprovals(database)
        self.consumers = SqlConsumers(database)
        self.credentials = SqlCredentials(database)
        self.revocations = SqlRevocations(database)
        self.schedules = SqlSchedules(database)
        self.schemas = KeyedMessages(database, event_schemas, "event_type", EventSchema)
        self.webhooks = SqlWebhooks(database)
        self.sessions = SqlSessions(database)
        self.outbox = SqlOutbox(database)
