"""All webhooks of the sidecar."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from functools import partial

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.registry import Consumers
from cco_sidecar.bus.webhooks.delivering import Delivering
from cco_sidecar.bus.webhooks.sender import Outcome, Sender
from cco_sidecar.core import ids, signatures
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, not_found
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
_NEVER_UNUSED = 31_536_000
_UNREADABLE = "its secret cannot be decrypted; restore the credentials key, or delete the webhook and create it again"
_GONE = "the receiver answered with HTTP 410: it no longer exists"


class Webhooks:
    """Webhooks by project and name. Not thread-safe."""

    def __init__(
        self, store: WebhookStore, consumers: Consumers, sender: Sender, seal: Seal, bus: EventBus, clock: Clock
    ) -> None:
        self._store = store
        self._consumers = consumers
        self._sender = sender
        self._seal = seal
        self._bus = bus
        self._clock = clock
        self._webhooks: dict[str, dict[str, _Known]] = defaultdict(dict)
        self._changing = asyncio.Lock()
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored, and puts right what a crash left half done. Raises SidecarError."""
        for stored in await self._store.all():
            webhook = stored.webhook
            known = await self._open(stored, since="")
            try:
                known.unseal(self._seal)
            except SidecarError as problem:
                log.error("webhook %s of project %s is paused: %s", webhook.name, webhook.project_id, problem)
                webhook.paused, webhook.paused_reason = True, _UNREADABLE
            self._webhooks[webhook.project_id][webhook.name] = known
        for consumer in self._consumers.all():
            record = consumer.record
            if record.created_by == SIDECAR and record.name not in self._webhooks[record.project_id]:
                await self._consumers.delete(record.project_id, record.name)

    def start(self) -> None:
        """Begins to post."""
        for each in self._all():
            each.start()

    def of(self, project: str) -> list[pb.Webhook]:
        """Returns a project's webhooks, sorted by name."""
        known = self._webhooks.get(project, {})
        return [known[name].delivering.webhook for name in sorted(known)]

    def find(self, project: str, name: str) -> pb.Webhook:
        """Raises SidecarError (WHK_001) if there is none."""
        return self._find(project, name).delivering.webhook

    async def status(self, project: str, name: str) -> pb.WebhookStatus:
        """Returns how its deliveries go, without the number of dead letters. Raises SidecarError (WHK_001)."""
        found = pb.WebhookStatus()
        found.CopyFrom(self._find(project, name).delivering.status)
        consumer = self._consumers.find(project, name)
        found.lag = await self._consumers.lag(consumer)
        found.in_flight_count = consumer.snapshot(whole=False).in_flight_count
        return found

    async def create(self, webhook: pb.Webhook, since: str) -> str:
        """Creates a webhook, and returns its secret. Runs to completion even if the caller is cancelled. Raises
        SidecarError: REQ_001 for an invalid URL, WHK_003 if its host is not allowed, WHK_002 if there is one of that
        name, CSM_002 if there is a consumer of that name, EVT_002 for an invalid filter or cursor, CRD_002 if its
        secret cannot be encrypted."""
        self._sender.check(webhook.url)
        webhook.created_at.CopyFrom(self._clock.timestamp())
        for name, value in DEFAULTS.items():
            if not webhook.settings.HasField(name):
                setattr(webhook.settings, name, value)
        return await self._background.finish(self._create(webhook, since))

    async def _create(self, webhook: pb.Webhook, since: str) -> str:
        project, name = webhook.project_id, webhook.name
        async with self._changing:
            if name in self._webhooks.get(project, {}):
                raise conflict("WHK_002", f"webhook '{name}' exists; delete it first, or choose another name")
            secret = signatures.new_secret()
            stored = StoredWebhook(webhook, await self._seal.seal(_label(webhook), secret))
            known = await self._open(stored, since)
            try:
                await self._store.put(stored)
            except SidecarError:
                await self._consumers.delete(project, name)
                raise
            known.secret = secret
            self._webhooks[project][name] = known
            known.start()
        return signatures.secret_text(secret)

    async def update(self, project: str, name: str, url: str | None, paused: bool | None) -> pb.Webhook:
        """Changes the URL, or pauses or resumes; None leaves it as it is. Raises SidecarError: WHK_001, and as
        ``create`` does."""
        self._find(project, name)
        if url is not None:
            self._sender.check(url)
        return await self._background.finish(self._update(project, name, url, paused))

    async def _update(
        self, project: str, name: str, url: str | None, paused: bool | None, reason: str = ""
    ) -> pb.Webhook:
        async with self._changing:
            known = self._find(project, name)
            changed = pb.Webhook()
            changed.CopyFrom(known.delivering.webhook)
            if url is not None:
                changed.url = url
            if paused is not None:
                changed.paused, changed.paused_reason = paused, reason
                if not paused and not known.secret:
                    known.unseal(self._seal)
            await self._store.put(known.stored._replace(webhook=changed))
            known.change(changed)
            if changed.paused:
                await known.delivering.stop()
            else:
                known.start()
        return changed

    async def rotate(self, project: str, name: str, keep_seconds: int | None) -> str:
        """Returns a new secret. The former one also signs for ``keep_seconds``. Raises SidecarError (WHK_001,
        CRD_002)."""
        keep = _KEEP_SECONDS if keep_seconds is None else keep_seconds
        return await self._background.finish(self._rotate(project, name, keep))

    async def _rotate(self, project: str, name: str, keep_seconds: int) -> str:
        async with self._changing:
            known = self._find(project, name)
            webhook = known.delivering.webhook
            secret = signatures.new_secret()
            until = self._clock.micros() + keep_seconds * 1_000_000
            former = known.stored.sealed if known.secret else b""
            stored = StoredWebhook(webhook, await self._seal.seal(_label(webhook), secret), former, until)
            await self._store.put(stored)
            known.stored, known.former_secret, known.secret = stored, known.secret, secret
        return signatures.secret_text(secret)

    async def test(self, project: str, name: str) -> tuple[Outcome, float]:
        """Posts an event that is not published; returns the outcome, and how many milliseconds it took. Raises
        SidecarError (WHK_001, CRD_002)."""
        known = self._find(project, name)
        if not known.secret:
            known.unseal(self._seal)
        event = Event(
            event_id=ids.sortable("test"),
            event_type="webhook_test",
            publisher=OPERATOR,
            topic="webhooks",
            timestamp=self._clock.timestamp(),
        )
        event.data["webhook"] = name
        began = time.monotonic()
        outcome = await known.delivering.post(event)
        return outcome, round((time.monotonic() - began) * 1000, 1)

    async def delete(self, project: str, name: str) -> int:
        """Deletes a webhook and its consumer; returns how many dead letters there were. Runs to completion even if
        the caller is cancelled. Raises SidecarError (WHK_001)."""
        return await self._background.finish(self._delete(project, name))

    async def _delete(self, project: str, name: str) -> int:
        async with self._changing:
            known = self._find(project, name)
            await self._store.delete(project, name)
            del self._webhooks[project][name]
            await known.delivering.stop()
            return await self._consumers.delete(project, name)

    async def stop(self) -> None:
        """Takes nothing more. Requests under way may end; what they had is posted again after the next start."""
        await asyncio.gather(*(each.delivering.stop() for each in self._all()))
        await self._background.drain()
        await self._sender.close()

    def _find(self, project: str, name: str) -> _Known:
        known = self._webhooks.get(project, {}).get(name)
        if known is None:
            raise unknown_webhook(name)
        return known

    def _all(self) -> list[_Known]:
        return [each for known in self._webhooks.values() for each in known.values()]

    async def _open(self, stored: StoredWebhook, since: str) -> _Known:
        """Opens the consumer, or creates it."""
        webhook = stored.webhook
        record = consumer_pb.Consumer(
            name=webhook.name,
            project_id=webhook.project_id,
            settings=_consumer_settings(webhook.settings),
            created_by=SIDECAR,
        )
        consumer = await self._consumers.create(record, since, None)
        known = _Known(stored, self._clock)
        known.delivering = Delivering(
            webhook,
            consumer,
            self._sender,
            self._bus,
            self._clock,
            keys=known.keys,
            gone=partial(self._pause_gone, webhook.project_id, webhook.name),
        )
        return known

    def _pause_gone(self, project: str, name: str) -> None:
        log.warning("webhook %s of project %s is paused: %s", name, project, _GONE)
        self._background.start(self._update(project, name, None, True, _GONE), "pausing a webhook")


