"""An agent's output, over both transports, while it runs and afterwards."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import requests
from tests.support.sidecars import refused, until
from tests.support.spawned import SLEEP, Spawn, as_agent, follow, open_streams, steps_until
from tests.support.succession import Succession

from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import agent_service_pb2 as pb


def test_the_log_of_a_queued_agent_is_followed_to_its_end(single_slot: Succession, tmp_path: Path) -> None:
    single_slot.spawn(steps_until(tmp_path / "go"))
    agent = single_slot.spawn([{"do": "print", "text": "at last"}])
    with ThreadPoolExecutor() as pool:
        followed = pool.submit(follow, single_slot.sidecar, agent)
        until(lambda: open_streams(single_slot.sidecar), "the stream")
        (tmp_path / "go").touch()
        assert followed.result(timeout=30) == ["at last"]


def test_followers_that_disconnect_leave_nothing_behind(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any
) -> None:
    agent = scripted_agent([{"do": "print", "text": "on"}, *SLEEP])
    until(agent.logs, "a line")
    process = psutil.Process(sidecar.process.pid)
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    before = process.num_fds()
    for _ in range(10):
        path = f"{sidecar.url}/api/agents/{agent.id}/logs?follow=true"
        with requests.get(path, headers=sidecar.operator.headers, stream=True, timeout=20) as answer:
            assert "on" in next(answer.iter_lines()).decode()
        stream = stubs.agents.StreamAgentLogs(
            pb.StreamAgentLogsRequest(agent_id=agent.id, follow=True), metadata=metadata
        )
        assert [line.text for line in next(stream).lines] == ["on"]
        stream.cancel()
    # One for the channel of this test.
    until(lambda: process.num_fds() <= before + 1, f"no more than {before + 1} open files")


def test_a_large_log_is_not_held_in_memory(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        command=["sh", "-c", "yes 'a line that a program prints again and again' | head -c 10000000"]
    )
    assert agent.wait()["status"] == "completed"
    proc = Path(f"/proc/{sidecar.process.pid}")
    # proc(5): this resets the peak.
    (proc / "clear_refs").write_text("5")
    before = peak_memory(proc)
    with requests.get(
        f"{sidecar.url}/api/agents/{agent.id}/logs", headers=sidecar.operator.headers, stream=True, timeout=60
    ) as answer:
        size = sum(map(len, answer.iter_content(2**20)))
    assert size > 10_000_000
    grown = peak_memory(proc) - before
    assert grown < 64 * 2**20, f"{grown / 2**20:.0f} MB for a log of {size / 2**20:.0f} MB"


def peak_memory(proc: Path) -> int:
    (line,) = (line for line in (proc / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def grpc_logs(stubs: Any, sidecar: SidecarProcess, **request: Any) -> list[pb.LogLine]:
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    answers = stubs.agents.StreamAgentLogs(pb.StreamAgentLogsRequest(**request), metadata=metadata, timeout=30)
    return [line for answer in answers for line in answer.lines]


def test_logs_are_the_same_over_both_transports(sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any) -> None:
    agent = scripted_agent(
        [
            {"do": "print", "text": "one"},
            {"do": "print", "text": "two é", "stream": "stderr"},
            {"do": "print", "text": "three"},
        ]
    )
    agent.wait()
    over_grpc = grpc_logs(stubs, sidecar, agent_id=agent.id)
    answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs", sidecar.operator)
    over_rest = [line for part in answer.text.splitlines() for line in json.loads(part)["lines"]]
    # Each stream keeps its order; lines of different streams may be interleaved differently.
    assert sorted(line["text"] for line in over_rest) == ["one", "three", "two é"]
    assert [(line.stream, line.text) for line in over_grpc] == [(line["stream"], line["text"]) for line in over_rest]
    assert {line["text"]: line["stream"] for line in over_rest} == {
        "one": "stdout",
        "two é": "stderr",
        "three": "stdout",
    }
    for tail, expected in ((0, 0), (2, 2), (100, 3)):
        assert len(grpc_logs(stubs, sidecar, agent_id=agent.id, tail=tail)) == expected
        assert len(rest_logs(sidecar, agent, f"?tail={tail}")) == expected
    assert rest_logs(sidecar, agent, "?tail=1") == [over_rest[-1]["text"]]
    refused = sidecar.request("GET", f"/api/agents/{agent.id}/logs?attempt=9", sidecar.operator)
    assert (refused.status_code, refused.json()["code"]) == (404, "AGT_009")


def rest_logs(sidecar: SidecarProcess, agent: SpawnedAgent, query: str = "") -> list[str]:
    answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs{query}", sidecar.operator)
    assert answer.status_code == 200, answer.text
    return [line["text"] for part in answer.text.splitlines() for line in json.loads(part)["lines"]]


def test_a_log_is_followed_line_by_line_over_both_transports(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any, tmp_path: Path
) -> None:
    steps = [{"do": "print", "text": "before"}, {"do": "print", "text": "last before"}]
    for name in ("go", "end"):
        steps += [*steps_until(tmp_path / name), {"do": "print", "text": f"after {name}"}]
    agent = scripted_agent(steps)
    until(lambda: len(agent.logs()) == 2, "two lines")
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    request = pb.StreamAgentLogsRequest(agent_id=agent.id, follow=True, tail=1)
    stream = stubs.agents.StreamAgentLogs(request, metadata=metadata, timeout=60)
    path = f"{sidecar.url}/api/agents/{agent.id}/logs?follow=true&tail=1"
    with requests.get(path, headers=sidecar.operator.headers, stream=True, timeout=60) as answer:
        lines = answer.iter_lines()
        for expected, name in (("last before", "go"), ("after go", "end"), ("after end", "")):
            assert [line.text for line in next(stream).lines] == [expected]
            assert [line["text"] for line in json.loads(next(lines))["lines"]] == [expected]
            if name:
                (tmp_path / name).touch()
        assert list(stream) == [] and list(lines) == []
    assert agent.wait()["status"] == "completed"


def test_a_log_is_read_by_its_agent_and_by_architects_only(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent, other = scripted_agent([{"do": "print", "text": "mine"}, *SLEEP]), scripted_agent(SLEEP)
    until(agent.logs, "a line")
    path = f"/api/agents/{agent.id}/logs"
    assert "mine" in sidecar.request("GET", path, as_agent(agent)).text
    assert "mine" in sidecar.request("GET", path, sidecar.agent("chief-architect", project="default")).text
    refused(sidecar, 403, "AUTH_003", "GET", path, as_agent(other))
    refused(sidecar, 404, "AGT_004", "GET", path, sidecar.agent("chief-architect", project="elsewhere"))
    refused(sidecar, 404, "AGT_004", "GET", "/api/agents/nobody/logs", sidecar.operator)
