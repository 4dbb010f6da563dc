"""CloudEvents 1.0, as the CNCF's SDK sends and reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from tests.support.sidecars import fresh

from cco_sidecar.testing.process import Agent, SidecarProcess

BATCH = "application/cloudevents-batch+json"
FORMAT = JSONFormat()


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent("chief-architect", project=fresh("cloud"))


def event(**more: Any) -> CloudEvent:
    attributes = {
        "id": "42/ü",
        "source": "https://ci.example/builds?a=b",
        "type": "com.example.build.finished",
        "subject": "main",
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "dataschema": "https://ci.example/schemas/build.json",
        "datacontenttype": "application/json",
        "topic": "testing",
        "correlationid": "build-42",
        "statekey": "main",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "buildnumber": 42,
        **more,
    }
    return CloudEvent({name: value for name, value in attributes.items() if value is not None}, {"ok": True, "ü": [1]})


def post(sidecar: SidecarProcess, agent: Agent, message: HTTPMessage, path: str = "/api/events") -> Any:
    return sidecar.request("POST", path, agent, data=message.body, headers=message.headers)


def listed(sidecar: SidecarProcess, agent: Agent, query: str = "") -> list[dict[str, Any]]:
    answer = sidecar.request("GET", f"/api/events?{query}", agent, headers={"Accept": BATCH})
    assert (answer.status_code, answer.headers["content-type"]) == (200, BATCH), answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


@pytest.mark.parametrize("encode", [to_structured, to_binary])
def test_an_event_leaves_as_it_came(sidecar: SidecarProcess, agent: Agent, encode: Any) -> None:
    # The SDK does not send truth values in headers as CloudEvents has them.
    official = True if encode is to_structured else "true"
    sent = event(official=official)
    answer = post(sidecar, agent, encode(sent, FORMAT))
    assert answer.status_code == 202, answer.text
    (own,) = sidecar.request("GET", "/api/events", agent).json()["events"]
    assert (own["event_type"], own["topic"], own["correlation_id"]) == (
        "com.example.build.finished", "testing", "build-42",
    )  # fmt: skip
    assert own["data"] == {"ok": True, "ü": [1]} and own["state_key"] == "main" and own["traceparent"].startswith("00-")
    assert own["cloud_event"]["extensions"] == {"buildnumber": "42", "official": "true"}
    (given,) = listed(sidecar, agent)
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(given).encode())
    read = from_structured(message, FORMAT, CloudEvent)
    expected, found = sent.get_attributes(), read.get_attributes()
    ours = {"eventid": own["event_id"], "publisher": agent.id}
    assert found == expected | {"buildnumber": "42", "official": "true"} | ours
    assert read.get_data() == sent.get_data()


def test_an_event_of_ours_is_a_cloud_event(sidecar: SidecarProcess, agent: Agent) -> None:
    made = sidecar.request(
        "POST", "/api/events/tests_passing", agent, json={"topic": "testing", "data": {"n": 1}}
    ).json()
    answer = sidecar.request("GET", "/api/events/wait/tests_passing?since=0", agent, headers={"Accept": BATCH})
    (given,) = answer.json()
    assert answer.headers["x-next-cursor"] == made["event_id"]
    assert given == {
        "specversion": "1.0", "id": made["event_id"], "source": f"/agents/{agent.id}", "type": "tests_passing",
        "time": given["time"], "datacontenttype": "application/json", "data": {"n": 1}, "topic": "testing",
        "eventid": made["event_id"], "publisher": agent.id,
    }  # fmt: skip


def test_an_event_that_is_sent_again_is_stored_once(sidecar: SidecarProcess, agent: Agent) -> None:
    for source in ("/one", "/" + "long" * 100):
        first, again = (post(sidecar, agent, to_binary(event(source=source), FORMAT)).json() for _ in range(2))
        assert again["duplicate"] and again["event_id"] == first["event_id"]
    assert len(listed(sidecar, agent)) == 2
    changed = to_structured(event(source="/one", subject="other"), FORMAT)
    assert post(sidecar, agent, changed).json()["code"] == "EVT_003"


def test_a_batch_is_stored_whole_or_not_at_all(sidecar: SidecarProcess, agent: Agent) -> None:
    def batch(*events: CloudEvent) -> Any:
        body = b"[" + b",".join(to_structured(each, FORMAT).body for each in events) + b"]"
        return post(sidecar, agent, HTTPMessage({"Content-Type": BATCH}, body), "/api/events:publish")

    answer = batch(event(id="1"), event(id="2", topic=None))
    assert answer.status_code == 202, answer.text
    assert [each["eventid"] for each in listed(sidecar, agent)] == json.loads(answer.text)["event_ids"]
    bad = b'[{"specversion": "1.0", "id": "3", "source": "/", "type": "x"}, {"specversion": "1.0", "id": "4", "source": "/"}]'
    answer = post(sidecar, agent, HTTPMessage({"Content-Type": BATCH}, bad), "/api/events:publish")
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "type")
    assert "CloudEvent 2: 'type' is missing" in answer.json()["message"]
    answer = post(sidecar, agent, HTTPMessage({"Content-Type": BATCH}, b"{}"), "/api/events:publish")
    assert "must be a JSON array of CloudEvents" in answer.json()["message"]
    assert len(listed(sidecar, agent)) == 2


def test_pages_of_cloud_events_continue(sidecar: SidecarProcess, agent: Agent) -> None:
    for n in range(5):
        post(sidecar, agent, to_binary(event(id=str(n)), FORMAT))
    seen, cursor = [], "0"
    while cursor:
        path = f"/api/events?limit=2&since={cursor}"
        answer = sidecar.request("GET", path, agent, headers={"Accept": f"application/json;q=0.1, {BATCH}"})
        seen += [each["id"] for each in answer.json()]
        cursor = answer.headers.get("x-next-cursor", "")
    assert seen == ["0", "1", "2", "3", "4"]


VALID = {"specversion": "1.0", "id": "1", "source": "/a", "type": "x"}


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"specversion": "0.3"}, 400, "specversion must be '1.0', not '0.3'"),
        ({"id": ""}, 400, "'id' is missing"),
        ({"source": None}, 400, "'source' is missing"),
        ({"type": 5}, 400, "'type' is missing"),
        ({"type": "a/b"}, 400, "event_type"),
        ({"data": "text"}, 400, "data must be a JSON object, not str"),
        ({"data_base64": "YQ=="}, 400, "not data_base64"),
        ({"datacontenttype": "text/xml"}, 400, "datacontenttype must be application/json"),
        ({"Bad-Name": "x"}, 400, "'Bad-Name' is no name of an attribute"),
        ({"list": []}, 400, "'list' must be a text"),
        ({"subject": {}}, 400, "'subject' must be a text"),
        ({"traceparent": "x"}, 400, "traceparent"),
        ({f"e{n}": "x" for n in range(33)}, 400, "33 extensions; at most 32"),
        ({"topic": "bad topic"}, 400, "topic"),
    ],
)
def test_bad_events_are_refused(
    sidecar: SidecarProcess, agent: Agent, change: dict[str, Any], status: int, says: str
) -> None:
    message = HTTPMessage({"Content-Type": "application/cloudevents+json"}, json.dumps(VALID | change).encode())
    answer = post(sidecar, agent, message)
    assert answer.status_code == status and says in answer.json()["message"], answer.text
    assert listed(sidecar, agent) == []


def test_bad_binary_events_are_refused(sidecar: SidecarProcess, agent: Agent) -> None:
    headers = {f"ce-{name}": value for name, value in VALID.items()}
    for more, body, status, says in (
        ({"Content-Type": "text/plain"}, b"x", 415, "must be JSON here"),
        ({"Content-Type": "application/json"}, b"{", 400, "not valid JSON"),
        ({"Content-Type": "application/json"}, b"[1]", 400, "not list"),
        ({"ce-specversion": "2"}, b"", 400, "specversion must be"),
    ):
        answer = post(sidecar, agent, HTTPMessage(headers | more, body))
        assert answer.status_code == status and says in answer.json()["message"], answer.text
    assert post(sidecar, agent, HTTPMessage(headers, b"")).status_code == 202


def test_an_event_without_a_type_in_the_path_needs_one_in_the_body(sidecar: SidecarProcess, agent: Agent) -> None:
    answer = sidecar.request("POST", "/api/events", agent, json={"data": {}})
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "event_type")
    assert sidecar.request("POST", "/api/events", agent, json={"event_type": "x"}).status_code == 202
    mixed = post(sidecar, agent, to_binary(event(), FORMAT), "/api/events/other")
    assert mixed.status_code == 400 and "event_type" in mixed.json()["message"]
