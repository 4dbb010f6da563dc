"""Which events the rules answer."""

from __future__ import annotations

from collections import Counter

from tests.services.handover.rules import FAILURE, SUCCESS, answer, asked, blocked, caught_up, running
from tests.support.sidecars import agents, call, events, fresh, publish, until

from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess


class TestAutomatic:
    def test_an_event_spawns_with_its_task_filled_in(self, sidecar: SidecarProcess, project: str) -> None:
        event_id = publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "thé {issue_id}"}, times=3)
        (agent,) = running(sidecar, project, "python-specialist")
        ended = agent.wait("completed")
        task = "Build thé {issue_id} of i-1 for operator after design_ready, 3 times; {unknown} {} stay"
        assert ended["task"] == task
        assert (ended["issue_id"], ended["priority"], ended["depth"]) == ("i-1", "high", 1)
        assert ended["spawned_by"] == "handover" and event_id in ended["cause"]
        caught_up(sidecar, project)
        assert len(agents(sidecar, project)) == 1 and not blocked(sidecar, project)

    def test_an_event_without_an_issue_is_not_answered_and_reported(
        self, sidecar: SidecarProcess, project: str
    ) -> None:
        event_id = publish(sidecar, project, "design_ready", part={"name": "x"})
        caught_up(sidecar, project)
        (refusal,) = blocked(sidecar, project)
        assert (refusal["rule"], refusal["event_id"]) == ("code-after-design", event_id)
        assert "issue_id" in refusal["reason"] and not agents(sidecar, project)

    def test_a_result_spawns(self, sidecar: SidecarProcess, project: str) -> None:
        made = spawn_scripted(
            sidecar, [SUCCESS | {"files_modified": ["src/a.py"]}], agent_type="python-pro", project=project
        )
        (tester,) = running(sidecar, project, "test-engineer")
        assert tester.wait("completed")["task"] == f"Test what {made.id} made for issue-123"
        assert tester.get()["depth"] == 1

    def test_a_result_that_does_not_match_spawns_nothing(self, sidecar: SidecarProcess, project: str) -> None:
        for result in (
            SUCCESS | {"files_modified": ["docs/a.md"]},
            SUCCESS | {"status": "failed", "files_modified": ["src/a.py"]},
            SUCCESS | {"status": "partial", "files_modified": ["src/a.py"]},
        ):
            spawn_scripted(sidecar, [result], agent_type="python-pro", project=project).wait("completed")
        caught_up(sidecar, project)
        assert {agent["agent_type"] for agent in agents(sidecar, project)} == {"python-pro"}

    def test_another_agents_result_triggers_no_rule(self, sidecar: SidecarProcess, project: str) -> None:
        """An event that names a result counts only if it comes from the agent that stored it."""
        author = sidecar.agent("python-pro", project=project)
        stored = call(
            sidecar,
            "POST",
            "/api/results",
            author,
            json={
                "agent_type": author.type,
                "issue_id": author.issue,
                "result": {"status": "success", "files_modified": ["src/a.py"]},
            },
        )
        running(sidecar, project, "test-engineer")
        forger = sidecar.agent("python-pro", project=project)
        for data in (
            {"result_id": stored["id"]},
            {"result_id": stored["id"], "agent_id": author.id, "status": "success", "agent_type": "python-pro"},
        ):
            publish(sidecar, project, "agent_completed", forger, issue_id=forger.issue, **data)
        caught_up(sidecar, project)
        running(sidecar, project, "test-engineer", 1)

    def test_the_suggested_next_agent_is_spawned(self, sidecar: SidecarProcess, project: str) -> None:
        made = spawn_scripted(
            sidecar, [SUCCESS | {"next_steps": ["deploy it"]}], agent_type="typescript-pro", project=project
        )
        made.wait("completed")
        caught_up(sidecar, project)
        came = {agent["agent_type"] for agent in agents(sidecar, project)} - {"typescript-pro"}
        stored = call(sidecar, "GET", f"/api/results?project_id={project}")["results"]
        assert len(stored) == 1
        assert came == {"test-engineer", "security-auditor", "devops-engineer"}

    def test_failed_agents_are_retried_as_often_as_the_rule_says(self, sidecar: SidecarProcess, project: str) -> None:
        failing = [
            spawn_scripted(sidecar, [FAILURE], agent_type="go-specialist", issue=f"i-{number}", project=project)
            for number in range(6)
        ]
        refusals = until(
            lambda: found if len(found := blocked(sidecar, project)) == 6 else [], "the end of the attempts"
        )
        assert [(each.get()["status"], each.get()["attempt"]) for each in failing] == [("failed", 3)] * 6
        assert all(refusal["rule"] == "again" and "used 3 of 3 attempts" in refusal["reason"] for refusal in refusals)
        assert len(agents(sidecar, project)) == 6
        attempts = Counter(event["data"]["agent_id"] for event in events(sidecar, project, "agent_failed"))
        assert attempts == dict.fromkeys((each.id for each in failing), 3)

    def test_a_person_is_notified(self, sidecar: SidecarProcess, project: str) -> None:
        heard = [
            publish(sidecar, project, "tell_me", text="one", loud=True),
            publish(sidecar, project, "tell_us", text="two", loud=True),
        ]
        publish(sidecar, project, "tell_me", text="three", loud=False)
        publish(sidecar, project, "tell_them", text="four", loud=True)
        caught_up(sidecar, project)
        notes = events(sidecar, project, "handover_notification")[:-1]
        assert [note["data"]["message"] for note in notes] == ["operator says one", "operator says two"]
        assert [note["data"]["event_id"] for note in notes] == heard
        assert {note["publisher"] for note in notes} == {"orchestration-sidecar"}

    def test_an_approved_spawn_happens(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "deploy_wanted", issue_id="i-7", place="the moon")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        assert (approval["question"], approval["requested_by"]) == ("May i-7 go to the moon?", "handover")
        assert approval["issue_id"] == "i-7" and not agents(sidecar, project)
        answer(sidecar, approval, approved=True)
        (agent,) = running(sidecar, project, "devops-engineer")
        assert agent.wait("completed")["task"] == "Deploy i-7 to the moon"
        kinds = [event["event_type"] for event in events(sidecar, project)]
        assert kinds.index("approval_requested") < kinds.index("approval_answered") < kinds.index("agent_spawned")

    def test_a_denied_spawn_does_not_happen(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "deploy_wanted", issue_id="i-7", place="the sun")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        answer(sidecar, approval, approved=False)
        caught_up(sidecar, project)
        assert not agents(sidecar, project)

    def test_repeated_approvals_spawn_once(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "deploy_wanted", issue_id="i-8", place="x")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        liar = sidecar.agent(project=project)
        publish(sidecar, project, "approval_answered", liar, approval_id=approval["approval_id"], status="approved")
        publish(sidecar, project, "approval_answered", approval_id=approval["approval_id"], status="approved")
        caught_up(sidecar, project)
        assert not agents(sidecar, project), "an event was taken for a person's answer"
        answer(sidecar, approval, approved=True)
        for _ in range(3):
            publish(sidecar, project, "approval_answered", liar, approval_id=approval["approval_id"], status="approved")
        caught_up(sidecar, project)
        running(sidecar, project, "devops-engineer", 1)

    def test_an_agents_own_question_spawns_nothing(self, sidecar: SidecarProcess, project: str) -> None:
        """Whatever the question says."""
        liar = sidecar.agent(project=project)
        wanted = {"agent_type": "chief-architect", "issue_id": "i", "project_id": project, "command": ["touch", "x"]}
        body = {"question": "May I?", "data": {"spawn": wanted, "depth": 0, "rule": "may-it"}}
        approval = call(sidecar, "POST", "/api/approvals", liar, json=body)
        answer(sidecar, approval, approved=True)
        caught_up(sidecar, project)
        assert not agents(sidecar, project)

    def test_rules_of_one_project_do_not_affect_another(self, sidecar: SidecarProcess) -> None:
        here, there = fresh("project"), fresh("project")
        theirs = spawn_scripted(sidecar, [], agent_type="go-specialist", project=there)
        theirs.wait("completed")
        stranger = sidecar.agent(issue="i", project=here)
        about = {"agent_id": theirs.id, "agent_type": "go-specialist", "status": "success"}
        publish(sidecar, here, "design_ready", stranger, issue_id="i", part={"name": "x"})
        publish(sidecar, here, "agent_failed", stranger, **about)
        publish(sidecar, here, "agent_failed", stranger, publisher=theirs.id, **about)
        # Agents here do not learn the issue of another project's agent.
        publish(sidecar, here, "design_ready", stranger, part={"name": "x"}, agent_id=theirs.id)
        caught_up(sidecar, here, there)
        assert [agent["agent_id"] for agent in agents(sidecar, there)] == [theirs.id]
        assert theirs.get()["attempt"] == 1
        assert {agent["issue_id"] for agent in agents(sidecar, here)} == {"i"}
