"""The limits of the rules."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tests.services.handover.rules import FAILURE, SUCCESS, answer, asked, blocked, caught_up, running
from tests.support.sidecars import agents, call, publish, refused, until

from cco_sidecar.client.errors import error_of
from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import agent_service_pb2


class TestLimits:
    def test_depth_of_completions(self, sidecar: SidecarProcess, project: str) -> None:
        """An endless loop of completions."""
        spawn_scripted(sidecar, [], agent_type="swift-specialist", project=project)
        (refusal,) = until(lambda: blocked(sidecar, project), "the limit")
        assert (refusal["rule"], refusal["code"]) == ("endless", "AGT_003")
        assert "depth" in refusal["reason"] and "2 of 2" in refusal["reason"] and "issue-123" in refusal["reason"]
        assert [agent["depth"] for agent in agents(sidecar, project)] == [0, 1, 2]

    def test_depth_of_results(self, sidecar: SidecarProcess, project: str) -> None:
        """An endless loop of results, each stored by the agent itself."""
        spawn_scripted(sidecar, [SUCCESS], agent_type="flutter-specialist", project=project)
        (refusal,) = until(lambda: blocked(sidecar, project), "the limit")
        assert refusal["rule"] == "endless-results" and "depth" in refusal["reason"]
        assert [agent["depth"] for agent in agents(sidecar, project)] == [0, 1, 2]

    def test_depth_of_architects(self, sidecar: SidecarProcess, project: str) -> None:
        """Each calls SpawnAgent for the next; the last call is refused."""
        publish(sidecar, project, "ruler_wanted", issue_id="dynasty")
        rulers = running(sidecar, project, "chief-architect", 2)
        ends = [each.wait() for each in rulers]
        assert [(end["depth"], end["status"]) for end in ends] == [(1, "completed"), (2, "failed")]
        status, said = json.loads(rulers[1].logs()[0])
        assert (status, said["code"]) == (403, "AGT_003") and "depth" in said["message"]

    def test_number_of_agents(self, sidecar: SidecarProcess, project: str) -> None:
        for _ in range(6):
            publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
        caught_up(sidecar, project)
        assert len(agents(sidecar, project)) == 4
        refusals = blocked(sidecar, project)
        assert len(refusals) == 2 and all("'agents'" in refusal["reason"] for refusal in refusals)
        publish(sidecar, project, "design_ready", issue_id="i-2", part={"name": "x"})
        caught_up(sidecar, project)
        assert [agent["issue_id"] for agent in agents(sidecar, project)][-1] == "i-2", "another issue has its own limit"

    def test_a_retry_does_not_count_as_another_agent(self, sidecar: SidecarProcess, project: str) -> None:
        """The limit of agents is reached, and the last of them fails."""
        for _ in range(3):
            spawn_scripted(sidecar, [], issue="i-1", project=project).wait()
        failing = spawn_scripted(sidecar, [FAILURE], agent_type="go-specialist", issue="i-1", project=project)
        until(lambda: blocked(sidecar, project), "the end of the attempts")
        assert failing.get()["attempt"] == 3
        publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
        caught_up(sidecar, project)
        assert len(agents(sidecar, project)) == 4

    @pytest.mark.parametrize(
        ("name", "report"), [("tokens", {"input": 900, "output": 200}), ("cost_usd", {"cost": 1.5})]
    )
    def test_cost_budget(self, sidecar: SidecarProcess, project: str, name: str, report: dict[str, Any]) -> None:
        spender = spawn_scripted(
            sidecar,
            [{"do": "report", "result": "done", **report}],
            agent_type="python-specialist",
            project=project,
            command=[],
        )
        spender.wait("completed")
        publish(sidecar, project, "design_ready", issue_id="issue-123", part={"name": "x"})
        publish(sidecar, project, "design_ready", issue_id="another", part={"name": "x"})
        caught_up(sidecar, project)
        (refusal,) = blocked(sidecar, project)
        assert f"'{name}'" in refusal["reason"] and refusal["code"] == "AGT_003"
        assert [agent["issue_id"] for agent in agents(sidecar, project)] == ["issue-123", "another"]

    def test_an_agents_cost_limits_the_next_one(self, sidecar: SidecarProcess, project: str) -> None:
        """Its final report counts when its completion is answered."""
        spender = spawn_scripted(
            sidecar,
            [{"do": "report", "result": "done", "cost": 5.0}],
            agent_type="rust-specialist",
            project=project,
            command=[],
        )
        spender.wait("completed")
        caught_up(sidecar, project)
        assert [agent["agent_type"] for agent in agents(sidecar, project)] == ["rust-specialist"]
        (refusal,) = blocked(sidecar, project)
        assert "cost_usd" in refusal["reason"]

    def test_a_reported_cost_cannot_be_negative(self, sidecar: SidecarProcess, project: str) -> None:
        for number in (2.0, -1000.0):
            spawn_scripted(
                sidecar,
                [{"do": "report", "result": "done", "cost": number, "input": int(number), "output": int(number)}],
                project=project,
                command=[],
            ).wait("completed")
        publish(sidecar, project, "design_ready", issue_id="issue-123", part={"name": "x"})
        caught_up(sidecar, project)
        assert len(blocked(sidecar, project)) == 1

    def test_an_architects_call_is_refused_over_both_transports(
        self, sidecar: SidecarProcess, project: str, stubs: Any
    ) -> None:
        architect = sidecar.agent("chief-architect", project=project)
        body = {"agent_type": "python-specialist", "issue_id": "i-1"}
        for _ in range(4):
            assert sidecar.request("POST", "/api/agents/spawn", architect, json=body).status_code == 201
        problem = refused(sidecar, 403, "AGT_003", "POST", "/api/agents/spawn", architect, json=body)
        assert problem["details"] == {"limit": "agents", "used": 4, "most": 4}
        with pytest.raises(grpc.RpcError) as caught:
            stubs.agents.SpawnAgent(agent_service_pb2.SpawnAgentRequest(**body), metadata=architect.metadata)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert error_of(caught.value).code == "AGT_003"
        assert len(agents(sidecar, project)) == 4

    def test_an_architect_cannot_resume_an_agent_over_the_budget(self, sidecar: SidecarProcess, project: str) -> None:
        """A resumed agent would spend more."""
        architect = sidecar.agent("chief-architect", project=project)
        spender = spawn_scripted(
            sidecar, [{"do": "report", "result": "done", "cost": 1.5}], project=project, command=[]
        )
        spender.wait("completed")
        refused(sidecar, 403, "AGT_003", "POST", f"/api/agents/{spender.id}/resume", architect, json={})
        assert spender.get()["attempt"] == 1
        call(sidecar, "POST", f"/api/agents/{spender.id}/resume", json={})

    def test_concurrent_calls_do_not_exceed_a_limit(self, sidecar: SidecarProcess, project: str) -> None:
        architect = sidecar.agent("chief-architect", project=project)
        body = {"agent_type": "python-specialist", "issue_id": "i-1"}

        def spawn(_: int) -> int:
            return sidecar.request("POST", "/api/agents/spawn", architect, json=body).status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = Counter(pool.map(spawn, range(16)))
        assert statuses == {201: 4, 403: 12}
        assert len(agents(sidecar, project)) == 4

    def test_a_person_is_never_limited(self, sidecar: SidecarProcess, project: str) -> None:
        """Neither when spawning, nor when approving."""
        for _ in range(6):
            spawn_scripted(sidecar, [], issue="i-1", project=project)
        publish(sidecar, project, "deploy_wanted", issue_id="i-1", place="x")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        answer(sidecar, approval, approved=True)
        running(sidecar, project, "devops-engineer", 1)
        assert not blocked(sidecar, project)
