"""The events that the rules themselves publish, each once per event that it is about."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.base import EventBus, Outgoing
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core import tracing
from cco_sidecar.core.ids import is_id
from cco_sidecar.core.principal import SIDECAR
from orchestra.v1.event_service_pb2 import Event

# They do not trigger rules.
OWN_EVENTS = frozenset(
    {"handover_planned", "handover_notification", "handover_gap", "spawn_blocked", "approval_requested"}
)
MAX_TEXT = 10_000


class Notices:
    """Publishes notices, and remembers those about events that are read again after a crash or a failure."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        # By the id of the event that they are about: type, rule and agent type.
        self._published: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)

    def remember(self, entry: Entry) -> None:
        """Reads a notice of an earlier sidecar from the log; other events are ignored."""
        if entry.event_type in OWN_EVENTS:
            about = entry.text("event_id") or ""
            self._published[about].add((entry.event_type, entry.text("rule"), entry.text("agent_type")))

    def clear(self) -> None:
        """Forgets all."""
        self._published.clear()

    def forget(self, entry: Entry) -> None:
        """Forgets the notices about an event that will not be read again."""
        self._published.pop(entry.event_id, None)

    async def publish(self, project: str, event_type: str, rule: str, entry: Entry, **more: Any) -> None:
        """Publishes a notice about ``entry``, unless it was published before. Raises SidecarError (STR_001)."""
        published = self._published[entry.event_id]
        key = (event_type, rule, more.get("agent_type"))
        if key in published:
            return
        data = Struct()
        issue = entry.text("issue_id")
        about = {"issue_id": issue} if issue and is_id(issue) else {}
        texts = {name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in more.items()}
        data.update({"rule": rule, "event_id": entry.event_id} | about | texts)
        event = Event(
            event_type=event_type,
            publisher=SIDECAR,
            topic="coordination",
            data=data,
            correlation_id=entry.event_id,
        )
        await self._bus.publish(Outgoing(project, tracing.stamp(event)))
        published.add(key)
