"""`cco debug bundle`: everything needed for support, and no secrets."""

from __future__ import annotations

import json
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.commands import fails, misused, printed, started
from tests.support.sidecars import call, serving, small_repository, until, written

from cco_sidecar.testing.agents import scripted_command
from cco_sidecar.testing.process import SidecarProcess, run_cco

PARTS = {"versions.json", "settings.json", "checks.txt", "health.json", "status.json", "agents.json", "storage.txt",
         "orchestration.log"}  # fmt: skip
# What a bundle must not contain, by kind.
SECRETS = {
    "signing secret": "s1gning-secret-of-more-than-thirty-two-bytes",
    "credential": "s3cr3t-of-a-credential",
    "spawn environment": "v4lue-of-a-spawn",
    "runner environment": "v4lue-of-a-runner",
    "runner command": "sk-ant-REALKEY0123456789abcdefghij",
    "task": "the-t4sk-of-an-agent",
    "task of a rule": "the-t4sk-of-a-rule",
    "output": "a-pr1nted-line",
    "error that was reported": "a-rep0rted-error",
    "progress": "a-pr0gress-note",
    "question": "a-qu3stion-to-a-person",
    "result": "a-d3cision-of-a-result",
    "event": "the-d4ta-of-an-event",
    "message": "the-m3ssage-of-a-resume",
}


class Bundle:
    def __init__(self, path: Path) -> None:
        self.mode = stat.S_IMODE(path.stat().st_mode)
        with tarfile.open(path) as tar:
            self.modes = {member.mode for member in tar.getmembers()}
            self.parts = {
                member.name: data.read().decode()
                for member in tar.getmembers()
                if (data := tar.extractfile(member)) is not None
            }

    def json(self, name: str) -> object:
        return json.loads(self.parts[name])


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    """A sidecar that was given every secret."""
    directory = tmp_path_factory.mktemp("busy")
    rule = {"when": {"event_type": "never"}, "do": "spawn", "agent_type": "go-specialist",
            "task": SECRETS["task of a rule"]}  # fmt: skip
    config = written(
        directory / "config.json",
        sidecar={"jwt_secret": SECRETS["signing secret"], "log_level": "debug"},
        agents={
            "handover": {"rules": [rule]},
            "runners": {
                "default": {"command": scripted_command(), "output": "stream-json"},
                "quality": {
                    "command": ["checker", "--api-key", SECRETS["runner command"]],
                    "environment": {"TOKEN": SECRETS["runner environment"]},
                },
            },
        },
    )
    with serving(directory, small_repository(directory / "repository"), config=config) as running:
        plant(running)
        yield running


def plant(running: SidecarProcess) -> None:
    """Puts every secret in its place."""
    printed(run_cco(running, "credentials", "store", "KEY", SECRETS["credential"]))
    steps = [
        {"do": "env", "name": "KEY"},
        {"do": "print", "text": SECRETS["output"]},
        {"do": "result", "decisions": [SECRETS["result"]]},
        {"do": "event", "type": "told", "topic": "testing", "data": {"text": SECRETS["event"]}},
        {"do": "report", "result": SECRETS["error that was reported"], "is_error": True},
    ]
    body = {
        "agent_type": "python-specialist",
        "issue_id": "issue-1",
        "task": SECRETS["task"],
        "credentials": ["KEY"],
        "environment": {"NOTE": SECRETS["spawn environment"], "TASK_SCRIPT": json.dumps(steps)},
    }
    failed = call(running, "POST", "/api/agents/spawn", json=body)["agent_id"]
    until(lambda: call(running, "GET", f"/api/agents/{failed}")["status"] == "failed", "its end")
    call(running, "POST", f"/api/agents/{failed}/resume", json={"message": SECRETS["message"]})
    for step, status in (
        ({"do": "ask", "question": SECRETS["question"]}, "needs_input"),
        ({"do": "heartbeat", "message": SECRETS["progress"], "percent": 40}, "running"),
    ):
        body["environment"] = {"TASK_SCRIPT": json.dumps([step, {"do": "sleep", "seconds": 600}])}
        agent = call(running, "POST", "/api/agents/spawn", json=body)["agent_id"]

        def seen(agent: str = agent, status: str = status) -> bool:
            found = call(running, "GET", f"/api/agents/{agent}")
            return bool(found.get("progress", {}).get("message")) and found["status"] == status

        until(seen, f"an agent that is {status}")


def bundled(sidecar: SidecarProcess, target: Path, *before: str, force: bool = False) -> Bundle:
    said = printed(run_cco(sidecar, *before, "debug", "bundle", str(target), *(["--force"] if force else [])))
    assert said == f"wrote {target}; review it before sharing it\n"
    return Bundle(target)


