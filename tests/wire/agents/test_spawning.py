"""Spawns over both transports: the documented answers, and the same meaning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jwt
from tests.support.sidecars import fresh
from tests.wire import agent_shapes, shapes
from tests.wire.agents.deployment import BOTH, PROJECT, Deployment, refused
from tests.wire.shapes import assert_shape

# Contract, section 1.5.
DOCUMENTED: dict[str, Any] = {
    "agent_type": "python-specialist",
    "issue_id": "issue-123",
    "task": "Add JWT authentication to the API",
    "context_requirements": ["project_structure", "security_policies", "docs/*.md"],
    "environment": {"LOG_LEVEL": "debug", "EMPTY": ""},
    "priority": "high",
    "project_id": PROJECT,
}


class TestSpawn:
    @BOTH
    def test_the_documented_request(self, deployment: Deployment, transport: str) -> None:
        spawned = deployment.spawn(transport, **DOCUMENTED)
        assert_shape(spawned, agent_shapes.SPAWNED)
        assert spawned["spawned"] is True and spawned["context_injected"] is True
        assert spawned["status"] == "running" and spawned["queue_position"] == 0
        assert spawned["agent_id"].startswith("python-specialist-")
        assert spawned["webhook_url"] == f"/api/agents/{spawned['agent_id']}/status"
        agent = deployment.sidecar.request("GET", spawned["webhook_url"], deployment.operator).json()
        assert_shape(agent, agent_shapes.AGENT)
        for key in ("agent_type", "issue_id", "project_id", "task", "priority"):
            assert agent[key] == DOCUMENTED[key]
        assert agent["process_id"] == spawned["process_id"]
        assert (agent["spawned_by"], agent["depth"], agent["attempt"]) == ("operator", 0, 1)
        os.kill(spawned["process_id"], 0)

    def test_the_token_is_the_agents_own(self, deployment: Deployment) -> None:
        spawned = deployment.spawn(issue_id="issue-token")
        claims = jwt.decode(spawned["jwt_token"], options={"verify_signature": False})
        assert (claims["sub"], claims["agent_type"]) == (spawned["agent_id"], "go-specialist")
        assert (claims["project_id"], claims["issue_id"]) == (PROJECT, "issue-token")
        assert claims["permissions"] == ["read_context", "write_results", "publish_events"]
        assert claims["exp"] - claims["iat"] == 3600

    def test_the_documented_environment(self, deployment: Deployment) -> None:
        names = ["AGENT_ID", "AGENT_TYPE", "ISSUE_ID", "PROJECT_ID", "SIDECAR_URL", "GIVEN", "EMPTY"]
        # The heartbeat is sent with JWT_TOKEN, because its printed value is masked.
        steps: list[dict[str, Any]] = [{"do": "env", "name": name} for name in names] + [{"do": "heartbeat"}]
        spawned = deployment.scripted(*steps, environment={"GIVEN": "ünïcode = 'x'", "EMPTY": ""}, issue_id="issue-env")
        assert deployment.wait(spawned["agent_id"])["exit_code"] == 0
        found = dict(line.split("=", 1) for line in deployment.logs(spawned["agent_id"]))
        assert found == {
            "AGENT_ID": spawned["agent_id"],
            "AGENT_TYPE": "go-specialist",
            "ISSUE_ID": "issue-env",
            "PROJECT_ID": PROJECT,
            "SIDECAR_URL": f"{deployment.sidecar.url}/api",
            "GIVEN": "ünïcode = 'x'",
            "EMPTY": "",
        }

    def test_only_a_type_and_an_issue_are_required(self, deployment: Deployment) -> None:
        for transport in deployment.transports.of("SpawnAgent"):
            answer = transport.call({"agent_type": "go-specialist", "issue_id": "issue-1"}, deployment.operator)
            assert_shape(answer.body, agent_shapes.SPAWNED)
            agent = deployment.ask("GetAgent", agent_id=answer.body["agent_id"])
            assert (agent["project_id"], agent["priority"], agent["task"]) == ("default", "normal", "")
            deployment.ask("StopAgent", agent_id=agent["agent_id"], force=True)

    def test_nulls_are_treated_as_absent(self, deployment: Deployment) -> None:
        optional = ("task", "context_requirements", "environment", "priority", "project_id", "timeout_seconds", "model")
        body = {"agent_type": "go-specialist", "issue_id": "issue-1"} | dict.fromkeys(optional)
        answer = deployment.sidecar.request("POST", "/api/agents/spawn", deployment.operator, json=body)
        assert answer.status_code == 201, answer.text
        deployment.ask("StopAgent", agent_id=answer.json()["agent_id"], force=True)

    def test_it_publishes_agent_spawned(self, deployment: Deployment) -> None:
        spawned = deployment.spawn(issue_id=fresh("issue"))
        listed = deployment.ask("ListEvents", event_type="agent_spawned", project_id=PROJECT, since="0", limit=1000)
        (event,) = (e for e in listed["events"] if e["data"]["agent_id"] == spawned["agent_id"])
        assert_shape(event, shapes.EVENT)
        assert event["topic"] == "coordination"

    @BOTH
    def test_a_queued_agent_has_neither_process_nor_token(
        self, single_slot_deployment: Deployment, transport: str
    ) -> None:
        first = single_slot_deployment.spawn(transport)
        second, third = (
            single_slot_deployment.spawn(transport),
            single_slot_deployment.spawn(transport, priority="high"),
        )
        assert_shape(second, agent_shapes.SPAWNED)
        assert (second["spawned"], second["context_injected"], second["status"]) == (False, False, "pending")
        assert second["process_id"] is None and second["jwt_token"] is None
        assert second["queue_position"] == 1 and third["queue_position"] == 1
        agents = single_slot_deployment.ask("ListAgents", project_id=PROJECT, status="pending")
        assert {a["agent_id"]: a["queue_position"] for a in agents["agents"]} == {
            third["agent_id"]: 1,
            second["agent_id"]: 2,
        }
        assert (agents["running"], agents["queued"], agents["max_concurrent"]) == (1, 2, 1)
        for agent in agents["agents"]:
            assert_shape(agent, agent_shapes.AGENT)
        single_slot_deployment.ask("StopAgent", agent_id=first["agent_id"], force=True)
        assert single_slot_deployment.wait(third["agent_id"], "running")["queue_position"] == 0

    def test_an_unknown_type(self, deployment: Deployment) -> None:
        message = refused(deployment, "SpawnAgent", {"agent_type": "no-such-type", "issue_id": "i"}, 404, "AGT_002")
        assert "no-such-type" in message

    def test_a_missing_program(self, deployment: Deployment) -> None:
        request = {"agent_type": "go-specialist", "issue_id": "i", "command": ["no-such-program", "x"]}
        assert "no-such-program" in refused(deployment, "SpawnAgent", request, 400, "REQ_001")

    def test_a_program_that_cannot_be_run(self, deployment: Deployment, tmp_path: Path) -> None:
        """It is on the PATH, but its interpreter is missing."""
        broken = tmp_path / "broken-agent"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        request = {
            "agent_type": "go-specialist",
            "issue_id": "i",
            "command": ["broken-agent"],
            "environment": {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        }
        assert "broken-agent" in refused(deployment, "SpawnAgent", request, 500, "AGT_001")

    def test_an_argument_too_large_for_a_program(self, deployment: Deployment) -> None:
        """Linux gives a program at most 128 KiB in one argument or variable."""
        for field in ({"command": ["sleep", "1" * 200_000]}, {"environment": {"LONG": "x" * 200_000}}):
            for transport in deployment.transports.of("SpawnAgent"):
                answer = transport.call({"agent_type": "go-specialist", "issue_id": "i"} | field, deployment.operator)
                assert answer.code in ("AGT_001", "REQ_001"), (transport.name, *field, answer.body)
                assert "long" in answer.message or "most" in answer.message, answer.message

    def test_the_longest_task(self, deployment: Deployment) -> None:
        """Any task within the proto's limit runs, whatever its characters are."""
        for letter in ("x", "€"):
            spawned = deployment.scripted(issue_id="issue-long", task=letter * 100_000)
            assert deployment.wait(spawned["agent_id"])["reason"] == "exited with code 0"
