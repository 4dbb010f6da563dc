"""Causes, keys and replay of events, over REST and with the SDK."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from tests.support.sidecars import fresh

from cco_sidecar.client import Client
from cco_sidecar.testing.process import Agent, SidecarProcess


def publish(sidecar: SidecarProcess, agent: Agent, **body: Any) -> Any:
    answer = sidecar.request("POST", "/api/events/step", agent, json={"data": {}} | body)
    assert answer.status_code == 202, answer.text
    return answer.json()["event_id"]


def events(sidecar: SidecarProcess, agent: Agent, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sidecar.request("GET", f"/api/events?{query}", agent).json()["events"]
    return found


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(project=fresh("p"))


def test_what_follows_from_an_event_shares_its_correlation_id(sidecar: SidecarProcess, agent: Agent) -> None:
    root = publish(sidecar, agent)
    second = publish(sidecar, agent, causation_id=root)
    third = publish(sidecar, agent, causation_id=second)
    named = publish(sidecar, agent, causation_id=root, correlation_id="mine")
    after_named = publish(sidecar, agent, causation_id=named)
    found = {each["event_id"]: each for each in events(sidecar, agent)}
    assert "causation_id" not in found[root]
    assert [found[each]["causation_id"] for each in (second, third, named)] == [root, second, root]
    assert [found[each]["correlation_id"] for each in (second, third)] == [root, root]
    assert [found[each]["correlation_id"] for each in (named, after_named)] == ["mine", "mine"]
    assert len(events(sidecar, agent, f"correlation_id={root}")) == 2


@pytest.mark.parametrize("cause", ["an-id-of-another-system", "evt-00000000-0000000001"])
def test_a_cause_that_is_not_retained_is_kept_as_it_is(sidecar: SidecarProcess, agent: Agent, cause: str) -> None:
    publish(sidecar, agent, causation_id=cause)
    (event,) = events(sidecar, agent)
    assert (event["causation_id"], event["correlation_id"]) == (cause, cause)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_trace_context_is_carried(sidecar: SidecarProcess, agent: Agent) -> None:
    publish(sidecar, agent, traceparent=TRACE, tracestate="vendor=1")
    (event,) = events(sidecar, agent)
    assert (event["traceparent"], event["tracestate"]) == (TRACE, "vendor=1")


@pytest.mark.parametrize("wrong", ["00-0-0-0", TRACE.upper(), f"ff{TRACE[2:]}"])
def test_what_is_no_trace_context_is_refused(sidecar: SidecarProcess, agent: Agent, wrong: str) -> None:
    answer = sidecar.request("POST", "/api/events/step", agent, json={"data": {}, "traceparent": wrong})
    assert (answer.status_code, answer.json()["code"]) == (400, "EVT_002")
    assert answer.json()["details"]["field"] == "traceparent"


def test_the_latest_value_of_each_key(sidecar: SidecarProcess, agent: Agent) -> None:
    publish(sidecar, agent, topic="builds", state_key="main", data={"n": 1})
    publish(sidecar, agent, topic="builds", state_key="dev", data={"n": 2})
    publish(sidecar, agent, topic="builds", state_key="main", data={"n": 3})
    publish(sidecar, agent, topic="builds", data={"n": 4})
    publish(sidecar, agent, topic="deploys", state_key="main", data={"n": 5})
    publish(sidecar, agent, topic="builds", state_key="main", data={"n": 6, "draft": True})
    assert [each["data"]["n"] for each in events(sidecar, agent, "latest=true")] == [2, 5, 6]
    assert [each["data"]["n"] for each in events(sidecar, agent, "latest=true&topic=builds&filter=!draft:true")] == [
        2,
        3,
    ]
    assert [each["data"]["n"] for each in events(sidecar, agent, "latest=true&limit=1")] == [6]
    refused = sidecar.request("GET", "/api/events?latest=true&since=0", agent)
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, "latest")


def test_lists_are_paged_backwards(sidecar: SidecarProcess, agent: Agent) -> None:
    for n in range(25):
        publish(sidecar, agent, topic="even" if n % 2 == 0 else "odd", data={"n": n})
    for query, expected in (("", list(range(25))), ("&topic=even", list(range(0, 25, 2)))):
        found: list[int] = []
        before = ""
        while page := events(sidecar, agent, f"limit=4{query}{before}"):
            found = [each["data"]["n"] for each in page] + found
            before = f"&before={page[0]['event_id']}"
        assert found == expected
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        newest = client.events.list(limit=1).events[0].message.event_id
        assert [each.data["n"] for each in client.events.list(before=newest, limit=2).events] == [22, 23]


@pytest.mark.parametrize(
    ("query", "field"),
    [("before=banana", "before"), ("before=0", "before"), ("before=evt-00000001-0000000001&since=0", "before")],
)
def test_a_wrong_end_of_a_page_is_refused(sidecar: SidecarProcess, agent: Agent, query: str, field: str) -> None:
    refused = sidecar.request("GET", f"/api/events?{query}", agent)
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, field)


def test_a_subscription_begins_with_the_newest_events(sidecar: SidecarProcess, agent: Agent) -> None:
    for n in range(5):
        publish(sidecar, agent, topic="even" if n % 2 == 0 else "odd", data={"n": n})
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        seen = client.events.subscribe(topics=["even"], last=2)
        assert [event.data["n"] for event in islice(seen, 2)] == [2, 4]
        more = client.events.subscribe(topics=["odd"], last=1000)
        assert [event.data["n"] for event in islice(more, 2)] == [1, 3]
