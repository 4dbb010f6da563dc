"""`cco context get|refresh|clear`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.support.commands import fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_a_context_is_fetched_refreshed_and_cleared(sidecar: SidecarProcess) -> None:
    body = json.loads(printed(run_cco(sidecar, "context", "get", "issue-ctx", "python-specialist")))
    assert (body["issue_id"], body["agent_type"]) == ("issue-ctx", "python-specialist")
    assert isinstance(body["total_size_bytes"], int) and body["context"]["relevant_files"]
    refreshed = printed(run_cco(sidecar, "context", "refresh", "--issue", "issue-ctx"))
    assert refreshed == "refreshed 1 cached contexts of issue-ctx\n"
    forced = ("--agent-type", "python-specialist", "--force")
    assert "refreshed 1 " in printed(run_cco(sidecar, "context", "refresh", "--issue", "issue-ctx", *forced))
    cleared = printed(run_cco(sidecar, "context", "clear", "--issue", "issue-ctx"))
    assert cleared.startswith("removed 1 cached contexts (")
    fails(run_cco(sidecar, "context", "clear", "--issue", "issue-ctx"), "issue-ctx")


def test_contexts_are_cleared_by_type_and_all_at_once(sidecar: SidecarProcess) -> None:
    run_cco(sidecar, "context", "clear", "--all")
    for agent_type in ("python-specialist", "test-engineer"):
        printed(run_cco(sidecar, "context", "get", "issue-two", agent_type))
    one = run_cco(sidecar, "context", "clear", "--issue", "issue-two", "--agent-type", "test-engineer")
    assert printed(one).startswith("removed 1 ")
    assert printed(run_cco(sidecar, "context", "clear", "--all")).startswith("removed 1 ")


def test_a_context_is_printed_in_every_format(sidecar: SidecarProcess, tmp_path: Path) -> None:
    line = ("context", "get", "issue-forms", "test-engineer")
    text = printed(run_cco(sidecar, *line, "--format", "text"))
    assert text.startswith("issue-forms for test-engineer: ")
    as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
    as_yaml = yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml")))
    assert as_yaml["context"]["relevant_files"] == as_json["context"]["relevant_files"]
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        target = tmp_path / f"context.{form}"
        done = run_cco(sidecar, *line, "--format", form, "--output", str(target))
        assert printed(done) == "" and done.stderr == f"wrote {target}\n"
        assert read(target.read_text())["file_count"] == as_json["file_count"]


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
