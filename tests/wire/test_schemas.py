"""Schemas of event types: what is refused, and which field the error names."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.sidecars import Deployment, call, events, fresh, publish, refused

from cco_sidecar.client import Client, InvalidRequestError, NotFoundError
from cco_sidecar.testing.process import Agent, SidecarProcess

SCHEMA = {
    "type": "object",
    "required": ["coverage"],
    "properties": {
        "coverage": {"type": "number", "maximum": 100},
        "files": {"type": "array", "items": {"type": "object", "required": ["path"]}},
        "at": {"type": "string", "format": "date-time"},
    },
    "additionalProperties": False,
}


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    agent = sidecar.agent(project=fresh("schemas"))
    call(sidecar, "PUT", "/api/schemas/tests_passing", json={"schema": SCHEMA, "project_id": agent.project})
    return agent


def post(sidecar: SidecarProcess, agent: Agent, data: Any, event_type: str = "tests_passing") -> Any:
    return sidecar.request("POST", f"/api/events/{event_type}", agent, json={"data": data})


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        ({}, "data.coverage", "required"),
        ({"coverage": "95"}, "data.coverage", "is not of type"),
        ({"coverage": 101}, "data.coverage", "100"),
        ({"coverage": 1, "covered": 1}, "data.covered", "not allowed"),
        ({"coverage": 1, "files": [{"path": "a"}, {}]}, "data.files[1].path", "required"),
        ({"coverage": 1, "at": "yesterday"}, "data.at", "date-time"),
        ({"coverage": "x" * 100_000}, "data.coverage", "is not of type"),
    ],
)
def test_the_field_that_does_not_match_is_named(
    sidecar: SidecarProcess, agent: Agent, data: Any, field: str, says: str
) -> None:
    answer = post(sidecar, agent, data)
    body = answer.json()
    assert (answer.status_code, body["code"], body["details"]["field"]) == (400, "EVT_005", field), answer.text
    assert body["message"].startswith(field) and says in body["message"]
    assert "schema of 'tests_passing'" in body["message"] and len(body["message"]) < 400
    assert events(sidecar, agent.project) == []


def test_what_matches_and_other_types_are_published(sidecar: SidecarProcess, agent: Agent) -> None:
    at = "2026-11-27T08:00:00Z"
    assert post(sidecar, agent, {"coverage": 95.5, "files": [{"path": "a"}], "at": at}).status_code == 202
    assert post(sidecar, agent, {"anything": 1}, "another").status_code == 202
    elsewhere = sidecar.agent(project=fresh("schemas"))
    assert post(sidecar, elsewhere, {"anything": 1}).status_code == 202


def test_every_way_to_publish_is_checked(sidecar: SidecarProcess, agent: Agent) -> None:
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        with pytest.raises(InvalidRequestError) as problem:
            client.events.publish("tests_passing", {"coverage": True})
        assert (problem.value.code, problem.value.field) == ("EVT_005", "data.coverage")
    batch = {"events": [{"event_type": "fine"}, {"event_type": "tests_passing"}]}
    answer = sidecar.request("POST", "/api/events:publish", agent, json=batch)
    assert answer.json()["details"]["field"] == "events[1].data.coverage", answer.text
    assert answer.json()["message"].startswith("events[1].data.coverage is required")
    later = {"event": {"event_type": "tests_passing"}, "after_seconds": 60}
    answer = sidecar.request("POST", "/api/schedules", agent, json=later)
    assert answer.json()["details"]["field"] == "event.data.coverage", answer.text
    headers = {"content-type": "application/cloudevents+json"}
    cloud = {"specversion": "1.0", "id": "1", "source": "/ci", "type": "tests_passing", "data": {}}
    answer = sidecar.request("POST", "/api/events", agent, json=cloud, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "EVT_005")
    assert events(sidecar, agent.project) == []


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "objekt"}, "schema.type"),
        ({"properties": {"a": {"minimum": "1"}}}, "schema.properties.a.minimum"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "schema.properties.a.pattern"),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "schema"),
        ({"$ref": "file:///etc/passwd"}, "schema"),
        ({"$ref": "#/$defs/missing"}, "schema"),
        ({"$schema": "https://x.example/own"}, "schema"),
        ({"description": "x" * 70_000}, "schema"),
        (None, "schema"),
    ],
)
def test_what_is_no_schema_is_refused(sidecar: SidecarProcess, agent: Agent, schema: Any, field: str) -> None:
    body = {"schema": schema, "project_id": agent.project}
    said = refused(sidecar, 400, "REQ_001", "PUT", "/api/schemas/tests_passing", sidecar.operator, json=body)
    assert said["details"]["field"] == field, said
    # The one before is still there.
    assert post(sidecar, agent, {}).status_code == 400


def test_a_pattern_that_takes_long_elsewhere_does_not_here(sidecar: SidecarProcess, agent: Agent) -> None:
    schema = {"properties": {"text": {"pattern": "^(a+)+$"}}}
    call(sidecar, "PUT", "/api/schemas/text", json={"schema": schema, "project_id": agent.project})
    assert post(sidecar, agent, {"text": "a" * 100_000 + "b"}, "text").json()["code"] == "EVT_005"


def test_older_drafts_are_those_that_the_schema_names(sidecar: SidecarProcess, agent: Agent) -> None:
    old = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"n": {"maximum": 5, "exclusiveMaximum": True}},
    }
    call(sidecar, "PUT", "/api/schemas/old", json={"schema": old, "project_id": agent.project})
    assert post(sidecar, agent, {"n": 4}, "old").status_code == 202
    assert post(sidecar, agent, {"n": 5}, "old").status_code == 400


def test_schemas_are_listed_replaced_and_deleted(sidecar: SidecarProcess, agent: Agent) -> None:
    where = {"project_id": agent.project}
    with Client(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target) as client:
        client.schemas.set("a", {"maxProperties": 1}, **where)
        assert [each.event_type for each in client.schemas.list(**where)] == ["a", "tests_passing"]
        assert client.schemas.get("a", **where).schema["maxProperties"] == 1
        client.schemas.set("a", {"maxProperties": 2}, **where)
        assert post(sidecar, agent, {"x": 1, "y": 2}, "a").status_code == 202
        client.schemas.delete("tests_passing", **where)
        assert post(sidecar, agent, {}).status_code == 202
        with pytest.raises(NotFoundError, match="has no schema"):
            client.schemas.delete("tests_passing", **where)
    shown = sidecar.request("GET", "/api/schemas/a", agent).json()
    assert shown["schema"] == {"maxProperties": 2}


def test_a_schema_survives_a_crash(deployment: Deployment) -> None:
    sidecar = deployment.start()
    call(sidecar, "PUT", "/api/schemas/tests_passing", json={"schema": SCHEMA, "project_id": "p"})
    deployment.kill()
    sidecar = deployment.start()
    refused(sidecar, 400, "EVT_005", "POST", "/api/events/tests_passing", sidecar.operator, json={"project_id": "p"})


def test_what_the_sidecar_itself_publishes_is_not_checked(sidecar: SidecarProcess, agent: Agent) -> None:
    body = {"schema": {"required": ["never"]}, "project_id": agent.project}
    call(sidecar, "PUT", "/api/schemas/dead_lettered", json=body)
    place = {"project_id": agent.project}
    call(sidecar, "POST", "/api/consumers", json={"name": "c", "settings": {"max_deliveries": 1}} | place)
    publish(sidecar, agent.project, "work")
    pulled = call(sidecar, "POST", "/api/consumers/c/pull", json={"timeout": 10_000} | place)["deliveries"]
    rejected = {"delivery_ids": [each["delivery_id"] for each in pulled]} | place
    call(sidecar, "POST", "/api/consumers/c/nack", json=rejected)
    assert len(events(sidecar, agent.project, "dead_lettered")) == 1
