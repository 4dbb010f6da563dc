"""`cco doctor`: reports what is right, finds what is broken, and names the fix."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from tests.support.certificates import Authority
from tests.support.clocked import free_ports
from tests.support.commands import Background, Done, fails, in_process, misused, printed
from tests.support.repositories import OURS
from tests.support.runners import RunnerProcess
from tests.support.sidecars import small_repository, until, written

from cco_sidecar.cli.checks import findings
from cco_sidecar.core.settings import Settings
from cco_sidecar.testing.process import SidecarProcess, run_cco

CHECKS = {
    "storage",
    "disk",
    "database",
    "pid file",
    "port",
    "gRPC port",
    "sidecar",
    "clock",
    "dashboard",
    "token",
    "git",
    "sandbox",
    "runner claude",
}


class Found(NamedTuple):
    level: str
    text: str
    fix: str


class Deployment:
    """A storage, a repository and a PATH that a test breaks."""

    def __init__(self, directory: Path, sidecar: SidecarProcess) -> None:
        self.directory = directory
        self._sidecar = sidecar
        self.storage = directory / "storage"
        self.root = small_repository(directory / "repository")
        self.programs = directory / "bin"
        self.programs.mkdir()
        self.program("claude", (OURS / "tests" / "support" / "claude.py").read_text())
        self.port, self.grpc_port = free_ports()
        self.environment = {
            "HOME": str(directory),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "CCO_SIDECAR_PORT": str(self.port),
            "CCO_SIDECAR_GRPC_PORT": str(self.grpc_port),
            "CCO_SIDECAR_STORAGE": str(self.storage),
            "CCO_SIDECAR_PROJECT_ROOT": str(self.root),
        }

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def cco(self, *line: str) -> Done:
        done: Done = run_cco(self._sidecar, *line, environment=list(self.environment.items()))
        return done

    def examined(self, *before: str, code: int) -> dict[str, Found]:
        """The findings of the doctor by name; the exit code says whether anything is broken."""
        done = self.cco(*before, "doctor", "--format", "json")
        assert "Traceback" not in done.stderr and done.stderr == "", done.stderr
        found = {each.pop("name"): Found(**each) for each in json.loads(done.stdout)}
        assert done.returncode == code, found
        assert any(each.level == "broken" for each in found.values()) == (code == 1)
        for name, each in found.items():
            assert each.level in ("ok", "warning", "broken")
            assert (each.fix == "") == (each.level == "ok"), f"{name} is {each}"
        return found

    def token(self, **claims: Any) -> None:
        """An operator's token signed with a foreign key."""
        now = int(time.time())
        content = {"sub": "operator", "agent_type": "operator", "iat": now, "exp": now + 3600} | claims
        path = self.storage / "operator.token"
        path.write_text(jwt.encode(content, "x" * 32, algorithm="HS256"))
        path.chmod(0o600)


@pytest.fixture
def deployment(sidecar: SidecarProcess, tmp_path: Path) -> Deployment:
    """A deployment where nothing is running."""
    return Deployment(tmp_path, sidecar)


