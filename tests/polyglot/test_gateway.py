"""A real grpc-gateway of the published protos, beside the sidecar's own REST API: both bodies are the same message.

How the two write that message differs, and docs/grpc.md#grpc-gateway says why; each difference is a test below.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.protobuf import json_format
from google.protobuf.message import Message
from tests.polyglot import published
from tests.polyglot.test_tools import tool
from tests.support.repositories import OURS
from tests.support.sidecars import fresh

from cco_sidecar.core import codec
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import (
    agent_service_pb2,
    approval_service_pb2,
    consumer_service_pb2,
    context_service_pb2,
    event_service_pb2,
    options_pb2,
    result_service_pb2,
    schedule_service_pb2,
    schema_service_pb2,
    system_service_pb2,
)

pytestmark = pytest.mark.polyglot


@pytest.fixture(scope="module")
def program() -> Path:
    """The gateway, generated from the protos and built on the published Go module."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    directory = published.WORK / "gateway"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(OURS / "tests" / "polyglot" / "gateway", directory)
    plugin = {
        "local": tool("protoc-gen-grpc-gateway"),
        "out": str(directory),
        "opt": ["paths=source_relative", "standalone=true"],
    }
    inputs = [{"directory": str(OURS / "proto"), "paths": [str(OURS / "proto" / "orchestra")]}]
    template = json.dumps({"version": "v2", "plugins": [plugin], "inputs": inputs})
    published.run(str(OURS / ".tools/node_modules/.bin/buf"), "generate", "--template", template)
    published.run(
        "make", "-s", "-C", str(published.examples()), *published.options(), f"MODULE={directory}", "build-module"
    )
    return directory / "build" / "agent"


@pytest.fixture(scope="module")
def gateway(program: Path, sidecar: SidecarProcess) -> Iterator[str]:
    """The URL of a gateway to the sidecar's gRPC port."""
    process = subprocess.Popen([program, sidecar.target], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        yield f"http://{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(issue=fresh("issue"))


Ask = Callable[..., tuple[requests.Response, requests.Response]]


@pytest.fixture
def ask(gateway: str, sidecar: SidecarProcess, agent: Agent) -> Ask:
    """Sends one request to both: the sidecar's answer and the gateway's."""

    def send(
        method: str, path: str, by: Agent | None = None, **more: Any
    ) -> tuple[requests.Response, requests.Response]:
        headers = (by or agent).headers
        return tuple(
            requests.request(method, url + path, headers=headers, timeout=60, **more) for url in (sidecar.url, gateway)
        )  # type: ignore[return-value]

    return send


def _same_message(ours: requests.Response, theirs: requests.Response, kind: type[Message], *changing: str) -> None:
    assert ours.status_code < 300 and theirs.status_code == 200, (ours.text, theirs.text)
    one = codec.from_dict(kind, ours.json())
    other = json_format.Parse(theirs.text, kind())
    _without_internal(other)
    for message in (one, other):
        for field in ("timestamp", *changing):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    assert other == one


def _without_internal(message: Message) -> None:
    """Clears what the sidecar keeps to itself."""
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[options_pb2.field].internal:
            message.ClearField(field.name)
        elif field.message_type is not None:
            values = value if field.is_repeated else [value]
            if field.is_repeated and field.message_type.GetOptions().map_entry:
                values = [each for each in value.values() if isinstance(each, Message)]
            for each in values:
                _without_internal(each)


READS: list[tuple[str, type[Message]]] = [
    ("/api/context/{issue}/python-specialist", context_service_pb2.GetContextResponse),
    ("/api/context/{issue}/python-specialist?max_bytes=8192&task=events", context_service_pb2.GetContextResponse),
    ("/api/context/{issue}/python-specialist/explain?max_bytes=8192", context_service_pb2.ExplainContextResponse),
    ("/api/context/{issue}/python-specialist/files?path=README.md", context_service_pb2.GetFilesResponse),
    ("/api/events", event_service_pb2.ListEventsResponse),
    ("/api/events?topic=testing&limit=2&since=0", event_service_pb2.ListEventsResponse),
    ("/api/events/wait/tests_passing?since=0&timeout=0", event_service_pb2.WaitEventsResponse),
    ("/api/results?issue_id={issue}", result_service_pb2.ListResultsResponse),
    ("/api/agents", agent_service_pb2.ListAgentsResponse),
    ("/api/agent-types", agent_service_pb2.ListAgentTypesResponse),
    ("/api/approvals", approval_service_pb2.ListApprovalsResponse),
    ("/api/consumers", consumer_service_pb2.ListConsumersResponse),
    ("/api/schedules", schedule_service_pb2.ListSchedulesResponse),
    ("/api/schemas", schema_service_pb2.ListSchemasResponse),
]


@pytest.mark.parametrize(("path", "kind"), READS)
def test_what_is_read_is_the_same_message(ask: Ask, agent: Agent, path: str, kind: type[Message]) -> None:
    for event_type in ("tests_passing", "tests_failing"):
        body = {"topic": "testing", "data": {"n": 1.5, "deep": {"list": [1, "two", None, True]}}, "correlation_id": "c"}
        for answer in ask("POST", f"/api/events/{event_type}", json=body):
            assert answer.ok
    result = {"status": "RESULT_STATUS_PARTIAL", "files_created": [{"path": "a.py"}], "metrics": {"lines": 7}}
    for answer in ask("POST", "/api/results", json={"result": result}):
        assert answer.ok
    ours, theirs = ask("GET", path.format(issue=agent.issue))
    _same_message(ours, theirs, kind, "cache_hit")


def test_what_is_written_has_the_same_effect(ask: Ask, agent: Agent) -> None:
    ours, theirs = ask("POST", "/api/events/tests_passing", json={"priority": "PRIORITY_HIGH", "ttl_seconds": 60})
    _same_message(ours, theirs, event_service_pb2.PublishEventResponse, "event_id")
    ours, theirs = ask("POST", "/api/results", json={"result": {"status": "RESULT_STATUS_SUCCESS"}})
    _same_message(ours, theirs, result_service_pb2.CreateResultResponse, "id", "event_id")


def test_health_is_the_same_message_without_a_token(gateway: str, sidecar: SidecarProcess) -> None:
    ours, theirs = (requests.get(f"{url}/health", timeout=10) for url in (sidecar.url, gateway))
    _same_message(ours, theirs, system_service_pb2.GetHealthResponse, "checks", "uptime_seconds")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/results/res-nothing", None),
        ("GET", "/api/context/another-issue/python-specialist", None),
        ("DELETE", "/api/cache/all", None),
        ("GET", "/api/events?since=nonsense", None),
        ("POST", "/api/events/no%20name", {"topic": "testing"}),
        ("POST", "/api/results", {"result": {"status": "RESULT_STATUS_SUCCESS"}, "agent_id": "someone-else"}),
    ],
)
def test_errors_have_the_same_status_text_and_code(ask: Ask, method: str, path: str, body: Any) -> None:
    """Difference: grpc-gateway's body is a google.rpc.Status, the documented one has the code of its ErrorInfo."""
    ours, theirs = ask(method, path, json=body)
    assert ours.status_code == theirs.status_code >= 400, (ours.text, theirs.text)
    assert theirs.json()["message"] == ours.json()["message"]
    (reason,) = [detail["reason"] for detail in theirs.json()["details"] if detail["@type"].endswith("rpc.ErrorInfo")]
    assert reason == ours.json()["code"]


