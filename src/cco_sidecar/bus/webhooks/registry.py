"""All webhooks of the sidecar."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from functools import partial

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.bus.consumers.registry import Consumers
from cco_sidecar.bus.webhooks.sender import Outcome, Sender
from cco_sidecar.bus.webhooks.target import checked
from cco_sidecar.bus.webhooks.worker import Secrets, WebhookWorker
from cco_sidecar.core import ids, signatures
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, not_found
from cco_sidecar.core.hosts import AllowedHosts
from cco_sidecar.core.principal import OPERATOR, SIDECAR
from cco_sidecar.storage.event_stores import StoredWebhook, WebhookStore
from cco_sidecar.storage.sealing import Seal
from orchestra.v1 import consumer_service_pb2 as consumer_pb
from orchestra.v1 import webhook_service_pb2 as pb
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

DEFAULTS = {"timeout_seconds": 10, "max_deliveries": 12, "max_in_flight": 100, "retry_seconds": 5.0}
_KEEP_SECONDS = 86_400
# Beyond the time that a request may take.
_SPARE_SECONDS = 5
_UNREADABLE = "its secret cannot be decrypted; restore the credentials key, or delete the webhook and create it again"
_GONE = "the receiver answered with HTTP 410 (gone)"


class Webhooks:
    """Webhooks by project and name. Not thread-safe."""

    def __init__(
        self, store: WebhookStore, consumers: Consumers, hosts: AllowedHosts, seal: Seal, bus: EventBus, clock: Clock
    ) -> None:
        self._store = store
        self._consumers = consumers
        self._hosts = hosts
        self._seal = seal
        self._bus = bus
        self._clock = clock
        self._workers: dict[str, dict[str, WebhookWorker]] = defaultdict(dict)
        self._changing = asyncio.Lock()
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored, and removes what a crash left half done. Raises SidecarError."""
        for stored in await self._store.all():
            webhook = stored.webhook
            try:
                secrets = self._unsealed(stored)
            except SidecarError as problem:
                log.error("webhook %s of project %s is paused: %s", webhook.name, webhook.project_id, problem)
                secrets = None
            self._workers[webhook.project_id][webhook.name] = self._worker(stored, secrets, await self._opened(webhook))
        for consumer in self._consumers.all():
            record = consumer.record
            if record.created_by == SIDECAR and record.name not in self._workers[record.project_id]:
                await self._consumers.delete(record.project_id, record.name)

    def start(self) -> None:
        """Begins to post."""
        for worker in self._all():
            worker.start()

    async def of(self, project: str) -> list[pb.Webhook]:
        """Returns a project's webhooks, sorted by name, with their status."""
        workers = dict(self._workers.get(project, {}))
        return [await self._shown(workers[name]) for name in sorted(workers)]

    async def get(self, project: str, name: str) -> pb.Webhook:
        """Returns a webhook with its status. Raises SidecarError (WHK_001)."""
        return await self._shown(self._find(project, name))

    async def create(self, asked: pb.Webhook, since: str) -> tuple[pb.Webhook, str]:
        """Creates a webhook; returns it and its secret. Runs to completion even if the caller is cancelled. Raises
        SidecarError: REQ_001 for an invalid URL, WHK_003 if its host is not allowed, WHK_002 if there is one of that
        name, CSM_002 if there is a consumer of that name, EVT_002 for an invalid filter or cursor, CRD_002 if its
        secret cannot be encrypted."""
        webhook = pb.Webhook()
        webhook.CopyFrom(asked)
        checked(webhook.url, self._hosts)
        webhook.created_at.CopyFrom(self._clock.timestamp())
        for name, value in DEFAULTS.items():
            if not webhook.settings.HasField(name):
                setattr(webhook.settings, name, value)
        return await self._background.finish(self._create(webhook, since))

    async def _create(self, webhook: pb.Webhook, since: str) -> tuple[pb.Webhook, str]:
        project, name = webhook.project_id, webhook.name
        async with self._changing:
            if name in self._workers.get(project, {}):
                raise conflict("WHK_002", f"webhook '{name}' exists; delete it first, or choose another name")
            secret = signatures.new_secret()
            stored = StoredWebhook(webhook, await self._seal.seal(_label(webhook), secret))
            consumer = await self._consumers.create(_consumer_of(webhook), since, None)
            try:
                await self._store.put(stored)
            except SidecarError:
                await self._consumers.delete(project, name)
                raise
            worker = self._workers[project][name] = self._worker(stored, Secrets(secret), consumer)
            worker.start()
            return await self._shown(worker), signatures.secret_text(secret)

    async def update(self, project: str, name: str, url: str | None, paused: bool | None) -> pb.Webhook:
        """Changes the URL, or pauses or resumes; None leaves it as it is. Raises SidecarError: WHK_001, and as
        ``create`` does."""
        self._find(project, name)
        if url is not None:
            checked(url, self._hosts)
        return await self._background.finish(self._update(project, name, url, paused))

    async def _update(self, project: str, name: str, url: str | None, paused: bool | None) -> pb.Webhook:
        async with self._changing:
            worker = self._find(project, name)
            changed = pb.Webhook()
            changed.CopyFrom(worker.webhook)
            if url is not None:
                changed.url = url
            if paused is not None:
                changed.paused, changed.paused_reason = paused, ""
                if not paused and worker.secrets is None:
                    worker.secrets = self._unsealed(worker.stored)
            await self._change(worker, changed)
            return await self._shown(worker)

    def _gone(self, worker: WebhookWorker, url: str) -> None:
        self._background.start(self._pause_gone(worker, url), "pausing a webhook")

    async def _pause_gone(self, worker: WebhookWorker, url: str) -> None:
        """Pauses a webhook whose receiver is gone, unless it was deleted or has another URL meanwhile."""
        async with self._changing:
            webhook = worker.webhook
            known = self._workers.get(webhook.project_id, {}).get(webhook.name)
            if known is not worker or webhook.url != url or webhook.paused:
                return
            log.warning("webhook %s of project %s is paused: %s", webhook.name, webhook.project_id, _GONE)
            changed = pb.Webhook()
            changed.CopyFrom(worker.webhook)
            changed.paused, changed.paused_reason = True, _GONE
            await self._change(worker, changed)

    async def _change(self, worker: WebhookWorker, webhook: pb.Webhook) -> None:
        stored = worker.stored._replace(webhook=webhook)
        await self._store.put(stored)
        worker.stored = stored
        if webhook.paused:
            # Not awaited: changes of other webhooks need not wait for its requests.
            self._background.start(worker.stop(), "a webhook's requests")
        else:
            worker.start()

    async def rotate(self, project: str, name: str, keep_seconds: int | None) -> str:
        """Returns a new secret. The former one also signs for ``keep_seconds``. Raises SidecarError (WHK_001,
        CRD_002)."""
        keep = _KEEP_SECONDS if keep_seconds is None else keep_seconds
        return await self._background.finish(self._rotate(project, name, keep))

    async def _rotate(self, project: str, name: str, keep_seconds: int) -> str:
        async with self._changing:
            worker = self._find(project, name)
            secret = signatures.new_secret()
            until = self._clock.micros() + keep_seconds * 1_000_000
            before = worker.secrets
            sealed = await self._seal.seal(_label(worker.webhook), secret)
            stored = StoredWebhook(worker.webhook, sealed, worker.stored.sealed if before else b"", until)
            await self._store.put(stored)
            worker.stored = stored
            worker.secrets = Secrets(secret, before.current if before else b"", until)
            worker.start()
        return signatures.secret_text(secret)

    async def test(self, project: str, name: str) -> tuple[Outcome, float]:
        """Posts an event that is not published; returns the outcome, and how many milliseconds it took. Raises
        SidecarError (WHK_001, CRD_002)."""
        worker = self._find(project, name)
        if worker.secrets is None:
            worker.secrets = self._unsealed(worker.stored)
        event = Event(
            event_id=ids.sortable("test"),
            event_type="webhook_test",
            publisher=OPERATOR,
            topic="webhooks",
            timestamp=self._clock.timestamp(),
        )
        event.data["webhook"] = name
        began = time.monotonic()
        outcome = await worker.post(event)
        return outcome, round((time.monotonic() - began) * 1000, 1)

    async def delete(self, project: str, name: str) -> int:
        """Deletes a webhook and its consumer; returns how many dead letters there were. Runs to completion even if
        the caller is cancelled. Raises SidecarError (WHK_001)."""
        return await self._background.finish(self._delete(project, name))

    async def _delete(self, project: str, name: str) -> int:
        async with self._changing:
            worker = self._find(project, name)
            await self._store.delete(project, name)
            del self._workers[project][name]
            self._background.start(worker.close(), "a webhook's requests")
            return await self._consumers.delete(project, name)

    async def drop(self) -> None:
        """Stops, and forgets all: another sidecar has them."""
        # One that is being created would start after the others have stopped.
        await self._background.drain()
        await self.stop()
        self._workers.clear()

    async def stop(self) -> None:
        """Takes nothing more. Requests under way may end; what they had is posted again after the next start."""
        await asyncio.gather(*(worker.close() for worker in self._all()))
        await self._background.drain()

    def _find(self, project: str, name: str) -> WebhookWorker:
        worker = self._workers.get(project, {}).get(name)
        if worker is None:
            raise unknown_webhook(name)
        return worker

    def _all(self) -> list[WebhookWorker]:
        return [worker for workers in self._workers.values() for worker in workers.values()]

    def _worker(self, stored: StoredWebhook, secrets: Secrets | None, consumer: Consumer) -> WebhookWorker:
        return WebhookWorker(stored, secrets, consumer, Sender(self._hosts), self._bus, self._clock, self._gone)

    async def _opened(self, webhook: pb.Webhook) -> Consumer:
        """Returns the consumer of a stored webhook; creates it if a crash took it."""
        try:
            return self._consumers.find(webhook.project_id, webhook.name)
        except SidecarError:
            return await self._consumers.create(_consumer_of(webhook), "", None)

    def _unsealed(self, stored: StoredWebhook) -> Secrets:
        """Raises SidecarError (CRD_002)."""
        opened = partial(self._seal.open, _label(stored.webhook))
        former = opened(stored.former_sealed) if stored.former_sealed else b""
        return Secrets(opened(stored.sealed), former, stored.former_until)

    async def _shown(self, worker: WebhookWorker) -> pb.Webhook:
        """Returns a copy with the status, except the number of dead letters."""
        found = pb.Webhook()
        found.CopyFrom(worker.webhook)
        if worker.secrets is None:
            found.paused, found.paused_reason = True, _UNREADABLE
        found.status.CopyFrom(worker.status)
        found.status.lag = await self._consumers.lag(worker.consumer)
        found.status.in_flight_count = worker.consumer.snapshot(whole=False).in_flight_count
        return found


def unknown_webhook(name: str) -> SidecarError:
    """Returns the error for an unknown webhook (WHK_001)."""
    return not_found("WHK_001", f"webhook '{name}' not found; list them with 'cco webhooks list'", webhook=name)


def _label(webhook: pb.Webhook) -> str:
    return f"webhook {webhook.project_id}/{webhook.name}"


def _consumer_of(webhook: pb.Webhook) -> consumer_pb.Consumer:
    settings = webhook.settings
    return consumer_pb.Consumer(
        name=webhook.name,
        project_id=webhook.project_id,
        settings=consumer_pb.ConsumerSettings(
            event_types=settings.event_types,
            topics=settings.topics,
            filter=settings.filter,
            ack_wait_seconds=settings.timeout_seconds + _SPARE_SECONDS,
            max_deliveries=settings.max_deliveries,
            max_in_flight=settings.max_in_flight,
            retry_seconds=settings.retry_seconds,
        ),
        created_by=SIDECAR,
    )
