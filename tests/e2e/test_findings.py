"""What one agent found reaches the next: a review, an audit, and the agent that fixes both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.sidecars import call, serving, small_repository, written

from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

REVIEW = "src/app.py:12: the retry loop never ends when the server answers 503"
AUDIT = "SQL injection in search(): the query is built from the request"
ADVICE = "Bind the parameters in src/search.py"


@pytest.mark.parametrize("status", ["failed", "partial"])
@pytest.mark.parametrize("max_bytes", [None, 8_192])
def test_findings_of_two_agents_are_in_the_context_of_the_third(
    sidecar: SidecarProcess, status: str, max_bytes: int | None
) -> None:
    issue = f"issue-{status}-{max_bytes}"
    review = {
        "do": "result",
        "status": status,
        "errors": [REVIEW],
        "artifacts": {"review.md": f"# Review\n\n{REVIEW}\n"},
    }
    audit = {"do": "result", "status": status, "warnings": [AUDIT], "errors": [AUDIT], "next_steps": [ADVICE]}
    for agent_type, step in (("code-reviewer", review), ("security-auditor", audit)):
        agent = spawn_scripted(sidecar, [step], agent_type=agent_type, issue=issue)
        assert agent.wait()["status"] == "completed"
    third = sidecar.agent("debugger", issue=issue, project="default")
    query = f"?max_bytes={max_bytes}&task=repair" if max_bytes else ""
    context = call(sidecar, "GET", f"/api/context/{issue}/debugger{query}", third)["context"]
    by_type = {each["agent_type"]: each for each in context["previous_agent_outputs"]}
    reviewed, audited = by_type["code-reviewer"], by_type["security-auditor"]
    assert (reviewed["status"], reviewed["errors"]) == (status, [REVIEW])
    assert REVIEW in reviewed["artifacts"]["review.md"]
    assert (audited["status"], audited["warnings"], audited["next_steps"]) == (status, [AUDIT], [ADVICE])
    assert reviewed["agent"] and reviewed["timestamp"]


def test_the_context_file_of_a_spawned_agent_has_them(sidecar: SidecarProcess) -> None:
    review = {"do": "result", "status": "failed", "errors": [REVIEW]}
    assert spawn_scripted(sidecar, [review], agent_type="code-reviewer", issue="issue-file").wait()
    agent = spawn_scripted(sidecar, [{"do": "sleep", "seconds": 600}], agent_type="debugger", issue="issue-file")
    agent.wait("running")
    (file,) = (sidecar.storage / "agents" / agent.id).rglob("context.json")
    outputs = json.loads(file.read_bytes())["context"]["previous_agent_outputs"]
    assert [each["errors"] for each in outputs] == [[REVIEW]]
    agent.stop()


def test_decisions_of_architects_on_other_issues_follow_those_of_the_issue(sidecar: SidecarProcess) -> None:
    def decide(agent_type: str, issue: str, decision: str) -> None:
        step = {"do": "result", "status": "success", "decisions": [decision], "next_steps": ["no finding for others"]}
        assert spawn_scripted(sidecar, [step], agent_type=agent_type, issue=issue).wait()["status"] == "completed"

    decide("chief-architect", "issue-elsewhere", "Use PostgreSQL for all records")
    decide("python-specialist", "issue-elsewhere", "Rename a helper")
    decide("python-specialist", "issue-here", "Bind the parameters")
    reader = sidecar.agent("debugger", issue="issue-here", project="default")
    outputs = call(sidecar, "GET", "/api/context/issue-here/debugger", reader)["context"]["previous_agent_outputs"]
    found = [(each.get("issue_id"), each["agent_type"], each["decision"]) for each in outputs]
    assert found == [
        (None, "python-specialist", "Bind the parameters"),
        ("issue-elsewhere", "chief-architect", "Use PostgreSQL for all records"),
    ]
    assert not outputs[1].get("next_steps")
    for number in range(12):
        decide_by_event(sidecar, f"issue-{number}", f"Decision {number}")
    outputs = call(sidecar, "GET", "/api/context/issue-here/debugger", reader)["context"]["previous_agent_outputs"]
    assert [each["decision"] for each in outputs] == [
        "Bind the parameters",
        *(f"Decision {number}" for number in range(11, 1, -1)),
    ]


def decide_by_event(sidecar: SidecarProcess, issue: str, decision: str) -> None:
    author = sidecar.agent("chief-architect", issue=issue, project="default")
    data = {"issue_id": issue, "decision": decision}
    call(sidecar, "POST", "/api/events/architecture_defined", author, json={"topic": "architecture", "data": data})


def test_decisions_of_other_issues_can_be_turned_off(tmp_path: Path) -> None:
    config = written(tmp_path / "config.json", context={"project_decisions": False})
    with serving(tmp_path, small_repository(tmp_path / "repository"), config=config) as sidecar:
        decide_by_event(sidecar, "issue-elsewhere", "Use PostgreSQL for all records")
        reader = sidecar.agent("debugger", issue="issue-here", project="default")
        context = call(sidecar, "GET", "/api/context/issue-here/debugger", reader)["context"]
        assert context["previous_agent_outputs"] == []
