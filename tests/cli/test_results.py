"""`cco results store|list|get`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from tests.support.commands import NO_MESSAGES, fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco

STORE = ("results", "store", "--agent", "python-specialist", "--issue", "issue-123")


def test_store_as_in_the_quick_start(sidecar: SidecarProcess) -> None:
    done = run_cco(sidecar, "results", "store", "--agent", "python-specialist", "--issue", "issue-quick")
    assert "results/default/issue-quick/python-specialist.json" in printed(done)
    listed = printed(run_cco(sidecar, "results", "list", "--issue", "issue-quick"))
    assert listed == "issue-quick:\n  - python-specialist: success\n"
    got = printed(run_cco(sidecar, "results", "get", "--agent", "python-specialist", "--issue", "issue-quick"))
    assert got.startswith("issue-quick python-specialist: success\n")


def test_a_result_with_errors_says_how_it_ended(sidecar: SidecarProcess) -> None:
    line = ("results", "store", "--agent", "test-engineer", "--issue", "issue-errors", "--error", "2 tests fail")
    refused = run_cco(sidecar, *line)
    assert refused.returncode == 2 and "specify --status failed or --status partial with --error" in refused.stderr
    printed(run_cco(sidecar, *line, "--status", "failed"))


@pytest.mark.parametrize(("given", "says"), [("report", "is not NAME=FILE"), ("report=/nonexistent", "cannot read")])
def test_an_artifact_that_cannot_be_read_is_named(sidecar: SidecarProcess, given: str, says: str) -> None:
    refused = run_cco(sidecar, "results", "store", "--agent", "test-engineer", "--issue", "i", "--artifact", given)
    assert refused.returncode == 2 and says in refused.stderr


def test_store_with_every_option(sidecar: SidecarProcess, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("two findings\n")
    done = run_cco(
        sidecar, "results", "store", "--agent", "kim", "--agent-type", "python-specialist",
        "--issue", "issue-full", "--project", "project-abc", "--status", "partial",
        "--files-created", "src/a.py, src/b.py", "--files-modified", "setup.cfg",
        "--decisions", "Use PyJWT, not our own; Keep RS256",
        "--error", "expected ; got }", "--error", "lint fails", "--warning", "no rate limit", "--next-step", "fix app.py:12",
        "--artifact", f"report={report}",
        "--metrics", '{"test_coverage": 92.5, "tokens_used": 15000}', "--format", "json",
    )  # fmt: skip
    stored = json.loads(printed(done))
    assert stored["stored"] is True and stored["event_published"] is True
    line = ("results", "get", "issue-full", "python-specialist", "--project", "project-abc", "--format", "json")
    got = json.loads(printed(run_cco(sidecar, *line)))
    assert (got["id"], got["agent_id"], got["project_id"]) == (stored["id"], "kim", "project-abc")
    assert got["result"]["status"] == "partial"
    assert got["result"]["files_created"] == ["src/a.py", "src/b.py"]
    assert got["result"]["files_modified"] == ["setup.cfg"]
    assert got["result"]["decisions"] == ["Use PyJWT, not our own", "Keep RS256"]
    assert got["result"]["errors"] == ["expected ; got }", "lint fails"]
    assert got["result"]["artifacts"] == {"report": "two findings\n"}
    assert (got["result"]["warnings"], got["result"]["next_steps"]) == (["no rate limit"], ["fix app.py:12"])
    assert got["result"]["metrics"] == {"test_coverage": 92.5, "tokens_used": 15000}


@pytest.mark.parametrize("stdin", [False, True])
def test_store_a_documented_body(sidecar: SidecarProcess, tmp_path: Path, stdin: bool) -> None:
    issue = f"issue-input-{stdin}"
    body = {
        "agent_id": "agent-1",
        "agent_type": "python-specialist",
        "issue_id": issue,
        "project_id": "project-abc",
        "result": {"status": "success", "files_created": ["a.py", {"path": "b.py", "size": 5}], "notes": [1]},
        "timestamp": "2025-11-17T12:00:00Z",
    }
    source = tmp_path / "result.json"
    source.write_text(json.dumps(body))
    if stdin:
        done = run_cco(sidecar, "results", "store", "--input", "-", input=source.read_text())
    else:
        done = run_cco(sidecar, "results", "store", "--input", str(source))
    assert printed(done).startswith("stored res-")
    line = ("results", "get", issue, "python-specialist", "--project", "project-abc", "--format", "json")
    got = json.loads(printed(run_cco(sidecar, *line)))
    assert got["agent_id"] == "agent-1"
    assert got["result"]["files_created"] == ["a.py", {"path": "b.py", "size": 5}]
    assert got["result"]["notes"] == [1]


def test_a_documented_body_keeps_its_time(sidecar: SidecarProcess) -> None:
    body = {
        "agent_type": "python-specialist",
        "issue_id": "issue-time",
        "result": {"status": "success"},
        "timestamp": "2025-11-17T12:00:00Z",
    }
    printed(run_cco(sidecar, "results", "store", "--input", "-", input=json.dumps(body)))
    got = run_cco(sidecar, "results", "get", "issue-time", "python-specialist", "--format", "json")
    assert json.loads(printed(got))["timestamp"] == "2025-11-17T12:00:00Z"


def test_list_in_every_format(sidecar: SidecarProcess, tmp_path: Path) -> None:
    for agent_type in ("python-specialist", "test-engineer"):
        decided = ("--decisions", 'He said "no", so')
        printed(run_cco(sidecar, "results", "store", "--agent", agent_type, "--issue", "issue-list", *decided))
    line = ("results", "list", "--issue", "issue-list")
    as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
    assert [result["agent_type"] for result in as_json] == ["test-engineer", "python-specialist"]
    assert yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml"))) == as_json
    table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, *line, "--format", "csv")))))
    assert [row["id"] for row in table] == [result["id"] for result in as_json]
    assert {row["summary"] for row in table} == {'He said "no", so'}
    drawn = printed(run_cco(sidecar, *line, "--format", "table")).splitlines()
    assert drawn[0].split() == list(table[0])
    assert [row["id"] in text for row, text in zip(table, drawn[1:], strict=True)] == [True, True]
    text = printed(run_cco(sidecar, *line, "--format", "text"))
    assert text == printed(run_cco(sidecar, *line)) and text.startswith("issue-list:\n  - ")
    for form, expected in (("csv", table), ("table", drawn)):
        target = tmp_path / form
        assert printed(run_cco(sidecar, *line, "--format", form, "--output", str(target))) == ""
        written = target.read_text()
        assert (list(csv.DictReader(io.StringIO(written))) if form == "csv" else written.splitlines()) == expected


def test_a_list_is_filtered(sidecar: SidecarProcess) -> None:
    for agent_type in ("python-specialist", "python-specialist", "test-engineer"):
        printed(run_cco(sidecar, "results", "store", "--agent", agent_type, "--issue", "issue-many"))

    def count(*more: str) -> int:
        line = ("results", "list", "--issue", "issue-many", "--format", "json", *more)
        return len(json.loads(printed(run_cco(sidecar, *line))))

    assert count() == 3
    assert count("--limit", "2") == 2
    assert count("--latest") == 2
    assert count("--agent-type", "python-specialist") == 2
    assert count("--project", "project-other") == 0
    assert printed(run_cco(sidecar, "results", "list", "--issue", "issue-empty")) == "no results\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["results", "get", "issue-none", "python-specialist"], "[RES_001]"),
        (["results", "store", "--agent", "nobody", "--issue", "issue-123"], "[AGT_002]"),
        ([*STORE, "--metrics", "[1]"], "result.metrics: expected an object"),
        ([*STORE, "--metrics", '{"coverage": "95"}'], "result.metrics.coverage: expected a number"),
        (["results", "store", "--input", "/nowhere/result.json"], "cannot read /nowhere/result.json"),
        (["results", "list", "--output", "/nowhere/list.json"], "cannot write /nowhere/list.json"),
    ],
)
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, *line), says)


@pytest.mark.parametrize(("text", "says"), NO_MESSAGES)
def test_invalid_input(sidecar: SidecarProcess, text: str, says: str) -> None:
    fails(run_cco(sidecar, "results", "store", "--input", "-", input=text), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["results", "store"], "--agent"),
        (["results", "store", "--agent", "python-specialist"], "--issue"),
        ([*STORE, "--metrics", "{coverage: 95}"], "invalid JSON in --metrics"),
        ([*STORE, "--status", "succes"], "success"),
        (["results", "get", "issue-123"], "cco results get ISSUE TYPE"),
        (["results", "list", "--limit", "0"], "--limit"),
        (["results", "list", "--format", "xml"], "xml"),
        (["results", "list", "--output", "/tmp"], "/tmp"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)


def test_bad_usage_changes_nothing(sidecar: SidecarProcess) -> None:
    line = ("results", "store", "--agent", "python-specialist", "--issue", "issue-unsaid", "--format", "csv")
    misused(run_cco(sidecar, *line), "csv")
    assert printed(run_cco(sidecar, "results", "list", "--issue", "issue-unsaid")) == "no results\n"
