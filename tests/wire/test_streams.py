"""Streams: gRPC, server-sent events, NDJSON and long polls are one reader over one cursor."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tests.support.repositories import commit_all

from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import context_service_pb2, context_service_pb2_grpc, event_service_pb2


def publish(sidecar: SidecarProcess, agent: Agent, event_type: str, **body: Any) -> str:
    answer = sidecar.request("POST", f"/api/events/{event_type}", agent, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["event_id"])


def events_of(stream: Any, count: int) -> list[Any]:
    found: list[Any] = []
    for batch in stream:
        found += batch.events
        if len(found) >= count:
            stream.cancel()
            return found
    raise AssertionError("the stream ended early")


class TestSubscribe:
    def test_events_arrive_in_order_from_the_first_message_on(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent("chief-architect", project="streams-1")
        stream = stubs.events.Subscribe(event_service_pb2.SubscribeRequest(event_types=["a"]), metadata=agent.metadata)
        assert not next(stream).events
        published = [publish(sidecar, agent, "a", data={"n": n}) for n in range(30)]
        publish(sidecar, agent, "b")
        assert [event.event_id for event in events_of(stream, 30)] == published

    def test_a_stream_continues_after_its_cursor(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent("chief-architect", project="streams-2")
        published = [publish(sidecar, agent, "a") for _ in range(5)]
        request = event_service_pb2.SubscribeRequest(since=published[1])
        stream = stubs.events.Subscribe(request, metadata=agent.metadata)
        assert [event.event_id for event in events_of(stream, 3)] == published[2:]

    def test_a_stream_replays_from_a_time(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent("chief-architect", project="streams-3")
        publish(sidecar, agent, "a")
        second = publish(sidecar, agent, "a")
        listed = sidecar.request("GET", "/api/events?limit=1", agent).json()["events"][0]
        request = event_service_pb2.SubscribeRequest()
        request.since_time.FromJsonString(listed["timestamp"])
        stream = stubs.events.Subscribe(request, metadata=agent.metadata)
        assert [event.event_id for event in events_of(stream, 1)] == [second]

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("status:success", [0, 3]),
            ("status:success|status:partial", [0, 1, 3]),
            ("!status:success", [1, 2]),
            ("issue_id:issue-*,coverage:>90", [0]),
            ("coverage:<=90,!status:failed", [1, 3]),
            ("meta.owner:kim", [2]),
            ("tags:red", [1]),
            ("event_type:done,publisher:chief*", [0, 1, 2, 3]),
            ('issue_id:"issue-1"', [0]),
        ],
    )
    def test_filters(self, sidecar: SidecarProcess, stubs: Any, expression: str, expected: list[int]) -> None:
        agent = sidecar.agent("chief-architect", project=f"filters-{abs(hash(expression))}")
        data: list[dict[str, Any]] = [
            {"status": "success", "issue_id": "issue-1", "coverage": 95.5},
            {"status": "partial", "issue_id": "issue-2", "coverage": 90, "tags": ["red", "blue"]},
            {"status": "failed", "issue_id": "other", "coverage": 99, "meta": {"owner": "kim"}},
            {"status": "success", "issue_id": "issue-3", "coverage": "12"},
        ]
        stream = stubs.events.Subscribe(event_service_pb2.SubscribeRequest(filter=expression), metadata=agent.metadata)
        next(stream)
        published = [publish(sidecar, agent, "done", data=each) for each in data]
        wanted = [published[index] for index in expected]
        assert [event.event_id for event in events_of(stream, len(wanted))] == wanted
        listed = sidecar.request("GET", "/api/events", agent, params={"filter": expression, "since": "0"}).json()
        assert [event["event_id"] for event in listed["events"]] == wanted

    def test_publishers_learn_the_number_of_readers(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent("chief-architect", project="streams-4")
        streams = []
        for topics in (["testing"], ["security"]):
            request = event_service_pb2.SubscribeRequest(topics=topics)
            streams.append(stubs.events.Subscribe(request, metadata=agent.metadata))
            next(streams[-1])
        answer = sidecar.request("POST", "/api/events/x", agent, json={"topic": "testing"}).json()
        assert answer["subscribers_notified"] == [agent.id] and answer["subscriber_count"] == 1
        for stream in streams:
            stream.cancel()

    def test_an_expired_event_is_not_delivered(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", project="streams-5")
        short = publish(sidecar, agent, "x", ttl_seconds=1)
        kept = publish(sidecar, agent, "x", ttl_seconds=86400)
        while short in (ids := [e["event_id"] for e in sidecar.request("GET", "/api/events", agent).json()["events"]]):
            assert kept in ids
        assert ids == [kept]

    def test_events_are_published_in_batches(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent("chief-architect", project="streams-6")

        def batches() -> Iterator[event_service_pb2.PublishEventsRequest]:
            for n in range(4):
                each = [event_service_pb2.PublishEventRequest(event_type=f"t{n}", topic="testing") for _ in range(50)]
                yield event_service_pb2.PublishEventsRequest(events=each)

        answers = list(stubs.events.PublishEvents(batches(), metadata=agent.metadata))
        acknowledged = [event_id for answer in answers for event_id in answer.event_ids]
        listed = sidecar.request("GET", "/api/events?since=0&limit=1000", agent).json()["events"]
        assert [event["event_id"] for event in listed] == acknowledged and len(listed) == 200

    def test_events_are_published_as_ndjson(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", project="streams-7")
        lines = b'{"events":[{"event_type":"a"},{"event_type":"b"}]}\n{"events":[{"event_type":"c"}]}\n'
        answer = sidecar.request(
            "POST", "/api/events:publish", agent, data=lines, headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.status_code == 202, answer.text
        ids = [len(json.loads(line)["event_ids"]) for line in answer.text.splitlines()]
        assert ids == [2, 1]


class TestServerSentEvents:
    def test_frames(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", project="sse-1")
        published = [publish(sidecar, agent, "tests_passing", data={"n": n}) for n in range(3)]
        headers = agent.headers | {"Last-Event-ID": published[0]}
        url = f"{sidecar.url}/api/events/stream/tests_passing"
        with requests.get(url, headers=headers, stream=True, timeout=10) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            frames, current = [], {}
            for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line:
                    key, _, value = line.partition(": ")
                    current[key] = value
                elif "data" in current:
                    frames.append(current)
                    current = {}
                    if len(frames) == 2:
                        break
                else:
                    current = {}
        assert [frame["id"] for frame in frames] == published[1:]
        assert {frame["event"] for frame in frames} == {"tests_passing"}
        assert json.loads(frames[0]["data"])["data"] == {"n": 1}

    def test_ndjson_lines(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", project="sse-2")
        first = publish(sidecar, agent, "x")
        headers = agent.headers | {"Accept": "application/x-ndjson"}
        with requests.get(
            f"{sidecar.url}/api/events/stream?since=0", headers=headers, stream=True, timeout=10
        ) as answer:
            for line in answer.iter_lines(chunk_size=1):
                batch = json.loads(line)
                if batch["events"]:
                    break
        assert batch["events"][0]["event_id"] == first == batch["cursor"]

    def test_a_disconnected_reader_is_removed(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", project="sse-3")
        with requests.get(
            f"{sidecar.url}/api/events/stream/x", headers=agent.headers, stream=True, timeout=10
        ) as answer:
            content = answer.iter_content(1)
            next(content)
            here = publish_count(sidecar, agent)
        assert here == 1
        while publish_count(sidecar, agent):
            pass


def publish_count(sidecar: SidecarProcess, agent: Agent) -> int:
    return int(sidecar.request("POST", "/api/events/x", agent, json={}).json()["subscriber_count"])


class TestLongPoll:
    def test_a_poll_wakes_at_once(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", project="poll-1")
        answers: list[Any] = []

        def wait() -> None:
            answers.append(sidecar.request("GET", "/api/events/wait/go?timeout=20000", agent).json())

        thread = threading.Thread(target=wait)
        thread.start()
        while not (count := sidecar.request("POST", "/api/events/go", agent, json={}).json()["subscriber_count"]):
            pass
        thread.join(10)
        assert count == 1
        assert answers[0]["events"] and "timeout" not in answers[0]

    def test_no_event_is_lost_between_two_polls(self, sidecar: SidecarProcess) -> None:
        """The guide's loop polls without a cursor; events that arrive while it handles one are for its next poll."""
        agent = sidecar.agent("chief-architect", project="poll-2")
        seen = sidecar.request("GET", "/api/events/wait/go?timeout=10", agent).json()["events"]
        published = [publish(sidecar, agent, "go") for _ in range(3)]
        while len(seen) < 3:
            body = sidecar.request("GET", "/api/events/wait/go?timeout=1000&limit=1", agent).json()
            assert "timeout" not in body
            seen += body["events"]
        assert [event["event_id"] for event in seen] == published
        fresh = sidecar.request("GET", "/api/events/wait/go?timeout=10&since=$", agent).json()
        assert fresh["timeout"] is True


