"""The suggested next agents: no cycles, whole-word matching, findings go back to the author, language specialists."""

from __future__ import annotations

from typing import Any

import pytest

from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.storage.base import Outcome
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.supervision.next_agents import next_agents
from orchestra.v1.result_service_pb2 import (
    RESULT_STATUS_FAILED,
    RESULT_STATUS_PARTIAL,
    RESULT_STATUS_SUCCESS,
    AgentResult,
    FileEntry,
    Result,
)


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> AgentTypes:
    return load_agent_types(tmp_path_factory.mktemp("nothing"))


def result(agent_type: str, *paths: str, status: int = RESULT_STATUS_SUCCESS, **more: Any) -> Result:
    files = [FileEntry(path=path) for path in paths]
    return Result(agent_type=agent_type, result=AgentResult(status=status, files_modified=files, **more))  # type: ignore[arg-type]


def suggested(types: AgentTypes, done: Result, *before: Outcome) -> dict[str, str]:
    found = next_agents(types.next_agent_rules, types, done, before)
    return {each.agent_type: each.priority for each in found}


@pytest.mark.parametrize("first", ["python-specialist", "go-specialist", "chief-architect", "devops-engineer"])
def test_successes_never_suggest_a_cycle(types: AgentTypes, first: str) -> None:
    """Every suggested agent succeeds; the issue comes to an end."""
    history: list[Outcome] = []
    waiting, runs = [first], 0
    while waiting:
        agent_type = waiting.pop(0)
        runs += 1
        paths = ("src/auth.py", "package.json", "Dockerfile", "migrations/1.sql", "api.proto")
        found = next_agents(types.next_agent_rules, types, result(agent_type, *paths), history)
        history.insert(0, Outcome(agent_type, RESULT_STATUS_SUCCESS))
        waiting += [each.agent_type for each in found if each.agent_type not in waiting]
        assert runs < 25, [each.agent_type for each in history]


def test_after_the_audit_comes_deployment_and_then_nothing(types: AgentTypes) -> None:
    before = [Outcome(each, RESULT_STATUS_SUCCESS) for each in ("security-auditor", "test-engineer", "go-specialist")]
    assert "devops-engineer" in suggested(types, result("security-auditor"), *before[1:])
    assert "security-auditor" not in suggested(types, result("devops-engineer", "Dockerfile"), *before)


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("src/auth.py", True),
        ("src/userSession.ts", True),
        ("lib/jwt_helpers.rb", True),
        ("src/tokenizer.py", False),
        ("AUTHORS.md", False),
        ("src/author.py", False),
        ("obsession.py", False),
    ],
)
def test_only_whole_words_match(types: AgentTypes, path: str, asks: bool) -> None:
    assert (suggested(types, result("python-specialist", path))["security-auditor"] == "high") is asks


@pytest.mark.parametrize("text", ["the latest contest", "attestation of origin", "fastest path"])
def test_tests_are_suggested_only_when_a_next_step_asks_for_them(types: AgentTypes, text: str) -> None:
    assert "test-engineer" not in suggested(types, result("technical-writer", next_steps=[text]))
    assert "test-engineer" in suggested(types, result("technical-writer", next_steps=["write tests for it"]))


@pytest.mark.parametrize("status", [RESULT_STATUS_FAILED, RESULT_STATUS_PARTIAL])
@pytest.mark.parametrize("auditor", ["security-auditor", "test-engineer"])
def test_findings_go_back_to_the_author_of_the_code(types: AgentTypes, auditor: str, status: int) -> None:
    before = [Outcome("go-specialist", RESULT_STATUS_SUCCESS), Outcome("chief-architect", RESULT_STATUS_SUCCESS)]
    assert suggested(types, result(auditor, status=status), *before)["go-specialist"] == "high"
    assert "debugger" in suggested(types, result(auditor, status=status)), "no author is known here"


def test_a_fix_is_audited_again_but_not_forever(types: AgentTypes) -> None:
    audit = Outcome("security-auditor", RESULT_STATUS_FAILED)
    code = Outcome("go-specialist", RESULT_STATUS_SUCCESS)
    fixed = result("go-specialist", "main.go")
    assert "security-auditor" in suggested(types, fixed, audit, code)
    assert "security-auditor" not in suggested(types, fixed, audit, code, audit, code, audit, code)


@pytest.mark.parametrize(
    ("path", "specialist"), [("a.py", "python-specialist"), ("a.go", "go-specialist"), ("a.rs", "rust-specialist")]
)
def test_specialists_are_suggested_for_their_language(types: AgentTypes, path: str, specialist: str) -> None:
    assert specialist in suggested(types, result("chief-architect", path))


def test_every_group_can_be_suggested(types: AgentTypes) -> None:
    """Each type is described by its capabilities, as a next step would name it."""
    reached: set[str] = set()
    for agent in types.values():
        said = [capability.replace("-", " ") for capability in agent.capabilities]
        found = suggested(types, result("product-strategist", next_steps=[f"{agent.name}: {', '.join(said)}"]))
        reached |= {types[each].group for each in found}
    assert reached >= {agent.group for agent in types.values()} - {"business"}


def test_a_type_that_has_not_run_yet_is_suggested(types: AgentTypes) -> None:
    found = suggested(types, result("python-specialist", next_steps=["add a Terraform module for the queue"]))
    assert any("terraform" in each for each in found), found
