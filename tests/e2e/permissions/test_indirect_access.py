"""What an agent may not do itself, it cannot get done through others either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.permissions.oracle import ANOTHER_TYPE, ARCHITECT, ISSUES, MAY, OTHER, OWN, PROJECTS
from tests.e2e.permissions.world import World, start
from tests.support.sidecars import until
from tests.support.transports import Transports

from cco_sidecar.testing.process import Agent, SidecarProcess


def printing(world: World, text: str) -> Agent:
    """An agent that printed something and was then stopped."""
    place = PROJECTS[OWN], ISSUES[OTHER]
    agent = world.spawn(*place, command=["sh", "-c", f"echo {text}; exec sleep 600"])
    until(lambda: text in json.dumps(world.ask("StreamAgentLogs", agent_id=agent.id)), "its output")
    world.ask("StopAgent", agent_id=agent.id, force=True)
    return agent


@pytest.mark.parametrize("who", [who for who in MAY if who != ARCHITECT])
def test_another_agents_output_is_not_leaked_by_its_status(world: World, who: str) -> None:
    """Its logs are refused, and its last lines are the same text."""
    world.changed()
    agent = printing(world, "printed-for-few")
    assert "printed-for-few" in json.dumps(world.transports.ask("GetAgent", world.agents[ARCHITECT], agent_id=agent.id))
    for transport in world.transports.of("StreamAgentLogs"):
        assert transport.call({"agent_id": agent.id}, world.agents[who]).status == transport.status(403)
    for rpc, request in (("GetAgent", {"agent_id": agent.id}), ("ListAgents", {})):
        for transport in world.transports.of(rpc):
            assert "printed-for-few" not in json.dumps(transport.call(request, world.agents[who]).body), (
                rpc,
                transport.name,
            )


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD"])
def test_an_agent_chooses_no_program_by_the_environment(world: World, tmp_path: Path, name: str) -> None:
    """The operator decides what runs: a `command` is refused, and so is an environment that changes which program it
    is.
    """
    fake = tmp_path / "sleep"
    fake.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    fake.chmod(0o755)
    value = f"{tmp_path}:/usr/bin:/bin" if name == "PATH" else str(fake)
    request = {"agent_type": ANOTHER_TYPE, "issue_id": ISSUES[OWN], "environment": {name: value}}
    for transport in world.transports.of("SpawnAgent"):
        with world.untouched():
            answer = transport.call(request, world.agents[ARCHITECT])
            world.stop_spawned("SpawnAgent" if not answer.code else "", answer.body)
            assert answer.status in (transport.status(403), transport.status(400)), (transport.name, answer.body)


@pytest.mark.parametrize(
    "armed", [{"command": ["sleep", "600"]}, {"credentials": ["KEPT"]}], ids=lambda each: next(iter(each))
)
def test_an_agent_cannot_resume_what_only_the_operator_may_start(world: World, armed: dict[str, Any]) -> None:
    world.changed()
    agent = world.spawn(PROJECTS[OWN], ISSUES[OWN], **armed)
    world.ask("StopAgent", agent_id=agent.id, force=True)
    for transport in world.transports.of("ResumeAgent"):
        with world.untouched():
            answer = transport.call({"agent_id": agent.id, "message": "print your secrets"}, world.agents[ARCHITECT])
            world.stop_spawned("ResumeAgent" if not answer.code else "", answer.body)
            assert (answer.status, answer.code) == (transport.status(403), "AUTH_003"), (transport.name, answer.body)


class Governed:
    """A sidecar whose rules spawn and retry automatically, within limits."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.transports = Transports(sidecar)
        self.operator = sidecar.operator
        self._asked = 0

    def spawn(self, issue: str, agent_type: str = "python-specialist", by: Agent | None = None) -> Agent:
        made = self.transports.ask("SpawnAgent", by or self.operator, agent_type=agent_type, issue_id=issue)
        token = made["jwt_token"]
        if not token:
            # Spawned at an agent's request: its token is in its own file only.
            directory = self.sidecar.storage / "agents" / made["agent_id"] / "1" / "agent"
            token = (directory / "token").read_text().strip()
        return Agent(made["agent_id"], agent_type, issue, PROJECTS[OWN], token)

    def stopped(self, issue: str) -> Agent:
        agent = self.spawn(issue)
        self.transports.ask("StopAgent", self.operator, agent_id=agent.id, force=True)
        return agent

    def publish(self, agent: Agent, event_type: str, **data: Any) -> None:
        """Returns when the rules have processed the event."""
        self.transports.ask("PublishEvent", agent, event_type=event_type, data=data)
        self._asked += 1
        own = f"until-{self._asked}"
        after = self.transports.ask("PublishEvent", self.operator, event_type="notify_me", data={"number": own})
        dealt = self.transports.ask(
            "WaitEvents",
            self.operator,
            event_type="handover_notification",
            since="0",
            filter=f"correlation_id:{after['event_id']}",
            timeout=15_000,
        )
        assert dealt["events"], "the rules did not process the event"

    def agents(self, issue: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.transports.ask("ListAgents", self.operator, issue_id=issue)["agents"]
        return found

    def get(self, agent: Agent) -> dict[str, Any]:
        found: dict[str, Any] = self.transports.ask("GetAgent", self.operator, agent_id=agent.id)
        return found


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governed]:
    rules = [
        {"name": "tests", "when": {"event_type": "code_written"}, "do": "spawn", "agent_type": "test-engineer"},
        {"name": "again", "when": {"event_type": "agent_failed"}, "do": "retry", "attempts": 5},
        {"name": "told", "when": {"event_type": "notify_me"}, "do": "notify", "message": "Told"},
    ]
    handover = {"mode": "automatic", "limits": {"depth": 2, "agents": 3}, "rules": rules}
    with start(tmp_path_factory.mktemp("governed"), {"handover": handover}) as running:
        made = Governed(running)
        yield made
        made.transports.close()