class TestStreamContext:
    def test_ten_megabytes_reach_a_client_with_the_default_limit(self, tmp_path: Path) -> None:
        root = tmp_path / "project"
        root.mkdir()
        for number in range(40):
            text = "".join(f"value_{number}_{line} = {line}\n" for line in range(18_000))
            (root / f"module_{number:02}.py").write_text(text)
        commit_all(root)
        running = SidecarProcess(tmp_path / "storage", root)
        try:
            agent = running.agent()
            request = {"issue_id": agent.issue, "agent_type": agent.type}
            with grpc.insecure_channel(running.target) as channel:
                stub = context_service_pb2_grpc.ContextServiceStub(channel)
                with pytest.raises(grpc.RpcError) as caught:
                    stub.GetContext(context_service_pb2.GetContextRequest(**request), metadata=agent.metadata)
                assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                context = context_service_pb2.Context()
                parts = list(
                    stub.StreamContext(context_service_pb2.StreamContextRequest(**request), metadata=agent.metadata)
                )
            for part in parts:
                context.MergeFrom(part.fragment)
            header, trailer = parts[0].header, parts[-1].trailer
            assert 9 * 2**20 < context.ByteSize() <= 10 * 2**20
            assert header.total_size_bytes == context.ByteSize()
            assert header.file_count == len(context.relevant_files)
            assert trailer.truncated and trailer.truncation_strategy in ("smart", "file_sampling", "priority_selection")
            rest = running.request("GET", f"/api/context/{agent.issue}/{agent.type}", agent).json()
            assert [file.content for file in context.relevant_files] == [
                f["content"] for f in rest["context"]["relevant_files"]
            ]
            cut = [file for file in context.relevant_files if "bytes left out here" in file.content]
            assert cut or any(entry.reason == "no_room" for entry in trailer.manifest.entries)
        finally:
            running.stop()
