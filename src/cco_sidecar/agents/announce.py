"""The events of agents: kept with the record until they are published."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import AgentStore
from orchestra.v1.agent_service_pb2 import Agent, AgentStatus
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

PUBLISHER = "orchestration-sidecar"
_TOPICS = {"agent_failed": "error"}


class Announcer:
    def __init__(self, store: AgentStore, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # Agent and event type of what could not be published yet.
        self.waiting: dict[str, tuple[Agent, str]] = {}

    async def save(self, agent: Agent, event_type: str = "") -> None:
        """Saves the agent and publishes the event, which is not lost by a crash in between. Raises SidecarError
        (STR_001) when the agent could not be saved."""
        # One event of an agent after the other: the record remembers one that is still to come.
        async with self._locks.setdefault(agent.agent_id, asyncio.Lock()):
            await self._store.save(agent, event_type)
            if event_type:
                await self._publish(agent, event_type)

    async def publish(self, agent: Agent, event_type: str, *, after_restart: bool = False) -> None:
        """Publishes what is saved as unannounced."""
        async with self._locks.setdefault(agent.agent_id, asyncio.Lock()):
            await self._publish(agent, event_type, after_restart=after_restart)

    async def _publish(self, agent: Agent, event_type: str, *, after_restart: bool = False) -> None:
        self.waiting.pop(agent.agent_id, None)
        try:
            if not (after_restart and self._published(agent, event_type)):
                await self._bus.publish(agent.project_id, _event(agent, event_type))
            await self._store.save(agent)
        except SidecarError as problem:
            log.warning("%s of %s is still to come: %s", event_type, agent.agent_id, problem)
            self.waiting[agent.agent_id] = (agent, event_type)

    async def retry(self) -> None:
        for agent, event_type in list(self.waiting.values()):
            await self.publish(agent, event_type)

    def _published(self, agent: Agent, event_type: str) -> bool:
        """The event came out before a crash, and only the record does not know it."""
        wanted = (event_type, correlation_id(agent))
        return any(
            (entry.fields["event_type"], entry.fields["correlation_id"]) == wanted
            for entry in self._bus.newest_entries(agent.project_id)
            if entry.event_type == event_type
        )


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
        publisher=PUBLISHER,
        topic=_TOPICS.get(event_type, "coordination"),
        data=data,
        correlation_id=correlation_id(agent),
    )
