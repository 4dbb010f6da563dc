"""Reads, stops, logs, heartbeats, resumes and worktrees over both transports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.repositories import git
from tests.support.sidecars import fresh, until
from tests.wire import agent_shapes
from tests.wire.agents.deployment import BOTH, PROJECT, Deployment, refused, same
from tests.wire.shapes import assert_shape

from cco_sidecar.testing.process import Agent


class TestReads:
    def test_one_agent_by_all_its_paths(self, deployment: Deployment) -> None:
        spawned = deployment.scripted(
            {"do": "print", "text": "hello"}, {"do": "exit", "code": 3}, issue_id="issue-read"
        )
        ended = deployment.wait(spawned["agent_id"])
        transports = deployment.transports.of("GetAgent")
        assert [transport.name for transport in transports[1:]] == [
            "GET /api/agents/{agent_id}",
            "GET /api/agents/{agent_id}/status",
        ]
        agent = same(
            [transport.call({"agent_id": spawned["agent_id"]}, deployment.operator) for transport in transports]
        )
        assert agent == ended
        assert_shape(agent, agent_shapes.AGENT)
        assert (agent["status"], agent["exit_code"], agent["last_output"]) == ("failed", 3, ["hello"])
        assert "process_id" not in agent and "signal" not in agent and "retry_at" not in agent
        assert agent["peak_memory_bytes"] > 1_000_000 and agent["cpu_seconds"] > 0
        assert agent["created_at"] <= agent["started_at"] <= agent["ended_at"]

    def test_a_signal_is_named(self, deployment: Deployment) -> None:
        spawned = deployment.scripted({"do": "kill", "signal": "SIGKILL"})
        ended = deployment.wait(spawned["agent_id"])
        assert_shape(ended, agent_shapes.AGENT)
        assert ended["signal"] == "SIGKILL" and "exit_code" not in ended

    def test_numbers_are_json_numbers(self, deployment: Deployment) -> None:
        """Including those that protobuf's own JSON mapping writes as strings."""
        report = {"do": "report", "result": "done", "cost": 0.25, "turns": 7, "input": 3_000_000_000, "output": 5}
        spawned = deployment.spawn(agent_type="rust-specialist", environment={"TASK_SCRIPT": json.dumps([report])})
        deployment.wait(spawned["agent_id"])
        transports = deployment.transports.of("GetAgent")
        agent = same(
            [transport.call({"agent_id": spawned["agent_id"]}, deployment.operator) for transport in transports]
        )
        assert_shape(agent, agent_shapes.AGENT)
        usage = agent["usage"]
        assert (usage["turns"], usage["input_tokens"], usage["output_tokens"]) == (7, 3_000_000_000, 5)
        assert (usage["cost_usd"], usage["duration_ms"], usage["api_duration_ms"]) == (0.25, 1200, 800)
        assert "cache_creation_tokens" not in usage, "nothing is estimated"

    def test_a_list_is_paged(self, deployment: Deployment) -> None:
        issue = fresh("paged-issue")
        ids = [deployment.spawn(issue_id=issue)["agent_id"] for _ in range(5)]
        for transport in deployment.transports.of("ListAgents"):
            listed: list[str] = []
            cursor = ""
            while True:
                request = {"issue_id": issue, "project_id": PROJECT, "limit": 2} | (
                    {"cursor": cursor} if cursor else {}
                )
                page = transport.call(request, deployment.operator).body
                assert_shape(page, agent_shapes.AGENTS)
                assert len(page["agents"]) <= 2
                listed += [agent["agent_id"] for agent in page["agents"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert listed == ids[::-1], transport.name

    def test_a_list_is_filtered(self, deployment: Deployment) -> None:
        issue = fresh("issue")
        running = deployment.spawn(issue_id=issue)["agent_id"]
        stopped = deployment.spawn(issue_id=issue, agent_type="test-engineer")["agent_id"]
        deployment.ask("StopAgent", agent_id=stopped, force=True)
        for wanted, found in (
            ({}, [stopped, running]),
            ({"status": "running"}, [running]),
            ({"status": "stopped"}, [stopped]),
            ({"status": "stuck"}, []),
            ({"agent_type": "test-engineer"}, [stopped]),
            ({"agent_type": "test-engineer", "status": "running"}, []),
        ):
            request = {"issue_id": issue, "project_id": PROJECT} | wanted
            page = same(
                [transport.call(request, deployment.operator) for transport in deployment.transports.of("ListAgents")]
            )
            assert [agent["agent_id"] for agent in page["agents"]] == found, wanted
            assert page["next_cursor"] is None

    def test_a_page_may_hold_exactly_all_agents(self, deployment: Deployment) -> None:
        """A page that holds all agents is the last one."""
        issue = fresh("issue")
        for _ in range(2):
            deployment.spawn(issue_id=issue)
        page = deployment.ask("ListAgents", issue_id=issue, project_id=PROJECT, limit=2)
        assert len(page["agents"]) == 2 and page["next_cursor"] is None

    def test_an_unknown_agent(self, deployment: Deployment) -> None:
        for rpc in ("GetAgent", "StopAgent", "ResumeAgent", "StreamAgentLogs", "SendHeartbeat", "DiscardWorktree"):
            assert "nobody-7" in refused(deployment, rpc, {"agent_id": "nobody-7"}, 404, "AGT_004")

    def test_agent_types(self, deployment: Deployment) -> None:
        types = same(
            [d.call({"group": "quality"}, deployment.operator) for d in deployment.transports.of("ListAgentTypes")]
        )
        assert_shape(types, agent_shapes.AGENT_TYPES)
        assert {each["group"] for each in types["agent_types"]} == {"quality"}
        assert len(deployment.ask("ListAgentTypes")["agent_types"]) == 119

    def test_access(self, deployment: Deployment) -> None:
        request = {"agent": "technical-writer", "rpc": "PublishEvent"}
        assert_shape(
            same([d.call(request, deployment.operator) for d in deployment.transports.of("CheckAccess")]),
            agent_shapes.ACCESS,
        )


class TestStop:
    @BOTH
    @pytest.mark.parametrize("how", [{}, {"force": True}, {"timeout": 0.5}, {"timeout": 0}])
    def test_a_stop_may_be_repeated(self, deployment: Deployment, transport: str, how: dict[str, Any]) -> None:
        request = {"agent_id": deployment.spawn()["agent_id"]} | how
        stopped = deployment.transport("StopAgent", transport).call(request, deployment.operator).body
        assert_shape(stopped, agent_shapes.STOPPED)
        assert (stopped["stopped"], stopped["status"]) == (True, "stopped")
        assert stopped["reason"] == "stopped by the operator"
        again = deployment.transport("StopAgent", transport).call(request, deployment.operator).body
        assert_shape(again, agent_shapes.STOPPED)
        assert (again["stopped"], again["status"]) == (False, "stopped")


class TestLogs:
    STEPS = (
        {"do": "print", "text": "one"},
        {"do": "print", "text": "two — ünïcode"},
        {"do": "print", "text": "three", "stream": "stderr"},
    )

    def test_ndjson_and_grpc_return_the_same_lines(self, deployment: Deployment) -> None:
        agent_id = deployment.scripted(*self.STEPS)["agent_id"]
        deployment.wait(agent_id)
        answer = deployment.sidecar.request("GET", f"/api/agents/{agent_id}/logs", deployment.operator)
        assert answer.headers["content-type"] == "application/x-ndjson"
        parts = same(
            [
                transport.call({"agent_id": agent_id}, deployment.operator)
                for transport in deployment.transports.of("StreamAgentLogs")
            ]
        )
        for part in parts:
            assert_shape(part, agent_shapes.LOGS)
        lines = [line for part in parts for line in part["lines"]]
        assert [json.loads(line) for line in answer.text.splitlines()] == parts
        texts = sorted((line["stream"], line["text"]) for line in lines)
        assert texts == [("stderr", "three"), ("stdout", "one"), ("stdout", "two — ünïcode")]

    @pytest.mark.parametrize(("tail", "expected"), [(0, []), (1, ["four"]), (2, ["three", "four"]), (99, None)])
    def test_a_tail(self, deployment: Deployment, tail: int, expected: list[str] | None) -> None:
        texts = ["one", "two", "three", "four"]
        agent_id = deployment.scripted(*({"do": "print", "text": text} for text in texts))["agent_id"]
        deployment.wait(agent_id)
        request = {"agent_id": agent_id, "tail": tail}
        parts = same(
            [transport.call(request, deployment.operator) for transport in deployment.transports.of("StreamAgentLogs")]
        )
        found = [line["text"] for part in parts for line in part["lines"]]
        assert found == (texts if expected is None else expected)

    def test_each_attempt_has_its_own_log(self, deployment: Deployment) -> None:
        agent_id = deployment.scripted({"do": "env", "name": "AGENT_ATTEMPT"})["agent_id"]
        deployment.wait(agent_id)
        deployment.ask("ResumeAgent", agent_id=agent_id)
        until(lambda: deployment.ask("GetAgent", agent_id=agent_id)["status"] == "completed", "its second attempt")
        for wanted, said in (({}, "2"), ({"attempt": 1}, "1"), ({"attempt": 2}, "2")):
            request = {"agent_id": agent_id} | wanted
            for transport in deployment.transports.of("StreamAgentLogs"):
                parts = transport.call(request, deployment.operator).body
                assert [line["text"] for part in parts for line in part["lines"]] == [f"AGENT_ATTEMPT={said}"]
        refused(deployment, "StreamAgentLogs", {"agent_id": agent_id, "attempt": 3}, 404, "AGT_009")

    def test_following_ends_with_the_agent(self, deployment: Deployment, tmp_path: Path) -> None:
        gate = tmp_path / "go"
        steps = [{"do": "print", "text": "first"}, {"do": "until", "path": str(gate)}, {"do": "print", "text": "last"}]
        agent_id = deployment.scripted(*steps)["agent_id"]
        url = f"/api/agents/{agent_id}/logs?follow=true"
        with deployment.sidecar.request("GET", url, deployment.operator, stream=True) as answer:
            parts = (json.loads(line) for line in answer.iter_lines())
            assert [line["text"] for line in next(parts)["lines"]] == ["first"]
            gate.touch()
            assert [line["text"] for part in parts for line in part["lines"]] == ["last"]

    def test_server_sent_events_on_request(self, deployment: Deployment) -> None:
        agent_id = deployment.scripted({"do": "print", "text": "hello"})["agent_id"]
        deployment.wait(agent_id)
        sse = {"Accept": "text/event-stream"}
        answer = deployment.sidecar.request("GET", f"/api/agents/{agent_id}/logs", deployment.operator, headers=sse)
        assert answer.headers["content-type"] == "text/event-stream"
        frame = answer.content.decode().split("\n\n")[0]
        assert_shape(json.loads(frame.removeprefix("data: ")), agent_shapes.LOGS)


class TestHeartbeat:
    @BOTH
    def test_progress_is_kept(self, deployment: Deployment, transport: str) -> None:
        spawned = deployment.spawn()
        own = Agent(spawned["agent_id"], "go-specialist", "issue-1", PROJECT, spawned["jwt_token"])
        said = {"agent_id": own.id, "percent": 40, "message": "tests written", "needs_input": False}
        answer = deployment.transport("SendHeartbeat", transport).call(said, own)
        assert_shape(answer.body, agent_shapes.HEARTBEAT)
        assert answer.body["status"] == "running"
        agent = deployment.ask("GetAgent", agent_id=own.id)
        assert_shape(agent, agent_shapes.AGENT)
        assert (agent["progress"]["percent"], agent["progress"]["message"]) == (40, "tests written")

    @BOTH
    def test_it_waits_for_a_person_and_continues(self, deployment: Deployment, transport: str) -> None:
        spawned = deployment.spawn()
        own = Agent(spawned["agent_id"], "go-specialist", "issue-1", PROJECT, spawned["jwt_token"])
        send = deployment.transport("SendHeartbeat", transport)
        waiting = send.call({"agent_id": own.id, "message": "which port?", "needs_input": True}, own)
        assert waiting.body["status"] == "needs_input"
        assert deployment.ask("GetAgent", agent_id=own.id)["reason"] == "which port?"
        assert send.call({"agent_id": own.id}, own).body["status"] == "running"

    def test_a_heartbeat_of_an_ended_agent(self, deployment: Deployment) -> None:
        agent_id = deployment.spawn()["agent_id"]
        deployment.ask("StopAgent", agent_id=agent_id, force=True)
        assert "stopped by the operator" in refused(deployment, "SendHeartbeat", {"agent_id": agent_id}, 409, "AGT_005")


class TestResume:
    @BOTH
    def test_an_ended_agent_restarts_under_its_id(self, deployment: Deployment, transport: str) -> None:
        agent_id = deployment.spawn()["agent_id"]
        deployment.ask("StopAgent", agent_id=agent_id, force=True)
        request = {"agent_id": agent_id, "message": "go on"}
        agent = deployment.transport("ResumeAgent", transport).call(request, deployment.operator).body
        assert_shape(agent, agent_shapes.AGENT)
        assert (agent["agent_id"], agent["attempt"], agent["status"]) == (agent_id, 2, "running")
        assert "ended_at" not in agent and "exit_code" not in agent and agent["process_id"] > 0

    def test_a_running_agent_is_not_resumed(self, deployment: Deployment) -> None:
        refused(deployment, "ResumeAgent", {"agent_id": deployment.spawn()["agent_id"]}, 409, "AGT_005")


class TestReportedEnd:
    """An agent reported as ended has really ended: no later call finds it half-way."""

    TIMES = 10

    def ended(self, deployment: Deployment) -> str:
        agent_id: str = deployment.spawn(command=["true"])["agent_id"]
        deployment.wait(agent_id, "completed")
        return agent_id

    def test_stopping_it_does_not_change_how_it_ended(self, deployment: Deployment) -> None:
        for _ in range(self.TIMES):
            agent_id = self.ended(deployment)
            stopped = deployment.ask("StopAgent", agent_id=agent_id, force=True)
            assert (stopped["stopped"], stopped["status"]) == (False, "completed")
            assert deployment.ask("GetAgent", agent_id=agent_id)["status"] == "completed"

    def test_it_can_be_resumed(self, deployment: Deployment) -> None:
        for _ in range(self.TIMES):
            answer = deployment.transports.grpc("ResumeAgent").call(
                {"agent_id": self.ended(deployment)}, deployment.operator
            )
            assert answer.status == "OK", answer


class TestWorktree:
    ACT = "git -c user.name=T -c user.email=t@example.com commit -qm W --allow-empty; exec sleep 600"

    @BOTH
    def test_it_is_discarded_with_its_branch(self, deployment: Deployment, root: Path, transport: str) -> None:
        agent_id = deployment.spawn(isolation="worktree", command=["sh", "-c", self.ACT])["agent_id"]
        agent = deployment.ask("GetAgent", agent_id=agent_id)
        assert (agent["isolation"], agent["branch"]) == ("worktree", f"agent/{agent_id}")
        until(lambda: git(Path(agent["worktree"]), "log", "-1", "--format=%s").strip() == "W", "its commit")
        refused(deployment, "DiscardWorktree", {"agent_id": agent_id}, 409, "AGT_005")
        deployment.ask("StopAgent", agent_id=agent_id, force=True)
        discarded = (
            deployment.transport("DiscardWorktree", transport).call({"agent_id": agent_id}, deployment.operator).body
        )
        assert_shape(discarded, agent_shapes.DISCARDED)
        assert (discarded["discarded"], discarded["branch"]) == (True, agent["branch"])
        assert not Path(agent["worktree"]).exists()
        assert agent["branch"] not in git(root, "branch", "--list", "agent/*")
        refused(deployment, "DiscardWorktree", {"agent_id": agent_id}, 404, "AGT_006")

    def test_it_is_created_every_time(self, deployment: Deployment) -> None:
        """git runs below a process with many threads, which must not break any of its runs."""
        for _ in range(10):
            agent = deployment.wait(deployment.spawn(isolation="worktree", command=["true"])["agent_id"])
            assert (agent["status"], agent["branch"]) == ("completed", f"agent/{agent['agent_id']}")

    def test_an_agent_without_a_worktree(self, deployment: Deployment) -> None:
        agent_id = deployment.spawn()["agent_id"]
        deployment.ask("StopAgent", agent_id=agent_id, force=True)
        refused(deployment, "DiscardWorktree", {"agent_id": agent_id}, 404, "AGT_006")