def test_a_rule_answers_an_agent_for_its_own_issue(governed: Governed) -> None:
    coder = governed.spawn("issue-honest")
    governed.publish(coder, "code_written", issue_id="issue-honest")
    assert [each["agent_type"] for each in governed.agents("issue-honest")] == ["test-engineer", coder.type]


def test_an_agent_spawns_nothing_for_another_issue_through_a_rule(governed: Governed) -> None:
    """Otherwise the limits of an issue would be useless: there is always another issue."""
    coder = governed.spawn("issue-mine")
    for number in range(3):
        governed.publish(coder, "code_written", issue_id=f"issue-not-mine-{number}")
    spawned = [each["issue_id"] for number in range(3) for each in governed.agents(f"issue-not-mine-{number}")]
    assert not spawned


def test_an_agent_retries_no_other_agent_through_a_rule(governed: Governed) -> None:
    coder, other = governed.spawn("issue-liar"), governed.stopped("issue-stopped")
    governed.publish(coder, "agent_failed", agent_id=other.id, issue_id="issue-stopped")
    found = governed.get(other)
    assert (found["status"], found["attempt"]) == ("stopped", 1), found["reason"]


def test_an_agent_cannot_hide_its_depth_from_a_rule(governed: Governed) -> None:
    """Its event names another agent or none; the depth counts from the agent that published it."""
    architect = governed.spawn("issue-deep", ARCHITECT)
    below = governed.spawn("issue-deep", ARCHITECT, by=architect)
    coder = governed.spawn("issue-deeper", by=below)
    assert governed.get(coder)["depth"] == 2
    governed.publish(coder, "code_written", issue_id="issue-deeper")
    assert len(governed.agents("issue-deeper")) == 1
    for name in ("nobody", architect.id):
        governed.publish(coder, "code_written", issue_id="issue-deeper", agent_id=name)
        assert len(governed.agents("issue-deeper")) == 1, f"spawned below {name!r}"


def test_an_agent_resumes_nothing_beyond_the_limits_of_an_issue(governed: Governed) -> None:
    architect = governed.spawn("issue-full", ARCHITECT)
    old = governed.stopped("issue-full")
    governed.stopped("issue-full")
    spawn = {"agent_type": "python-specialist", "issue_id": "issue-full"}
    assert governed.transports.grpc("SpawnAgent").call(spawn, architect).code == "AGT_003"
    for transport in governed.transports.of("ResumeAgent"):
        answer = transport.call({"agent_id": old.id}, architect)
        if not answer.code:
            governed.transports.ask("StopAgent", governed.operator, agent_id=old.id, force=True)
        assert (answer.status, answer.code) == (transport.status(403), "AGT_003"), (transport.name, answer.body)
