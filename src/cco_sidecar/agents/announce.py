"""The events of agents: kept with the record until they are published."""

from __future__ import annotations

import logging

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core import codec
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import SIDECAR
from cco_sidecar.storage.base import AgentStore
from orchestra.v1.agent_service_pb2 import Agent, AgentStatus
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

_TOPICS = {"agent_failed": "error"}


class Announcer:
    def __init__(self, store: AgentStore, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        # What could not be published yet, by run and event type: whose, where, what.
        self._waiting: dict[tuple[str, str], tuple[str, str, Event]] = {}
        self._noting = Background()

    async def save(self, agent: Agent, event_type: str = "") -> None:
        """Saves the agent and publishes the event, which is not lost by a crash in between. Raises SidecarError
        (STR_001) when the agent could not be saved."""
        event = _event(agent, event_type) if event_type else None
        await self._store.save(agent, event_type or None)
        if event is not None:
            await self._publish(agent.agent_id, agent.project_id, event)

    async def make_good(self, agent: Agent, event_type: str) -> None:
        """Publishes what a crash kept back; what came out before it is not published again."""
        if self._bus.came_out(agent.project_id, event_type, correlation_id(agent)):
            await self._store.announced(agent.agent_id, event_type)
        else:
            await self._publish(agent.agent_id, agent.project_id, _event(agent, event_type))

    async def retry(self) -> None:
        for waiting in list(self._waiting.values()):
            await self._publish(*waiting)

    async def close(self) -> None:
        await self._noting.drain()

    async def _publish(self, agent_id: str, project: str, event: Event) -> None:
        key = (event.correlation_id, event.event_type)
        self._waiting.pop(key, None)
        try:
            await self._bus.publish(project, event)
        except SidecarError as problem:
            log.warning("%s of %s is still to come: %s", event.event_type, agent_id, problem)
            self._waiting[key] = (agent_id, project, event)
            return
        # Nobody waits for this: a crash before it only means looking once more.
        self._noting.start(self._note(agent_id, event.event_type))

    async def _note(self, agent_id: str, event_type: str) -> None:
        try:
            await self._store.announced(agent_id, event_type)
        except SidecarError as problem:
            log.warning("that %s of %s came out is not on disk: %s", event_type, agent_id, problem)


def correlation_id(agent: Agent) -> str:
    return f"{agent.agent_id}/{agent.attempt}"


def _event(agent: Agent, event_type: str) -> Event:
    data = Struct()
    data.update(
        {
            "agent_id": agent.agent_id,
            "agent_type": agent.agent_type,
            "issue_id": agent.issue_id,
            "status": codec.enum_name(AgentStatus.DESCRIPTOR, agent.status),
            "reason": agent.reason,
            "attempt": agent.attempt,
            "spawned_by": agent.spawned_by,
        }
    )
    if agent.HasField("exit_code"):
        data["exit_code"] = agent.exit_code
    return Event(
        event_type=event_type,
        publisher=SIDECAR,
        topic=_TOPICS.get(event_type, "coordination"),
        data=data,
        correlation_id=correlation_id(agent),
    )
