"""`cco top`: a single picture, and the live display in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.commands import fails, in_process, misused, printed, publish, started
from tests.support.sidecars import fresh, serving, until
from tests.support.spawned import Spawn
from tests.support.terminals import Terminal

from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess, run_cco

CTRL_C = "\x03"
LEAVES_THE_SCREEN = "\x1b[?1049l"
SHOWS_THE_CURSOR = "\x1b[?25h"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[SidecarProcess]:
    """A separate sidecar, because a picture shows every agent."""
    with serving(tmp_path_factory.mktemp("top"), repository) as running:
        yield running


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Iterator[SpawnedAgent]:
    running = started(sidecar, "sleep", "600", issue=fresh("top"))
    yield running
    running.stop(force=True)


def row_of(agent: SpawnedAgent, lines: list[str]) -> str:
    """The agent's line; empty when it is not shown."""
    name = agent.id[: len("python-specialist-") + 4]
    return next((line for line in lines if line.startswith(name)), "")


def test_one_picture_has_the_queue_the_agents_and_the_events(sidecar: SidecarProcess, agent: SpawnedAgent) -> None:
    publish(sidecar, "architecture_defined", decision="REST")
    ended = started(sidecar, "sh", "-c", "exit 4")
    ended.wait()
    head, titles, *rows = printed(run_cco(sidecar, "top", "--once")).splitlines()
    assert head.startswith("1/119 running  0 queued  ") and " events  " in head and "p99" in head
    assert titles.split()[:2] == ["agent", "status"]
    assert "running" in row_of(agent, rows) and "failed" in row_of(ended, rows)
    # Active agents come first.
    assert row_of(agent, rows) == rows[0]
    assert "architecture_defined" in "\n".join(rows[rows.index("") :])


def test_a_pipe_gets_whole_values(sidecar: SidecarProcess) -> None:
    issue = "issue-with-a-name-of-forty-characters-or-so"
    started(sidecar, "sh", "-c", "exit 4", issue=issue).wait()
    publish(sidecar, "a_type_with_a_long_name_of_its_own", decision="the last word of it")
    text = printed(run_cco(sidecar, "top", "--once"))
    for whole in ("exited with code 4", issue, "a_type_with_a_long_name_of_its_own", "the last word of it", "since"):
        assert whole in text, (whole, text)


def test_it_runs_until_ctrl_c_and_restores_the_terminal(sidecar: SidecarProcess, agent: SpawnedAgent) -> None:
    with Terminal(sidecar, "top", "--interval", "0.2") as terminal:
        first = terminal.sees(lambda lines: "running" in row_of(agent, lines))
        assert first[0].startswith("1/119 running  0 queued") and first[1].split()[:2] == ["agent", "status"]
        assert "attempt 1" in row_of(agent, first)
        publish(sidecar, "tests_passing", n=1)
        agent.stop(force=True)
        last = terminal.sees(lambda lines: "stopped" in row_of(agent, lines) and "tests_passing" in "\n".join(lines))
        assert last[0].startswith("0/119 running")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        assert "Traceback" not in terminal.written
        assert SHOWS_THE_CURSOR in terminal.written and terminal.written.endswith(LEAVES_THE_SCREEN)


def test_a_narrow_terminal_still_shows_what_matters(sidecar: SidecarProcess, agent: SpawnedAgent) -> None:
    publish(sidecar, "narrow")
    with Terminal(sidecar, "top", "--interval", "0.2", columns=60, rows=20) as terminal:
        lines = terminal.sees(lambda lines: row_of(agent, lines) and "narrow" in "\n".join(lines))
        assert max(map(len, lines)) <= 60
        assert lines[0].startswith("1/119 running  0 queued")
        event = next(line for line in lines if "narrow" in line)
        assert " running " in row_of(agent, lines)
        # A truncated age or time would be useless.
        assert "…" not in event[:8], event
        assert "s…" not in lines[1], lines[1]


def test_an_80_column_terminal_shows_the_reason(sidecar: SidecarProcess, agent: SpawnedAgent) -> None:
    with Terminal(sidecar, "top", "--interval", "0.2", columns=80, rows=24) as terminal:
        lines = terminal.sees(lambda lines: row_of(agent, lines))
        assert max(map(len, lines)) <= 80
        assert "reason" in lines[1] and "attempt" in row_of(agent, lines), lines


def test_a_long_list_of_agents_leaves_space_for_the_events(sidecar: SidecarProcess, agent: SpawnedAgent) -> None:
    for _ in range(12):
        started(sidecar, "uname").wait()
    publish(sidecar, "the_newest")
    with Terminal(sidecar, "top", "--interval", "0.2", rows=18) as terminal:
        lines = terminal.sees(lambda lines: "the_newest" in "\n".join(lines))
        assert row_of(agent, lines) == lines[2]
        assert len([line for line in lines if "  completed  " in line]) >= 2


def says(agent: SpawnedAgent) -> None:
    """Sets the agent's text and waits for its heartbeat."""
    until(lambda: agent.get().get("progress", {}).get("message"), "its heartbeat")


def test_what_an_agent_says_is_not_markup(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    beat = {"do": "heartbeat", "message": "[/b] [red]", "percent": 40}
    says(scripted_agent([beat, {"do": "sleep", "seconds": 600}], project="markup"))
    assert "40 % [/b]" in printed(run_cco(sidecar, "top", "--once", "--project", "markup"))


def test_control_characters_of_an_agent_do_not_reach_the_terminal(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    beat = {"do": "heartbeat", "message": "\x1b]0;m\x07\x1b[2J"}
    agent = scripted_agent([beat, {"do": "sleep", "seconds": 600}], project="control")
    says(agent)
    with Terminal(sidecar, "top", "--interval", "0.2", "--project", "control", columns=200) as terminal:
        terminal.sees(lambda lines: row_of(agent, lines))
        assert "\x1b]0;" not in terminal.written and "\x1b[2J" not in terminal.written


def test_it_reports_that_the_sidecar_went_away(tmp_path: Path, repository: Path) -> None:
    own = SidecarProcess(tmp_path / "storage", repository)
    with Terminal(own, "top", "--interval", "0.2") as terminal:
        terminal.sees(lambda lines: lines[0].startswith("0/119 running"))
        assert own.stop() == ""
        assert terminal.end() == 1
        _, _, last = terminal.written.rpartition(LEAVES_THE_SCREEN)
        assert last.startswith("cco: no sidecar answers at ") and last.count("\n") == 1


def test_without_a_sidecar_it_is_one_clear_line(sidecar: SidecarProcess, tmp_path: Path) -> None:
    fails(run_cco(sidecar, "top", "--sidecar-url", "http://127.0.0.1:1"), "no sidecar answers at http://127.0.0.1:1")
    fails(run_cco(sidecar, "top", environment=[("CCO_SIDECAR_STORAGE", str(tmp_path))]), "operator's token")


@pytest.mark.parametrize(
    ("line", "says"), [(["--interval", "0"], "--interval"), (["--interval", "fast"], "fast"), (["now"], "now")]
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process("top", *line), says)