class _Known:
    """A webhook with its secrets, which are empty if they cannot be decrypted."""

    delivering: Delivering

    def __init__(self, stored: StoredWebhook, clock: Clock) -> None:
        self.stored = stored
        self.secret = b""
        self.former_secret = b""
        self._clock = clock

    def keys(self) -> list[bytes]:
        keys = [self.secret]
        if self.former_secret and self._clock.micros() < self.stored.former_until:
            keys.append(self.former_secret)
        return keys

    def unseal(self, seal: Seal) -> None:
        """Raises SidecarError (CRD_002)."""
        label = _label(self.stored.webhook)
        self.secret = seal.open(label, self.stored.sealed)
        if self.stored.former_sealed:
            self.former_secret = seal.open(label, self.stored.former_sealed)

    def change(self, webhook: pb.Webhook) -> None:
        self.stored = self.stored._replace(webhook=webhook)
        self.delivering.webhook = webhook

    def start(self) -> None:
        if not self.stored.webhook.paused:
            self.delivering.start()


def unknown_webhook(name: str) -> SidecarError:
    """Returns the error for an unknown webhook (WHK_001)."""
    return not_found("WHK_001", f"webhook '{name}' not found; list them with 'cco webhooks list'", webhook=name)


def _label(webhook: pb.Webhook) -> str:
    return f"webhook {webhook.project_id}/{webhook.name}"


def _consumer_settings(settings: pb.WebhookSettings) -> consumer_pb.ConsumerSettings:
    return consumer_pb.ConsumerSettings(
        event_types=settings.event_types,
        topics=settings.topics,
        filter=settings.filter,
        ack_wait_seconds=settings.timeout_seconds + _SPARE_SECONDS,
        max_deliveries=settings.max_deliveries,
        max_in_flight=settings.max_in_flight,
        retry_seconds=settings.retry_seconds,
        unused_seconds=_NEVER_UNUSED,
    )