def test_success_is_always_200(ask: Ask) -> None:
    """Difference: the documented success codes (201, 202) are in an option that grpc-gateway does not read."""
    ours, theirs = ask("POST", "/api/events/tests_passing", json={})
    assert (ours.status_code, theirs.status_code) == (202, 200)


def test_enums_have_their_long_names(ask: Ask) -> None:
    """Difference: the documented values are short (`success`); the canonical JSON of protobuf has the proto's names."""
    ours, theirs = ask("POST", "/api/results", json={"result": {"status": "success"}})
    assert (ours.status_code, theirs.status_code) == (201, 400)


def test_only_the_sidecar_takes_unknown_keys_as_data(ask: Ask) -> None:
    """Difference: the documents send an event's data as the body itself; protobuf's JSON refuses unknown keys."""
    ours, theirs = ask("POST", "/api/events/tests_passing", json={"coverage": 91.5})
    assert (ours.status_code, theirs.status_code) == (202, 400)


def test_files_are_objects(ask: Ask) -> None:
    """Difference: a documented file is a path or an object; protobuf's JSON has no union of the two."""
    ours, theirs = ask("POST", "/api/results", json={"result": {"files_created": ["a.py"]}})
    assert (ours.status_code, theirs.status_code) == (201, 400)


def test_streams_wrap_each_message(gateway: str, ask: Ask, sidecar: SidecarProcess, agent: Agent) -> None:
    """Difference: grpc-gateway writes lines of {"result": message}; the documents ask for the messages themselves."""
    ask("POST", "/api/events/tests_passing", json={"topic": "testing"})
    keys = []
    for url in (sidecar.url, gateway):
        headers = agent.headers | {"Accept": "application/x-ndjson"}
        with requests.get(f"{url}/api/events/stream?since=0", headers=headers, stream=True, timeout=30) as streamed:
            keys.append(set(json.loads(next(streamed.iter_lines()))))
    assert keys == [{"events", "cursor"}, {"result"}]
