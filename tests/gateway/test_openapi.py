"""The OpenAPI document says what is accepted: each documented example validates against it and is accepted by a real
server, and what the server refuses does not validate.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from tests.support.repositories import OURS
from tests.support.sidecars import fresh

from cco_sidecar.testing.process import Agent, SidecarProcess

DOCUMENT = json.loads((OURS / "gen" / "openapi" / "orchestra.v1.json").read_text())
STORE, PUBLISH, SPAWN = "/api/results", "/api/events/{event_type}", "/api/agents/spawn"
READ = "/api/events/wait/{event_type}"
RESULT = {
    "status": "success",
    "files_created": [{"path": "src/api.py", "size": 4096, "language": "python", "checksum": "sha256:abc"}],
    "files_modified": [{"path": "requirements.txt", "diff": "+1 -0", "changes": ["Added fastapi"]}],
    "files_deleted": ["src/old.py"],
    "decisions": ["REST with FastAPI"],
    "metrics": {"execution_time_ms": 4500, "tokens_used": 2340, "test_coverage": 92.3},
    "artifacts": {"main_code": "src/api.py"},
    "errors": [],
    "warnings": ["No rate limit yet"],
    "next_steps": ["Security audit required"],
}
BODIES = [
    (STORE, {"result": RESULT}),
    (STORE, {"agent_type": "python-specialist", "project_id": "project-abc", "result": {"status": "success"}}),
    (STORE, {"agent_type": "python-specialist", "files_created": ["src/auth.py"], "decisions": ["JWT with PyJWT"]}),
    (STORE, {"result": {"status": "failed", "errors": ["It broke"], "attempts": 3}}),
    (STORE, {"status": "partial", "errors": ["Half of it"], "attempts": [1, None, {"deep": True}]}),
    (STORE, {"result": {"status": "success"}, "timestamp": "2025-10-31T23:59:59.123456789+02:00"}),
    (STORE, {"result": {"status": "success"}, "timestamp": "2024-02-29T00:00:00Z"}),
    (STORE, {"result": {"status": "success"}, "timestamp": None}),
    (PUBLISH, {"event_type": "implementation_complete", "next_phase": "testing"}),
    (PUBLISH, {"topic": "implementation", "data": {"issue_id": "issue-123", "status": "success"}}),
    (PUBLISH, {"data": {"findings": ["Missing error handling"]}}),
    (PUBLISH, {}),
]
REFUSED = [
    (STORE, {}),
    (STORE, {"result": RESULT, "decisions": ["x"]}),
    (STORE, {"result": {"errors": ["It broke"]}}),
    (STORE, {"errors": ["It broke"]}),
    (STORE, {"result": {"status": "done"}}),
    (STORE, {"result": {"status": "success"}, "timestamp": "2025-02-30T00:00:00Z"}),
    (STORE, {"result": {"status": "success"}, "timestamp": "yesterday"}),
    (PUBLISH, {"data": {}, "more": 1}),
    (PUBLISH, {"data": []}),
]
FILTERS = ["issue_id:issue-123", "status:success", "issue_id:issue-123,status:success", "coverage:>90.5", 'a:"b, C"']
FILTERS += ["name:*Auth?", "A.B:x", ""]
REQUIREMENTS = ["project_structure", "previous_decisions", "security_policies", "test_coverage_reports", "docs/*.md"]


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def body_of(template: str) -> Any:
    return validator(DOCUMENT["paths"][template]["post"]["requestBody"]["content"]["application/json"]["schema"])


def parameter(template: str, name: str) -> Any:
    (found,) = [each for each in DOCUMENT["paths"][template]["get"]["parameters"] if each["name"] == name]
    return validator(found["schema"])


@pytest.fixture(scope="module")
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(issue="issue-123", project="project-abc")


def send(sidecar: SidecarProcess, agent: Agent, template: str, body: dict[str, Any]) -> Any:
    path = "/api/events/implementation" if template == PUBLISH else template
    return sidecar.request("POST", path, agent, json=body)


@pytest.mark.parametrize(("template", "body"), BODIES)
def test_a_documented_body_validates_and_is_accepted(
    sidecar: SidecarProcess, agent: Agent, template: str, body: dict[str, Any]
) -> None:
    body_of(template).validate(body)
    assert (answer := send(sidecar, agent, template, body)).status_code in (201, 202), answer.text


@pytest.mark.parametrize(("template", "body"), REFUSED)
def test_a_refused_body_does_not_validate(
    sidecar: SidecarProcess, agent: Agent, template: str, body: dict[str, Any]
) -> None:
    assert not body_of(template).is_valid(body)
    assert send(sidecar, agent, template, body).status_code == 400


@pytest.mark.parametrize("part", REQUIREMENTS)
def test_a_documented_context_requirement(sidecar: SidecarProcess, part: str) -> None:
    body = {"agent_type": "python-specialist", "issue_id": fresh("issue"), "context_requirements": [part]}
    body_of(SPAWN).validate(body)
    answer = sidecar.request("POST", SPAWN, sidecar.operator, json=body | {"command": ["true"]})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("written", FILTERS)
def test_a_documented_filter(sidecar: SidecarProcess, agent: Agent, written: str) -> None:
    parameter(READ, "filter").validate(written)
    answer = sidecar.request("GET", "/api/events/wait/x", agent, params={"filter": written, "timeout": "1"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("moment", ["2025-11-30T10:00:00Z", "2025-12-31T10:00:00.5-08:00", "2024-02-29T00:00:00+14:00"])
def test_a_documented_time(sidecar: SidecarProcess, agent: Agent, moment: str) -> None:
    parameter("/api/events", "since_time").validate(moment)
    assert sidecar.request("GET", "/api/events", agent, params={"since_time": moment}).status_code == 200


@pytest.mark.parametrize(
    ("template", "name", "others"),
    [
        ("/api/access", "agent", "rpc=GetContext"),
        ("/api/agents", "agent_type", ""),
        ("/api/approvals", "issue_id", ""),
        ("/api/events", "correlation_id", ""),
        ("/api/context/{issue_id}/{agent_type}", "task", ""),
    ],
)
def test_a_nul_character_in_a_short_text_is_refused_and_does_not_validate(
    sidecar: SidecarProcess, template: str, name: str, others: str
) -> None:
    assert not parameter(template, name).is_valid("a\0b")
    path = template.format(issue_id="issue-123", agent_type="python-specialist")
    answer = sidecar.request("GET", f"{path}?{name}=a%00b&{others}", sidecar.operator)
    assert answer.status_code == 400
    assert answer.json()["message"] == f"{name} contains a NUL character; remove it"


def test_every_limited_text_of_a_request_says_that_it_holds_no_nul() -> None:
    """PostgreSQL cannot store them, so that a document without this would promise what one of two stores refuses."""
    inputs = [each for each in DOCUMENT["components"]["schemas"] if each.endswith(("Request", "Body", "Input"))]
    found = [
        (f"{name}.{key}", schema)
        for name in inputs
        for key, each in DOCUMENT["components"]["schemas"][name].get("properties", {}).items()
        for schema in each.get("anyOf", [each])
        if "maxLength" in schema and "enum" not in schema
    ]
    found += [
        (f"{path} {each['name']}", each["schema"])
        for path, methods in DOCUMENT["paths"].items()
        for method in methods.values()
        for each in method.get("parameters", [])
        if "maxLength" in each["schema"] and "enum" not in each["schema"]
    ]
    assert len(found) > 30
    assert [name for name, schema in found if validator(schema).is_valid("a\0b")] == []


def test_the_document_names_its_server(sidecar: SidecarProcess) -> None:
    assert sidecar.request("GET", "/openapi.json").json()["servers"] == [{"url": "/"}]
