"""Agents at a runner: they are started, watched and stopped there as they are on the sidecar's own machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.repositories import commit_all, git
from tests.support.runners import RunnerProcess, agent, ended, listed, output, spawn, token_for
from tests.support.sidecars import call, fresh, refused, small_repository, until

from cco_sidecar.testing.process import SidecarProcess, run_cco

# What an agent does with the documented variables.
_REPORTS = """
import json, os, urllib.request
def call(method, path, body=None):
    request = urllib.request.Request(os.environ["SIDECAR_URL"] + path, method=method,
        data=json.dumps(body).encode() if body else None,
        headers={"Authorization": "Bearer " + open(os.environ["JWT_TOKEN_FILE"]).read().strip(),
                 "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
print("attempt", os.environ["AGENT_ATTEMPT"], "secret", os.environ.get("A_KEY", ""))
print(call("GET", "/agents/" + os.environ["AGENT_ID"])["status"])
print(json.load(open(os.environ["CONTEXT_FILE"]))["issue_id"])
call("POST", "/results", {"agent_type": os.environ["AGENT_TYPE"], "issue_id": os.environ["ISSUE_ID"],
    "result": {"status": "success", "decisions": ["from afar"]}})
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    sidecar = SidecarProcess(tmp_path_factory.mktemp("sidecar") / "storage", root)
    yield sidecar
    assert sidecar.stop() == ""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The runner's repository, which is behind that of the sidecar."""
    path = tmp_path_factory.mktemp("clone") / "repository"
    git(path.parent, "clone", "--quiet", str(root), str(path))
    (root / "later.txt").write_text("since the clone\n")
    commit_all(root, "later")
    return path


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, own: SidecarProcess, clone: Path) -> Iterator[RunnerProcess]:
    options = ("--tag", "gpu", "--project", str(clone), "--capacity", "2")
    made = RunnerProcess.of(tmp_path_factory.mktemp("runner"), own, "far", *options)
    yield made
    assert made.end() == ""


def test_an_agent_has_its_token_its_context_and_the_api(own: SidecarProcess, runner: RunnerProcess) -> None:
    call(own, "PUT", "/api/credentials/A_KEY", json={"value": "hush-hush-hush"})
    agent_id = spawn(own, [sys.executable, "-c", _REPORTS], "gpu", credentials=["A_KEY"])
    found = ended(own, agent_id)
    assert (found["status"], found["runner_id"]) == ("completed", "far"), found
    assert output(own, agent_id) == "attempt 1 secret [secret]\nrunning\nissue-123\n"
    assert found["result_id"] and found["cpu_seconds"] > 0
    assert call(own, "GET", f"/api/results/{found['result_id']}")["result"]["decisions"] == ["from afar"]


def test_it_does_not_have_the_runners_own_token(own: SidecarProcess, runner: RunnerProcess) -> None:
    agent_id = spawn(own, ["sh", "-c", 'env | grep -c CCO_; test -z "$CCO_RUNNER_TOKEN" && echo none'], "gpu")
    ended(own, agent_id)
    assert output(own, agent_id) == "0\nnone\n"


def test_nothing_of_it_stays_at_the_runner(own: SidecarProcess, runner: RunnerProcess) -> None:
    agent_id = spawn(own, ["true"], "gpu")
    ended(own, agent_id)
    directory = runner.storage / "agents" / agent_id
    until(lambda: not directory.exists(), "the end of its directory")


def test_all_of_its_output_arrives_in_order(own: SidecarProcess, runner: RunnerProcess) -> None:
    script = "for i in range(150_000): print(i, 'x' * 30)"
    agent_id = spawn(own, [sys.executable, "-c", script], "gpu")
    ended(own, agent_id)
    assert output(own, agent_id) == "".join(f"{i} {'x' * 30}\n" for i in range(150_000))


def test_its_log_is_followed_while_it_runs(own: SidecarProcess, runner: RunnerProcess, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    agent_id = spawn(own, ["sh", "-c", f"echo one; until test -e {go_on}; do sleep 0.05; done; echo two"], "gpu")
    answer = own.request("GET", f"/api/agents/{agent_id}/logs?follow=true", own.operator, stream=True)
    texts = []
    for part in answer.iter_lines():
        texts += [line["text"] for line in json.loads(part)["lines"]]
        if texts == ["one"]:
            go_on.touch()
    assert texts == ["one", "two"]


def test_a_stop_ends_it_and_all_that_it_started(own: SidecarProcess, runner: RunnerProcess) -> None:
    agent_id = spawn(own, ["sh", "-c", "sleep 987 & sleep 987"], "gpu")
    pid = agent(own, agent_id)["process_id"]
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    stopped = call(own, "DELETE", f"/api/agents/{agent_id}")
    assert stopped["status"] == "stopped"
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_a_program_that_is_not_there_is_a_clear_error(own: SidecarProcess, runner: RunnerProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["no-such-program"], "runner_tags": ["gpu"]}
    said = refused(own, 500, "AGT_001", "POST", "/api/agents/spawn", own.operator, json=body)["message"]
    assert said.startswith("runner far: ") and "no-such-program" in said


def test_more_agents_than_it_takes_wait(own: SidecarProcess, runner: RunnerProcess) -> None:
    first, second, third = (spawn(own, ["sleep", "600"], "far") for _ in range(3))
    assert [agent(own, each)["status"] for each in (first, second, third)] == ["running", "running", "pending"]
    call(own, "DELETE", f"/api/agents/{first}?force=true")
    until(lambda: agent(own, third)["status"] == "running", "the third agent")
    for each in (second, third):
        call(own, "DELETE", f"/api/agents/{each}?force=true")


def test_an_agent_without_a_suitable_runner_waits_until_it_is_stopped(
    own: SidecarProcess, runner: RunnerProcess
) -> None:
    agent_id = spawn(own, ["true"], "gpu", "no-such-tag")
    assert agent(own, agent_id)["status"] == "pending"
    call(own, "DELETE", f"/api/agents/{agent_id}")
    assert agent(own, agent_id)["status"] == "stopped"


class TestWorktree:
    _WORK = (
        # Two agents that commit the same in the same second would have the same commit.
        "cat later.txt && echo work > work.txt && git add . && git commit --quiet --message $AGENT_ID && "
        "echo more > new.txt"
    )

    def _worked(self, own: SidecarProcess) -> str:
        script = (
            f"export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; {self._WORK}"
        )
        agent_id = spawn(own, ["sh", "-c", script], "gpu", isolation="worktree")
        found = ended(own, agent_id)
        assert found["status"] == "completed", (found["reason"], found["last_output"])
        return agent_id

    def test_it_starts_from_what_the_sidecar_has_and_its_commits_come_back(
        self, own: SidecarProcess, runner: RunnerProcess
    ) -> None:
        agent_id = self._worked(own)
        assert output(own, agent_id) == "since the clone\n"
        branch = f"agent/{agent_id}"
        assert git(own.root, "show", f"{branch}:work.txt") == "work\n"
        assert git(own.root, "merge-base", "HEAD", branch) == git(own.root, "rev-parse", "HEAD")

    def test_a_file_that_is_not_named_in_utf_8_is_shown(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        agent_id = spawn(own, ["sh", "-c", "touch \"$(printf 'caf\\351.txt')\""], "gpu", isolation="worktree")
        assert ended(own, agent_id)["status"] == "completed"
        assert call(own, "GET", f"/api/agents/{agent_id}/diff")["untracked_files"] == ["caf\ufffd.txt"]

    def test_many_files_do_not_cut_the_runner_off(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        name = "n" * 200
        make = f"mkdir {name}; for i in $(seq 20000); do : > {name}/{name}$i; done"
        agent_id = spawn(own, ["sh", "-c", make], "gpu", isolation="worktree")
        assert ended(own, agent_id)["status"] == "completed"
        assert 0 < len(call(own, "GET", f"/api/agents/{agent_id}/diff")["untracked_files"]) <= 1000
        assert listed(own)["far"]["connected"]

    def test_its_diff_is_what_it_did(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        agent_id = self._worked(own)
        diff = call(own, "GET", f"/api/agents/{agent_id}/diff")
        assert "work.txt" in diff["diff"] and "later.txt" not in diff["diff"]
        assert diff["untracked_files"] == ["new.txt"]

    def test_another_agent_goes_on_from_its_branch_on_the_sidecars_machine(
        self, own: SidecarProcess, runner: RunnerProcess
    ) -> None:
        self._worked(own)
        agent_id = spawn(own, ["cat", "work.txt"], base="issue")
        ended(own, agent_id)
        assert output(own, agent_id) == "work\n"

    def test_work_that_is_not_here_is_not_left_out(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        former = self._worked(own)
        git(own.root, "branch", "-D", f"agent/{former}")
        body = {"agent_type": "python-specialist", "issue_id": "issue-123", "command": ["true"], "base": "issue"}
        said = refused(own, 500, "AGT_001", "POST", "/api/agents/spawn", own.operator, json=body)["message"]
        assert f"the work of {former} on issue issue-123 is at far, and not here" in said
        call(own, "DELETE", f"/api/agents/{former}/worktree")

    def test_it_is_resumed_where_its_worktree_is(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        agent_id = self._worked(own)
        call(own, "POST", f"/api/agents/{agent_id}/resume", json={})
        found = ended(own, agent_id)
        assert found["attempt"] == 2 and found["runner_id"] == "far"
        # What the first attempt did not commit.
        assert git(own.root, "show", f"agent/{agent_id}:new.txt") == "more\n"

    def test_it_can_be_discarded(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        agent_id = self._worked(own)
        assert (runner.storage / "worktrees" / agent_id).is_dir()
        call(own, "DELETE", f"/api/agents/{agent_id}/worktree")
        assert not (runner.storage / "worktrees" / agent_id).exists()
        assert git(own.root, "branch", "--list", f"agent/{agent_id}") == ""
        assert agent(own, agent_id)["worktree"] == ""

    @pytest.mark.long
    def test_it_goes_when_the_sidecar_has_merged_it(
        self, own: SidecarProcess, runner: RunnerProcess, clone: Path
    ) -> None:
        script = "git commit --quiet --allow-empty --message empty"
        who = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
        agent_id = spawn(own, ["sh", "-c", f"{who} {script}"], "gpu", isolation="worktree")
        assert ended(own, agent_id)["worktree"]
        git(own.root, "merge", "--quiet", "--ff-only", f"agent/{agent_id}")
        until(lambda: agent(own, agent_id)["worktree"] == "", "the end of the worktree", 130)
        assert not (runner.storage / "worktrees" / agent_id).exists()
        assert git(clone, "branch", "--list", f"agent/{agent_id}") == ""


def test_what_is_shown_of_it(own: SidecarProcess, runner: RunnerProcess) -> None:
    shown = listed(own)["far"]
    assert shown["tags"] == ["gpu"] and shown["capacity"] == 2 and shown["connected"]
    text = run_cco(own, "runner", "list").stdout
    assert text.startswith("far on ") and "0 of 2 slots in use, tags gpu" in text


def test_what_the_sidecar_does_not_know_of_its_offer_is_told(own: SidecarProcess, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    odd = RunnerProcess.of(tmp_path / "odd", own, "odd", "--type", "pyton-specialist", "--project", str(bare))
    told = odd.end()
    assert "the sidecar has no agent type 'pyton-specialist'\n" in told
    assert f"{bare} is not a git repository; agents with a worktree cannot run here\n" in told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tag", "gpu box"], "runner.tags: 'gpu box' is not a name"),
        (["--project", "file:///nowhere/shop.git"], "--project: a URL needs an ID"),
    ],
)
def test_a_join_that_cannot_succeed_ends(own: SidecarProcess, tmp_path: Path, options: list[str], says: str) -> None:
    odd = RunnerProcess(tmp_path / "odd", own.url, own.target, *options, token=token_for(own, "odd"))
    told = odd.process.communicate(timeout=30)[1]
    assert odd.process.returncode != 0 and says in told and "retrying" not in told


def test_a_second_one_of_the_same_name_is_told(own: SidecarProcess, runner: RunnerProcess, tmp_path: Path) -> None:
    other = RunnerProcess(tmp_path / "other", own.url, own.target, token=token_for(own, "far"))
    log = other.storage / "logs" / "orchestration.log"
    until(lambda: log.exists() and "another runner is connected as 'far'" in log.read_text(), "the refusal")
    other.end()
    assert listed(own)["far"]["connected"]


class TestToken:
    def test_it_allows_nothing_but_to_run_agents(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        headers = {"Authorization": f"Bearer {token_for(own, 'far')}"}
        for path in ("/api/agents", "/api/runners", "/api/events", "/api/context/issue-123/python-specialist"):
            answer = own.request("GET", path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "AUTH_003"), path

    @pytest.mark.parametrize("path", ["report", "attend", "commits"])
    def test_no_agent_may_be_a_runner(self, own: SidecarProcess, path: str) -> None:
        body = {"sidecar_id": "", "instance": "a", "agent_id": "x"}
        one = own.agent(project=fresh("project"))
        refused(own, 403, "AUTH_003", "POST", f"/api/runners/far/{path}", one, json=body | {"sidecar_id": "any"})

    def test_it_may_be_bound_to_tags(self, own: SidecarProcess, root: Path, tmp_path: Path) -> None:
        path = "/api/runners/bound/token"
        token = call(own, "POST", path, json={"tags": ["cheap"]})["jwt_token"]
        options = ("--project", str(root), "--tag")
        wrong = RunnerProcess(tmp_path / "wrong", own.url, own.target, *options, "gpu", token=token)
        assert "does not allow the tag 'gpu'" in wrong.process.communicate(timeout=30)[1]
        assert wrong.process.returncode == 1
        right = RunnerProcess(tmp_path / "right", own.url, own.target, *options, "cheap", token=token)
        until(lambda: listed(own).get("bound", {}).get("connected"), "the runner")
        assert right.end() == ""

    def test_it_is_for_one_runner(self, own: SidecarProcess, runner: RunnerProcess) -> None:
        headers = {"Authorization": f"Bearer {token_for(own, 'far')}"}
        identity = (own.storage / "sidecar-id").read_text().strip()
        body = {"sidecar_id": identity, "instance": "a"}
        answer = own.request("POST", "/api/runners/near/report", headers=headers, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "AUTH_003")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--token is required"),
        (("--token", "abc"), "this is not the token of a runner"),
        (("--token", "AGENT"), "this is not the token of a runner"),
        (("--url", "http://192.0.2.1:3001", "--token", "RUNNER"), "without TLS"),
        (("--token", "RUNNER", "--project", "/no/such/directory"), "--project: invalid value '/no/such/directory'"),
        (("--token", "RUNNER", "--project", "a", "--project", "b"), "an ID of its own"),
        (("--token", "RUNNER", "--grpc", "localhost"), "--grpc: expected host:port"),
        (("--token", "RUNNER", "--url", "http://127.0.0.1:3001/cco"), "expected no path"),
        (("--token", "RUNNER", "--url", "http://::1:3001"), "invalid sidecar URL"),
    ],
)
def test_a_mistake_is_one_clear_line(
    own: SidecarProcess, runner: RunnerProcess, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    tokens = {"AGENT": own.agent().token, "RUNNER": token_for(own, "far")}
    words = [tokens.get(word, word) for word in ("--url", own.url, *options)]
    done = run_cco(own, "runner", "join", "--storage", str(tmp_path / "storage"), *words)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 4, done.stderr


def test_another_project_than_the_runners_is_not_started_there(tmp_path: Path, root: Path) -> None:
    one, two = small_repository(tmp_path / "one"), small_repository(tmp_path / "two")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"projects": {"one": str(one), "two": str(two)}}))
    sidecar = SidecarProcess(tmp_path / "storage", root, config=config)
    runner = RunnerProcess.of(tmp_path / "runner", sidecar, "near", "--project", f"one={one}")
    try:
        agent_id = spawn(sidecar, ["pwd"], "near", project_id="one")
        ended(sidecar, agent_id)
        assert output(sidecar, agent_id) == f"{one}\n"
        assert agent(sidecar, spawn(sidecar, ["pwd"], "near", project_id="two"))["status"] == "pending"
    finally:
        assert runner.end() == ""
        sidecar.stop()


def test_help_says_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cco_sidecar.cli.main", "runner", "join", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No port has to be open" in done.stdout
