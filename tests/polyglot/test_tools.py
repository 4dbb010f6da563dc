"""grpcurl, grpc-health-probe, ghz and curl against a running sidecar."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.polyglot import published
from tests.support.repositories import OURS
from tests.support.sidecars import Deployment, call, until

from cco_sidecar.core.services import services
from cco_sidecar.testing.process import Agent, SidecarProcess

pytestmark = pytest.mark.polyglot


def tool(name: str) -> str:
    """The path of a tool that `make .tools/go/.ready` has installed; without it the test is skipped by name."""
    path = OURS / ".tools" / "go" / name
    if not path.exists():
        pytest.skip(f"{name} is not installed")
    return str(path)


# The tool that asks with reflection v1, and the last release that asked with v1alpha.
@pytest.fixture(params=["grpcurl", "v1alpha/grpcurl"])
def grpcurl(request: pytest.FixtureRequest) -> str:
    return tool(request.param)


def _described(grpcurl: str, sidecar: SidecarProcess, *arguments: str) -> str:
    return published.run(grpcurl, "-plaintext", sidecar.target, *arguments)


def test_reflection_lists_every_service(grpcurl: str, sidecar: SidecarProcess) -> None:
    listed = set(_described(grpcurl, sidecar, "list").split())
    assert listed == {service.full_name for service in services()} | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_reflection_describes_every_service(grpcurl: str, sidecar: SidecarProcess) -> None:
    for service in _described(grpcurl, sidecar, "list").split():
        assert f"{service} is a service:" in _described(grpcurl, sidecar, "describe", service)


def test_a_call_with_a_token(grpcurl: str, sidecar: SidecarProcess, agent: Agent) -> None:
    answer = json.loads(
        published.run(
            grpcurl, "-plaintext", "-H", f"authorization: Bearer {agent.token}",
            "-d", '{"event_type": "tests_passing", "topic": "testing", "data": {"count": 12}}',
            sidecar.target, "orchestra.v1.EventService/PublishEvent",
        )
    )  # fmt: skip
    event = call(sidecar, "GET", f"/api/events/id/{answer['event_id']}?project_id={agent.project}")
    assert event["event"]["data"] == {"count": 12}


def test_a_stream_with_a_token(grpcurl: str, sidecar: SidecarProcess, agent: Agent) -> None:
    sent = call(sidecar, "POST", "/api/events/tests_passing", json={"project_id": agent.project})
    done = subprocess.run(
        [grpcurl, "-plaintext", "-max-time", "2", "-H", f"authorization: Bearer {agent.token}",
         "-d", '{"since": "0"}', sidecar.target, "orchestra.v1.EventService/Subscribe"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert sent["event_id"] in done.stdout, done.stderr


def test_a_call_without_a_token_is_refused_with_details(grpcurl: str, sidecar: SidecarProcess) -> None:
    done = subprocess.run(
        [grpcurl, "-plaintext", "-d", "{}", sidecar.target, "orchestra.v1.AgentService/ListAgents"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "Code: Unauthenticated" in done.stderr
    assert '"reason": "AUTH_001"' in done.stderr.replace('":"', '": "')


def _probe(sidecar: SidecarProcess, *arguments: str) -> tuple[int, str]:
    command = [
        tool("grpc-health-probe"),
        f"-addr={sidecar.target}",
        "-connect-timeout=5s",
        "-rpc-timeout=5s",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_server_and_each_service_are_serving(sidecar: SidecarProcess) -> None:
    for service in ["", *(service.full_name for service in services())]:
        code, said = _probe(sidecar, f"-service={service}")
        assert (code, "status: SERVING" in said) == (0, True), said


def test_an_unknown_service_is_not_found(sidecar: SidecarProcess) -> None:
    code, said = _probe(sidecar, "-service=orchestra.v1.NoService")
    assert code != 0 and "NotFound" in said, said


def test_a_draining_sidecar_is_not_serving(deployment: Deployment) -> None:
    """While an agent takes its time to end, the sidecar still answers the probe, and load balancers go elsewhere."""
    sidecar = deployment.start()
    command = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "task": "wait", "command": command}
    spawned = call(sidecar, "POST", "/api/agents/spawn", json=body)
    until(
        lambda: "ready" in sidecar.request("GET", f"/api/agents/{spawned['agent_id']}/logs", sidecar.operator).text,
        "the agent to ignore signals",
    )
    assert _probe(sidecar)[0] == 0
    sidecar.process.terminate()
    _, said = until(lambda: (found := _probe(sidecar))[0] != 0 and found, "the sidecar to drain")
    assert "NOT_SERVING" in said, said


def test_load_by_ghz_all_answered(sidecar: SidecarProcess, agent: Agent, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    published.run(
        tool("ghz"), "--insecure", "--call", "orchestra.v1.EventService/PublishEvent",
        "--metadata", json.dumps({"authorization": f"Bearer {agent.token}"}),
        "--data", '{"event_type": "tests_passing", "topic": "{{.RequestNumber}}"}',
        "--total", "50", "--concurrency", "10", "--connections", "2",
        "--format", "json", "--output", str(report), sidecar.target,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(report.read_text())
    assert told["statusCodeDistribution"] == {"OK": 50}, told["errorDistribution"]


def test_curl_over_rest(sidecar: SidecarProcess, agent: Agent) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    published.run(
        "curl", "-sS", "--fail-with-body", "-X", "POST", f"{sidecar.url}/api/events/tests_passing",
        "-H", f"Authorization: Bearer {agent.token}", "-H", "Content-Type: application/json",
        "-d", '{"topic": "testing", "data": {"by": "curl"}}',
    )  # fmt: skip
    streamed = subprocess.run(
        ["curl", "-sSN", "--max-time", "2", f"{sidecar.url}/api/events/stream?since=0",
         "-H", f"Authorization: Bearer {agent.token}", "-H", "Accept: text/event-stream"],
        capture_output=True, text=True, timeout=30, check=False,
    ).stdout  # fmt: skip
    assert '"by":"curl"' in streamed
