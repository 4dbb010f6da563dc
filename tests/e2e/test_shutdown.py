"""SIGTERM: health becomes NOT_SERVING, waiting callers get a cursor, nothing is lost; and failed starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc


def test_sigterm_answers_waiting_callers(tmp_path: Path, repository: Path) -> None:
    storage = tmp_path / "storage"
    sidecar = SidecarProcess(storage, repository)
    agent = sidecar.agent("chief-architect")
    last = sidecar.request("POST", "/api/events/x", agent, json={}).json()["event_id"]
    polled: list[Any] = []
    poll = threading.Thread(
        target=lambda: polled.append(
            sidecar.request("GET", "/api/events/wait/never?timeout=60000", agent, timeout=90).json()
        )
    )
    poll.start()
    sse = requests.get(f"{sidecar.url}/api/events/stream/never", headers=agent.headers, stream=True, timeout=30)
    with grpc.insecure_channel(sidecar.target) as channel:
        stream = event_service_pb2_grpc.EventServiceStub(channel).Subscribe(
            event_service_pb2.SubscribeRequest(event_types=["never"]), metadata=agent.metadata
        )
        assert next(stream).cursor == last
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="orchestra.v1.EventService")
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        while sidecar.request("GET", "/status").json()["events"]["active_subscriptions"] < 3:
            pass
        sidecar.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert next(stream).cursor == last
        assert list(stream) == []
    poll.join(20)
    assert polled[0]["events"] == [] and polled[0]["timeout"] is True and polled[0]["next_cursor"] == last
    assert f"id: {last}" in sse.text
    _, stderr = sidecar.process.communicate(timeout=30)
    assert (sidecar.process.returncode, stderr) == (0, "")
    assert not (storage / "sidecar.pid").exists()


def start(tmp_path: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CCO_")}
    return subprocess.run(
        [sys.executable, "-m", "cco_sidecar.cli.main", *options],
        env=clean | {"HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("which", ["--port", "--grpc-port"])
def test_a_port_in_use(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        others = [] if which == "--port" else ["--port", "0"]
        done = start(tmp_path, "orchestration-server", "--storage", str(tmp_path / "s"), which, port, *others)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and f"port {port}" in done.stderr and "choose another" in done.stderr


def test_invalid_values(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    storage = ["--storage", str(tmp_path / "s")]
    (tmp_path / "file").write_text("")
    cases: list[tuple[list[str], dict[str, str], str | None, str]] = [
        (["--storage", str(tmp_path / "file")], {}, None, "storage directory"),
        (["--storage", "/proc/nothing"], {}, None, "storage directory"),
        ([*storage, "--log-level", "loud"], {}, None, "debug, info, warning, error"),
        (storage, {"CCO_SIDECAR_PORT": "many"}, None, "CCO_SIDECAR_PORT: invalid value 'many'"),
        (storage, {"CCO_SIDECAR_CACHE_SIZE_MB": "0"}, None, "CCO_SIDECAR_CACHE_SIZE_MB"),
        ([*storage, "--project-root", str(tmp_path / "nowhere")], {}, None, "directory not found"),
        (storage, {}, "{", "is not JSON"),
        (storage, {}, '{"sidecar": {"prot": 1}}', "unknown key 'sidecar.prot'"),
        (storage, {}, '{"sidecar": {"port": true}}', "sidecar.port"),
        (storage, {}, '{"agents": {"rate_limits": {"nobody": 5}}}', "unknown group 'nobody'"),
    ]
    for options, environment, text, says in cases:
        before: list[str] = []
        if text is not None:
            config.write_text(text)
            before = ["--config", str(config)]
        done = start(tmp_path, *before, "orchestration-server", *options, **environment)
        assert done.returncode == 1, (options, done.stderr)
        assert says in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr


def test_one_storage_has_one_sidecar(tmp_path: Path, repository: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    second = start(tmp_path, "orchestration-server", "--port", "0", "--storage", str(tmp_path / "storage"))
    assert second.returncode == 1 and "in use by another sidecar" in second.stderr
    assert sidecar.stop() == ""


def test_precedence_of_settings(tmp_path: Path, repository: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        '{"sidecar": {"storage_path": "/nowhere", "port": 1, "log_level": "error"}, "agents": {"rate_limits": {"coding_specialists": 0}}}'
    )
    sidecar = SidecarProcess(
        tmp_path / "storage", repository, environment={"CCO_SIDECAR_LOG_LEVEL": "debug"}, config=config
    )
    agent = sidecar.agent()
    for _ in range(80):
        answer = sidecar.request("GET", "/api/events?limit=1", agent)
    assert answer.status_code == 200
    assert '"level":"debug"' in (sidecar.storage / "logs" / "orchestration.log").read_text()
    assert sidecar.stop() == ""


def test_a_shared_secret_signs_with_hs256(tmp_path: Path, repository: Path) -> None:
    import jwt

    secret = "a-shared-secret-of-more-than-thirty-two-bytes"
    sidecar = SidecarProcess(tmp_path / "storage", repository, "--jwt-secret", secret)
    agent = sidecar.agent()
    assert jwt.get_unverified_header(agent.token)["alg"] == "HS256"
    claims = jwt.decode(agent.token, secret, algorithms=["HS256"], audience="cco-sidecar")
    assert claims["exp"] - claims["iat"] == 3600
    assert sidecar.request("GET", "/api/events", agent).status_code == 200
    assert sidecar.request("GET", "/.well-known/jwks.json").json() == {"keys": []}
    assert sidecar.stop() == ""


def test_tokens_and_revocations_survive_a_restart(tmp_path: Path, repository: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    kept, revoked = sidecar.agent(), sidecar.agent()
    sidecar.request("POST", "/api/tokens/revoke", sidecar.operator, json={"agent_id": revoked.id})
    sidecar.kill()
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    assert sidecar.request("GET", "/api/events", kept).status_code == 200
    assert sidecar.request("GET", "/api/events", revoked).status_code == 401
    assert (sidecar.storage / "operator.token").stat().st_mode & 0o777 == 0o600
    assert (sidecar.storage / "signing-key.pem").stat().st_mode & 0o777 == 0o600
    assert sidecar.stop() == ""
