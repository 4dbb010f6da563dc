"""Webhooks: what a receiver gets, and what becomes of what it does not take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.receivers import Receiver, Request, receiving
from tests.support.sidecars import Deployment, call, events, fresh, publish, refused, until, written

from cco_sidecar.client import Client, ConflictError, WebhookSignatureError, verify_webhook
from cco_sidecar.testing.process import SidecarProcess


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def project() -> str:
    return fresh("hooks")


def create(sidecar: SidecarProcess, project: str, receiver: Receiver, name: str = "ci", **more: Any) -> Any:
    settings = {"retry_seconds": 0} | more.pop("settings", {})
    body = {"name": name, "url": receiver.url, "project_id": project, "settings": settings} | more
    return call(sidecar, "POST", "/api/webhooks", json=body)


def status(sidecar: SidecarProcess, project: str, name: str = "ci") -> Any:
    return call(sidecar, "GET", f"/api/webhooks/{name}?project_id={project}")["status"]


def answering(*statuses: int) -> Any:
    """Each status once, then 204."""
    left = list(statuses)
    return lambda request: (left.pop(0) if left else 204, {})


def test_an_event_is_posted_and_signed(sidecar: SidecarProcess, project: str, receiver: Receiver) -> None:
    made = create(sidecar, project, receiver, settings={"event_types": ["build_done"]})
    assert made["webhook"]["settings"]["max_deliveries"] == 12 and made["secret"].startswith("whsec_")
    publish(sidecar, project, "ignored")
    event_id = publish(sidecar, project, "build_done", ok=True)
    until(lambda: receiver.requests, "the request")
    (request,) = receiver.requests
    assert request.path == "/hook" and request.json == events(sidecar, project, "build_done")[0]
    assert request.headers["webhook-id"] == event_id and request.headers["content-type"] == "application/json"
    verify_webhook(made["secret"], request.headers, request.body)
    with pytest.raises(WebhookSignatureError):
        verify_webhook(made["secret"], request.headers, request.body + b" ")
    until(lambda: status(sidecar, project)["succeeded"] == 1, "the success")
    found = until(lambda: (s := status(sidecar, project))["in_flight_count"] == 0 and s, "the settlement")
    assert found["lag"] == 0 and found["failed"] == 0 and "last_failure_at" not in found


def test_what_fails_is_posted_again_and_then_a_dead_letter_that_can_be_replayed(
    sidecar: SidecarProcess, project: str, receiver: Receiver
) -> None:
    receiver.answer = answering(500, 500, 500, 500)
    create(sidecar, project, receiver, settings={"max_deliveries": 3})
    event_id = publish(sidecar, project, "tried", n=1)
    found = until(lambda: (s := status(sidecar, project))["dead_letter_count"] and s, "the dead letter")
    assert [each.headers["webhook-id"] for each in receiver.requests] == [event_id] * 3
    assert found["failed"] == 3 and found["last_failure"] == "HTTP 500"
    (letter,) = call(sidecar, "GET", f"/api/dead-letters?consumer=ci&project_id={project}")["dead_letters"]
    assert (letter["reason"], letter["attempts"], letter["event"]["event_id"]) == ("HTTP 500", 3, event_id)
    # The event that tells of it goes to other consumers, not to this webhook.
    assert events(sidecar, project, "dead_lettered") and set(receiver.types) == {"tried"}
    call(sidecar, "POST", "/api/consumers/ci/replay", json={"project_id": project})
    until(lambda: status(sidecar, project)["succeeded"] == 1, "the replay")
    until(lambda: status(sidecar, project)["dead_letter_count"] == 0, "the end of the dead letter")
    assert [each.headers["webhook-id"] for each in receiver.requests] == [event_id] * 5


def test_a_receiver_that_is_busy_says_when_to_come_again(
    sidecar: SidecarProcess, project: str, receiver: Receiver
) -> None:
    receiver.answer = lambda request: (429, {"retry-after": "3600"}) if len(receiver.requests) == 1 else (204, {})
    create(sidecar, project, receiver)
    publish(sidecar, project, "tried")
    until(lambda: status(sidecar, project)["failed"] == 1, "the refusal")
    (waiting,) = call(sidecar, "GET", f"/api/consumers/ci?project_id={project}")["in_flight"]
    assert datetime.fromisoformat(waiting["due"]) > datetime.now(UTC) + timedelta(minutes=50)


def test_redirects_are_not_followed(sidecar: SidecarProcess, project: str, receiver: Receiver) -> None:
    with receiving() as inner:
        receiver.answer = lambda request: (307, {"location": inner.url})
        create(sidecar, project, receiver)
        answer = call(sidecar, "POST", "/api/webhooks/ci/test", json={"project_id": project})
        assert answer["status"] == 307 and answer["failure"] == "HTTP 307; redirects are not followed"
        assert not answer["accepted"] and inner.requests == []


def test_a_receiver_that_is_gone_pauses_the_webhook_and_nothing_is_lost(
    sidecar: SidecarProcess, project: str, receiver: Receiver
) -> None:
    receiver.answer = answering(410)
    create(sidecar, project, receiver)
    publish(sidecar, project, "one")
    found = until(
        lambda: (w := call(sidecar, "GET", f"/api/webhooks/ci?project_id={project}"))["paused"] and w, "the pause"
    )
    assert "HTTP 410" in found["paused_reason"]
    publish(sidecar, project, "two")
    resumed = call(sidecar, "PATCH", "/api/webhooks/ci", json={"paused": False, "project_id": project})
    assert (resumed["paused"], resumed["paused_reason"]) == (False, "")
    until(lambda: status(sidecar, project)["succeeded"] == 2, "both events")
    assert sorted(receiver.types) == ["one", "one", "two"]


def test_with_one_in_flight_events_arrive_in_order(sidecar: SidecarProcess, project: str, receiver: Receiver) -> None:
    receiver.answer = answering(500, 204, 500, 500)
    create(sidecar, project, receiver, settings={"max_in_flight": 1})
    for n in range(4):
        publish(sidecar, project, "step", n=n)
    until(lambda: status(sidecar, project)["succeeded"] == 4, "the events")
    assert [each.json["data"]["n"] for each in receiver.requests] == [0, 0, 1, 1, 1, 2, 3]
    assert receiver.most == 1


def test_a_slow_receiver_gets_no_more_than_eight_requests_at_a_time(
    sidecar: SidecarProcess, project: str, receiver: Receiver
) -> None:
    crowd = threading.Barrier(8, timeout=30)

    def wait(request: Request) -> tuple[int, dict[str, str]]:
        crowd.wait()
        return 204, {}

    receiver.answer = wait
    create(sidecar, project, receiver)
    for n in range(24):
        publish(sidecar, project, "step", n=n)
    until(lambda: status(sidecar, project)["succeeded"] == 24, "the events")
    assert receiver.most == 8


def test_cloud_events_are_posted_if_asked_for(sidecar: SidecarProcess, project: str, receiver: Receiver) -> None:
    create(sidecar, project, receiver, settings={"cloud_events": True})
    event_id = publish(sidecar, project, "built", n=1)
    until(lambda: receiver.requests, "the request")
    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert (request.json["specversion"], request.json["type"], request.json["id"]) == ("1.0", "built", event_id)
    assert request.json["data"] == {"n": 1}


def test_a_webhook_survives_a_crash_and_posts_what_happened_meanwhile(
    deployment: Deployment, receiver: Receiver, project: str
) -> None:
    config = written(deployment.directory / "config.json", events={"webhook_hosts": ["127.0.0.1"]})
    sidecar = deployment.start(config)
    secret = create(sidecar, project, receiver)["secret"]
    call(sidecar, "PATCH", "/api/webhooks/ci", json={"paused": True, "project_id": project})
    publish(sidecar, project, "meanwhile")
    deployment.kill()
    sidecar = deployment.start(config)
    assert receiver.requests == []
    call(sidecar, "PATCH", "/api/webhooks/ci", json={"paused": False, "project_id": project})
    until(lambda: receiver.requests, "the request")
    assert receiver.types == ["meanwhile"]
    verify_webhook(secret, receiver.requests[0].headers, receiver.requests[0].body)


def test_a_new_secret_signs_beside_the_former_one(sidecar: SidecarProcess, project: str, receiver: Receiver) -> None:
    old = create(sidecar, project, receiver)["secret"]
    with Client(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target) as client:
        new = client.webhooks.rotate_secret("ci", project_id=project)
        assert client.webhooks.test("ci", project_id=project).accepted
        newest = client.webhooks.rotate_secret("ci", keep_seconds=0, project_id=project)
        assert client.webhooks.test("ci", project_id=project).accepted
    first, second = receiver.requests
    for secret in (old, new):
        verify_webhook(secret, first.headers, first.body)
    verify_webhook(newest, second.headers, second.body)
    with pytest.raises(WebhookSignatureError):
        verify_webhook(new, second.headers, second.body)
    assert first.json["event_type"] == "webhook_test" and events(sidecar, project) == []


def test_webhooks_are_listed_changed_and_deleted(sidecar: SidecarProcess, project: str, receiver: Receiver) -> None:
    with Client(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target) as client, receiving() as other:
        for name in ("b", "a"):
            client.webhooks.create(name, receiver.url, event_types=["x"], project_id=project)
        with pytest.raises(ConflictError, match="webhook 'a' exists"):
            client.webhooks.create("a", receiver.url, project_id=project)
        assert [each.name for each in client.webhooks.list(project_id=project)] == ["a", "b"]
        client.webhooks.update("a", url=other.url, project_id=project)
        client.webhooks.update("b", paused=True, project_id=project)
        assert client.webhooks.get("b", project_id=project).paused
        publish(sidecar, project, "x")
        until(lambda: other.requests, "the request to the new URL")
        assert receiver.requests == []
        with pytest.raises(ConflictError, match="belongs to a webhook") as problem:
            client.consumers.delete("a", project_id=project)
        assert problem.value.code == "CSM_005"
        with pytest.raises(ConflictError, match="which takes its events"):
            client.consumers.pull("a", timeout=0, project_id=project)
        assert client.webhooks.delete("a", project_id=project) == 0
        assert [each.name for each in client.consumers.list(project_id=project)] == ["b"]
        refused(sidecar, 404, "WHK_001", "GET", f"/api/webhooks/a?project_id={project}", sidecar.operator)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://127.0.0.1/", "REQ_001"),
        ("127.0.0.1:80", "REQ_001"),
        ("http://user:hunter2@127.0.0.1/", "REQ_001"),
        ("http://127.0.0.1/#part", "REQ_001"),
        ("http://127.0.0.1:99999/", "REQ_001"),
        ("http://127.0.0.1/a b", "REQ_001"),
        ("http://127.0.0.1\\@evil.example/", "REQ_001"),
        ("http://exämple.com/", "REQ_001"),
        ("http:///path", "REQ_001"),
        ("https://10.0.0.1/", "WHK_003"),
        ("https://evil.example/", "WHK_003"),
        ("http://127.0.0.1.evil.example/", "WHK_003"),
        ("http://2130706433/", "WHK_003"),
        ("http://0x7f.1/", "WHK_003"),
        ("http://[::ffff:10.0.0.1]/", "WHK_003"),
        ("http://169.254.169.254/latest/meta-data", "WHK_003"),
    ],
)
def test_urls_that_may_not_be_called_are_refused(sidecar: SidecarProcess, project: str, url: str, code: str) -> None:
    body = {"name": "wrong", "url": url, "project_id": project}
    said = refused(sidecar, 400, code, "POST", "/api/webhooks", sidecar.operator, json=body)
    assert said["details"]["field"] == "url" and "hunter2" not in said["message"]


def test_agents_neither_see_nor_make_webhooks(sidecar: SidecarProcess, receiver: Receiver) -> None:
    architect = sidecar.agent("chief-architect", project=fresh("hooks"))
    create(sidecar, architect.project, receiver, url=f"{receiver.url}?token=s3cr3t")
    refused(sidecar, 403, "AUTH_003", "GET", "/api/webhooks", architect)
    refused(sidecar, 403, "AUTH_003", "POST", "/api/webhooks", architect, json={"name": "x", "url": receiver.url})
    # Nor act on them through the consumer.
    for action, body in (("reset", {"since": "0"}), ("replay", {}), ("pull", {"timeout": 0})):
        refused(sidecar, 403, "AUTH_003", "POST", f"/api/consumers/ci/{action}", architect, json=body)
    shown = sidecar.request("GET", "/api/consumers/ci", architect)
    assert shown.json()["created_by"] == "orchestration-sidecar" and "s3cr3t" not in shown.text
