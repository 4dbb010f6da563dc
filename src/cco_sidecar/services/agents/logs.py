"""Streams the log of an agent, and follows it as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from cco_sidecar.bus.base import EventBus
from cco_sidecar.core.errors import not_found, unavailable
from cco_sidecar.core.principal import Principal
from cco_sidecar.runners import logs
from cco_sidecar.runners.launch import Launcher
from cco_sidecar.services.agents.read import AgentReader, require_own_logs
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import LogLine, StreamAgentLogsRequest

# As often as a stream of events has a cursor, so that a client can tell a silent agent from a dead connection.
_IDLE_SECONDS = 15.0


async def stream_logs(
    reader: AgentReader,
    supervisor: Supervisor,
    launcher: Launcher,
    bus: EventBus,
    request: StreamAgentLogsRequest,
    principal: Principal,
) -> AsyncIterator[list[LogLine]]:
    """Yields batches of log lines; with ``follow``, until the agent has ended, including later attempts, and an empty
    batch after 15 seconds of silence.

    Raises SidecarError: AGT_004, AGT_008 when the sidecar shuts down, AGT_009 for an unknown attempt, AUTH_003 for
    another agent's logs.
    """
    agent = (await reader.get(request.agent_id, principal)).agent
    require_own_logs(principal, agent)
    # An agent that is queued, or will be retried, is followed from its start.
    attempt = request.attempt or max(agent.attempt, 1)
    if attempt > max(agent.attempt, 1) and supervisor.find(agent.agent_id) is None:
        raise not_found("AGT_009", f"agent '{agent.agent_id}' has no attempt {attempt}; its last is {agent.attempt}")
    tail = request.tail if request.HasField("tail") else None
    while True:
        path = launcher.run_at(agent, attempt).output
        start = 0 if tail is None else await asyncio.to_thread(logs.tail_offset, path, tail)
        lines = logs.LogReader(path, start)
        batches = logs.batches(lines, tail)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            yield batch
        if not request.follow:
            return
        ends = partial(_ends, supervisor, bus, agent.agent_id, attempt)
        async for batch in logs.follow(path, lines, ends, idle_seconds=_IDLE_SECONDS):
            yield batch
        if bus.draining and supervisor.find(agent.agent_id) is not None:
            raise unavailable("AGT_008", "the sidecar is shutting down; follow again once it is back")
        if request.attempt or supervisor.find(agent.agent_id) is None:
            return
        # The agent is retried: continue with the next attempt.
        attempt, tail = attempt + 1, None


def _ends(supervisor: Supervisor, bus: EventBus, agent_id: str, attempt: int) -> bool:
    """Whether the attempt, or the sidecar, writes no more output."""
    return bus.draining or supervisor.is_over(agent_id, attempt)
