"""`cco orchestration-server` in the background: start, status, restart, stop."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
import requests
from tests.support.commands import Background, fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_it_starts_answers_restarts_and_stops(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path / "storage")
    try:
        assert own.server("status").stdout == "the sidecar is not running\n"
        started = printed(own.server("--daemon"))
        assert f"(pid {own.pid}) on http://127.0.0.1:{own.port}" in started
        assert own.get("/health").json()["status"] == "healthy"
        assert "healthy" in printed(own.cco("health"))
        assert f"(pid {own.pid}, " in printed(own.server("status"))
        fails(own.server("--daemon"), "in use")
        first = own.pid
        printed(own.cco("events", "publish", "--type", "before_restart"))
        restarted = printed(own.server("restart"))
        assert f"(pid {own.pid})" in restarted and own.pid != first
        assert "before_restart" in printed(own.cco("events", "list"))
        last = own.pid
        assert printed(own.server("stop")) == f"stopped (pid {last})\n"
        assert not (own.storage / "sidecar.pid").exists()
        with pytest.raises(requests.ConnectionError):
            own.get("/health")
        assert printed(own.server("stop")) == "the sidecar is not running\n"
    finally:
        own.server("stop", "--force")


def test_a_pid_file_may_be_elsewhere(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path / "storage")
    named = ("--pid-file", str(tmp_path / "other.pid"))
    try:
        printed(own.server("--daemon", *named))
        assert own.server("status").stdout == "the sidecar is not running\n"
        pid = (tmp_path / "other.pid").read_text().strip()
        assert f"(pid {pid}, " in printed(own.server("status", *named))
        assert printed(own.server("stop", "--timeout", "20", *named)) == f"stopped (pid {pid})\n"
    finally:
        own.server("stop", "--force", *named)


def test_a_foreign_pid_is_left_alone(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        (tmp_path / "sidecar.pid").write_text(f"{bystander.pid}\n")
        assert printed(own.server("stop", "--force")) == "the sidecar is not running\n"
        assert bystander.poll() is None
        bystander.kill()


def test_a_failed_start_in_the_background(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path / "storage")
    with socket.create_server(("127.0.0.1", own.port)):
        fails(own.server("--daemon"), f"port {own.port}")
    fails(own.server("--daemon", "--project-root", str(tmp_path / "nowhere")), "directory not found")
    assert own.server("status").stdout == "the sidecar is not running\n"


def test_status_is_1_when_nothing_runs(sidecar: SidecarProcess, tmp_path: Path) -> None:
    assert Background(sidecar, tmp_path / "storage").server("status").returncode == 1


def test_restart_keeps_the_config_and_the_options(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path / "storage")
    config = tmp_path / "config.json"
    config.write_text('{"agents": {"rate_limits": {"coding_specialists": 7}}}')
    try:
        printed(own.cco("--config", str(config), "orchestration-server", "--daemon", "--log-level", "debug"))
        token = printed(own.cco("token", "--type", "python-specialist", "--issue", "issue-1")).strip()
        assert own.get("/api/events", token).headers["X-RateLimit-Limit"] == "7"
        printed(own.server("restart"))
        assert own.get("/api/events", token).headers["X-RateLimit-Limit"] == "7"
    finally:
        own.server("stop", "--force")


def test_restart_finds_the_sidecar_of_the_named_storage(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path / "storage")
    elsewhere = [("CCO_SIDECAR_STORAGE", str(tmp_path / "other"))]
    storage = ("--storage", str(own.storage))
    try:
        printed(own.server("--daemon"))
        first = own.pid
        line = ("orchestration-server", "restart", *storage)
        printed(run_cco(sidecar, *line, environment=own.environment + elsewhere))
        assert own.pid != first
    finally:
        own.server("stop", "--force")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["orchestration-server", "--port", "many"], "--port"),
        (["orchestration-server", "strat"], "strat"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)
