"""One webhook at work: it takes its consumer's deliveries, posts them, and settles them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.bus.consumers.ledger import Holder, Item
from cco_sidecar.bus.delivery import HEARTBEAT_SECONDS
from cco_sidecar.bus.webhooks.sender import GONE, Outcome, Sender
from cco_sidecar.core import cloudevents, codec
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import SIDECAR
from cco_sidecar.core.signatures import sign
from orchestra.v1.event_service_pb2 import Event, Gap
from orchestra.v1.webhook_service_pb2 import Webhook, WebhookStatus

log = logging.getLogger(__name__)

MAX_REQUESTS = 8
_MAX_DELAY_SECONDS = 3600.0
_CLOSE_SECONDS = 2.0


class Delivering:
    """``keys`` returns the secrets to sign with; ``gone`` is called when the receiver says that it no longer exists."""

    def __init__(
        self,
        webhook: Webhook,
        consumer: Consumer,
        sender: Sender,
        bus: EventBus,
        clock: Clock,
        *,
        keys: Callable[[], Sequence[bytes]],
        gone: Callable[[], None],
    ) -> None:
        self.webhook = webhook
        self.status = WebhookStatus()
        self._consumer = consumer
        self._sender = sender
        self._bus = bus
        self._clock = clock
        self._keys = keys
        self._gone = gone
        self._taking: asyncio.Task[None] | None = None
        self._requests = Background()
        # Events that the receiver was not told of, because they are no longer retained.
        self._missed = 0

    def start(self) -> None:
        """Begins to post, unless it already does."""
        if self._taking is None or self._taking.done():
            name = f"webhook {self.webhook.project_id}/{self.webhook.name}"
            self._taking = self._requests.start(self._take(), name)

    async def stop(self) -> None:
        """Takes nothing more, and gives the requests that are under way a moment to end."""
        if self._taking is not None:
            self._taking.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._requests.drain()
        await self._requests.end()

    async def post(self, event: Event) -> Outcome:
        """Posts one event once."""
        settings = self.webhook.settings
        if settings.cloud_events:
            body, kind = orjson.dumps(cloudevents.of(event)), cloudevents.STRUCTURED
        else:
            body, kind = codec.to_json(event), "application/json"
        missed = self._missed
        headers = sign(self._keys(), event.event_id, self._clock.micros() // 1_000_000, body)
        headers |= {"content-type": kind, "user-agent": "cco-sidecar"}
        if missed:
            headers["cco-missed-events"] = str(missed)
        outcome = await self._sender.post(self.webhook.url, headers, body, settings.timeout_seconds)
        if outcome.failure:
            self.status.failed += 1
            self.status.last_failure = outcome.failure
            self.status.last_failure_at.CopyFrom(self._clock.timestamp())
        else:
            self._missed -= missed
            self.status.succeeded += 1
            self.status.last_success_at.CopyFrom(self._clock.timestamp())
        return outcome

    async def _take(self) -> None:
        worker = self._consumer.join(Holder(SIDECAR), min(MAX_REQUESTS, self.webhook.settings.max_in_flight))
        try:
            while (taken := await self._bus.unless_draining(worker.take(HEARTBEAT_SECONDS))) is not None:
                items, gap = taken
                self._note(gap)
                for item in items:
                    self._requests.start(self._deliver(item, item.delivery_id), "a webhook's request")
        except SidecarError as problem:
            log.info("webhook %s ends: %s", self.webhook.name, problem)
        finally:
            self._consumer.leave(worker)

    def _note(self, gap: Gap | None) -> None:
        if gap is not None:
            # 0 when unknown.
            self._missed += gap.missed or 1
            log.warning("webhook %s missed %d events: they are no longer retained", self.webhook.name, gap.missed)

    async def _deliver(self, item: Item, delivery_id: str) -> None:
        outcome = await self.post(item.entry.event)
        try:
            if not outcome.failure:
                await self._consumer.acknowledge([delivery_id], SIDECAR)
                return
            delay = self._delay(item.attempt, outcome.retry_after)
            await self._consumer.reject([delivery_id], SIDECAR, outcome.failure, delay, final=False)
        except SidecarError as problem:
            # It is settled in memory, and saved later.
            log.warning("webhook %s: %s", self.webhook.name, problem)
        if outcome.status == GONE:
            self._gone()

    def _delay(self, attempt: int, retry_after: float | None) -> float:
        """Returns the seconds until the next attempt: doubled each time, shortened at random so that not everything
        that failed together comes again together; or what the receiver asked for."""
        if retry_after is not None:
            return min(_MAX_DELAY_SECONDS, retry_after)
        doubled = self.webhook.settings.retry_seconds * 2.0 ** min(attempt - 1, 32)
        return float(min(_MAX_DELAY_SECONDS, doubled) * random.uniform(0.5, 1.0))
