"""`cco approvals list|approve|deny`."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import yaml
from tests.support.commands import fails, in_process, misused, printed
from tests.support.sidecars import call, fresh
from tests.support.spawned import Spawn

from cco_sidecar.testing.process import SidecarProcess, run_cco


@pytest.fixture
def issue() -> str:
    return fresh("asked")


def ask(sidecar: SidecarProcess, issue: str, question: str, **more: Any) -> str:
    """The id of a question that an agent asked."""
    agent = sidecar.agent(issue=issue, project="default")
    body = {"question": question, **more}
    return str(call(sidecar, "POST", "/api/approvals", agent, json=body)["approval_id"])


def test_questions_are_listed_in_every_format(sidecar: SidecarProcess, issue: str) -> None:
    first, second = ask(sidecar, issue, "May I drop the table?"), ask(sidecar, issue, 'And "deploy", too?')
    line = ("approvals", "list", "--issue", issue)
    as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
    assert [each["approval_id"] for each in as_json] == [second, first]
    assert {each["status"] for each in as_json} == {"pending"}
    assert yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml"))) == as_json
    table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, *line, "--format", "csv")))))
    assert list(table[0]) == ["approval_id", "status", "issue_id", "requested_by", "question", "comment"]
    assert [row["question"] for row in table] == ['And "deploy", too?', "May I drop the table?"]
    drawn = printed(run_cco(sidecar, *line, "--format", "table")).splitlines()
    assert drawn[0].split() == list(table[0]) and drawn[2].endswith("  May I drop the table?")
    text = printed(run_cco(sidecar, *line)).splitlines()
    assert text[1] == f"{first}  pending  {issue}  {as_json[1]['requested_by']}: May I drop the table?"
    assert len(json.loads(printed(run_cco(sidecar, *line, "--limit", "1", "--format", "json")))) == 1
    assert printed(run_cco(sidecar, *line, "--project", "project-else")) == "no approvals\n"


def test_a_question_is_answered_once_and_keeps_its_comment(sidecar: SidecarProcess, issue: str) -> None:
    yes, no, later = (ask(sidecar, issue, question) for question in ("One?", "Two?", "Three?"))
    assert printed(run_cco(sidecar, "approvals", "approve", yes, "--comment", "with care")) == "approved: One?\n"
    assert printed(run_cco(sidecar, "approvals", "deny", no, "--comment", "not before Monday")) == "denied: Two?\n"
    for verb in ("approve", "deny"):
        fails(run_cco(sidecar, "approvals", verb, no), "is already denied; an answer is final [APR_002]")

    def listed(*status: str) -> list[tuple[str, str]]:
        line = ("approvals", "list", "--issue", issue, "--format", "json", *status)
        return [(each["approval_id"], each["comment"]) for each in json.loads(printed(run_cco(sidecar, *line)))]

    assert listed() == listed("--status", "pending") == [(later, "")]
    assert listed("--status", "approved") == [(yes, "with care")]
    assert listed("--status", "denied") == [(no, "not before Monday")]
    assert listed("--status", "all") == [(later, ""), (no, "not before Monday"), (yes, "with care")]


@pytest.mark.parametrize(
    ("verb", "status", "said"), [("approve", "completed", "approved: go on"), ("deny", "failed", "denied: go on")]
)
def test_an_agent_that_asked_waits_for_the_answer(
    sidecar: SidecarProcess, scripted_agent: Spawn, issue: str, verb: str, status: str, said: str
) -> None:
    agent = scripted_agent([{"do": "ask", "question": "Shall I?"}], issue=issue)
    agent.wait("needs_input")
    (row,) = printed(run_cco(sidecar, "agent", "list", "--issue", issue)).splitlines()[1:]
    assert row == f"  {agent.id}  needs_input  {issue}  what the script says  (Shall I?)"
    (waiting,) = json.loads(printed(run_cco(sidecar, "approvals", "list", "--issue", issue, "--format", "json")))
    assert waiting["requested_by"] == agent.id
    printed(run_cco(sidecar, "approvals", verb, waiting["approval_id"], "--comment", "go on"))
    assert agent.wait()["status"] == status
    assert agent.logs() == [said]


def test_a_question_is_shown_verbatim(sidecar: SidecarProcess, issue: str) -> None:
    """Square brackets are not markup."""
    text = "May I close [/docs], which is [bold]big[/bold]?"
    ask(sidecar, issue, text)
    line = ("approvals", "list", "--issue", issue)
    assert text in printed(run_cco(sidecar, *line))
    assert text in printed(run_cco(sidecar, *line, "--format", "table"))


def test_a_question_cannot_add_a_row(sidecar: SidecarProcess, issue: str) -> None:
    """Otherwise an agent could fake another agent's question."""
    ask(sidecar, issue, "One?\napr-1  approved  issue-1  python-specialist: Two?")
    for form in ("text", "table"):
        lines = printed(run_cco(sidecar, "approvals", "list", "--issue", issue, "--format", form)).splitlines()
        assert len(lines) == (1 if form == "text" else 2), lines


def test_an_agent_cannot_answer(sidecar: SidecarProcess, issue: str) -> None:
    asked = ask(sidecar, issue, "May I?")
    own = [("JWT_TOKEN", sidecar.agent("chief-architect", issue=issue, project="default").token)]
    fails(run_cco(sidecar, "approvals", "approve", asked, environment=own), "operator")
    assert asked in printed(run_cco(sidecar, "approvals", "list", "--issue", issue))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["approve", "apr-nowhere"], "approval 'apr-nowhere' not found"),
        (["deny", "apr-nowhere"], "'cco approvals list'"),
        (["approve", "an id"], "[REQ_001]"),
        (["deny", "apr-nowhere", "--comment", "x" * 10_001], "10000"),
    ],
)
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, "approvals", *line), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["aprove", "apr-1"], "approve"),
        (["approve"], "APPROVAL_ID"),
        (["deny", "--comment", "no"], "APPROVAL_ID"),
        (["approve", "apr-1", "apr-2"], "apr-2"),
        (["list", "--status", "aproved"], "aproved"),
        (["list", "--limit", "0"], "--limit"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process("approvals", *line), says)
