"""Both clients of the Python SDK against a real sidecar, used as an agent uses them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from tests.support.clients import adopt_environment, both, each, settled, until
from tests.support.sidecars import port_options, serving

from cco_sidecar.client import (
    AsyncClient,
    Client,
    Event,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    Result,
    SidecarError,
)
from cco_sidecar.core.errors import Kind
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1.context_service_pb2 import GetContextResponse
from orchestra.v1.event_service_pb2 import PublishEventResponse
from orchestra.v1.result_service_pb2 import Result as ResultMessage
from orchestra.v1.system_service_pb2 import HEALTH_STATUS_HEALTHY

LAST = "last"


def publish(sidecar: SidecarProcess, agent: Agent, event_type: str, **data: Any) -> str:
    answer = sidecar.request("POST", f"/api/events/{event_type}", agent, json={"data": data})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["event_id"])


def subscriptions(sidecar: SidecarProcess) -> int:
    return int(sidecar.request("GET", "/status").json()["events"]["active_subscriptions"])


@both
async def test_an_agents_work(kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = sidecar.agent(issue=f"issue-work-{kind.__name__}")
    adopt_environment(monkeypatch, sidecar, agent)
    client = kind()
    try:
        context = await settled(client.context.get())
        assert isinstance(context, GetContextResponse)
        assert (context.issue_id, context.agent_type) == (agent.issue, agent.type)
        assert context.context.relevant_files[0].content
        work = {
            "status": "success",
            "files_created": ["a.py", {"path": "b.py", "size": 5}],
            "metrics": {"test_coverage": 92.5},
            "notes": ["kept"],
        }
        stored = await settled(client.results.create(work))
        assert stored.stored and stored.event_published
        result = await settled(client.results.get(stored.id))
        assert isinstance(result, Result) and isinstance(result.message, ResultMessage)
        assert (result.agent_id, result.project_id) == (agent.id, agent.project)
        assert result.result.items() >= work.items() and result.timestamp.tzinfo is UTC
        assert await settled(client.results.get(issue_id=agent.issue, agent_type=agent.type)) == result
        listed = await settled(client.results.list(issue_id=agent.issue))
        assert listed.results == [result] and listed.next_cursor == ""
        published = await settled(
            client.events.publish("sdk_event", {"n": 1}, topic="testing", correlation_id="c", priority="high")
        )
        assert isinstance(published, PublishEventResponse) and published.ttl_seconds == 86_400
        (event,) = (await settled(client.events.list(event_type="sdk_event", limit=1))).events
        assert (event.event_id, event.publisher, event.topic) == (published.event_id, agent.id, "testing")
        assert event.data == {"n": 1} and event.timestamp.tzinfo is UTC
        waited = await settled(client.events.wait("sdk_never", timeout=0.02))
        assert waited.timed_out and waited.events == []
        assert (await settled(client.health())).status == HEALTH_STATUS_HEALTHY
        assert (await settled(client.status())).events.total_published >= 2
    finally:
        await settled(client.close())


@both
async def test_the_cache_and_the_operator(kind: Any, sidecar: SidecarProcess) -> None:
    issue = f"issue-cache-{kind.__name__}"
    client = kind(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target)
    try:
        made = await settled(client.tokens.create("test-engineer", issue, project_id="project-abc", ttl_seconds=60))
        content = jwt.decode(made.jwt_token, options={"verify_signature": False})
        assert (content["sub"], content["issue_id"], content["exp"] - content["iat"]) == (made.agent_id, issue, 60)
        await settled(client.context.get(issue, "test-engineer", project_id="project-abc"))
        refreshed = await settled(client.context.refresh(issue, project_id="project-abc", force=True))
        assert refreshed.entries_refreshed == 1
        assert (await settled(client.context.clear(issue, project_id="project-abc"))).entries_removed == 1
        types = await settled(client.agent_types("coding"))
        assert "python-specialist" in {each.type for each in types} and {each.group for each in types} == {"coding"}
    finally:
        await settled(client.close())


@both
async def test_leaving_the_block_closes(kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt_environment(monkeypatch, sidecar, sidecar.agent())
    if kind is Client:
        with Client() as client:
            client.events.list()
    else:
        async with AsyncClient() as client:
            await client.events.list()
    with pytest.raises(Exception, match="closed"):
        await settled(client.events.list())


CLASSES = {
    Kind.PERMISSION_DENIED: PermissionDeniedError,
    Kind.NOT_FOUND: NotFoundError,
    Kind.INVALID_REQUEST: InvalidRequestError,
}
Refusal = tuple[str, Callable[[Any], Any], Kind, str]
REFUSALS: list[Refusal] = [
    ("other issue", lambda c: c.context.get("issue-else"), Kind.PERMISSION_DENIED, "AUTH_003"),
    ("no result", lambda c: c.results.get("res-none"), Kind.NOT_FOUND, "RES_001"),
    ("other project", lambda c: c.events.list(project_id="project-else"), Kind.NOT_FOUND, "PRJ_001"),
    ("bad filter", lambda c: c.events.list(filter="issue_id==x"), Kind.INVALID_REQUEST, "EVT_002"),
    ("bad name", lambda c: c.events.publish("a type"), Kind.INVALID_REQUEST, "REQ_001"),
    ("bad status", lambda c: c.results.create({"status": "ok"}), Kind.INVALID_REQUEST, "REQ_001"),
    ("other publisher", lambda c: c.events.publish("x", publisher="kim"), Kind.PERMISSION_DENIED, "AUTH_003"),
    ("not the operator", lambda c: c.tokens.create("test-engineer", "i"), Kind.PERMISSION_DENIED, "AUTH_003"),
]


@both
@pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal[0] for refusal in REFUSALS])
async def test_refusals_are_typed(
    kind: Any, refusal: Refusal, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt_environment(monkeypatch, sidecar, sidecar.agent())
    _, act, expected, code = refusal
    client = kind()
    try:
        with pytest.raises(SidecarError) as caught:
            await settled(act(client))
    finally:
        await settled(client.close())
    assert (caught.value.kind, caught.value.code) == (expected, code)
    assert caught.value.message and type(caught.value) is CLASSES[expected]
    # One readable error, without the chain of those beneath it.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@both
async def test_a_refused_subscription(kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt_environment(monkeypatch, sidecar, sidecar.agent())
    client = kind()
    try:
        with pytest.raises(SidecarError) as caught:
            async for _ in each(client.events.subscribe(filter="issue_id==x")):
                pytest.fail("an event came")
        assert caught.value.code == "EVT_002" and caught.value.field == "filter"
    finally:
        await settled(client.close())


@both
async def test_invalid_tokens(kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    expired = sidecar.agent("chief-architect", ttl_seconds=1)
    await until(lambda: sidecar.request("GET", "/api/events", expired).status_code == 401)
    revoked = sidecar.agent()
    sidecar.request("POST", "/api/tokens/revoke", sidecar.operator, json={"agent_id": revoked.id})
    for token, code in ((expired.token, "AUTH_002"), (revoked.token, "AUTH_001"), ("", "AUTH_001"), ("x", "AUTH_001")):
        monkeypatch.setenv("SIDECAR_GRPC", sidecar.target)
        monkeypatch.setenv("JWT_TOKEN", token)
        client = kind()
        try:
            with pytest.raises(SidecarError) as caught:
                await settled(client.events.list())
        finally:
            await settled(client.close())
        assert (caught.value.kind, caught.value.code) == (Kind.UNAUTHENTICATED, code)


@both
async def test_rate_limit_errors(kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt_environment(monkeypatch, sidecar, sidecar.agent("technical-writer"))
    client = kind()
    try:
        with pytest.raises(SidecarError) as caught:
            for _ in range(100):
                await settled(client.events.list(limit=1))
    finally:
        await settled(client.close())
    assert (caught.value.kind, caught.value.code) == (Kind.RATE_LIMITED, "RATE_001")
    assert caught.value.details["limit"] == 30
    assert caught.value.retry_after_seconds is not None and 0 < caught.value.retry_after_seconds <= 2


@both
async def test_no_sidecar(kind: Any) -> None:
    client = kind("http://127.0.0.1:1", token="x", grpc_target="127.0.0.1:1", connect_timeout=0.5)
    try:
        with pytest.raises(SidecarError) as caught:
            await settled(client.events.list())
    finally:
        await settled(client.close())
    assert caught.value.kind is Kind.UNAVAILABLE


class TestSubscribe:
    @both
    async def test_delivers_matching_events_in_order(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = sidecar.agent("chief-architect", project=f"project-order-{kind.__name__}")
        adopt_environment(monkeypatch, sidecar, agent)
        before = publish(sidecar, agent, "counted", n=-1)
        for n in range(300):
            publish(sidecar, agent, "counted", n=n)
            if n % 10 == 0:
                publish(sidecar, agent, "ignored", n=n)
        client = kind()
        try:
            numbers = []
            async with asyncio.timeout(30):
                async for event in each(client.events.subscribe(event_types=["counted"], since=before)):
                    numbers.append(event.data["n"])
                    if event.data["n"] == 299:
                        break
            assert numbers == list(range(300))
        finally:
            await settled(client.close())

    @both
    async def test_starts_from_now(self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        agent = sidecar.agent("chief-architect", project=f"project-now-{kind.__name__}")
        adopt_environment(monkeypatch, sidecar, agent)
        publish(sidecar, agent, "earlier")
        before = subscriptions(sidecar)
        client = kind()
        try:
            first = asyncio.create_task(anext(each(client.events.subscribe(filter="n:1|n:2"))))
            await until(lambda: subscriptions(sidecar) > before)
            for n in range(3):
                publish(sidecar, agent, "later", n=n)
            event = await asyncio.wait_for(first, 30)
            assert (event.event_type, event.data["n"]) == ("later", 1)
        finally:
            await settled(client.close())

    @both
    async def test_leaving_the_loop_ends_it_on_the_server(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = sidecar.agent("chief-architect", project=f"project-left-{kind.__name__}")
        adopt_environment(monkeypatch, sidecar, agent)
        publish(sidecar, agent, "one")
        before = subscriptions(sidecar)
        client = kind()
        try:
            subscription = client.events.subscribe(since="0")
            assert (await anext(each(subscription))).event_type == "one"
            assert subscriptions(sidecar) == before + 1
            await settled(subscription.aclose() if kind is AsyncClient else subscription.close())
            del subscription
            await until(lambda: subscriptions(sidecar) == before)
        finally:
            await settled(client.close())

    @both
    async def test_resumes_after_its_cursor_after_a_kill(
        self,
        kind: Any,
        tmp_path: Path,
        repository: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        ports = port_options()
        sidecar = SidecarProcess(tmp_path / "storage", repository, *ports)
        agent = sidecar.agent("chief-architect")
        adopt_environment(monkeypatch, sidecar, agent)
        acknowledged: list[str] = []
        received: list[Event] = []

        def publish_without_pause() -> None:
            with suppress(requests.RequestException), requests.Session() as session:
                session.headers.update(agent.headers)
                while True:
                    data = {"n": len(acknowledged)}
                    answer = session.post(f"{sidecar.url}/api/events/counted", json={"data": data}, timeout=10)
                    if answer.status_code == 202:
                        acknowledged.append(answer.json()["event_id"])

        async def read(client: Any) -> None:
            async for event in each(client.events.subscribe(event_types=["counted", LAST])):
                received.append(event)
                if event.event_type == LAST:
                    return

        client = kind()
        try:
            with caplog.at_level(logging.WARNING, "cco_sidecar"):
                reading = asyncio.create_task(read(client))
                await until(lambda: subscriptions(sidecar) == 1)
                for _ in range(2):
                    enough = len(received) + 30
                    publishing = threading.Thread(target=publish_without_pause)
                    publishing.start()
                    async with asyncio.timeout(30):
                        while len(received) < enough and not reading.done():
                            await asyncio.sleep(0)
                    await asyncio.to_thread(sidecar.kill)
                    await asyncio.to_thread(publishing.join, 30)
                    sidecar = await asyncio.to_thread(SidecarProcess, tmp_path / "storage", repository, *ports)
                    acknowledged += [publish(sidecar, agent, "counted", n=n) for n in range(5)]
                publish(sidecar, agent, LAST)
                await asyncio.wait_for(reading, 60)
            ids = [event.event_id for event in received if event.event_type == "counted"]
            kept = []
            page: dict[str, Any] = {"next_cursor": "0"}
            while page["next_cursor"]:
                query = f"/api/events?event_type=counted&limit=1000&since={page['next_cursor']}"
                page = sidecar.request("GET", query, agent).json()
                kept += [event["event_id"] for event in page["events"]]
            assert ids == kept
            assert set(acknowledged) <= set(ids) and len(ids) == len(set(ids))
            assert [record.getMessage() for record in caplog.records] == []
        finally:
            await settled(client.close())
            assert sidecar.stop() == ""


class TestTokens:
    @both
    async def test_is_refreshed_automatically(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = sidecar.agent(ttl_seconds=200)
        adopt_environment(monkeypatch, sidecar, agent)
        client = kind()
        try:
            await settled(client.events.list())
            ((name, value),) = await settled(client.metadata())
            token = value.removeprefix("Bearer ")
            assert name == "authorization" and token != agent.token
            content = jwt.decode(token, options={"verify_signature": False})
            assert (content["sub"], content["exp"] - content["iat"]) == (agent.id, 3600)
            assert sidecar.request("GET", "/api/events", agent).status_code == 401
            await settled(client.events.list())
            assert list(await settled(client.metadata())) == [(name, value)]
        finally:
            await settled(client.close())

    async def test_concurrent_calls_refresh_once(
        self, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(tmp_path, root, environment={"CCO_SIDECAR_LOG_LEVEL": "debug"}) as sidecar:
            log = sidecar.storage / "logs" / "orchestration.log"
            adopt_environment(monkeypatch, sidecar, sidecar.agent(ttl_seconds=200))
            async with AsyncClient() as client:
                await asyncio.gather(*(client.events.list(limit=1) for _ in range(20)))
            assert log.read_text().count("RefreshToken OK") == 1
            adopt_environment(monkeypatch, sidecar, sidecar.agent(ttl_seconds=200))
            with Client() as other:
                await asyncio.gather(*(asyncio.to_thread(other.events.list, limit=1) for _ in range(20)))
            assert log.read_text().count("RefreshToken OK") == 2

    @both
    async def test_a_subscription_outlives_the_refresh(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = sidecar.agent("chief-architect", project=f"project-refresh-{kind.__name__}", ttl_seconds=243)
        adopt_environment(monkeypatch, sidecar, agent)
        before = subscriptions(sidecar)
        client = kind()
        try:
            first = asyncio.create_task(anext(each(client.events.subscribe(event_types=["after_refresh"]))))
            await until(lambda: subscriptions(sidecar) > before)
            old = await settled(client.metadata())
            assert list(old) == agent.metadata
            began = time.monotonic()
            while await settled(client.metadata()) == old and time.monotonic() - began < 10:
                await settled(client.health())
            assert sidecar.request("GET", "/api/events", agent).status_code == 401
            answer = sidecar.request(
                "POST", "/api/events/after_refresh", sidecar.operator, json={"project_id": agent.project}
            )
            assert answer.status_code == 202
            assert (await asyncio.wait_for(first, 30)).event_id == answer.json()["event_id"]
        finally:
            await settled(client.close())

    @both
    async def test_a_changed_token_file_is_reread(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        first, second = sidecar.agent(), sidecar.agent()
        adopt_environment(monkeypatch, sidecar, first)
        monkeypatch.delenv("JWT_TOKEN")
        file = tmp_path / "token"
        file.write_text(f"{first.token}\n")
        monkeypatch.setenv("JWT_TOKEN_FILE", str(file))
        client = kind()
        try:
            await settled(client.events.publish("from_file"))
            written = file.stat().st_mtime_ns
            while file.stat().st_mtime_ns == written:
                file.write_text(f"{second.token}\n")
            await settled(client.events.publish("from_file"))
            events = (await settled(client.events.list(event_type="from_file", limit=2))).events
            assert [event.publisher for event in events] == [first.id, second.id]
        finally:
            await settled(client.close())


@both
async def test_events_are_published_together(
    kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt_environment(monkeypatch, sidecar, sidecar.agent("chief-architect", project=f"project-many-{kind.__name__}"))
    client = kind()
    try:
        events = [{"event_type": "counted", "data": {"n": n}, "topic": "testing"} for n in range(5)]
        ids = await settled(client.events.publish_many(events))
        found = [event async for event in each(client.events.iterate(event_type="counted"))]
        assert [event.event_id for event in found] == ids and [event.data["n"] for event in found] == [*range(5)]
        with pytest.raises(PermissionDeniedError):
            await settled(client.events.publish_many([*events, {"event_type": "x", "publisher": "someone-else"}]))
        assert len([event async for event in each(client.events.iterate())]) == 5, "all or none"
    finally:
        await settled(client.close())


@both
async def test_a_list_is_iterated_page_by_page(
    kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = sidecar.agent("chief-architect", project=f"project-pages-{kind.__name__}")
    adopt_environment(monkeypatch, sidecar, agent)
    client = kind()
    try:
        stored = [(await settled(client.results.create({"status": "success"}))).id for _ in range(105)]
        found = [result async for result in each(client.results.iterate(issue_id=agent.issue))]
        assert [result.id for result in found] == stored[::-1]
        assert len((await settled(client.results.list(issue_id=agent.issue))).results) == 100
    finally:
        await settled(client.close())


@both
async def test_the_operator_revokes(kind: Any, sidecar: SidecarProcess) -> None:
    operator = kind(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target)
    made = await settled(operator.tokens.create("test-engineer", "issue-revoked", project_id="p"))
    agent = kind(sidecar.url, token=made.jwt_token, grpc_target=sidecar.target)
    try:
        await settled(agent.events.list())
        assert await settled(operator.tokens.revoke(agent_id=made.agent_id)) == 1
        with pytest.raises(SidecarError) as caught:
            await settled(agent.events.list())
        assert caught.value.code == "AUTH_001"
    finally:
        await settled(agent.close())
        await settled(operator.close())
