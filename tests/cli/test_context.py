"""`cco context get|files|explain|lint|refresh|clear`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.commands import Done, fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_a_context_is_fetched_refreshed_and_cleared(sidecar: SidecarProcess) -> None:
    body = json.loads(printed(run_cco(sidecar, "context", "get", "issue-ctx", "python-specialist")))
    assert (body["issue_id"], body["agent_type"]) == ("issue-ctx", "python-specialist")
    assert isinstance(body["total_size_bytes"], int) and body["context"]["relevant_files"]
    refreshed = printed(run_cco(sidecar, "context", "refresh", "--issue", "issue-ctx"))
    assert refreshed == "refreshed 1 cached context of issue-ctx\n"
    forced = ("--agent-type", "python-specialist", "--force")
    assert "refreshed 1 " in printed(run_cco(sidecar, "context", "refresh", "--issue", "issue-ctx", *forced))
    cleared = printed(run_cco(sidecar, "context", "clear", "--issue", "issue-ctx"))
    assert cleared.startswith("removed 1 cached context (")
    fails(run_cco(sidecar, "context", "clear", "--issue", "issue-ctx"), "issue-ctx")


def test_contexts_are_cleared_by_type_and_all_at_once(sidecar: SidecarProcess) -> None:
    run_cco(sidecar, "context", "clear", "--all")
    for agent_type in ("python-specialist", "test-engineer"):
        printed(run_cco(sidecar, "context", "get", "issue-two", agent_type))
    one = run_cco(sidecar, "context", "clear", "--issue", "issue-two", "--agent-type", "test-engineer")
    assert printed(one).startswith("removed 1 ")
    assert printed(run_cco(sidecar, "context", "clear", "--all")).startswith("removed 1 ")


def loaded(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


def test_a_context_is_printed_in_every_format(sidecar: SidecarProcess, tmp_path: Path) -> None:
    line = ("context", "get", "issue-forms", "test-engineer")
    text = printed(run_cco(sidecar, *line, "--format", "text"))
    assert text.startswith("issue-forms for test-engineer: ")
    as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
    as_yaml = loaded(printed(run_cco(sidecar, *line, "--format", "yaml")))
    assert as_yaml["context"]["relevant_files"] == as_json["context"]["relevant_files"]
    for form, read in (("json", json.loads), ("yaml", loaded)):
        target = tmp_path / f"context.{form}"
        done = run_cco(sidecar, *line, "--format", form, "--output", str(target))
        assert printed(done) == "" and done.stderr == f"wrote {target}\n"
        assert read(target.read_text())["file_count"] == as_json["file_count"]


def test_markdown(sidecar: SidecarProcess) -> None:
    line = ("context", "get", "issue-forms", "test-engineer", "--task", "repair it", "--max-bytes", "16384")
    text = printed(run_cco(sidecar, *line, "--format", "markdown"))
    assert text.startswith("# Context of issue-forms for test-engineer\n") and "\n> repair it\n" in text
    assert len(text.encode()) <= 16_384


def test_lines_of_a_file(sidecar: SidecarProcess) -> None:
    body = json.loads(printed(run_cco(sidecar, "context", "get", "issue-ctx", "python-specialist")))
    file = body["context"]["relevant_files"][0]
    line = ("context", "files", "issue-ctx", "python-specialist", file["path"])
    assert printed(run_cco(sidecar, *line)).rstrip("\n") == file["content"].rstrip("\n")
    assert printed(run_cco(sidecar, *line, "--lines", "1")).rstrip("\n") == file["content"].split("\n")[0]
    fails(run_cco(sidecar, *line[:-1], "nowhere.py"), "[CTX_003]")


def test_why_a_context_holds_what_it_holds(sidecar: SidecarProcess, tmp_path: Path) -> None:
    line = ("context", "explain", "issue-ctx", "python-specialist")
    saved = tmp_path / "before.json"
    run_cco(sidecar, *line, "--task", "zzzz", "--format", "json", "--output", str(saved))
    done = run_cco(sidecar, *line, "--task", "zzzz")
    assert printed(done).split()[:3] == ["score", "context", "path"]
    assert " candidates shown" in done.stderr
    assert len(printed(run_cco(sidecar, *line, "--task", "zzzz", "--diff", str(saved))).splitlines()) == 1
    smaller = run_cco(sidecar, *line, "--task", "zzzz", "--max-bytes", "4096", "--diff", str(saved))
    assert printed(smaller).split()[:2] == ["before", "score"] and len(printed(smaller).splitlines()) > 1
    saved.write_text("[]")
    fails(run_cco(sidecar, *line, "--diff", str(saved)), "is not an explanation")


def test_rules_are_checked(tmp_path: Path) -> None:
    def lint() -> Done:
        return in_process("context", "lint", "--root", str(tmp_path))

    assert printed(lint()).startswith("no .cco/context.toml")
    rules = tmp_path / ".cco" / "context.toml"
    rules.parent.mkdir()
    for name in ("a.py", "b.py", ".env"):
        (tmp_path / name).write_text("x = 1\n")
    rules.write_text('always = ["a.py", ".env"]\nnever = ["a.py"]\nexclude = ["*.go"]\n[weights]\n"*.rs" = 2\n')
    done = lint()
    assert printed(done) == ".cco/context.toml: 2 candidates, 0 always, 0 excluded, 1 never\n"
    assert done.stderr.splitlines() == [
        "warning: exclude: '*.go' matches no file",
        "warning: weights: '*.rs' matches no file",
        "warning: always: a.py is in 'never', which wins",
        "warning: always: .env cannot be in a context: secret_file",
    ]
    rules.write_text("alway = []\n")
    fails(lint(), "unknown key 'alway'; did you mean 'always'?")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["context", "get", "issue-123", "python-specialst"], "unknown agent type 'python-specialst'"),
        (["context", "get", "issue 123", "python-specialist"], "[REQ_001]"),
        (["context", "get", "python-specialist", "issue-123"], "[AGT_002]"),
    ],
)
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, *line), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["context", "get", "issue-123"], "TYPE"),
        (["context", "refresh"], "--issue"),
        (["context", "clear"], "--all"),
        (["context", "clear", "--issue", "issue-1", "--all"], "--all"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)
