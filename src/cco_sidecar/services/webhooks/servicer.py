"""WebhookService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.bus.webhooks.registry import Webhooks
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.event_stores import ConsumerStore
from orchestra.v1 import webhook_service_pb2 as pb


class WebhookServicer:
    """Implements orchestra.v1.WebhookService. Errors are raised as SidecarError."""

    def __init__(self, webhooks: Webhooks, consumers: ConsumerStore) -> None:
        self._webhooks = webhooks
        self._consumers = consumers

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, principal: Principal) -> pb.CreateWebhookResponse:
        webhook = pb.Webhook(
            name=request.name, project_id=request.project_id, url=request.url, settings=request.settings
        )
        made, secret = await self._webhooks.create(webhook, request.since)
        return pb.CreateWebhookResponse(webhook=made, secret=secret)

    async def GetWebhook(self, request: pb.GetWebhookRequest, principal: Principal) -> pb.GetWebhookResponse:
        found = await self._webhooks.get(request.project_id, request.name)
        return pb.GetWebhookResponse(webhook=await self._counted(found))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, principal: Principal) -> pb.ListWebhooksResponse:
        found = [await self._counted(each) for each in await self._webhooks.of(request.project_id)]
        return pb.ListWebhooksResponse(webhooks=found)

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, principal: Principal) -> pb.UpdateWebhookResponse:
        url = request.url if request.HasField("url") else None
        paused = request.paused if request.HasField("paused") else None
        changed = await self._webhooks.update(request.project_id, request.name, url, paused)
        return pb.UpdateWebhookResponse(webhook=await self._counted(changed))

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, principal: Principal
    ) -> pb.RotateWebhookSecretResponse:
        keep = request.keep_seconds if request.HasField("keep_seconds") else None
        return pb.RotateWebhookSecretResponse(
            secret=await self._webhooks.rotate(request.project_id, request.name, keep)
        )

    async def TestWebhook(self, request: pb.TestWebhookRequest, principal: Principal) -> pb.TestWebhookResponse:
        outcome, took_ms = await self._webhooks.test(request.project_id, request.name)
        return pb.TestWebhookResponse(
            accepted=not outcome.failure, status=outcome.status, failure=outcome.failure, duration_ms=took_ms
        )

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, principal: Principal) -> pb.DeleteWebhookResponse:
        deleted = await self._webhooks.delete(request.project_id, request.name)
        return pb.DeleteWebhookResponse(name=request.name, dead_letters=deleted)

    async def _counted(self, webhook: pb.Webhook) -> pb.Webhook:
        """Adds the number of dead letters."""
        webhook.status.dead_letter_count = await self._consumers.letter_count(webhook.project_id, webhook.name)
        return webhook
