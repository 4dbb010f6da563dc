"""A spawn or a resume whose caller is told that it failed, although its record is stored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, OutcomeUnknown, SidecarError
from cco_sidecar.core.tracing import Tracer
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.presets import Runner
from cco_sidecar.storage.sql.agents import SqlAgents
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.supervision.placement import Placement
from cco_sidecar.supervision.records import Records
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_PENDING,
    Agent,
    SpawnAgentRequest,
)


class LosesConnections(SqlAgents):
    """Loses the connection during the next commits; the changes are stored."""

    losses = 0

    async def add(self, agent: Agent, request: SpawnAgentRequest, *, created: int) -> int:
        number = await super().add(agent, request, created=created)
        self._lose()
        return number

    async def save(self, agent: Agent, event: Any = None) -> Any:
        saved = await super().save(agent, event)
        self._lose()
        return saved

    async def move(self, agent: Agent, before: Agent) -> bool:
        moved = await super().move(agent, before)
        self._lose()
        return moved

    def _lose(self) -> None:
        if self.losses:
            self.losses -= 1
            raise OutcomeUnknown(Kind.INTERNAL, "STR_001", "the connection to the database was lost")


class Sent:
    """Stands in for the outbox."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def publish(self, announcement: Any) -> str:
        self.events.append(announcement.event.event_type)
        return "evt-1"


class AnyRunner:
    def of(self, known: Any) -> Runner:
        return Runner()


class AnyType:
    def require(self, agent_type: str) -> None:
        return None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LosesConnections]:
    with contextlib.closing(Database(Sqlite(tmp_path / "records.db"))) as database:
        yield LosesConnections(database)


@pytest.fixture
def sent() -> Sent:
    return Sent()


class NoReading:
    async def read_earlier(self, active: Any, last: int) -> None:
        return None


@pytest.fixture
def supervisor(store: LosesConnections, sent: Sent) -> Supervisor:
    unused: Any = None
    clock = Clock()
    records = Records(store, sent, unused, unused, unused, Tracer(), clock)  # type: ignore[arg-type]
    parts: dict[str, Any] = {"attempts": NoReading(), "runners": AnyRunner(), "types": AnyType(), "clock": clock}
    return Supervisor(store, records=records, placement=Placement(Hub(60, lambda: 0.0, clock), 0), **parts)


async def nothing_open(store: LosesConnections) -> None:
    async with asyncio.timeout(10):
        while await store.unfinished():
            await asyncio.sleep(0)


async def test_the_spawned_agent_is_ended(supervisor: Supervisor, store: LosesConnections, sent: Sent) -> None:
    store.losses = 1
    agent = Agent(agent_id="a", project_id="p", status=AGENT_STATUS_PENDING)
    with pytest.raises(SidecarError, match="connection"):
        await supervisor.spawn(agent, SpawnAgentRequest(agent_type="x"))
    await nothing_open(store)
    await supervisor.close(keep_agents=True)
    stored = await store.by_id("a")
    assert stored is not None and stored.agent.status == AGENT_STATUS_FAILED
    assert stored.agent.reason == "its spawn was reported as failed" and stored.agent.HasField("ended_at")
    assert sent.events == ["agent_failed"]


async def test_the_resumed_agent_is_as_before(supervisor: Supervisor, store: LosesConnections) -> None:
    ended = Agent(agent_id="a", project_id="p", status=AGENT_STATUS_COMPLETED, attempt=1, reason="exit 0")
    await store.add(ended, SpawnAgentRequest(agent_type="x"), created=1)
    store.losses = 1
    with pytest.raises(SidecarError, match="connection"):
        await supervisor.resume(ended, "", "resumed")
    with pytest.raises(SidecarError, match="has not ended"):
        await supervisor.resume(ended, "", "its record is not certain yet")
    await nothing_open(store)
    await supervisor.close(keep_agents=True)
    stored = await store.by_id("a")
    assert stored is not None and (stored.agent.status, stored.agent.reason) == (AGENT_STATUS_COMPLETED, "exit 0")


async def test_a_stop_whose_end_is_not_stored_is_not_said_to_be_done(
    supervisor: Supervisor, store: LosesConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the sidecar stops meanwhile: the next one takes the agent over, which still runs."""
    active = await supervisor.spawn(Agent(agent_id="a", project_id="p"), SpawnAgentRequest(agent_type="x"))
    assert active is not None

    async def cut_off(_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(supervisor._records, "save_end", cut_off)
    with pytest.raises(SidecarError, match="shutting down") as refused:
        await supervisor.stop(active, "stopped by the operator", grace=0)
    assert refused.value.code == "AGT_008"
    await supervisor.close(keep_agents=True)
