"""Agents that publish events which only the sidecar should publish."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.services.handover.rules import LIMITS, RUNNERS, blocked, caught_up, followed, handing_over, said, script
from tests.support.sidecars import Deployment, agents, fresh, publish, until

from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess


class TestForgedEvents:
    """Agents may publish any event; a rule must not be tricked into more than it says."""

    @pytest.mark.parametrize("ending", ["completed", "stopped"])
    def test_an_agent_that_did_not_fail_is_not_retried(
        self, sidecar: SidecarProcess, project: str, ending: str
    ) -> None:
        """Least of all an agent that a person stopped."""
        steps = [{"do": "sleep", "seconds": 60}] if ending == "stopped" else []
        agent = spawn_scripted(sidecar, steps, agent_type="go-specialist", project=project)
        if ending == "stopped":
            agent.stop(force=True)
        agent.wait(ending)
        liar = sidecar.agent(project=project)
        publish(sidecar, project, "agent_failed", liar, agent_id=agent.id, agent_type="go-specialist", issue_id="i")
        caught_up(sidecar, project)
        now = agent.get()
        agent.stop(force=True)
        assert (now["status"], now["attempt"]) == (ending, 1)

    @pytest.mark.parametrize("issue", ["../../../../escaped", "/tmp/escaped", "i" * 200, "a b", "-x", "x/y", ".."])
    def test_an_invalid_issue_name_spawns_nothing(self, sidecar: SidecarProcess, project: str, issue: str) -> None:
        """The issue becomes part of a path."""
        for publisher in (sidecar.agent(project=project), None):
            publish(sidecar, project, "design_ready", publisher, issue_id=issue, part={"name": "x"})
        caught_up(sidecar, project)
        assert not agents(sidecar, project)
        refusals = blocked(sidecar, project)
        assert [refusal["rule"] for refusal in refusals] == ["code-after-design"] * 2
        assert all("issue" in refusal["reason"] for refusal in refusals)

    def test_a_result_stays_inside_the_storage(self, tmp_path: Path, deployment: Deployment) -> None:
        """The final output of a rule's agent is stored as its result, below the name of its issue."""
        runners = {"default": RUNNERS["default"] | script({"do": "report", "result": "done"})}
        config = handing_over(tmp_path / "config.json", runners, mode="automatic")
        sidecar = deployment.start(config)
        liar = sidecar.agent(project="p")
        publish(sidecar, "p", "design_ready", liar, issue_id="../../../../../escaped", part={"name": "x"})
        caught_up(sidecar, "p")
        for agent in agents(sidecar, "p"):
            followed(sidecar, agent).wait()
        outside = [path for path in tmp_path.rglob("*.json") if path.name != "config.json"]
        assert [path for path in outside if not path.is_relative_to(sidecar.storage)] == []

    def test_an_event_at_the_size_limit_does_not_stop_the_rules(self, sidecar: SidecarProcess, project: str) -> None:
        """The rules' own event about it would exceed the limit."""
        liar = sidecar.agent(project=project)
        most = 256 * 1024
        for event_type, more in (("tell_me", {"loud": True}), ("design_ready", {})):
            size = most
            while True:
                body = {"topic": "testing", "data": {"issue_id": "x" * size, **more}}
                if sidecar.request("POST", f"/api/events/{event_type}", liar, json=body).status_code == 202:
                    break
                size -= 16
        text = fresh("mark")
        publish(sidecar, project, "mark", text=text)
        until(lambda: text in said(sidecar, project), "the rules to continue")

    def test_a_task_with_a_nul_does_not_stop_the_rules(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "a\0b"})
        caught_up(sidecar, project)
        for agent in agents(sidecar, project):
            followed(sidecar, agent).wait("failed", "completed")

    def test_a_false_identity_does_not_allow_more_depth(self, tmp_path: Path, deployment: Deployment) -> None:
        """Each agent asks for the next one, with an unknown agent id and a new issue."""
        ask = (
            "import json, os, urllib.request as r\n"
            "data = {'issue_id': os.environ['AGENT_ID'], 'agent_id': 'nobody', 'part': {'name': 'x'}}\n"
            "r.urlopen(r.Request(os.environ['SIDECAR_URL'] + '/events/design_ready',\n"
            "    json.dumps({'topic': 'testing', 'data': data}).encode(),\n"
            "    {'Authorization': 'Bearer ' + os.environ['JWT_TOKEN'], 'Content-Type': 'application/json'}))\n"
        )
        runners = {"default": {"command": [sys.executable, "-c", ask]}}
        config = handing_over(tmp_path / "config.json", runners, mode="automatic")
        sidecar = deployment.start(config)
        publish(sidecar, "p", "design_ready", issue_id="i", part={"name": "x"})

        def settled() -> bool:
            return len(agents(sidecar, "p")) > 4 or bool(blocked(sidecar, "p"))

        until(settled, "the end of the loop")
        assert len(agents(sidecar, "p")) <= LIMITS["depth"]
