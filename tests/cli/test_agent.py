"""`cco agent spawn|list|show|kill|logs|resume|discard|types`."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.commands import CCO, Done, environment_of, fails, in_process, misused, printed, spawn, started
from tests.support.processes import pid_in, process_alive
from tests.support.repositories import commit_all, git
from tests.support.sidecars import fresh, serving, small_repository, until, written
from tests.support.spawned import Spawn

from cco_sidecar.testing.agents import SpawnedAgent, scripted_command
from cco_sidecar.testing.process import SidecarProcess, run_cco

SPAWN = ("agent", "spawn", "--type", "python-specialist", "--issue", "issue-1")
# Runs until it is stopped.
ENDLESS = ("sh", "-c", "while :; do sleep 0.1; done")


@pytest.fixture
def issue() -> str:
    return fresh("issue")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    """One agent at a time; the scripted agent is the runner of every type but one."""
    directory = tmp_path_factory.mktemp("small")
    runners = {
        "default": {"command": scripted_command()},
        "security-auditor": {"command": ["/nowhere/such-a-program"]},
    }
    config = written(directory / "config.json", agents={"max_concurrent": 1, "runners": runners})
    with serving(directory, small_repository(directory / "repository"), config=config) as running:
        yield running


def shown(sidecar: SidecarProcess, agent_id: str) -> dict[str, Any]:
    """The agent as `cco agent show` prints it."""
    found: dict[str, Any] = json.loads(printed(run_cco(sidecar, "agent", "show", agent_id, "--format", "json")))
    return found


def logs(sidecar: SidecarProcess, agent: str | SpawnedAgent, *options: str) -> list[str]:
    agent_id = agent if isinstance(agent, str) else agent.id
    return printed(run_cco(sidecar, "agent", "logs", agent_id, *options)).splitlines()


@contextmanager
def meanwhile(sidecar: SidecarProcess, *arguments: str) -> Iterator[list[Done]]:
    """Runs a `cco` command while the block runs; its result is in the list after the block."""
    done: list[Done] = []
    thread = threading.Thread(target=lambda: done.append(run_cco(sidecar, *arguments)))
    thread.start()
    yield done
    thread.join(60)
    assert done, f"{arguments} is still running"


class TestSpawn:
    def test_the_command_after_the_dashes_runs_and_its_end_is_awaited(
        self, sidecar: SidecarProcess, issue: str
    ) -> None:
        line = ("--issue", issue, "--task", "Say hello", "--wait", "--", "sh", "-c", 'echo "$AGENT_TYPE: $AGENT_TASK"')
        done = run_cco(sidecar, "agent", "spawn", "--type", "python-specialist", *line)
        found = re.fullmatch(r"(python-specialist-[0-9a-f-]{36}) is running \(pid \d+\)\n", printed(done))
        assert found is not None, done.stdout
        assert done.stderr == "completed: exited with code 0\n"
        assert logs(sidecar, found[1]) == ["python-specialist: Say hello"]
        agent = shown(sidecar, found[1])
        assert (agent["status"], agent["issue_id"], agent["task"]) == ("completed", issue, "Say hello")
        assert (agent["spawned_by"], agent["runner"], agent["project_id"]) == ("operator", "command", "default")

    def test_the_dashes_may_be_omitted_when_no_option_follows(self, sidecar: SidecarProcess) -> None:
        done = run_cco(sidecar, *SPAWN, "--wait", "uname")
        assert "is running" in printed(done) and done.stderr == "completed: exited with code 0\n"

    def test_without_a_command_the_runner_of_the_type_is_used(self, small: SidecarProcess, issue: str) -> None:
        done = run_cco(small, "agent", "spawn", "--type", "go-specialist", "--issue", issue, "--wait")
        assert printed(done).startswith("go-specialist-") and done.stderr == "completed: exited with code 0\n"
        assert "go-specialist" in printed(run_cco(small, "results", "list", "--issue", issue))

    def test_a_missing_runner_is_named(self, small: SidecarProcess) -> None:
        done = run_cco(small, "agent", "spawn", "--type", "security-auditor", "--issue", "issue-1")
        fails(done, "program '/nowhere/such-a-program' not found")
        assert "pass a command to the spawn" in done.stderr

    @pytest.mark.parametrize(
        ("script", "said"),
        [("exit 7", "failed: exited with code 7\n"), ("kill -SEGV $$", "failed: killed by SIGSEGV\n")],
    )
    def test_waiting_for_a_failing_agent_exits_with_1(self, sidecar: SidecarProcess, script: str, said: str) -> None:
        done = run_cco(sidecar, *SPAWN, "--wait", "--", "sh", "-c", script)
        assert (done.returncode, done.stderr) == (1, said)
        assert done.stdout.startswith("python-specialist-")

    def test_waiting_for_a_stopped_agent_exits_with_1(
        self, sidecar: SidecarProcess, issue: str, tmp_path: Path
    ) -> None:
        script = f"echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
        line = ("agent", "spawn", "--type", "python-specialist", "--issue", issue, "--wait", "--", "sh", "-c", script)
        with meanwhile(sidecar, *line) as done:
            pid_in(tmp_path / "pid")
            (agent,) = json.loads(printed(run_cco(sidecar, "agent", "list", "--issue", issue, "--format", "json")))
            printed(run_cco(sidecar, "agent", "kill", agent["agent_id"], "--force"))
        assert (done[0].returncode, done[0].stderr) == (1, "stopped: stopped by the operator\n")

    def test_a_queued_agent_is_awaited_too(self, small: SidecarProcess, issue: str, tmp_path: Path) -> None:
        go = tmp_path / "go"
        first = started(small, "sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done")
        line = ("agent", "spawn", "--type", "python-specialist", "--issue", f"{issue}-next", "--wait", "--", "uname")
        with meanwhile(small, *line) as done:
            queued = ("agent", "list", "--issue", f"{issue}-next")
            (_, row) = until(
                lambda: (lines := run_cco(small, *queued).stdout.splitlines())[1:] and lines, "the one in the queue"
            )
            head = printed(run_cco(small, "agent", "list")).splitlines()[0]
            urgent = run_cco(small, *SPAWN, "--priority", "high", "--", "uname")
            go.touch()
        assert head == "1 of 1 running, 1 queued" and "  pending (position 1)  " in row
        assert printed(urgent).endswith(" is queued at position 1: waiting for a free slot\n")
        assert (
            printed(done[0]).endswith(" is queued at position 1: waiting for a free slot\n")
            and done[0].stderr == "completed: exited with code 0\n"
        )
        assert first.wait()["status"] == "completed"
        assert SpawnedAgent(small, {"agent_id": urgent.stdout.split()[0], "jwt_token": None}).wait()["exit_code"] == 0

    def test_variables_reach_the_agent(self, sidecar: SidecarProcess, issue: str) -> None:
        given = ("--env", "GREETING=hello you", "--env", "SUM=1+1=2", "--env", "EMPTY=", "--env", "TWICE=1")
        shows = 'echo "$GREETING|$SUM|${EMPTY-unset}|$TWICE"'
        agent = spawn(sidecar, "--issue", issue, *given, "--env", "TWICE=2", "--wait", "--", "sh", "-c", shows)
        assert logs(sidecar, agent) == ["hello you|1+1=2||2"]

    def test_json_output_can_be_parsed(self, sidecar: SidecarProcess) -> None:
        done = run_cco(sidecar, *SPAWN, "--format", "json", "--wait", "--", "uname")
        answer = json.loads(printed(done))
        assert (answer["status"], answer["exit_code"], answer["last_output"]) == ("completed", 0, ["Linux"])
        assert shown(sidecar, answer["agent_id"])["ended_at"] == answer["ended_at"]

    def test_model_project_timeout_and_requirements_are_accepted(self, sidecar: SidecarProcess, issue: str) -> None:
        options = ("--project", "project-abc", "--model", "small", "--timeout", "60", "--priority", "low")
        reads = "import json, os; print(len(json.load(open(os.environ['CONTEXT_FILE']))['context']['relevant_files']))"
        line = (*options, "--require", "docs/cli.md", "--wait", "--", sys.executable, "-c", reads)
        agent = shown(sidecar, spawn(sidecar, "--issue", issue, *line))
        assert (agent["project_id"], agent["model"], agent["priority"]) == ("project-abc", "small", "low")
        assert int(agent["last_output"][0]) > 0


class TestFilesOfTheCaller:
    """Paths in the command are relative to the caller's directory, although the agent works elsewhere."""

    def test_a_script_in_the_callers_directory(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        (tmp_path / "agent.py").write_text("import os, sys; print(os.getcwd(), *sys.argv[1:], sep='|')")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "input.txt").write_text("x")
        words = (Path(sys.executable).name, "agent.py", "data/input.txt", "data", "not/a/file", "--flag")
        path = ("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        agent = spawn(sidecar, "--issue", "issue-1", "--wait", "--", *words, cwd=tmp_path, environment=[path])
        (line,) = logs(sidecar, agent)
        assert line.split("|") == [
            *(str(sidecar.root), str(tmp_path / "data" / "input.txt")),
            *("data", "not/a/file", "--flag"),
        ]

    def test_a_program_in_the_callers_directory_and_one_on_its_path(
        self, sidecar: SidecarProcess, tmp_path: Path
    ) -> None:
        for place, name in ((tmp_path, "here.sh"), (tmp_path / "bin", "only-mine")):
            place.mkdir(exist_ok=True)
            (place / name).write_text(f"#!/bin/sh\necho {name} $@\n")
            (place / name).chmod(0o755)
        path = ("PATH", f"bin:{os.environ['PATH']}")
        for program, said in (("./here.sh", "here.sh a b"), ("only-mine", "only-mine a b")):
            line = ("--issue", "issue-1", "--wait", "--", program, "a", "b")
            agent = spawn(sidecar, *line, cwd=tmp_path, environment=[path])
            assert logs(sidecar, agent) == [said]

    def test_arguments_stay_unchanged_in_the_project_directory(self, small: SidecarProcess) -> None:
        (small.root / "typed.txt").write_text("x")
        agent = spawn(small, "--issue", "issue-1", "--wait", "--", "echo", "typed.txt", ".", cwd=small.root)
        assert logs(small, agent) == ["typed.txt ."]
        (small.root / "typed.txt").unlink()

    @pytest.mark.parametrize("where", [".", "pkg"])
    def test_a_path_in_a_worktree_is_the_worktrees_own_file(self, small: SidecarProcess, where: str) -> None:
        """Otherwise the agent would change the very file that the worktree isolates it from."""
        tracked = small.root / where / "tracked.txt"
        tracked.parent.mkdir(exist_ok=True)
        tracked.write_text("one\n")
        commit_all(small.root, "A file")
        (small.root / where / "loose.txt").write_text("not in git\n")
        script = 'echo two > "$1"; cat "$2"'
        words = ("--worktree", "--wait", "--", "sh", "-c", script, "sh", "tracked.txt", "loose.txt")
        agent = spawn(small, "--issue", "issue-1", *words, cwd=tracked.parent)
        assert logs(small, agent) == ["not in git"]
        assert tracked.read_text() == "one\n"
        assert (Path(shown(small, agent)["worktree"]) / where / "tracked.txt").read_text() == "two\n"
        printed(run_cco(small, "agent", "discard", agent, "--yes"))

    def test_an_argument_longer_than_a_file_name_is_not_a_path(self, sidecar: SidecarProcess) -> None:
        for length in (300, 5000):
            text = "x" * length
            agent = spawn(sidecar, "--issue", "issue-1", "--wait", "--", "sh", "-c", f"echo {text}")
            assert logs(sidecar, agent) == [text]

    def test_a_missing_or_unusable_program_is_named(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        (tmp_path / "forgotten.sh").write_text("#!/bin/sh\n")
        for program in ("./forgotten.sh", "./nowhere.sh", "no-such-program"):
            fails(run_cco(sidecar, *SPAWN, "--", program, cwd=tmp_path), program.removeprefix("./"))


@pytest.fixture(scope="module")
def made(sidecar: SidecarProcess) -> dict[str, str]:
    """Agent ids by name, oldest first: two issues, two types, three statuses."""
    completed = started(sidecar, "uname", issue="listed-1")
    completed.wait()
    why = "echo 'why, \"so\"' >&2; exit 3"
    failed = started(sidecar, "sh", "-c", why, issue="listed-1", agent_type="test-engineer", task="Fail")
    failed.wait()
    return {"completed": completed.id, "failed": failed.id, "running": started(sidecar, *ENDLESS, issue="listed-2").id}


class TestList:
    def test_agents_are_listed_in_every_format(
        self, sidecar: SidecarProcess, made: dict[str, str], tmp_path: Path
    ) -> None:
        line = ("agent", "list", "--issue", "listed-1")
        as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
        assert [agent["agent_id"] for agent in as_json] == [made["failed"], made["completed"]]
        assert as_json[0]["last_output"] == ['why, "so"'] and as_json[0]["exit_code"] == 3
        assert yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml"))) == as_json
        table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, *line, "--format", "csv")))))
        assert list(table[0]) == [
            *("agent_id", "status", "issue_id", "task", "attempt", "pid", "since", "reason", "runner_id")
        ]
        assert [(row["agent_id"], row["status"], row["attempt"], row["reason"]) for row in table] == [
            (made["failed"], "failed", "1", "exited with code 3"),
            (made["completed"], "completed", "1", "exited with code 0"),
        ]
        drawn = printed(run_cco(sidecar, *line, "--format", "table")).splitlines()
        assert drawn[0].split() == list(table[0]) and drawn[1].endswith("  exited with code 3")
        head, *rows = printed(run_cco(sidecar, *line)).splitlines()
        completed = "(exited with code 0)"
        assert re.fullmatch(r"\d+ of 119 running, 0 queued", head)
        assert rows == [
            f"  {made['failed']}  failed  listed-1  Fail  (exited with code 3)",
            f"  {made['completed']}  completed  listed-1  {completed}",
        ]
        target = tmp_path / "agents.json"
        assert run_cco(sidecar, *line, "--output", str(target)).stderr == f"wrote {target}\n"
        assert json.loads(target.read_text()) == as_json

    @pytest.mark.parametrize(
        ("options", "names"),
        [
            (["--issue", "listed-1", "--status", "completed"], ["completed"]),
            (["--issue", "listed-2", "--status", "running"], ["running"]),
            (["--issue", "listed-1", "--type", "test-engineer"], ["failed"]),
            (["--issue", "listed-1", "--limit", "1"], ["failed"]),
            (["--issue", "listed-2", "--status", "stuck"], []),
            (["--issue", "listed-1", "--project", "project-else"], []),
        ],
    )
    def test_every_filter_narrows_the_list(
        self, sidecar: SidecarProcess, made: dict[str, str], options: list[str], names: list[str]
    ) -> None:
        found = json.loads(printed(run_cco(sidecar, "agent", "list", *options, "--format", "json")))
        assert [agent["agent_id"] for agent in found] == [made[name] for name in names]

    def test_what_an_agent_says_is_not_markup(self, sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
        issue, text = fresh("issue"), "see [/docs] and [bold]that[/bold]"
        asks = {"do": "heartbeat", "message": text, "needs_input": True}
        scripted_agent([asks, {"do": "sleep", "seconds": 60}], issue=issue).wait("needs_input")
        line = ("agent", "list", "--issue", issue)
        assert text in printed(run_cco(sidecar, *line))
        assert text in printed(run_cco(sidecar, *line, "--format", "table"))


def test_one_agent_is_shown_in_every_format(sidecar: SidecarProcess, made: dict[str, str]) -> None:
    text = printed(run_cco(sidecar, "agent", "show", made["failed"]))
    assert text.startswith(f"{made['failed']}: failed, exited with code 3\n")
    for line in ("  task: Fail", "  exit_code: 3", "  issue_id: listed-1", "  agent_type: test-engineer"):
        assert line in text.splitlines()
    assert text.endswith('  | why, "so"\n')
    as_json = shown(sidecar, made["failed"])
    assert (as_json["status"], as_json["exit_code"], as_json["last_output"]) == ("failed", 3, ['why, "so"'])
    assert yaml.safe_load(printed(run_cco(sidecar, "agent", "show", made["failed"], "--format", "yaml"))) == as_json


def test_an_id_prefix_is_enough(sidecar: SidecarProcess, made: dict[str, str]) -> None:
    """The same prefix that `cco top` shows."""
    whole = made["failed"]
    short = whole[: len("test-engineer-") + 8]
    assert printed(run_cco(sidecar, "agent", "show", short)).startswith(f"{whole}: failed")
    assert printed(run_cco(sidecar, "agent", "logs", short)) == printed(run_cco(sidecar, "agent", "logs", whole))
    fails(run_cco(sidecar, "agent", "kill", "tes"), "agent id prefix 'tes' is too short")
    fails(run_cco(sidecar, "agent", "kill", "python-specialist"), "'python-specialist' is ambiguous")
    fails(run_cco(sidecar, "agent", "show", f"{short}-0000"), f"agent '{short}-0000' not found")


def test_nothing_starts_when_the_answer_cannot_be_written(sidecar: SidecarProcess, issue: str) -> None:
    line = ("agent", "spawn", "--type", "python-specialist", "--issue", issue, "--output", "/nowhere/x", "--", "true")
    fails(run_cco(sidecar, *line), "cannot write /nowhere/x")
    assert json.loads(printed(run_cco(sidecar, "agent", "list", "--issue", issue, "--format", "json"))) == []


class TestLogs:
    def test_the_last_lines_with_their_times(self, sidecar: SidecarProcess) -> None:
        agent = started(sidecar, "sh", "-c", "seq 1 50")
        agent.wait()
        assert logs(sidecar, agent) == [str(number) for number in range(1, 51)]
        assert logs(sidecar, agent, "--tail", "0") == []
        stamped = logs(sidecar, agent, "--tail", "2", "--timestamps")
        assert [line.partition(" ")[2] for line in stamped] == ["49", "50"]
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", line) for line in stamped)

    def test_errors_of_the_agent_are_on_stderr(self, sidecar: SidecarProcess) -> None:
        agent = started(sidecar, "sh", "-c", "echo out; echo err >&2; printf 'no line end'")
        agent.wait()
        done = run_cco(sidecar, "agent", "logs", agent.id)
        assert (printed(done), done.stderr) == ("out\nno line end\n", "err\n")

    def test_each_attempt_has_its_own_log(self, sidecar: SidecarProcess) -> None:
        agent = started(sidecar, "sh", "-c", 'echo "attempt $AGENT_ATTEMPT"')
        agent.wait()
        assert printed(run_cco(sidecar, "agent", "resume", agent.id)) == f"{agent.id} is running, attempt 2\n"
        assert agent.wait()["attempt"] == 2
        assert logs(sidecar, agent) == ["attempt 2"]
        assert logs(sidecar, agent, "--attempt", "1", "--follow") == ["attempt 1"]

    def test_a_missing_attempt_is_reported(self, sidecar: SidecarProcess, made: dict[str, str]) -> None:
        fails(run_cco(sidecar, "agent", "logs", made["completed"], "--attempt", "7"), "7")

    def test_following_shows_new_lines_and_ends_with_the_agent(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        go = tmp_path / "go"
        agent = started(sidecar, "sh", "-c", f"echo before; until [ -e {go} ]; do sleep 0.05; done; echo after")
        line = [*CCO, "agent", "logs", agent.id, "--follow"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment_of(sidecar)) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "before\n"
            go.touch()
            assert following.stdout.read() == "after\n"
            assert following.wait(20) == 0
        assert logs(sidecar, agent, "--follow", "--tail", "1") == ["after"]

    def test_a_reader_that_closes_the_pipe_is_not_an_error(self, sidecar: SidecarProcess) -> None:
        agent = started(sidecar, "sh", "-c", "seq 1 20000")
        agent.wait()
        line = f"{' '.join(CCO)} agent logs {agent.id} | head -n 1"
        done = subprocess.run(
            ["sh", "-c", line], env=environment_of(sidecar), capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.stderr) == ("1\n", "")


class TestKill:
    def test_it_ends_the_whole_process_tree_and_may_be_repeated(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        script = f"setsid sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait"
        agent = started(sidecar, "sh", "-c", script)
        child, pid = pid_in(tmp_path / "child"), pid_in(tmp_path / "pid")
        done = run_cco(sidecar, "agent", "kill", agent.id, "--timeout", "1")
        assert printed(done) == f"stopped {agent.id}\n"
        assert not process_alive(pid) and not process_alive(child)
        again = printed(run_cco(sidecar, "agent", "kill", agent.id))
        assert again == f"{agent.id} had already ended: stopped by the operator\n"

    @pytest.mark.parametrize("how", [["--force"], ["--timeout", "0.2"]])
    def test_an_agent_that_ignores_the_signal_is_killed(
        self, sidecar: SidecarProcess, scripted_agent: Spawn, how: list[str], tmp_path: Path
    ) -> None:
        deaf = [{"do": "ignore", "signal": "SIGTERM"}, {"do": "write", "path": str(tmp_path / "deaf"), "text": "x"}]
        agent = scripted_agent([*deaf, {"do": "sleep", "seconds": 600}])
        until((tmp_path / "deaf").exists, "the agent to ignore SIGTERM")
        assert printed(run_cco(sidecar, "agent", "kill", agent.id, *how)) == f"stopped {agent.id}\n"
        assert (agent.get()["status"], agent.get()["signal"]) == ("stopped", signal.SIGKILL.name)

    def test_an_agent_that_already_ended_is_reported_as_it_ended(
        self, sidecar: SidecarProcess, made: dict[str, str]
    ) -> None:
        said = printed(run_cco(sidecar, "agent", "kill", made["completed"]))
        assert said == f"{made['completed']} had already ended: exited with code 0\n"
        assert shown(sidecar, made["completed"])["status"] == "completed"


class TestResume:
    def test_it_starts_again_and_receives_the_message(self, sidecar: SidecarProcess) -> None:
        agent = started(sidecar, "sh", "-c", 'echo "$AGENT_ATTEMPT: $AGENT_TASK"', task="First")
        agent.wait()
        said = printed(run_cco(sidecar, "agent", "resume", agent.id, "--message", "And the tests"))
        assert said == f"{agent.id} is running, attempt 2\n"
        assert agent.wait()["status"] == "completed"
        assert agent.logs() == ["2: And the tests"]

    def test_a_running_agent_is_not_started_twice(self, sidecar: SidecarProcess, made: dict[str, str]) -> None:
        fails(run_cco(sidecar, "agent", "resume", made["running"]), "has not ended; stop it first [AGT_005]")


class TestDiscard:
    @pytest.fixture
    def branch(self, small: SidecarProcess) -> Iterator[tuple[str, str]]:
        """An agent that left a commit on its branch, and that branch."""
        commits = (
            "echo x > new.txt; git add new.txt; "
            "git -c user.name=T -c user.email=t@example.com -c commit.gpgsign=false commit -qm new"
        )
        agent = spawn(small, "--issue", "issue-1", "--worktree", "--wait", "--", "sh", "-c", commits)
        found = shown(small, agent)
        assert Path(found["worktree"]).is_dir() and found["branch"] == f"agent/{agent}"
        yield agent, found["branch"]
        assert not Path(found["worktree"]).exists()
        assert git(small.root, "branch", "--list", found["branch"]) == ""

    def test_it_asks_and_then_removes_unmerged_work(self, small: SidecarProcess, branch: tuple[str, str]) -> None:
        agent, name = branch
        refused = run_cco(small, "agent", "discard", agent, input="n\n")
        assert refused.returncode == 130 and refused.stdout == "" and name in refused.stderr
        assert Path(shown(small, agent)["worktree"]).is_dir()
        done = run_cco(small, "agent", "discard", agent, input="y\n")
        assert printed(done) == f"removed branch {name} and its worktree\n"
        fails(run_cco(small, "agent", "discard", agent, "--yes"), "[AGT_006]")

    def test_without_a_terminal_it_names_the_option_that_skips_the_question(
        self, small: SidecarProcess, branch: tuple[str, str]
    ) -> None:
        agent, name = branch
        done = run_cco(small, "agent", "discard", agent, stdin=subprocess.DEVNULL)
        assert name in printed(run_cco(small, "agent", "discard", agent, "--yes"))
        assert done.returncode == 1 and "--yes" in done.stderr, (done.returncode, done.stderr)

    def test_an_agent_without_a_worktree_is_reported_before_the_question(
        self, sidecar: SidecarProcess, made: dict[str, str]
    ) -> None:
        fails(run_cco(sidecar, "agent", "discard", made["completed"], stdin=subprocess.DEVNULL), "[AGT_006]")

    def test_a_running_agent_keeps_its_worktree(self, small: SidecarProcess) -> None:
        agent = started(small, *ENDLESS, isolation="worktree")
        fails(run_cco(small, "agent", "discard", agent.id, "--yes"), "has not ended; stop it first [AGT_005]")
        assert Path(agent.get()["worktree"]).is_dir()
        agent.stop(force=True)


class TestTypes:
    def test_types_are_listed_in_every_format(self, sidecar: SidecarProcess) -> None:
        as_json = json.loads(printed(run_cco(sidecar, "agent", "types", "--format", "json")))
        assert len(as_json) == 119 and {"python-specialist", "chief-architect"} <= {each["type"] for each in as_json}
        assert yaml.safe_load(printed(run_cco(sidecar, "agent", "types", "--format", "yaml"))) == as_json
        table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, "agent", "types", "--format", "csv")))))
        assert [row["type"] for row in table] == [each["type"] for each in as_json]
        assert "read_context" in table[0]["permissions"].split()
        drawn = printed(run_cco(sidecar, "agent", "types", "--format", "table")).splitlines()
        assert len(drawn) == 120 and drawn[0].split() == list(table[0])
        lines = printed(run_cco(sidecar, "agent", "types", "--group", "quality")).splitlines()
        assert lines and all("  [quality]  " in line for line in lines)

    def test_an_unknown_group_is_reported(self, sidecar: SidecarProcess) -> None:
        fails(run_cco(sidecar, "agent", "types", "--group", "qualty"), "group 'qualty' not found; expected one of ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["spawn", "--type", "python-specialst", "--issue", "i", "--", "uname"], "unknown agent type 'python-specialst'"),
        (["spawn", "--type", "python-specialist", "--issue", "an issue", "--", "uname"], "[REQ_001]"),
        ([*SPAWN[1:], "--env", "AGENT_ID=me", "--", "uname"], "environment.AGENT_ID is set by the sidecar"),
        ([*SPAWN[1:], "--env", "CCO_SIDECAR_PORT=1", "--", "uname"], "environment.CCO_SIDECAR_PORT"),
        ([*SPAWN[1:], "--credential", "NO_SUCH", "--", "uname"], "credential 'NO_SUCH' not found"),
        ([*SPAWN[1:], "--require", "nonsense", "--", "uname"], "'nonsense'"),
        ([*SPAWN[1:], "--", ""], "a program is required"),
        (["show", "python-specialist-none"], "agent 'python-specialist-none' not found; list agents with 'cco agent list'"),
        (["kill", "python-specialist-none"], "agent 'python-specialist-none' not found"),
        (["logs", "python-specialist-none", "--follow"], "agent 'python-specialist-none' not found"),
        (["resume", "python-specialist-none"], "agent 'python-specialist-none' not found"),
        (["discard", "python-specialist-none"], "agent 'python-specialist-none' not found"),
    ],
)  # fmt: skip
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, "agent", *line), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "COMMAND"),
        (["spwn"], "spawn"),
        (["spawn", "--issue", "issue-1"], "--type"),
        (["spawn", "--type", "python-specialist"], "--issue"),
        ([*SPAWN[1:], "--env", "GREETING", "--", "uname"], "invalid --env 'GREETING': expected NAME=VALUE"),
        ([*SPAWN[1:], "--env", "=hello", "--", "uname"], "--env"),
        ([*SPAWN[1:], "--env", "TWO WORDS=hello", "--", "uname"], "--env"),
        ([*SPAWN[1:], "--priority", "urgent", "--", "uname"], "urgent"),
        ([*SPAWN[1:], "--timeout", "an hour", "--", "uname"], "--timeout"),
        ([*SPAWN[1:], "sh", "-c", "exit 0"], "-c"),
        (["list", "--status", "runing"], "runing"),
        (["list", "--limit", "0"], "--limit"),
        (["show"], "AGENT_ID"),
        (["kill", "one", "--timeout", "soon"], "--timeout"),
        (["logs", "one", "--tail", "-1"], "--tail"),
        (["types", "quality"], "quality"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    done = in_process("agent", *line)
    if not line:
        assert done.returncode == 2 and done.stdout == "" and says in done.stderr
    else:
        misused(done, says)


def test_spawn_prints_what_the_agent_prints(sidecar: SidecarProcess, issue: str) -> None:
    line = ("agent", "spawn", "--type", "python-specialist", "--issue", issue, "--logs")
    script = "echo first; echo aside >&2; sleep 0.1; echo last; exit 4"
    done = run_cco(sidecar, *line, "--", "sh", "-c", script)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == ["first", "last"]
    assert "aside" in done.stderr and "failed: exited with code 4" in done.stderr
    misused(run_cco(sidecar, *line, "--format", "json", "--", "uname"), "--logs")


def test_a_refused_spawn_starts_nothing(sidecar: SidecarProcess, issue: str, tmp_path: Path) -> None:
    line = ("agent", "spawn", "--type", "python-specialist", "--issue", issue)
    touch = ("--", "touch", str(tmp_path / "ran"))
    misused(run_cco(sidecar, *line, "--env", "GREETING", *touch), "--env")
    fails(run_cco(sidecar, *line, "--env", "AGENT_ID=me", *touch), "AGENT_ID")
    assert printed(run_cco(sidecar, "agent", "list", "--issue", issue)).count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_an_agent_may_not_do_what_only_the_operator_may(sidecar: SidecarProcess) -> None:
    writer = sidecar.agent("technical-writer", issue="issue-1", project="default")
    own = [("JWT_TOKEN", writer.token)]
    fails(run_cco(sidecar, *SPAWN, "--", "uname", environment=own), "spawn_agents")
    architect = sidecar.agent("chief-architect", issue="issue-1", project="default")
    fails(run_cco(sidecar, *SPAWN, "--", "uname", environment=[("JWT_TOKEN", architect.token)]), "operator")


def test_diff_prints_what_it_changed(small: SidecarProcess) -> None:
    act = "echo '# Changed' > README.md; echo new > new.txt; while :; do sleep 0.1; done"
    agent = started(small, "sh", "-c", act, isolation="worktree")
    until(lambda: "+# Changed" in run_cco(small, "agent", "diff", agent.id).stdout, "the change")
    done = run_cco(small, "agent", "diff", agent.id[:26])
    assert done.returncode == 0 and "-# Small\n+# Changed\n" in done.stdout
    assert done.stderr == "untracked file, not in the diff: new.txt\n"
    agent.stop(force=True)
    plain = started(small, "true")
    plain.wait()
    assert run_cco(small, "agent", "diff", plain.id).stderr == "no changes, or no worktree\n"
