"""The `cco` command itself: version, help, completion, finding the sidecar, and invalid command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.clocked import free_ports
from tests.support.commands import fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, agent_environment, run_cco

COMMANDS = (
    *("orchestration-server", "daemon", "agent", "context", "results", "events", "approvals", "credentials", "auth"),
    *("token", "top", "health", "doctor", "backup", "restore", "debug", "completion"),
)


def test_it_prints_its_version(sidecar: SidecarProcess) -> None:
    assert printed(run_cco(sidecar, "--version")) == "cco, version 1.0.0\n"
    assert printed(run_cco(sidecar, "orchestration-server", "--version")) == "Orchestration Sidecar v1.0.0\n"


def test_start_prints_what_the_quick_start_shows(sidecar: SidecarProcess) -> None:
    lines = sidecar.screen.splitlines()
    assert lines[:2] == ["Orchestration Sidecar v1.0.0", f"Listening on http://127.0.0.1:{sidecar.port}"]
    assert lines[-1] == "Ready to coordinate 119 agents"


def test_a_user_without_a_home_is_served() -> None:
    # As in a container whose user is not in passwd(5).
    script = (
        "import pwd, os; pwd.getpwuid = lambda uid: {}[uid]; from cco_sidecar.cli.main import main; main(['health'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment |= {"CCO_SIDECAR_PORT": str(free_ports()[0])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "internal error" not in done.stderr and "no sidecar answers" in done.stderr


def test_variables_of_a_kubernetes_service_are_no_settings(sidecar: SidecarProcess) -> None:
    links = {
        "CCO_SIDECAR_PORT": "tcp://10.96.0.7:3001",
        "CCO_SIDECAR_SERVICE_HOST": "10.96.0.7",
        "CCO_SIDECAR_SERVICE_PORT_REST": "3001",
        "CCO_SIDECAR_PORT_3001_TCP_ADDR": "10.96.0.7",
    }
    assert printed(run_cco(sidecar, "config", "check", environment=list(links.items())))
    # The storage names the sidecar.
    assert "healthy" in printed(run_cco(sidecar, "health", environment=list(links.items())))


@pytest.mark.parametrize("group", COMMANDS)
def test_every_command_has_help(sidecar: SidecarProcess, group: str) -> None:
    first = printed(run_cco(sidecar, group, "-h")).partition("\n")[0]
    assert first.startswith("Usage: ") and f" {group} " in first


def test_no_arguments_show_the_help(sidecar: SidecarProcess) -> None:
    done = run_cco(sidecar)
    assert done.returncode == 2 and done.stdout == "" and "orchestration-server" in done.stderr


def test_the_completion_script_is_valid(sidecar: SidecarProcess) -> None:
    script = printed(run_cco(sidecar, "completion", "bash"))
    assert "_CCO_COMPLETE=bash_complete" in script
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_completion_knows_the_agent_types(sidecar: SidecarProcess) -> None:
    asked = {"_CCO_COMPLETE": "bash_complete", "COMP_WORDS": "cco context get issue-1 python-sp", "COMP_CWORD": "4"}
    command = Path(sys.executable).with_name("cco")
    done = subprocess.run(
        [command], env=os.environ | asked, cwd=sidecar.root, capture_output=True, text=True, check=False
    )
    assert done.stdout == "plain,python-specialist\n" and done.stderr == ""


def test_colours_are_only_for_terminals(sidecar: SidecarProcess) -> None:
    for before in ([], ["--no-color"]):
        printed(run_cco(sidecar, *before, "results", "list", "--format", "table"))


def test_an_agents_own_variables_are_enough(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(issue="issue-own")
    own = list(agent_environment(sidecar, agent).items())
    body = json.loads(printed(run_cco(sidecar, "context", "get", agent.issue, agent.type, environment=own)))
    assert body["issue_id"] == agent.issue
    fails(run_cco(sidecar, "context", "get", "issue-else", agent.type, environment=own), "[AUTH_003]")


def test_another_sidecar_and_token_can_be_named(tmp_path: Path, sidecar: SidecarProcess, repository: Path) -> None:
    port = free_ports()[0]
    elsewhere = SidecarProcess(tmp_path / "storage", repository, "--port", str(port), "--grpc-port", str(port + 1))
    try:
        agent = elsewhere.agent()
        for url in (elsewhere.url, f"{elsewhere.url}/api", f"127.0.0.1:{port}"):
            done = run_cco(sidecar, "events", "list", "--sidecar-url", url, "--jwt-token", agent.token)
            assert printed(done) == "no events\n"
        # It also belongs to this user, so its operator's token is found.
        assert printed(run_cco(sidecar, "events", "list", "--sidecar-url", elsewhere.url)) == "no events\n"
    finally:
        assert elsewhere.stop() == ""


def test_rest_and_grpc_may_be_at_unrelated_ports(sidecar: SidecarProcess) -> None:
    url = f"http://127.0.0.1:{free_ports()[0]}"
    options = ("--sidecar-url", url, "--jwt-token", sidecar.operator.token)
    assert printed(run_cco(sidecar, "events", "list", *options, "--sidecar-grpc", sidecar.target))
    fails(run_cco(sidecar, "events", "list", *options), "no sidecar answers")
    misused(run_cco(sidecar, "events", "list", "--sidecar-grpc", sidecar.target), "needs --sidecar-url")


def test_a_token_copied_with_its_line_ending(sidecar: SidecarProcess, agent: Any) -> None:
    done = run_cco(sidecar, "events", "list", "--jwt-token", f"{agent.token}\r\n")
    if done.returncode:
        fails(done, "token")
    else:
        printed(done)


@pytest.mark.parametrize(
    "line", [["context", "get", "caf\udce9", "python-specialist"], ["events", "publish", "--type", "caf\udce9"]]
)
def test_text_that_is_not_utf_8_is_refused(sidecar: SidecarProcess, line: list[str]) -> None:
    done = run_cco(sidecar, *line)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["events", "list", "--jwt-token", "not.a.token"], "[AUTH_001]"),
        (["events", "list", "--sidecar-url", "http://127.0.0.1:1"], "no sidecar answers at http://127.0.0.1:1"),
        (["events", "list", "--sidecar-url", "http://localhost:port"], "'http://localhost:port'"),
        (["events", "list", "--sidecar-url", "http://[::1"], "'http://[::1'"),
        (["--config", "/nowhere/config.json", "health"], "/nowhere/config.json cannot be read"),
        (["--log-level", "loud", "health"], "debug, info, warning, error"),
    ],
)
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, *line), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["webhooks", "rotate", "ci"], "command 'rotate' not found; did you mean 'rotate-secret'?"),
        (["evnts", "list"], "command 'evnts' not found; did you mean 'events'?"),
        (["transmogrify"], "command 'transmogrify' not found; list commands with '"),
        (["completion", "tcsh"], "bash"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("tail", "did you mean 'agent logs'?"),
        ("logs", "did you mean 'agent logs'?"),
        ("agent rm", "did you mean 'stop'?"),
        ("knowledge delete", "did you mean 'forget'?"),
        ("documents list", "did you mean 'query'?"),
        ("sessions tail", "did you mean 'events'?"),
        ("ps", "did you mean 'agent list' or "),
    ],
)
def test_what_other_tools_call_a_command_is_understood(line: str, hint: str) -> None:
    misused(in_process(*line.split()), hint)
