"""`cco daemon start|stop|restart|status|install`: the sidecar as a background service, and its agents."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from tests.support.clocked import free_ports
from tests.support.commands import CCO, Background, Done, environment_of, fails, in_process, misused, printed
from tests.support.processes import pid_in, process_alive
from tests.support.sidecars import small_repository, until, written

from cco_sidecar.testing.process import SidecarProcess

SPAWN = ("agent", "spawn", "--type", "python-specialist", "--issue", "issue-1")


@pytest.fixture
def own(sidecar: SidecarProcess, tmp_path: Path) -> Iterator[Background]:
    """A storage and ports for a daemon; at the end it is stopped with its agents."""
    background = Background(sidecar, tmp_path / "storage")
    yield background
    background.cco("daemon", "stop", "--force")


def statuses(own: Background) -> list[str]:
    """The statuses of all its agents, newest first, as the command prints them."""
    rows = printed(own.cco("agent", "list", "--format", "csv")).splitlines()[1:]
    return [row.split(",")[1] for row in rows]


def when_running(own: Background, act: tuple[str, ...], *arguments: str) -> Done:
    """Runs a `cco` command that follows an agent, and ``act`` as soon as the agent runs; returns its result."""
    done: list[Done] = []
    thread = threading.Thread(target=lambda: done.append(own.cco(*arguments)))
    thread.start()
    until(lambda: "running" in statuses(own), "the agent to run")
    printed(own.cco(*act))
    thread.join(60)
    return done[0]


def test_repeated_starts_run_one_service(own: Background) -> None:
    assert (own.cco("daemon", "status").returncode, own.cco("daemon", "status").stdout) == (
        1,
        "the sidecar is not running\n",
    )
    started = printed(own.cco("daemon", "start"))
    assert started == own.said_at_start
    assert requests.get(f"http://127.0.0.1:{own.dashboard_port}/health", timeout=10).json()["status"] == "healthy"
    assert own.get("/health").json()["status"] == "healthy"
    pid = own.pid
    dashboard = own.said_at_start.splitlines()[-1]
    assert str(own.dashboard_port) in dashboard
    assert printed(own.cco("daemon", "start")).splitlines() == [
        f"the sidecar is already running (pid {pid})",
        dashboard,
    ]
    assert own.pid == pid
    status = printed(own.cco("daemon", "status")).splitlines()
    assert f"(pid {pid}, " in status[0] and status[1:] == [dashboard]
    assert printed(own.cco("daemon", "stop")) == f"stopped (pid {pid})\n"
    assert not process_alive(pid) and not own.storage.joinpath("sidecar.pid").exists()
    assert printed(own.cco("daemon", "stop")) == "the sidecar is not running\n"


def test_options_for_a_running_daemon_are_not_silently_ignored(own: Background, tmp_path: Path) -> None:
    printed(own.cco("daemon", "start", "--cache-size-mb", "64"))
    pid = own.pid
    again = printed(own.cco("daemon", "start", "--cache-size-mb", "64"))
    assert again.startswith(f"the sidecar is already running (pid {pid})\n")
    config = written(tmp_path / "config.json", agents={"max_concurrent": 7})
    for line in (("daemon", "start", "--cache-size-mb", "65"), ("--config", str(config), "daemon", "start")):
        fails(
            own.cco(*line),
            f"the sidecar is already running (pid {pid}) with other settings; apply these with 'cco daemon restart'",
        )
    assert own.pid == pid


def test_concurrent_starts_run_one_service(own: Background) -> None:
    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(lambda _: own.cco("daemon", "start"), range(3)))
    assert [done.returncode for done in started] == [0, 0, 0], [done.stderr for done in started]
    assert all(f"(pid {own.pid})" in done.stdout for done in started)


def test_restart_leaves_agents_running_and_stop_ends_them(own: Background, tmp_path: Path) -> None:
    # An agent sees its pid in its own PID namespace.
    own.environment.append(("CCO_SIDECAR_SANDBOX", "off"))
    printed(own.cco("daemon", "start"))
    script = f"echo $$ > {tmp_path}/pid; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo done"
    agent = printed(own.cco(*SPAWN, "--", "sh", "-c", script)).split()[0]
    agent_pid, first = pid_in(tmp_path / "pid"), own.pid
    printed(own.cco(*SPAWN, "--", "sh", "-c", f"echo $$ > {tmp_path}/other; while :; do sleep 0.05; done"))
    other = pid_in(tmp_path / "other")
    said = printed(own.cco("daemon", "restart"))
    assert said == own.said_at_start
    assert own.pid != first and not process_alive(first)
    assert process_alive(agent_pid) and process_alive(other) and statuses(own) == ["running", "running"]
    (tmp_path / "go").touch()
    # The new sidecar sees how it ends.
    until(lambda: statuses(own) == ["running", "completed"], "the end of the agent")
    assert printed(own.cco("agent", "logs", agent)) == "done\n"
    printed(own.cco("daemon", "stop"))
    assert not process_alive(other)
    printed(own.cco("daemon", "start"))
    assert statuses(own) == ["stopped", "completed"]


def test_waiting_for_an_agent_continues_across_a_restart(own: Background) -> None:
    printed(own.cco("daemon", "start"))
    line = (*SPAWN, "--wait", "--", "sh", "-c", "i=0; while [ $i -lt 60 ]; do i=$((i+1)); sleep 0.1; done")
    done = when_running(own, ("daemon", "restart"), *line)
    assert statuses(own)[0] in ("running", "completed")
    assert (done.returncode, done.stderr) == (0, "completed: exited with code 0\n")


def test_following_an_agent_continues_across_a_restart(own: Background) -> None:
    printed(own.cco("daemon", "start"))
    script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; echo last"
    agent = printed(own.cco(*SPAWN, "--", "sh", "-c", script)).split()[0]
    done = when_running(own, ("daemon", "restart"), "agent", "logs", agent, "--follow")
    lines = printed(done).splitlines()
    assert lines[-1] == "last"
    assert lines[:-1] == [f"line {number}" for number in range(1, 61)]


def test_a_stale_pid_file_does_not_count_as_a_sidecar(own: Background) -> None:
    own.storage.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        for text in (f"{bystander.pid}\n", "4194305\n", "not a pid\n", ""):
            (own.storage / "sidecar.pid").write_text(text)
            assert own.cco("daemon", "status").returncode == 1, text
        (own.storage / "sidecar.pid").write_text(f"{bystander.pid}\n")
        assert printed(own.cco("daemon", "stop", "--force")) == "the sidecar is not running\n"
        assert "is running in the background" in printed(own.cco("daemon", "start"))
        assert own.pid != bystander.pid and bystander.poll() is None
        assert own.get("/health").status_code == 200
        bystander.kill()


def test_a_killed_daemon_is_started_again(own: Background) -> None:
    printed(own.cco("daemon", "start"))
    first = own.pid
    os.kill(first, 9)
    until(lambda: not process_alive(first), "its end")
    assert own.cco("daemon", "status").stdout == "the sidecar is not running\n"
    printed(own.cco("daemon", "start"))
    assert own.pid != first and own.get("/health").status_code == 200


def test_options_reach_the_service(own: Background, tmp_path: Path) -> None:
    config = written(tmp_path / "config.json", agents={"max_concurrent": 7})
    named = ("--pid-file", str(tmp_path / "other.pid"))
    try:
        printed(own.cco("--config", str(config), "--log-level", "debug", "daemon", "start", *named))
        pid = int((tmp_path / "other.pid").read_text())
        assert printed(own.cco("agent", "list")).startswith("0 of 7 running")
        line = Path(f"/proc/{pid}/cmdline").read_text().split("\0") if Path("/proc").exists() else ["debug"]
        assert "debug" in line, "the log level is lost"
    finally:
        assert printed(own.cco("daemon", "stop", *named)).startswith("stopped")


def test_an_option_of_0_is_not_ignored(own: Background) -> None:
    fails(own.cco("daemon", "start", "--cache-size-mb", "0"), "--cache-size-mb")
    assert own.cco("daemon", "status").returncode == 1


def test_a_start_for_other_machines_without_tls_warns(own: Background) -> None:
    done = own.cco("daemon", "start", "--host", "0.0.0.0")
    assert done.returncode == 0 and "WARNING: 0.0.0.0 is reachable from other machines" in done.stderr


class TestRestart:
    def test_a_new_config_replaces_the_old_one(self, own: Background, tmp_path: Path) -> None:
        for most in (7, 9):
            config = written(tmp_path / f"config-{most}.json", agents={"max_concurrent": most})
            verb = "start" if most == 7 else "restart"
            printed(own.cco("--config", str(config), "daemon", verb))
            assert printed(own.cco("agent", "list")).startswith(f"0 of {most} running")

    def test_a_relative_config_path_is_resolved_by_the_caller(self, own: Background, tmp_path: Path) -> None:
        printed(own.cco("daemon", "start"))
        written(tmp_path / "config.json", agents={"max_concurrent": 9})
        printed(own.cco("--config", "config.json", "daemon", "restart", cwd=tmp_path))
        assert printed(own.cco("agent", "list")).startswith("0 of 9 running")

    @pytest.mark.parametrize(
        "wrong",
        [
            ["--project-root", "/nowhere"],
            ["--port", "70000"],
            ["--host", "203.0.113.9"],
            ["/nowhere.pem", "--tls-cert", "/nowhere.pem"],
        ],
    )
    def test_a_bad_config_does_not_stop_the_running_daemon(self, own: Background, wrong: list[str]) -> None:
        printed(own.cco("daemon", "start"))
        first = own.pid
        says = wrong[0]
        options = wrong[1:] if not says.startswith("--") else wrong
        fails(own.cco("daemon", "restart", *options), says)
        assert process_alive(first), "the sidecar was stopped for one that could not start"

    def test_a_start_that_fails_in_spite_of_all_checks_brings_the_former_back(self, own: Background) -> None:
        printed(own.cco("daemon", "start", "--log-level", "debug"))
        # Only the sidecar that opens a database finds out that it cannot.
        first = own.pid
        done = own.cco("daemon", "restart", "--database-url", "postgresql://nobody@127.0.0.1:9/none")
        assert done.returncode == 1 and "it runs again as before" in done.stderr, done.stderr
        assert own.pid != first
        assert "debug" in psutil.Process(own.pid).cmdline()

    def test_variables_of_the_first_start_are_kept(self, own: Background) -> None:
        """It is restarted from another shell."""
        own.environment.append(("CCO_SIDECAR_CORS_ORIGINS", "https://one.example"))
        printed(own.cco("daemon", "start"))
        own.environment.remove(("CCO_SIDECAR_CORS_ORIGINS", "https://one.example"))
        for given, allowed in (([], "https://one.example"), (["https://two.example"], "https://two.example")):
            own.environment += [("CCO_SIDECAR_CORS_ORIGINS", origin) for origin in given]
            printed(own.cco("daemon", "restart"))
            answer = own.get("/health", headers={"Origin": allowed})
            assert answer.headers["Access-Control-Allow-Origin"] == allowed

    def test_restart_starts_a_daemon_that_is_not_running(self, own: Background) -> None:
        assert "is running in the background" in printed(own.cco("daemon", "restart"))
        assert own.get("/health").status_code == 200


def test_a_failed_start_says_why_and_leaves_nothing(own: Background, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", own.port)):
        fails(own.cco("daemon", "start"), f"port {own.port}")
    fails(own.cco("daemon", "start", "--project-root", str(tmp_path / "nowhere")), "directory not found")
    assert own.cco("daemon", "status").returncode == 1


class TestInstall:
    def unit(self, text: str) -> configparser.SectionProxy:
        parser = configparser.ConfigParser(interpolation=None, strict=True)
        parser.optionxform = str  # type: ignore[method-assign, assignment]
        parser.read_string(text)
        assert parser["Install"]["WantedBy"] == "default.target"
        return parser["Service"]

    def verified(self, text: str, directory: Path) -> None:
        """By systemd itself, where it is installed."""
        program = shutil.which("systemd-analyze")
        if program is None:
            return
        path = directory / "cco-sidecar.service"
        path.write_text(text)
        done = subprocess.run([program, "--user", "verify", path], capture_output=True, text=True, check=False)
        if "Failed to initialize" not in done.stderr:
            assert "cco-sidecar.service" not in done.stderr, done.stderr

    def test_the_unit_starts_this_sidecar(self, own: Background, sidecar: SidecarProcess, tmp_path: Path) -> None:
        config = written(tmp_path / "config.json")
        text = printed(own.cco("--config", str(config), "daemon", "install", "--print"))
        self.verified(text, tmp_path)
        service = self.unit(text)
        assert service["WorkingDirectory"] == str(sidecar.root)
        line = shlex.split(service["ExecStart"])
        assert Path(line[0]).is_absolute() and os.access(line[0], os.X_OK)
        assert line[line.index("--config") + 1] == str(config)
        at = line.index("orchestration-server")
        options = dict(zip(line[at + 1 :: 2], line[at + 2 :: 2], strict=True))
        assert options["--port"] == str(own.port) and options["--storage"] == str(own.storage)
        assert options["--project-root"] == str(sidecar.root)
        assert not own.storage.exists()

    def test_the_unit_has_all_current_settings(self, own: Background) -> None:
        """systemd does not see the variables of this environment."""
        own.environment += [("CCO_SIDECAR_GRPC_PORT", "14999"), ("CCO_SIDECAR_CACHE_SIZE_MB", "77")]
        text = printed(own.cco("daemon", "install", "--print"))
        assert "14999" in text and "77" in text

    def test_paths_with_spaces_and_percent_signs(
        self, own: Background, sidecar: SidecarProcess, tmp_path: Path
    ) -> None:
        storage = tmp_path / "my storage 100%h"
        own.environment += [("CCO_SIDECAR_STORAGE", str(storage))]
        text = printed(own.cco("daemon", "install", "--print"))
        line = shlex.split(self.unit(text)["ExecStart"].replace("%%", "\0"))
        assert not any("%" in word for word in line), "a systemd specifier"
        assert line[line.index("--storage") + 1].replace("\0", "%") == str(storage)

    def test_it_is_written_where_systemd_looks(self, own: Background, tmp_path: Path) -> None:
        own.environment += [("HOME", str(tmp_path / "home"))]
        said = printed(own.cco("daemon", "install"))
        path = tmp_path / "home" / ".config" / "systemd" / "user" / "cco-sidecar.service"
        assert str(path) in said and "systemctl --user enable --now cco-sidecar" in said
        assert path.read_text() == printed(own.cco("daemon", "install", "--print"))


def test_a_removed_working_directory_does_not_crash(sidecar: SidecarProcess, tmp_path: Path) -> None:
    """The shell is still in a worktree that was removed."""
    for line in (("agent", "list"), ("daemon", "status"), ("doctor",)):
        gone = tmp_path / "gone"
        gone.mkdir()
        script = f'rmdir "$PWD" && exec {shlex.join([*CCO, *line])}'
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=gone,
            env=environment_of(sidecar),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not gone.exists()
        assert "Traceback" not in done.stderr, (line, done.stderr)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["strat"], "start"),
        (["start", "now"], "now"),
        (["start", "--port", "many"], "--port"),
        (["stop", "--timeout", "soon"], "--timeout"),
        (["stop", "--timeout", "-1"], "--timeout"),
        (["status", "--verbose"], "--verbose"),
        (["install", "cco-sidecar"], "cco-sidecar"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process("daemon", *line), says)


NAMESPACE = ("unshare", "-Ur", "--pid", "--fork", "--mount-proc", "--kill-child")


class Container:
    """A sidecar as process 1 of a namespace."""

    def __init__(self, directory: Path) -> None:
        self._root = small_repository(directory / "root")
        self.port, grpc_port = free_ports()
        self._environment = {
            "CCO_SIDECAR_PORT": str(self.port),
            "CCO_SIDECAR_GRPC_PORT": str(grpc_port),
            "CCO_SIDECAR_STORAGE": str(directory / "storage"),
            "HOME": str(directory),
            "PATH": os.environ["PATH"],
        }

    def start(self, *arguments: str) -> list[str]:
        """Returns what it prints until it is ready."""
        self._process = subprocess.Popen(
            [*NAMESPACE, *CCO, *arguments], cwd=self._root, env=self._environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ready"):
                break
        (self.server,) = psutil.Process(self._process.pid).children()
        return lines

    def execute(self, *command: str) -> str:
        """Runs a command in the namespaces, as `docker exec` does. Returns what it prints."""
        enter = ["nsenter", "--target", str(self.server.pid), "--user", "--pid", "--mount", "--preserve-credentials"]
        return subprocess.run(
            [*enter, *command], env=self._environment, capture_output=True, text=True, timeout=60, check=False
        ).stdout

    def wait(self) -> str:
        """Waits until it ends, and returns what it wrote to stderr."""
        complaints = self._process.communicate(timeout=30)[1]
        assert self._process.returncode == 0
        return complaints

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    made = Container(tmp_path)
    yield made
    made.end()


def test_as_process_1_it_stays_and_listens_on_all_interfaces(container: Container) -> None:
    """As in `docker run -p 3001:3001 ... cco daemon start`."""
    lines = container.start("daemon", "start")
    assert f"Listening on http://0.0.0.0:{container.port}" in lines
    assert requests.get(f"http://127.0.0.1:{container.port}/health", timeout=10).status_code == 200
    # As `docker exec` runs them.
    assert "the sidecar is running (pid 1," in container.execute(*CCO, "daemon", "status")
    assert "stale" not in container.execute(*CCO, "doctor")
    container.server.send_signal(signal.SIGTERM)
    assert "WARNING: 0.0.0.0 is reachable from other machines" in container.wait()


def test_process_1_listens_where_it_is_told(container: Container) -> None:
    assert f"Listening on http://127.0.0.1:{container.port}" in container.start(
        "daemon", "start", "--host", "127.0.0.1"
    )


def test_process_1_reaps_orphans(container: Container) -> None:
    container.start("daemon", "start")
    container.execute("sh", "-c", "(sleep 0.2 &)")
    zombies = until(
        lambda: [each for each in container.server.children() if each.status() == psutil.STATUS_ZOMBIE], "an orphan"
    )
    until(lambda: not any(each.is_running() for each in zombies), "the orphan to be reaped")


def test_a_taken_port_of_the_dashboard_is_only_a_warning(own: Background) -> None:
    with socket.create_server(("127.0.0.1", own.dashboard_port)):
        said = printed(own.cco("daemon", "start"))
    assert f"warning: port {own.dashboard_port} could not be opened" in said
    assert f"the dashboard is on http://127.0.0.1:{own.port}/" in said
    assert "text/html" in own.get("/").headers["content-type"]
    assert str(own.dashboard_port) in next((own.storage / "logs").glob("*.log")).read_text()
    found = {each["name"]: each for each in json.loads(own.cco("doctor", "--format", "json").stdout)}
    assert found["dashboard"]["level"] == "warning" and str(own.dashboard_port) in found["dashboard"]["text"]
    link = printed(own.cco("dashboard", "--print"))
    assert link.startswith(f"http://127.0.0.1:{own.port}/#login=")


def test_the_daemon_has_the_documented_port_for_people(own: Background) -> None:
    unit = printed(own.cco("daemon", "install", "--print"))
    assert f"--dashboard-port {own.dashboard_port}" in unit
    own.environment = [each for each in own.environment if each[0] != "CCO_SIDECAR_DASHBOARD_PORT"]
    assert "--dashboard-port 3000" in printed(own.cco("daemon", "install", "--print"))
