"""119 agents at once on a repository of more than 2,000 files: each runs the whole cycle, and nothing is lost or
duplicated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from tests.support.repositories import large

from cco_sidecar.client import AsyncClient
from cco_sidecar.core.principal import PUBLISH_EVENTS
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.testing.process import Agent, SidecarProcess

AGENTS = 119


async def run_cycle(sidecar: SidecarProcess, agent: Agent, everyone: asyncio.Barrier, heard: Counter[str]) -> None:
    """Context, subscribe, store, publish, wait; then listen until everyone has been heard."""
    async with AsyncClient(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        context = await client.context.get(agent.issue, agent.type)
        assert context.context.project_structure.total_files > 2000
        own: Counter[str] = Counter()

        async def listen() -> None:
            async for event in client.events.subscribe(event_types=["hello"], since="0"):
                own[event.publisher] += 1
                if len(own) == AGENTS:
                    return

        listening = asyncio.create_task(listen())
        await everyone.wait()
        stored = await client.results.create(
            {"status": "success", "decisions": ["done"]}, agent_type=agent.type, issue_id=agent.issue
        )
        assert stored.event_published
        published = await client.events.publish("hello", {"issue_id": agent.issue}, topic="coordination")
        answer = await client.events.wait("hello", filter=f"event_id:{published.event_id}", since="0", timeout=30)
        assert [event.publisher for event in answer.events] == [agent.id]
        await asyncio.wait_for(listening, 60)
        assert set(own.values()) == {1}
        heard.update(own)


async def test_119_agents_at_once(tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    large(root, 2000)
    sidecar = SidecarProcess(tmp_path / "storage", root)
    try:
        types = load_agent_types(root)
        workers = [name for name, agent in types.items() if PUBLISH_EVENTS in agent.permissions]
        chosen = [workers[number % len(workers)] for number in range(AGENTS)]
        agents = [sidecar.agent(agent_type, issue=f"issue-{number}") for number, agent_type in enumerate(chosen)]
        everyone, heard = asyncio.Barrier(AGENTS), Counter[str]()
        await asyncio.gather(*(run_cycle(sidecar, agent, everyone, heard) for agent in agents))
        assert heard == Counter({agent.id: AGENTS for agent in agents})
        operator = sidecar.operator
        results = sidecar.request("GET", "/api/results?project_id=project-abc&limit=1000", operator).json()["results"]
        assert sorted(result["agent_id"] for result in results) == sorted(agent.id for agent in agents)
        completed = sidecar.request(
            "GET", "/api/events?project_id=project-abc&event_type=agent_completed&limit=1000", operator
        )
        publishers = Counter(event["publisher"] for event in completed.json()["events"])
        assert publishers == Counter(agent.id for agent in agents)
        # Types that may not publish still get their context.
        for name in sorted(set(types) - set(workers)):
            other = sidecar.agent(name)
            assert sidecar.request("GET", f"/api/context/{other.issue}/{name}", other).status_code == 200
    finally:
        assert sidecar.stop() == ""
