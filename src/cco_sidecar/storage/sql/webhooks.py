"""The webhooks table. Secrets are encrypted."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.event_stores import StoredWebhook
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Connected
from cco_sidecar.storage.sql.schema import webhooks
from orchestra.v1.webhook_service_pb2 import Webhook


class SqlWebhooks:
    """Implements WebhookStore."""

    def __init__(self, database: Connected) -> None:
        self._database = database

    async def put(self, stored: StoredWebhook) -> None:
        key = {"project_id": stored.webhook.project_id, "name": stored.webhook.name}
        rest = {
            "body": stored.webhook.SerializeToString(),
            "sealed": stored.sealed,
            "former_sealed": stored.former_sealed,
            "former_until": stored.former_until,
        }
        insert = self._database.insert(webhooks).values(key | rest)
        change = insert.on_conflict_do_update(index_elements=list(key), set_=rest)
        await self._database.write(lambda c: c.execute(change))

    async def all(self) -> Sequence[StoredWebhook]:
        query = whole(webhooks).order_by(webhooks.c.project_id, webhooks.c.name)
        return [
            StoredWebhook(Webhook.FromString(row.body), row.sealed, row.former_sealed, row.former_until)
            for row in await self._database.read(lambda c: c.execute(query).all())
        ]

    async def delete(self, project: str, name: str) -> None:
        change = sa.delete(webhooks).where(webhooks.c.project_id == project, webhooks.c.name == name)
        await self._database.write(lambda c: c.execute(change))
