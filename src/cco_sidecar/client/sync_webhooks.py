# Written by scripts/unasync.py from aio_webhooks.py; change that file.
"""The synchronous client: webhooks. For the operator."""

from __future__ import annotations

from collections.abc import Sequence

from cco_sidecar.client import requests
from cco_sidecar.client.sync_calls import Calls
from orchestra.v1 import webhook_service_pb2, webhook_service_pb2_grpc


class Webhooks:
    """Events that the sidecar posts to a URL. ``cco_sidecar.client.verify_webhook`` checks such a request where it
    arrives."""

    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = webhook_service_pb2_grpc.WebhookServiceStub(client.channel)

    def create(
        self,
        name: str,
        url: str,
        *,
        event_types: Sequence[str] = (),
        topics: Sequence[str] = (),
        filter: str = "",
        cloud_events: bool = False,
        timeout_seconds: int | None = None,
        max_deliveries: int | None = None,
        max_in_flight: int | None = None,
        retry_seconds: float | None = None,
        since: str = "",
        project_id: str = "",
    ) -> tuple[webhook_service_pb2.Webhook, str]:
        """Creates a webhook; returns it and the secret that its requests are signed with, which is not shown again.

        It begins after ``since``, an event id or ``0``, or with the next event. Raises ConflictError if there is a
        webhook or a consumer of that name, InvalidRequestError if the settings do not allow its host.
        """
        settings = webhook_service_pb2.WebhookSettings(
            event_types=requests.names(event_types),
            topics=requests.names(topics),
            filter=filter,
            cloud_events=cloud_events,
            timeout_seconds=timeout_seconds,
            max_deliveries=max_deliveries,
            max_in_flight=max_in_flight,
            retry_seconds=retry_seconds,
        )
        request = webhook_service_pb2.CreateWebhookRequest(
            name=name, url=url, settings=settings, since=since, project_id=project_id
        )
        made = self._client.call(self._stub.CreateWebhook, request)
        return made.webhook, made.secret

    def get(self, name: str, *, project_id: str = "") -> webhook_service_pb2.Webhook:
        """Returns a webhook, and how its deliveries go. Raises NotFoundError."""
        request = webhook_service_pb2.GetWebhookRequest(name=name, project_id=project_id)
        return (self._client.call(self._stub.GetWebhook, request)).webhook

    def list(self, *, project_id: str = "") -> Sequence[webhook_service_pb2.Webhook]:
        """Returns all webhooks of the project, by name."""
        request = webhook_service_pb2.ListWebhooksRequest(project_id=project_id)
        return (self._client.call(self._stub.ListWebhooks, request)).webhooks

    def update(
        self, name: str, *, url: str | None = None, paused: bool | None = None, project_id: str = ""
    ) -> webhook_service_pb2.Webhook:
        """Changes the URL, or pauses or resumes. Raises NotFoundError."""
        request = webhook_service_pb2.UpdateWebhookRequest(name=name, url=url, project_id=project_id)
        if paused is not None:
            request.paused = paused
        return (self._client.call(self._stub.UpdateWebhook, request)).webhook

    def rotate_secret(self, name: str, *, keep_seconds: int | None = None, project_id: str = "") -> str:
        """Returns a new secret. The former one also signs for ``keep_seconds``, a day when not given. Raises
        NotFoundError."""
        request = webhook_service_pb2.RotateWebhookSecretRequest(
            name=name, keep_seconds=keep_seconds, project_id=project_id
        )
        return (self._client.call(self._stub.RotateWebhookSecret, request)).secret

    def test(self, name: str, *, project_id: str = "") -> webhook_service_pb2.TestWebhookResponse:
        """Posts an event of the type ``webhook_test`` once; returns how the receiver answered. Raises NotFoundError."""
        request = webhook_service_pb2.TestWebhookRequest(name=name, project_id=project_id)
        return self._client.call(self._stub.TestWebhook, request)

    def delete(self, name: str, *, project_id: str = "") -> int:
        """Deletes a webhook and its dead letters; returns how many there were. Raises NotFoundError."""
        request = webhook_service_pb2.DeleteWebhookRequest(name=name, project_id=project_id)
        return (self._client.call(self._stub.DeleteWebhook, request)).dead_letters
