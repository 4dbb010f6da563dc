"""What users of neighbouring tools reported, tried here: HTTP upgrades, small windows, and events that lose their data."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import requests
from tests.support.sidecars import events, fresh

from cco_sidecar.client import Client
from cco_sidecar.testing.process import Agent, SidecarProcess

H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(project=fresh("reports"))


def spoken(sidecar: SidecarProcess, *parts: bytes, answers: int = 1) -> list[tuple[int, Any]]:
    """Sends bytes on one connection; returns the status and the JSON of each answer."""
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        stream, found = connection.makefile("rb"), []
        for _ in range(answers):
            status = int(stream.readline().split()[1])
            size = 0
            while line := stream.readline().strip():
                name, _, value = line.decode().partition(": ")
                size = int(value) if name == "content-length" else size
            found.append((status, json.loads(stream.read(size))))
        return found


@pytest.mark.parametrize("way", ["at once", "in two parts", "byte by byte", "chunked"])
def test_a_client_that_offers_http2_loses_no_data(sidecar: SidecarProcess, agent: Agent, way: str) -> None:
    """Java's HttpClient does with each request."""
    body = json.dumps({"topic": "testing", "data": {"n": 1}}).encode()
    length = "Transfer-Encoding: chunked" if way == "chunked" else f"Content-Length: {len(body)}"
    head = (
        f"POST /api/events/offered HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {agent.token}\r\n{H2C}"
        f"Content-Type: application/json\r\n{length}\r\n\r\n"
    ).encode()
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if way == "chunked" else body
    parts = {
        "at once": [head + sent],
        "in two parts": [head, sent],
        "byte by byte": [bytes([each]) for each in head + sent],
        "chunked": [head + sent],
    }[way]
    ((status, _),) = spoken(sidecar, *parts)
    assert status == 202
    (event,) = events(sidecar, agent.project)
    assert (event["topic"], event["data"]) == ("testing", {"n": 1})


def test_an_older_client_that_offers_something_is_answered_as_such(sidecar: SidecarProcess) -> None:
    """HTTP/1.0 needs no Host, and its connections end."""
    request = b"GET /health HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    ((status, _),) = spoken(sidecar, request)
    assert status == 200


def test_what_follows_such_a_request_is_answered(sidecar: SidecarProcess, agent: Agent) -> None:
    request = f"GET /health HTTP/1.1\r\nHost: localhost\r\n{H2C}\r\n".encode()
    assert [status for status, _ in spoken(sidecar, request + request, answers=2)] == [200, 200]


def test_one_name_may_be_given_without_a_list(sidecar: SidecarProcess, agent: Agent) -> None:
    """A text is a sequence of letters, too."""
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        made = client.consumers.create("c", event_types="job", topics="testing")
        assert (list(made.settings.event_types), list(made.settings.topics)) == (["job"], ["testing"])
        published = client.events.publish("job", topic="testing")
        assert next(iter(client.events.subscribe(event_types="job", since="0"))).event_id == published.event_id
        assert client.patterns.wait_any("job", since="0", timeout=5).event_id == published.event_id
        assert list(client.patterns.wait_all("job", since="0", timeout=5)) == ["job"]


def test_a_batch_that_is_sent_to_the_wrong_path_is_not_stored_as_an_event(
    sidecar: SidecarProcess, agent: Agent
) -> None:
    answer = sidecar.request("POST", "/api/events/publish", agent, json={"events": [{"event_type": "a"}]})
    assert answer.status_code == 400 and "POST /api/events:publish" in answer.json()["message"]
    assert events(sidecar, agent.project) == []


def test_the_idempotency_key_may_be_a_header(sidecar: SidecarProcess, agent: Agent) -> None:
    for key in ("abc", '"abc"'):
        headers = {"Idempotency-Key": key}
        assert sidecar.request("POST", "/api/events/once", agent, json={}, headers=headers).status_code == 202
    assert len(events(sidecar, agent.project)) == 1
    twice = sidecar.request(
        "POST", "/api/events/once", agent, json={"idempotency_key": "x"}, headers={"Idempotency-Key": "y"}
    )
    assert twice.status_code == 400 and twice.json()["details"]["field"] == "idempotency_key"


def test_a_result_that_is_sent_again_is_stored_once(sidecar: SidecarProcess, agent: Agent) -> None:
    body = {"result": {"decisions": ["use PyJWT"]}}
    headers = {"Idempotency-Key": "first"}
    first, again = (sidecar.request("POST", "/api/results", agent, json=body, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert "duplicate" not in first.json()
    assert again.json() == first.json() | {"duplicate": True, "event_id": ""}
    with Client(sidecar.url, token=agent.token) as client:
        assert client.results.create(body["result"], idempotency_key="first").id == first.json()["id"]
    listed = sidecar.request("GET", "/api/results", agent).json()["results"]
    assert [each["id"] for each in listed] == [first.json()["id"]]
    assert [event["event_type"] for event in events(sidecar, agent.project)] == ["agent_completed"]


def test_another_result_needs_another_key(sidecar: SidecarProcess, agent: Agent) -> None:
    def create(decision: str, key: str) -> requests.Response:
        body = {"decisions": [decision], "idempotency_key": key}
        return sidecar.request("POST", "/api/results", agent, json=body)

    first = create("a", "k")
    refused = create("b", "k")
    assert (refused.status_code, refused.json()["code"]) == (409, "RES_002")
    assert first.json()["id"] in refused.json()["message"]
    assert create("b", "l").status_code == 201


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"ce-subject": '"hello \\"world\\""'}, b"{}", 202),
        ({"ce-subject": "a%FFb"}, b"{}", 400),
        ({"ce-time": "yesterday"}, b"{}", 400),
    ],
)
def test_cloud_events_in_headers(
    sidecar: SidecarProcess, agent: Agent, headers: dict[str, str], body: bytes, status: int
) -> None:
    given = {"ce-specversion": "1.0", "ce-id": fresh("i"), "ce-source": "/ci", "ce-type": "built"} | headers
    answer = sidecar.request(
        "POST", "/api/events", agent, data=body, headers=given | {"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    if status == 202:
        accept = {"Accept": "application/cloudevents-batch+json"}
        (event,) = sidecar.request("GET", "/api/events", agent, headers=accept).json()
        assert event["subject"] == 'hello "world"'


def test_null_in_a_cloud_event_means_nothing(sidecar: SidecarProcess, agent: Agent) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/ci", "type": "built", "data": {"n": 1}}
    headers = {"content-type": "application/cloudevents+json"}
    event |= {"myext": None, "data_base64": None, "subject": None}
    assert sidecar.request("POST", "/api/events", agent, json=event, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"data": {"text": "x" * 300_000}}, "events[1]"),
        ({"expected_last_event_id": "evt-00000000-0000000001"}, "events[1]"),
        ({"traceparent": "wrong"}, "events[1].traceparent"),
    ],
)
def test_an_error_about_one_event_of_a_batch_says_which(
    sidecar: SidecarProcess, agent: Agent, event: dict[str, Any], field: str
) -> None:
    body = {"events": [{"event_type": "fine"}, {"event_type": "wrong"} | event]}
    answer = sidecar.request("POST", "/api/events:publish", agent, json=body)
    said = answer.json()
    assert said["details"]["field"].startswith(field) and said["message"].startswith("events[1]"), said
    assert events(sidecar, agent.project) == []