@pytest.fixture(scope="module")
def bundle(busy: SidecarProcess, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = str(busy.storage.parent / "config.json")
    return bundled(busy, tmp_path_factory.mktemp("bundle") / "debug.tar.gz", "--config", config)


def test_it_has_every_part(bundle: Bundle, busy: SidecarProcess) -> None:
    assert set(bundle.parts) == PARTS
    assert bundle.mode == 0o600 and bundle.modes == {0o600}
    versions, settings, health, status, agents = (
        bundle.json(name) for name in ("versions.json", "settings.json", "health.json", "status.json", "agents.json")
    )
    assert isinstance(versions, dict) and versions["cco-sidecar"] == "1.0.0" and "grpcio" in versions["packages"]
    assert isinstance(settings, dict) and settings["port"] == busy.port and settings["storage"] == str(busy.storage)
    assert isinstance(health, dict) and health["status"] == "healthy"
    assert isinstance(status, dict) and status["events"]["total_published"] > 0
    assert isinstance(agents, dict)
    assert {each["status"] for each in agents["agents"]} >= {"needs_input"}
    assert re.search(r"^ok\tport\t\d+ answers\t$", bundle.parts["checks.txt"], re.MULTILINE)
    assert re.search(r"^\d+\trecords\.db$", bundle.parts["storage.txt"], re.MULTILINE)
    lines = bundle.parts["orchestration.log"].splitlines()
    assert len(lines) > 3 and all("message" in json.loads(line) for line in lines)


@pytest.mark.parametrize("what", SECRETS)
def test_it_has_no_secret(bundle: Bundle, what: str) -> None:
    places = [name for name, text in bundle.parts.items() if SECRETS[what] in text]
    assert not places, f"the {what} is in {places}"


def test_it_has_no_token(bundle: Bundle, busy: SidecarProcess) -> None:
    for name, text in bundle.parts.items():
        assert busy.operator.token not in text and not re.search(r"eyJ[\w-]+\.[\w-]+\.", text), name


def test_it_has_the_agents_of_every_project(busy: SidecarProcess, tmp_path: Path) -> None:
    elsewhere = started(busy, "uname", project_id="project-else")
    elsewhere.wait()
    assert elsewhere.id in bundled(busy, tmp_path / "debug.tar.gz").parts["agents.json"]


def test_it_is_written_while_the_sidecar_is_down_too(tmp_path: Path, busy: SidecarProcess) -> None:
    nothing = [("CCO_SIDECAR_STORAGE", str(tmp_path / "nothing"))]
    printed(run_cco(busy, "debug", "bundle", str(tmp_path / "never.tar.gz"), environment=nothing))
    never = Bundle(tmp_path / "never.tar.gz")
    assert set(never.parts) == PARTS and "cannot read the operator's token" in never.parts["health.json"]
    own = SidecarProcess(tmp_path / "storage", busy.root)
    own.kill()
    printed(run_cco(own, "debug", "bundle", str(tmp_path / "down.tar.gz")))
    down = Bundle(tmp_path / "down.tar.gz")
    assert set(down.parts) == PARTS
    assert "sidecar.pid is stale: its pid is not a sidecar" in down.parts["checks.txt"]
    assert "records.db" in down.parts["storage.txt"]
    assert '"message":"listening"' in down.parts["orchestration.log"]
    for name in ("health.json", "status.json", "agents.json"):
        assert down.parts[name] and "Traceback" not in down.parts[name]


def test_it_is_private_even_where_a_file_existed(busy: SidecarProcess, tmp_path: Path) -> None:
    target = tmp_path / "debug.tar.gz"
    target.write_text("an older one")
    target.chmod(0o644)
    fails(run_cco(busy, "debug", "bundle", str(target)), "--force")
    assert target.read_text() == "an older one"
    assert bundled(busy, target, force=True).mode == 0o600


def test_the_default_name_is_the_time(busy: SidecarProcess, tmp_path: Path) -> None:
    said = printed(run_cco(busy, "debug", "bundle", cwd=tmp_path))
    (made,) = tmp_path.iterdir()
    assert re.fullmatch(r"cco-debug-\d{8}-\d{6}\.tar\.gz", made.name) and made.name in said


def test_errors_are_reported(busy: SidecarProcess, tmp_path: Path) -> None:
    fails(run_cco(busy, "debug", "bundle", "/nowhere/debug.tar.gz"), "cannot write /nowhere/debug.tar.gz")
    misused(run_cco(busy, "debug", "bundle", "/tmp"), "/tmp")
    misused(run_cco(busy, "debug", "bundle", "one", "two", cwd=tmp_path), "two")
    misused(run_cco(busy, "debug", "bundel"), "bundle")
    assert list(tmp_path.iterdir()) == []
