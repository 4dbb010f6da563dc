"""Subscriptions and long polls: the same reader, kept open or closed after its first batch."""

from __future__ import annotations

import logging
from typing import NamedTuple

import orjson

from cco_sidecar.bus import filters
from cco_sidecar.bus.base import EventBus, Following, Position, Sink, SubscriptionKey
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.clock import Clock, micros_of
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.principal import Principal
from orchestra.v1.event_service_pb2 import SubscribeRequest, WaitEventsRequest, WaitEventsResponse

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_MS = 30_000
DEFAULT_LIMIT = 100
FROM_NOW = "$"
# A poll without `since` continues where the agent's last one ended, if it arrives within so many seconds. Events
# published while the agent handles the previous one are therefore not lost.
RESUME_SECONDS = 60
_MAX_RESUMED = 10_000
_POLLED = "polled"


class _PollKey(NamedTuple):
    project: str
    subject: str
    event_type: str
    topic: str
    filter: str


class Polls:
    """Remembers where each agent's last poll ended."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._ended: dict[_PollKey, tuple[float, str]] = {}
        # The next poll may be at another sidecar.
        bus.hear(_POLLED, self._heard)

    async def wait(self, request: WaitEventsRequest, principal: Principal) -> Encoded:
        """Waits for matching events, up to the request's timeout in milliseconds. Raises SidecarError."""
        project = request.project_id
        key = _PollKey(project, principal.subject, request.event_type, request.topic, request.filter)
        since = "" if request.since == FROM_NOW else request.since or self._resumed(key)
        batch = await self._bus.wait(
            project,
            interest(_set(request.event_type), _set(request.topic), request.filter),
            await self._bus.start_of(project, since, None),
            principal.subject,
            timeout=(request.timeout if request.HasField("timeout") else DEFAULT_TIMEOUT_MS) / 1000,
            limit=request.limit if request.HasField("limit") else DEFAULT_LIMIT,
            since=since,
        )
        self._remember(key, batch.cursor)
        if not principal.operator:
            self._bus.tell(_POLLED, orjson.dumps([*key, batch.cursor]))
        # The callers that get the same batch share all but the time.
        shared: Encoded | None = batch.wire.memo.get("waited")
        if shared is None:
            answer = WaitEventsResponse(more_available=batch.more, gap=batch.gap)
            if batch.entries or batch.gap or self._bus.draining:
                answer.next_cursor = batch.cursor
            if not batch.entries and not batch.gap:
                answer.timeout = True
            frames = b"".join(entry.frame for entry in batch.entries)
            shared = batch.wire.memo["waited"] = Encoded(WaitEventsResponse, frames + answer.SerializeToString())
        own = WaitEventsResponse(timestamp=self._clock.timestamp())
        return Encoded(WaitEventsResponse, shared.wire, own, ("timestamp",), shared.memo)

    def _resumed(self, key: _PollKey) -> str:
        at, cursor = self._ended.get(key, (0.0, ""))
        return cursor if self._clock.seconds() - at < RESUME_SECONDS else ""

    def _heard(self, message: bytes) -> None:
        try:
            *key, cursor = orjson.loads(message)
            self._remember(_PollKey(*key), str(cursor))
        except (TypeError, ValueError):
            log.warning("another sidecar told something that cannot be read")

    def _remember(self, key: _PollKey, cursor: str) -> None:
        # Re-insert the key, so that the oldest come first.
        self._ended.pop(key, None)
        self._ended[key] = (self._clock.seconds(), cursor)
        if len(self._ended) > _MAX_RESUMED:
            del self._ended[next(iter(self._ended))]


class Subscribing:
    """The batches of one Subscribe call, serialised; ``sink`` as in Following. Raises SidecarError for an invalid
    cursor or filter."""

    def __init__(self, bus: EventBus, request: SubscribeRequest, principal: Principal) -> None:
        self._bus = bus
        self._request = request
        self._name = principal.subject
        self._following: Following | None = None
        self.sink: Sink | None = None

    def __aiter__(self) -> Subscribing:
        return self

    async def __anext__(self) -> Encoded:
        if self._following is None:
            self._following = await self._follow()
            self._following.sink = self.sink
        return (await anext(self._following)).wire

    async def aclose(self) -> None:
        if self._following is not None:
            await self._following.aclose()

    async def _follow(self) -> Following:
        request = self._request
        since_micros = micros_of(request.since_time) if request.HasField("since_time") else None
        since = "" if request.since == FROM_NOW else request.since
        start = await self._bus.start_of(request.project_id, since, since_micros)
        wanted = interest(frozenset(request.event_types), frozenset(request.topics), request.filter)
        if request.HasField("last") and not request.since and since_micros is None:
            start = await self._before_last(wanted, request.last) or start
        return self._bus.follow(request.project_id, wanted, start, self._name, since=since)

    async def _before_last(self, wanted: SubscriptionKey, count: int) -> Position | None:
        """Returns the position before the newest ``count`` matching events; None if there are none."""
        matches = filters.parse(wanted.filter).matches if wanted.filter else None

        def keep(entry: Entry) -> bool:
            return wanted.accepts(entry.topic, entry.event_type) and (matches is None or matches(entry.fields))

        found, _ = await self._bus.select(self._request.project_id, None, count, keep, self._name)
        return Position(found[0].seq - 1) if found else None


def interest(event_types: frozenset[str], topics: frozenset[str], filter_text: str) -> SubscriptionKey:
    """Returns the key of a subscription; empty sets match everything."""
    return SubscriptionKey(event_types, topics, filter_text.strip())


def _set(value: str) -> frozenset[str]:
    return frozenset({value} if value else ())
