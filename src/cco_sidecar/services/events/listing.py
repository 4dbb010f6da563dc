"""Retained events: one, or a list."""

from __future__ import annotations

from cco_sidecar.bus import filters
from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.journal import is_event_id
from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import invalid_request, not_found
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.events.subscribe import FROM_NOW
from orchestra.v1.event_service_pb2 import Gap, GetEventRequest, GetEventResponse, ListEventsRequest, ListEventsResponse

DEFAULT_LIMIT = 100


async def list_events(bus: EventBus, request: ListEventsRequest, principal: Principal) -> Encoded:
    """Returns the retained events that match, with a cursor if there are more. Raises SidecarError for an invalid
    filter or cursor."""
    project = request.project_id
    limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    if request.latest and (request.since or request.HasField("since_time")):
        raise invalid_request("latest: cannot be combined with since and since_time", field="latest")
    if request.before and (request.since or request.HasField("since_time") or request.latest):
        raise invalid_request("before: cannot be combined with since, since_time and latest", field="before")
    if request.before and not is_event_id(request.before):
        raise invalid_request(f"before: expected an event id, got '{request.before[:100]}'", field="before")
    # Of the newest events, which are looked at first.
    seen: set[tuple[str, str]] = set()
    matches = filters.parse(request.filter.strip()).matches if request.filter.strip() else None

    def keep(entry: Entry) -> bool:
        if request.topic and entry.topic != request.topic:
            return False
        if request.event_type and entry.event_type != request.event_type:
            return False
        if request.correlation_id and entry.correlation_id != request.correlation_id:
            return False
        if matches is not None and not matches(entry.fields):
            return False
        return not request.latest or _is_first(entry, seen)

    start = None
    if request.since == FROM_NOW:
        start = await bus.start_of(project, "", None)
    elif request.since or request.HasField("since_time"):
        since_micros = micros_of(request.since_time) if request.HasField("since_time") else None
        start = await bus.start_of(project, request.since, since_micros)
    end = await bus.start_of(project, request.before, None) if request.before else None
    entries, more = await bus.select(project, start, limit, keep, principal.subject, end)
    tail = ListEventsResponse()
    if more:
        tail.next_cursor = await bus.cursor(project, entries[-1].seq)
    if start is not None and start.gap:
        resumed = await bus.cursor(project, start.seq)
        tail.gap.CopyFrom(Gap(since=request.since, resumed_after=resumed, missed=start.missed))
    frames = b"".join(entry.frame for entry in entries)
    return Encoded(ListEventsResponse, frames + tail.SerializeToString())


async def get_event(bus: EventBus, request: GetEventRequest) -> Encoded:
    """Returns one retained event. Raises SidecarError (EVT_006)."""
    entry = await bus.find(request.project_id, request.event_id) if is_event_id(request.event_id) else None
    if entry is None:
        raise not_found("EVT_006", f"event '{request.event_id}' not found; it may no longer be retained")
    return Encoded(GetEventResponse, entry.frame)


def _is_first(entry: Entry, seen: set[tuple[str, str]]) -> bool:
    """Reports whether an event has a key that was not seen yet, and remembers it."""
    key = (entry.topic, entry.state_key)
    if not entry.state_key or key in seen:
        return False
    seen.add(key)
    return True