@pytest.fixture(scope="module")
def running(sidecar: SidecarProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with a running sidecar and a stored credential. A test that breaks something repairs it."""
    made = Deployment(tmp_path_factory.mktemp("deployment"), sidecar)
    printed(made.cco("daemon", "start"))
    try:
        printed(made.cco("credentials", "store", "KEY", "value"))
        yield made
    finally:
        assert made.cco("daemon", "stop", "--force").returncode == 0


def test_every_check_passes_when_everything_is_right(running: Deployment) -> None:
    found = running.examined(code=0)
    assert set(found) == CHECKS | {"credentials"}
    # Tests keep everything in a temporary directory.
    assert {name for name, each in found.items() if each.level != "ok"} == {"storage"}
    assert "temporary directory" in found["storage"].text and "cco storage move" in found["storage"].fix
    assert (
        found["port"].text == f"{running.port} answers" and found["git"].text == f"{running.root} is a git repository"
    )
    assert found["runner claude"].text == "2.0.0 (Claude Code stand-in)"
    assert str(running.directory / ".cco" / "credentials.key") in found["credentials"].text
    lines = printed(running.cco("doctor")).splitlines()
    told = [line.partition(": ")[0] for line in lines if not line.startswith(" ")]
    assert told == [f"{each.level:<8} {name}" for name, each in found.items()]


def test_runners_are_looked_at(running: Deployment, tmp_path: Path) -> None:
    made = running.cco("runner", "token", "far", "--tag", "gpu")
    assert "cco runner join --url URL --tag gpu" in made.stderr
    url, target = f"http://127.0.0.1:{running.port}", f"127.0.0.1:{running.grpc_port}"
    options = ("--project", str(running.root), "--tag", "gpu")

    def level() -> str | None:
        found = running.examined(code=0).get("runners")
        return found and found.level

    runner = RunnerProcess(tmp_path, url, target, *options, token=made.stdout.strip())
    until(lambda: level() == "ok", "the runner")
    runner.end(signal.SIGKILL)
    until(lambda: level() == "warning", "the end of the connection")
    found = running.examined(code=0)["runners"]
    again = RunnerProcess(tmp_path, url, target, *options)
    until(lambda: level() == "ok", "the next process")
    assert again.end() == "" and level() is None
    assert found.text.startswith("the connection of far on ") and "after 60 s" in found.fix


def test_nothing_is_broken_before_the_first_start(deployment: Deployment) -> None:
    found = deployment.examined(code=0)
    assert {name for name, each in found.items() if each.level == "warning"} == {"storage", "pid file", "token"}
    assert found["pid file"].fix == "cco daemon start"
    assert not deployment.storage.exists()


def test_a_port_in_use_by_another_program(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", deployment.grpc_port)):
        found = deployment.examined(code=1)
        text = deployment.cco("doctor").stdout
    assert found["port"].level == "ok"
    assert found["gRPC port"].text == f"{deployment.grpc_port} is in use by another program"
    assert f"sport = :{deployment.grpc_port}" in found["gRPC port"].fix and "--grpc-port" in found["gRPC port"].fix
    assert f"broken   gRPC port: {deployment.grpc_port} is in use by another program\n         fix: stop the" in text


def test_a_sidecar_on_another_port_is_found_by_its_storage(
    running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, grpc_port = free_ports()
    monkeypatch.setitem(running.environment, "CCO_SIDECAR_PORT", str(port))
    monkeypatch.setitem(running.environment, "CCO_SIDECAR_GRPC_PORT", str(grpc_port))
    found = running.examined(code=0)
    assert (found["port"].level, found["port"].text) == ("ok", f"{running.port} answers")


def test_a_pid_file_without_a_process(deployment: Deployment) -> None:
    deployment.storage.mkdir(mode=0o700)
    pid_file = deployment.storage / "sidecar.pid"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        pid_file.write_text(f"{bystander.pid}\n")
        found = deployment.examined(code=0)
        bystander.kill()
    assert found["pid file"].level == "warning" and found["pid file"].fix == f"rm {pid_file}"
    pid_file.unlink()
    assert deployment.examined(code=0)["pid file"].fix == "cco daemon start"


def test_files_that_others_can_read(running: Deployment) -> None:
    key = running.directory / ".cco" / "credentials.key"
    token = running.storage / "operator.token"
    for path, mode in ((running.storage, 0o755), (key, 0o640), (token, 0o644)):
        path.chmod(mode)
    found = running.examined(code=1)
    for name, path, level, right in (
        ("storage", running.storage, "warning", 0o700),
        ("credentials", key, "broken", 0o600),
        ("token", token, "warning", 0o600),
    ):
        assert found[name].text == f"{path} is readable by others" and found[name].level == level
        assert found[name].fix == f"chmod {right:o} {path}"
        subprocess.run(found[name].fix, shell=True, check=True)
    again = running.examined(code=0)
    assert {name for name, each in again.items() if each.level != "ok"} == {"storage"}
    assert "temporary" in again["storage"].text


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the owner of a directory")
def test_a_storage_owned_by_another_user(deployment: Deployment) -> None:
    deployment.storage.mkdir(mode=0o700)
    os.chown(deployment.storage, 12345, 12345)
    found = deployment.examined(code=1)
    assert found["storage"].text == f"{deployment.storage} is owned by another user"
    assert "CCO_SIDECAR_STORAGE" in found["storage"].fix


def test_a_storage_that_is_a_file(deployment: Deployment) -> None:
    deployment.storage.write_text("")
    found = deployment.examined(code=1)["storage"]
    assert found.level == "broken" and "CCO_SIDECAR_STORAGE" in found.fix, found


def test_an_expired_and_an_invalid_token(deployment: Deployment) -> None:
    deployment.storage.mkdir(mode=0o700)
    deployment.token(exp=int(time.time()) - 1)
    found = deployment.examined(code=1)
    assert (found["token"].text, found["token"].fix) == ("the operator's token has expired", "cco daemon restart")
    (deployment.storage / "operator.token").write_text("not a token\n")
    assert "expired" not in deployment.examined(code=1)["token"].text


class TestTokenOfRunningSidecar:
    @pytest.fixture(autouse=True)
    def _kept(self, running: Deployment) -> Iterator[None]:
        path = running.storage / "operator.token"
        kept = path.read_text()
        yield
        path.write_text(kept)
        path.chmod(0o600)

    def test_a_missing_token_file(self, running: Deployment) -> None:
        """The sidecar writes it at startup only."""
        (running.storage / "operator.token").unlink()
        assert "cco daemon restart" in running.examined(code=1)["token"].fix

    def test_a_token_that_the_sidecar_does_not_know(self, running: Deployment) -> None:
        running.token()
        assert running.cco("agent", "list").returncode == 1
        found = running.examined(code=1)
        assert "broken" in (found["sidecar"].level, found["token"].level)


def test_git_is_missing(deployment: Deployment) -> None:
    deployment.environment["PATH"] = str(deployment.programs)
    deployment.program("claude", "#!/bin/sh\necho 2.0.0\n")
    found = deployment.examined(code=1)
    assert (found["git"].text, found["git"].fix) == ("git not found on PATH", "install git; contexts need it")


def test_a_project_that_is_not_a_repository(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    deployment.environment["CCO_SIDECAR_PROJECT_ROOT"] = str(tmp_path / "plain")
    found = deployment.examined(code=0)
    assert found["git"].level == "warning" and "--project-root" in found["git"].fix


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=99 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    settings = Settings(storage=tmp_path / "storage", project_root=tmp_path, port=free_ports()[0])
    (found,) = [each for each in findings(settings) if each.name == "disk"]
    assert found.level.value == "broken" and found.text.startswith("99 MB free at ") and "free some space" in found.fix


class TestRunners:
    def test_a_program_that_is_not_installed(self, deployment: Deployment) -> None:
        config = str(
            written(deployment.directory / "config.json", agents={"runners": {"quality": {"preset": "codex"}}})
        )
        deployment.environment["PATH"] = os.pathsep.join(
            [str(deployment.programs), str(Path(shutil.which("git") or "").parent)]
        )
        found = deployment.examined("--config", config, code=0)
        assert found["runner claude"].level == "ok"
        if shutil.which("codex", path=deployment.environment["PATH"]) is None:
            assert found["runner codex"].text == "program 'codex' not found on PATH"
            assert "agents.runners" in found["runner codex"].fix

    def test_a_damaged_database(self, deployment: Deployment) -> None:
        deployment.storage.mkdir(mode=0o700)
        (deployment.storage / "records.db").write_bytes(b"not a database" * 1000)
        found = deployment.examined(code=1)["database"]
        assert found.level == "broken" and "records.db is damaged" in found.text
        assert found.fix == "restore it from a backup"

    def test_a_database_server_that_does_not_answer(self, deployment: Deployment) -> None:
        url = "postgresql://me:s3cr3t@127.0.0.1:1/sidecar"
        config = str(written(deployment.directory / "config.json", sidecar={"database_url": url}))
        found = deployment.examined("--config", config, code=1)["database"]
        assert found.level == "broken" and "me:***@127.0.0.1:1" in found.text and "s3cr3t" not in found.text
        assert "database_url" in found.fix

    def test_a_nats_that_does_not_answer(self, deployment: Deployment) -> None:
        url = "nats://me:s3cr3t@127.0.0.1:1"
        config = str(written(deployment.directory / "config.json", sidecar={"bus_url": url}))
        found = deployment.examined("--config", config, code=1)["bus"]
        assert found.level == "broken" and "nats://127.0.0.1:1" in found.text and "s3cr3t" not in found.text

    @pytest.mark.cluster
    def test_nats_that_may_not_sync(self, deployment: Deployment, nats_url: str) -> None:
        deployment.environment["CCO_SIDECAR_BUS_URL"] = nats_url
        found = deployment.examined(code=0)
        assert found["bus"].text.startswith("NATS 2.") and found["bus durability"].level == "warning"
        assert "bus.monitor_urls" in found["bus durability"].fix

    def test_a_command_whose_program_is_missing(self, deployment: Deployment) -> None:
        runners = {"quality": {"command": ["/nowhere/such-a-program", "{task}"]}}
        config = str(written(deployment.directory / "config.json", agents={"runners": runners}))
        done = deployment.cco("--config", config, "doctor")
        assert "/nowhere/such-a-program" in done.stdout, done.stdout

    @pytest.mark.parametrize("text", ["#!/bin/sh\necho no licence >&2\nexit 5\n", "not a program", "#!/nowhere/sh\n"])
    def test_a_program_that_does_not_run(self, deployment: Deployment, text: str) -> None:
        deployment.program("claude", text)
        found = deployment.examined(code=1)
        assert "runner claude" in found, found
        assert found["runner claude"].level == "broken" and str(deployment.programs) in found["runner claude"].text

    def test_misspelt_runners(self, deployment: Deployment) -> None:
        config = str(written(deployment.directory / "config.json", agents={"runners": {"defalt": {}}}))
        done = deployment.cco("--config", config, "doctor")
        assert done.returncode == 1 and "unknown name 'defalt'" in done.stdout
        assert deployment.examined("--config", config, code=1)


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [(60, "ok", "expires in 60 days"), (3, "warning", "expires in 3 days"), (-1, "broken", "has expired")],
)
def test_the_certificate_is_renewed_in_time(tmp_path: Path, days: int, level: str, says: str) -> None:
    made = Authority(tmp_path).issue("server", days=days)
    settings = Settings(storage=tmp_path, tls_cert=made.cert, tls_key=made.key)
    (found,) = [each for each in findings(settings) if each.name == "TLS"]
    assert found.level.value == level and says in found.text and bool(found.fix) == (level != "ok")


def test_other_machines_without_tls(tmp_path: Path) -> None:
    (found,) = [each for each in findings(Settings(storage=tmp_path, host="0.0.0.0")) if each.name == "TLS"]
    assert found.level.value == "warning" and "0.0.0.0 is reachable from other machines without TLS" in found.text


def test_an_ipv6_host(deployment: Deployment) -> None:
    deployment.environment["CCO_SIDECAR_HOST"] = "::1"
    found = deployment.examined(code=0)
    assert found["port"].text == f"{deployment.port} is free"


def test_a_sidecar_on_ipv6_is_reached(sidecar: SidecarProcess, tmp_path: Path) -> None:
    own = Background(sidecar, tmp_path / "storage")
    own.environment.append(("CCO_SIDECAR_HOST", "::1"))
    try:
        started = own.cco("daemon", "start")
        if "cannot open" in started.stderr:
            pytest.skip("no IPv6 on this machine")
        assert f"http://[::1]:{own.port}\n" in printed(started)
        assert "healthy" in printed(own.cco("health"))
        assert own.cco("agent", "list").returncode == 0
    finally:
        own.cco("daemon", "stop", "--force")


def test_an_unreadable_config_is_one_clear_line(deployment: Deployment) -> None:
    (deployment.directory / "config.json").write_text("{")
    fails(deployment.cco("--config", str(deployment.directory / "config.json"), "doctor"), "is not JSON")


@pytest.mark.parametrize(("line", "says"), [(["--format", "csv"], "csv"), (["now"], "now"), (["--fix"], "--fix")])
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process("doctor", *line), says)
