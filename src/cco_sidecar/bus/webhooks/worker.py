"""The worker of a webhook: it takes the deliveries of its consumer, posts them, and settles them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import orjson

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.bus.consumers.ledger import Holder, Item
from cco_sidecar.bus.delivery import HEARTBEAT_SECONDS
from cco_sidecar.bus.webhooks.sender import GONE, Outcome, Sender
from cco_sidecar.core import codec
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.cloudevents import STRUCTURED, cloud_event_of
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.principal import SIDECAR
from cco_sidecar.core.retry import Backoff, doubled
from cco_sidecar.core.signatures import sign
from cco_sidecar.storage.event_stores import StoredWebhook
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.webhook_service_pb2 import Webhook, WebhookStatus

log = logging.getLogger(__name__)

MAX_REQUESTS = 8
MAX_DELAY_SECONDS = 3600.0
_CLOSE_SECONDS = 2.0


_TRACE = ("traceparent", "tracestate")


def _is_header(value: str) -> bool:
    """Whether a text of a publisher may be the value of a header."""
    return value.isascii() and value.isprintable()


class Secrets(NamedTuple):
    """The secret that a webhook signs with, and the one before, which also signs until ``until``, in Unix
    microseconds."""

    current: bytes
    former: bytes = b""
    until: int = 0

    def at(self, now_micros: int) -> Sequence[bytes]:
        """Returns the secrets to sign with."""
        return [self.current, self.former] if self.former and now_micros < self.until else [self.current]


class WebhookWorker:
    """``secrets`` is None if they cannot be decrypted: then it does not start. ``gone(worker, url)`` is called when the
    receiver at a URL says that it no longer exists.
    """

    def __init__(
        self,
        stored: StoredWebhook,
        secrets: Secrets | None,
        consumer: Consumer,
        sender: Sender,
        bus: EventBus,
        clock: Clock,
        gone: Callable[[WebhookWorker, str], None],
    ) -> None:
        self.stored = stored
        self.secrets = secrets
        self.consumer = consumer
        self.status = WebhookStatus()
        self._sender = sender
        self._bus = bus
        self._clock = clock
        self._gone = gone
        self._taking: asyncio.Task[None] | None = None
        self._requests = Background()
        # Events that the receiver was not told of, because they are no longer retained.
        self._missed = 0

    @property
    def webhook(self) -> Webhook:
        return self.stored.webhook

    def start(self) -> None:
        """Begins to post, unless it already does, is paused, or has no secret."""
        if self.webhook.paused or self.secrets is None:
            return
        if self._taking is None:
            name = f"webhook {self.webhook.project_id}/{self.webhook.name}"
            self._taking = self._requests.start(self._run(), name)

    async def stop(self) -> None:
        """Takes nothing more, and gives the requests under way a moment to end. It may be started again meanwhile."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        ending, self._requests = self._requests, Background()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await ending.drain()
        await ending.end()

    async def close(self) -> None:
        """Stops for good."""
        await self.stop()
        await self._sender.close()

    async def post(self, event: Event, missed: int = 0) -> Outcome:
        """Posts an event once. ``missed`` is how many events before it are no longer retained."""
        settings = self.webhook.settings
        if settings.cloud_events:
            body, kind = orjson.dumps(cloud_event_of(event)), STRUCTURED
        else:
            body, kind = codec.to_json(event), "application/json"
        now = self._clock.micros()
        assert self.secrets is not None, "it is not started without"
        headers = sign(self.secrets.at(now), event.event_id, now // 1_000_000, body)
        headers |= {"content-type": kind, "user-agent": "cco-sidecar"}
        headers |= {name: value for name in _TRACE if (value := getattr(event, name)) and _is_header(value)}
        if missed:
            headers["cco-missed-events"] = str(missed)
        return await self._sender.post(self.webhook.url, headers, body, settings.timeout_seconds)

    async def _run(self) -> None:
        """Takes deliveries until the consumer is deleted or the bus drains; a failure of the bus is waited for."""
        backoff = Backoff()
        while True:
            try:
                await self._take(backoff)
                return
            except SidecarError as problem:
                if problem.kind is Kind.NOT_FOUND:
                    return
                log.warning("webhook %s cannot take events, will retry: %s", self.webhook.name, problem)
                self._note_failure(f"events cannot be read: {problem.message}")
            await asyncio.sleep(backoff.failed())

    async def _take(self, backoff: Backoff) -> None:
        worker = self.consumer.join(Holder(SIDECAR), min(MAX_REQUESTS, self.webhook.settings.max_in_flight))
        try:
            while (taken := await self._bus.unless_draining(worker.take(HEARTBEAT_SECONDS))) is not None:
                backoff.succeeded()
                items, gap = taken
                if gap is not None:
                    # 0 when unknown.
                    self._missed += gap.missed or 1
                    log.warning("webhook %s missed events that are no longer retained", self.webhook.name)
                for item in items:
                    self._requests.start(self._deliver(item, item.delivery_id), "a webhook's request")
        finally:
            self.consumer.leave(worker)

    async def _deliver(self, item: Item, delivery_id: str) -> None:
        url = self.webhook.url
        missed, self._missed = self._missed, 0
        try:
            outcome = await self.post(item.entry.event, missed)
        except Exception:
            log.exception("webhook %s failed", self.webhook.name)
            outcome = Outcome(0, "internal error; see the log")
        try:
            if not outcome.failure:
                self.status.succeeded += 1
                self.status.last_success_at.CopyFrom(self._clock.timestamp())
                await self.consumer.acknowledge([delivery_id], SIDECAR)
                return
            self._missed += missed
            self.status.failed += 1
            self._note_failure(outcome.failure)
            delay = delay_of(self.webhook.settings.retry_seconds, item.attempt, outcome.retry_after)
            await self.consumer.reject([delivery_id], SIDECAR, outcome.failure, delay, final=False)
        except SidecarError as problem:
            # It is settled in memory, and saved later.
            log.warning("webhook %s: %s", self.webhook.name, problem)
        if outcome.status == GONE:
            self._gone(self, url)

    def _note_failure(self, failure: str) -> None:
        self.status.last_failure = failure
        self.status.last_failure_at.CopyFrom(self._clock.timestamp())


def delay_of(retry_seconds: float, attempt: int, retry_after: float | None) -> float:
    """Returns the seconds until the next attempt.

    They double each time, and are shortened at random, so that what failed together is not sent together again. It is
    at least what the receiver asked for, and at most an hour.
    """
    pause = doubled(retry_seconds, attempt - 1, MAX_DELAY_SECONDS) * random.uniform(0.5, 1.0)
    return min(MAX_DELAY_SECONDS, max(pause, retry_after or 0.0))
