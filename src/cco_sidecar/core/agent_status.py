"""The statuses of agents, by their API names."""

from __future__ import annotations

from cco_sidecar.core.codec import enum_name
from orchestra.v1.agent_service_pb2 import AgentStatus

STATUSES = tuple(enum_name(AgentStatus.DESCRIPTOR, number) for number in AgentStatus.values() if number)
ENDED = ("completed", "failed", "stopped")
