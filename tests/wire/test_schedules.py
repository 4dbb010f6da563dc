"""Schedules over REST and with the SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.sidecars import Deployment, events, fresh, until

from cco_sidecar.client import Client, InvalidRequestError, NotFoundError
from cco_sidecar.testing.process import Agent, SidecarProcess


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(project=fresh("p"))


def create(sidecar: SidecarProcess, agent: Agent, event: dict[str, Any] | None = None, **body: Any) -> Any:
    body = {"event": {"event_type": "review_due", "data": {"n": 1}} | (event or {})} | body
    return sidecar.request("POST", "/api/schedules", agent, json=body)


def test_an_event_is_published_later_as_its_creator(sidecar: SidecarProcess, agent: Agent) -> None:
    made = create(sidecar, agent, {"topic": "testing", "correlation_id": "c"}, after_seconds=0.2)
    assert made.status_code == 201
    assert made.json()["created_by"] == agent.id and made.json()["project_id"] == agent.project
    assert events(sidecar, agent.project) == []
    (event,) = until(lambda: events(sidecar, agent.project, "review_due"), "the event")
    assert (event["publisher"], event["topic"], event["correlation_id"]) == (agent.id, "testing", "c")
    assert event["data"] == {"n": 1}
    path = f"/api/schedules/{made.json()['schedule_id']}"
    until(lambda: sidecar.request("GET", path, agent).status_code == 404, "the end of the schedule")


def test_what_comes_due_while_the_sidecar_is_off_is_published_at_the_start(deployment: Deployment) -> None:
    sidecar = deployment.start()
    agent = sidecar.agent()
    at = (datetime.now(UTC) + timedelta(milliseconds=1500)).isoformat()
    assert create(sidecar, agent, at=at).status_code == 201
    deployment.kill()
    until(lambda: datetime.now(UTC).isoformat() > at, "the time")
    again = deployment.start()
    (event,) = until(lambda: events(again, agent.project, "review_due"), "the event")
    assert event["timestamp"] > at[:19]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "at"),
        ({"after_seconds": 1, "cron": "* * * * *"}, "at"),
        ({"after_seconds": 1, "timezone": "Europe/Warsaw"}, "timezone"),
        ({"cron": "tomorrow"}, "cron"),
        ({"cron": "0 9 * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"after_seconds": -1}, "after_seconds"),
        ({"after_seconds": 1, "event": {"event_type": "x", "ttl_seconds": 5}}, "event.ttl_seconds"),
        ({"after_seconds": 1, "event": {"event_type": "x", "data": {"text": "x" * 20_000}}}, "event.data"),
        ({"after_seconds": 1, "event": {"event_type": ""}}, "event.event_type"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    sidecar: SidecarProcess, agent: Agent, body: dict[str, Any], field: str
) -> None:
    refused = create(sidecar, agent, **body)
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, field), refused.text


def test_schedules_are_listed_replaced_and_deleted(sidecar: SidecarProcess, agent: Agent) -> None:
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        client.schedules.create("b", {"n": 1}, cron="0 9 * * mon", timezone="Europe/Warsaw", schedule_id="weekly")
        client.schedules.create("a", after_seconds=3600, schedule_id="soon", topic="testing")
        client.schedules.create("a", {"n": 2}, at=datetime(2031, 5, 4, tzinfo=UTC), schedule_id="late")
        assert [each.schedule_id for each in client.schedules.list()] == ["soon", "weekly", "late"]
        assert client.schedules.get("late").event.data["n"] == 2
        moved = client.schedules.create("a", after_seconds=60, schedule_id="late")
        assert moved.next_at.ToDatetime() < datetime(2031, 1, 1)
        client.schedules.delete("late")
        with pytest.raises(NotFoundError, match="schedule 'late' not found"):
            client.schedules.delete("late")
        assert [each.schedule_id for each in client.schedules.list()] == ["soon", "weekly"]


@pytest.mark.parametrize("at", [datetime(2031, 5, 4), "2031-05-04T09:00:00Z", timedelta(hours=1)])
def test_a_time_without_a_zone_is_not_guessed(sidecar: SidecarProcess, agent: Agent, at: Any) -> None:
    with (
        Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client,
        pytest.raises(InvalidRequestError, match="datetime with a time zone"),
    ):
        client.schedules.create("a", at=at)


def test_another_agents_schedule_is_not_replaced(sidecar: SidecarProcess, agent: Agent) -> None:
    create(sidecar, agent, after_seconds=3600, schedule_id="mine")
    other = sidecar.agent(project=agent.project)
    refused = create(sidecar, other, after_seconds=1, schedule_id="mine")
    assert (refused.status_code, refused.json()["code"]) == (403, "AUTH_003")
