"""Durable consumers over both transports, with real agents, streams and restarts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from tests.support.sidecars import Deployment, fresh, publish, until
from tests.support.spawned import as_agent

from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import Agent, SidecarProcess


class Queue:
    """A consumer as one agent uses it, over REST."""

    def __init__(self, sidecar: SidecarProcess, agent: Agent, name: str = "queue") -> None:
        self.sidecar, self.agent, self.name = sidecar, agent, name

    def create(self, **settings: Any) -> requests.Response:
        body = {"name": self.name, "settings": settings, "since": "0"}
        return self.sidecar.request("POST", "/api/consumers", self.agent, json=body)

    def call(self, verb: str, **body: Any) -> Any:
        answer = self.sidecar.request("POST", f"/api/consumers/{self.name}/{verb}", self.agent, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pull(self, timeout: int = 5000, **body: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("pull", timeout=timeout, **body).get("deliveries", [])
        return found

    def ack(self, *deliveries: dict[str, Any]) -> Any:
        return self.call("ack", delivery_ids=[each["delivery_id"] for each in deliveries])

    def nack(self, *deliveries: dict[str, Any], **body: Any) -> Any:
        return self.call("nack", delivery_ids=[each["delivery_id"] for each in deliveries], **body)

    def show(self) -> Any:
        return self.sidecar.request("GET", f"/api/consumers/{self.name}", self.agent).json()

    def letters(self) -> list[dict[str, Any]]:
        answer = self.sidecar.request("GET", f"/api/dead-letters?consumer={self.name}", self.agent)
        found: list[dict[str, Any]] = answer.json()["dead_letters"]
        return found


def numbers(deliveries: list[dict[str, Any]]) -> list[int]:
    return [each["event"]["data"]["n"] for each in deliveries]


@pytest.fixture
def queue(sidecar: SidecarProcess) -> Queue:
    return Queue(sidecar, sidecar.agent(project=fresh("p")))


def fill(queue: Queue, count: int = 3, event_type: str = "task") -> list[str]:
    project = queue.agent.project
    return [publish(queue.sidecar, project, event_type, queue.agent, n=n) for n in range(1, count + 1)]


def test_what_is_not_acknowledged_comes_again_and_the_rest_does_not(queue: Queue) -> None:
    assert queue.create(event_types=["task"], retry_seconds=0).status_code == 201
    ids = fill(queue)
    fill(queue, 1, "other")
    first = queue.pull()
    assert [each["event"]["event_id"] for each in first] == ids
    assert [each["attempt"] for each in first] == [1, 1, 1]
    assert queue.ack(first[0], first[2]) == {"settled": 2, "not_held": []}
    assert queue.nack(first[1], delay_seconds=0)["rejected"] == 1
    (again,) = queue.pull()
    assert (again["event"]["event_id"], again["attempt"]) == (ids[1], 2)
    assert queue.ack(first[1]) == {"settled": 0, "not_held": [first[1]["delivery_id"]]}
    assert queue.ack(again)["settled"] == 1
    assert queue.ack(again) == {"settled": 1, "not_held": []}
    assert queue.pull(timeout=0) == []
    shown = queue.show()
    assert (shown["in_flight_count"], shown["lag"]) == (0, 0)


def test_two_workers_share_the_events(sidecar: SidecarProcess) -> None:
    project = fresh("p")
    one, two = (Queue(sidecar, sidecar.agent(project=project)) for _ in range(2))
    assert one.create(shared=True).status_code == 201
    assert two.create(shared=True).status_code == 201
    fill(one, 4)
    first, second = one.pull(limit=2), two.pull(limit=2)
    assert sorted(numbers(first) + numbers(second)) == [1, 2, 3, 4]
    assert two.ack(*first)["not_held"] == [each["delivery_id"] for each in first]
    held = {each["event_id"]: each["held_by"] for each in one.show()["in_flight"]}
    assert held == {each["event"]["event_id"]: one.agent.id for each in first} | {
        each["event"]["event_id"]: two.agent.id for each in second
    }


def test_a_consumer_that_is_not_shared_is_closed_to_others(sidecar: SidecarProcess) -> None:
    project = fresh("p")
    owner, other = (Queue(sidecar, sidecar.agent(project=project)) for _ in range(2))
    owner.create()
    for verb in ("pull", "ack", "nack", "extend"):
        body = {} if verb == "pull" else {"delivery_ids": ["evt-00000000-0000000001.1"]}
        answer = sidecar.request("POST", f"/api/consumers/queue/{verb}", other.agent, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "AUTH_003"), verb
    refused = other.create()
    assert (refused.status_code, refused.json()["code"]) == (409, "CSM_002")
    foreign = sidecar.request("GET", "/api/consumers/queue", sidecar.agent(project=fresh("p")))
    assert (foreign.status_code, foreign.json()["code"]) == (404, "CSM_001")


def test_an_event_that_fails_too_often_becomes_a_dead_letter_that_can_be_replayed(queue: Queue) -> None:
    queue.create(max_deliveries=2, retry_seconds=0, event_types=["task"])
    (event_id,) = fill(queue, 1)
    for attempt in (1, 2):
        (delivery,) = queue.pull()
        assert delivery["attempt"] == attempt
        queue.nack(delivery, reason=f"no {attempt}")
    assert queue.pull(timeout=0) == []
    (letter,) = queue.letters()
    assert (letter["event"]["event_id"], letter["attempts"], letter["reason"]) == (event_id, 2, "no 2")
    assert letter["event"]["data"] == {"n": 1}
    assert letter["last_held_by"] == queue.agent.id
    told = queue.sidecar.request("GET", "/api/events?topic=dead-letters", queue.agent).json()["events"]
    assert [each["data"]["dead_letter_id"] for each in told] == [letter["dead_letter_id"]]
    assert queue.call("replay") == {"replayed": 1}
    assert queue.call("replay") == {"replayed": 0}
    (again,) = queue.pull()
    assert (again["event"]["event_id"], again["attempt"]) == (event_id, 3)
    assert queue.letters()[0]["replaying"] is True
    queue.ack(again)
    assert queue.letters() == []


def stream(queue: Queue, **query: Any) -> Iterator[dict[str, Any]]:
    """Opens a stream; yields each delivery."""
    address = f"{queue.sidecar.url}/api/consumers/{queue.name}/stream"
    answer = queue.sidecar.request(
        "GET",
        address.removeprefix(queue.sidecar.url),
        queue.agent,
        params=query,
        stream=True,
        headers={"Accept": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    try:
        for line in answer.iter_lines(chunk_size=1):
            yield from json.loads(line).get("deliveries", [])
    finally:
        answer.close()


def test_a_stream_gets_no_more_than_it_can_hold(queue: Queue) -> None:
    queue.create()
    fill(queue, 3)
    reader = stream(queue, max_in_flight=1)
    first = next(reader)
    assert numbers(queue.pull(limit=1)) == [2]
    queue.ack(first)
    assert next(reader)["event"]["data"]["n"] == 3
    reader.close()  # type: ignore[attr-defined]


def test_deliveries_survive_a_restart_and_acknowledged_events_do_not_come_back(deployment: Deployment) -> None:
    sidecar = deployment.start()
    queue = Queue(sidecar, sidecar.agent())
    queue.create(ack_wait_seconds=1)
    fill(queue, 3)
    first = queue.pull()
    queue.ack(first[0])
    deployment.kill()
    queue.sidecar = deployment.start()
    # The holder may still be at work.
    assert queue.ack(first[1])["settled"] == 1
    (again,) = until(queue.pull, "the event that nobody acknowledged")
    assert (numbers([again]), again["attempt"]) == ([3], 2)


def test_a_reset_goes_back_and_forward(queue: Queue) -> None:
    queue.create()
    ids = fill(queue, 3)
    queue.ack(*queue.pull())
    queue.call("reset", since=ids[0])
    assert numbers(queue.pull()) == [2, 3]
    assert queue.call("reset", since="$")["in_flight_count"] == 0
    assert queue.pull(timeout=0) == []


def test_a_deleted_consumer_ends_its_streams(queue: Queue) -> None:
    queue.create()
    fill(queue, 1)
    reader = stream(queue)
    next(reader)
    assert queue.sidecar.request("DELETE", "/api/consumers/queue", queue.agent).json()["name"] == "queue"
    with pytest.raises(StopIteration):
        next(reader)
    assert queue.sidecar.request("GET", "/api/consumers/queue", queue.agent).status_code == 404


def test_the_events_of_an_agent_that_was_killed_go_to_another_at_once(sidecar: SidecarProcess) -> None:
    """A broker would wait for the timeout of an hour; the supervisor knows."""
    name = fresh("queue")
    agent = spawn_scripted(sidecar, command=["sleep", "600"])
    held_by_agent = Queue(sidecar, as_agent(agent), name)
    other = Queue(sidecar, sidecar.agent(project="default"), name)
    assert other.create(event_types=[name], shared=True, ack_wait_seconds=3600).status_code == 201
    event_id = publish(sidecar, "default", name, other.agent)
    assert [each["event"]["event_id"] for each in held_by_agent.pull()] == [event_id]
    assert other.pull(timeout=0) == []
    os.kill(agent.wait("running")["process_id"], signal.SIGKILL)
    (again,) = other.pull(timeout=30_000)
    assert (again["event"]["event_id"], again["attempt"]) == (event_id, 2)
    other.ack(again)
