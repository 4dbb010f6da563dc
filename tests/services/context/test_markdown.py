"""A context as Markdown: everything is there, and nothing of the project can look like ours."""

from __future__ import annotations

from cco_sidecar.services.context.markdown import markdown
from orchestra.v1 import context_service_pb2 as pb


def response() -> pb.GetContextResponse:
    found = pb.GetContextResponse(issue_id="issue-1", agent_type="debugger")
    context = found.context
    context.project_structure.root, context.project_structure.total_files = "shop", 12
    context.git_context.branch = "main"
    context.git_context.recent_commits.add(hash="a" * 40, message="Fix `it`\n# Not a heading")
    context.git_context.uncommitted_changes.add(path="a.py", status="modified", diff="+1 -0")
    context.relevant_files.add(path="src/a.py", content="def a():\n    pass\n", language="python")
    context.relevant_files.add(path="notes.md", content="```\n## Files\n````\n", language="markdown")
    context.relevant_files.add(path="evil\n## Not here\n.txt", content="x", language="text")
    output = context.previous_agent_outputs.add(
        agent="agent-7", agent_type="code-reviewer", decision="Refused\n# Header", status="failed"
    )
    output.errors.append("a.py:3 divides by zero")
    output.warnings.append("no test for 0")
    output.rationale = "because of zero"
    output.issue_id = "issue-9"
    output.next_steps.append("handle 0")
    output.files_affected.append("src/a.py")
    output.artifacts["review.md"] = "# Review\n```\ncode\n```\n"
    entries = found.manifest.entries
    entries.add(path="src/a.py", disposition=pb.DISPOSITION_CUT, files=1)
    entries.add(path="docs/**", disposition=pb.DISPOSITION_LEFT_OUT, reason="less_relevant", files=9, bytes=12_345)
    found.manifest.files_left_out = 9
    return found


TEXT = markdown(response(), "repair it\n# at once").decode()


def headings() -> list[str]:
    """The headings outside fences and quotes (CommonMark)."""
    found, fence = [], ""
    for line in TEXT.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if fence:
            if len(ticks) >= len(fence) and line == ticks:
                fence = ""
        elif len(ticks) >= 3:
            fence = ticks
        elif line.startswith("#"):
            found.append(line)
    return found


def test_only_our_headings_are_headings() -> None:
    assert headings() == [
        "# Context of issue-1 for debugger",
        "## Task",
        "## What other agents found",
        "### code-reviewer, 1970-01-01T00:00:00Z, failed, on issue-9",
        "## Files",
        "### src/a.py (parts)",
        "### notes.md",
        "### evil ## Not here .txt",
        "## Uncommitted changes",
        "## Recent commits",
        "## Not here",
    ]


def test_everything_is_there() -> None:
    for text in (
        "> repair it\n> # at once\n",
        "> a.py:3 divides by zero\n",
        "Warnings:\n> no test for 0\n",
        "Why:\n> because of zero\n",
        "Next steps:\n> handle 0\n",
        "Artifact `review.md`:\n\n````\n# Review\n```\ncode\n```\n````\n",
        "Files: `src/a.py`\n",
        "```python\ndef a():\n    pass\n```\n",
        "- modified `a.py` +1 -0\n",
        "- aaaaaaaaaa 1970-01-01 Fix `it` # Not a heading\n",
        "- `docs/**`: 9 files, 12.3 kB, less relevant\n",
        "$SIDECAR_URL/context/issue-1/debugger/files\n",
    ):
        assert text in TEXT, text
