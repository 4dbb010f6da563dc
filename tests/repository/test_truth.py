"""What a snapshot says of a repository is true: filters, submodules, nested and bare repositories, saved contexts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.core.codec import to_json
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.snapshot import FileStat, Scanner, Snapshot
from cco_sidecar.services.context import sections
from cco_sidecar.services.context.markdown import markdown
from orchestra.v1 import context_service_pb2 as pb


def scan(root: Path, tmp_path: Path) -> Snapshot:
    return Scanner(root, tmp_path / "scratch").scan(afresh=True)[0]


def changes(snapshot: Snapshot) -> dict[str, str]:
    return {each.path: each.status for each in snapshot.git.uncommitted_changes}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    commit_all(root)
    return root


def test_a_file_that_a_filter_manages_is_modified_only_if_it_changed(root: Path, tmp_path: Path) -> None:
    (root / ".gitattributes").write_text("*.bin filter=upper\n")
    git(root, "config", "filter.upper.clean", "tr a-z A-Z")
    for name in ("one.bin", "two.bin"):
        (root / name).write_text("content\n")
    commit_all(root)
    assert git(root, "show", "HEAD:one.bin") == "CONTENT\n"
    # The index is as old as the file, so git cannot go by the time.
    stamp = (root / "one.bin").stat().st_mtime_ns
    os.utime(root / ".git" / "index", ns=(stamp, stamp))
    assert changes(scan(root, tmp_path)) == {}
    (root / "two.bin").write_text("changed\n")
    (root / "a.py").write_text("x = 2\n")
    assert changes(scan(root, tmp_path)) == {"a.py": "modified", "two.bin": "modified"}
    git(root, "add", "two.bin")
    assert changes(scan(root, tmp_path)) == {"a.py": "modified", "two.bin": "modified"}


def test_submodules_and_nested_repositories_are_named(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.py").write_text("y = 1\n")
    commit_all(other)
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "library")
    (root / "nested").mkdir()
    (root / "nested" / "c.py").write_text("z = 1\n")
    commit_all(root / "nested")
    snapshot = scan(root, tmp_path)
    assert {(each.path, each.reason) for each in snapshot.barred} == {
        ("library", "submodule"),
        ("nested", "nested_repository"),
    }
    assert set(snapshot.files) == {"a.py", ".gitmodules"}


def test_a_bare_repository_is_a_clear_error(root: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--bare", str(root), str(tmp_path / "bare.git")], check=True)
    with pytest.raises(GitFailed, match="is a bare repository; fix: serve a clone"):
        scan(tmp_path / "bare.git", tmp_path)


def test_a_saved_context_is_no_candidate(root: Path, tmp_path: Path) -> None:
    response = pb.GetContextResponse(issue_id="issue-1", agent_type="debugger")
    response.context.project_structure.root = "project"
    (root / "context.json").write_bytes(to_json(response))
    (root / "context.md").write_bytes(markdown(response))
    (root / "indented.json").write_text(
        '{\n  "issue_id": "issue-1",\n  "agent_type": "debugger",\n  "context": {\n    "project_structure": {}\n  }\n}\n'
    )
    (root / "own.json").write_text('{"issue_id": "issue-1", "agent_type": "debugger", "context": "mine"}\n')
    snapshot = scan(root, tmp_path)
    texts = FileCache(2**20)
    problems = {path: texts.raw(root, path, info).problem for path, info in snapshot.files.items()}
    assert problems == {
        "a.py": "",
        "context.json": "context",
        "context.md": "context",
        "indented.json": "context",
        "own.json": "",
    }


def test_a_history_that_is_cut_says_so(root: Path, tmp_path: Path) -> None:
    for number in range(3):
        git(root, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
    git_context = scan(root, tmp_path).git
    assert not git_context.older_commits
    assert not sections.history(git_context, 4, 10_000, set()).older_commits
    assert sections.history(git_context, 3, 10_000, set()).older_commits
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{root}", str(shallow)], check=True)
    assert scan(shallow, tmp_path).git.older_commits


def test_an_encoding_is_named_in_the_context(root: Path, tmp_path: Path) -> None:
    (root / "b.txt").write_bytes("設定ファイルの読み込み、ファイルを開く\n".encode("shift_jis"))
    info = scan(root, tmp_path).files["b.txt"]
    text = FileCache(2**20).read(root, "b.txt", info)
    file = sections.relevant_file("b.txt", text.content, text)
    assert (file.content, file.encoding) == ("設定ファイルの読み込み、ファイルを開く\n", "shift_jis")


def test_a_linked_worktree_without_rules_has_those_of_the_main_one(root: Path, tmp_path: Path) -> None:
    (root / ".gitignore").write_text(".cco/\n")
    commit_all(root)
    git(root, "worktree", "add", "-q", str(tmp_path / "linked"))
    (root / ".cco").mkdir()
    (root / ".cco" / "context.toml").write_text('never = ["a.py"]\n')
    assert "a.py" not in scan(tmp_path / "linked", tmp_path).files


def test_patterns_that_the_repository_names_count(root: Path, tmp_path: Path) -> None:
    (tmp_path / "ignored").write_text("notes/\n")
    git(root, "config", "core.excludesFile", str(tmp_path / "ignored"))
    (root / "notes").mkdir()
    (root / "notes" / "private.txt").write_text("x\n")
    snapshot = scan(root, tmp_path)
    assert "notes/private.txt" not in snapshot.files and not snapshot.git.uncommitted_changes


@pytest.mark.parametrize("seconds", [-(10**12), 0, 1, 910_000_000_000])
def test_a_time_that_no_timestamp_can_be_is_the_nearest_that_can(seconds: int) -> None:
    stamp = FileStat(1, seconds * 10**9, 0, 0, 0).modified
    assert stamp.seconds == min(max(0, seconds), 253_402_300_799) and stamp.ToJsonString()


def test_a_secret_in_any_commit_is_masked_wherever_its_text_ends(root: Path, tmp_path: Path) -> None:
    subjects = [
        "Add the parser",
        "password: kV7!pQ2xLm9#",
        "Remove ghp_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5",
        "Fix it",
    ]
    for number, subject in enumerate(subjects):
        for count in range(20):
            (root / f"a{number}_{count}_with_a_long_name.py").write_text("x = 1\n")
        commit_all(root, subject)
    found = [commit.message for commit in scan(root, tmp_path).git.recent_commits]
    assert found[:4] == ["Fix it", "Remove [masked]", "password: [masked]", "Add the parser"]
    git(root, "reset", "-q", "--hard", "HEAD~2")
    assert scan(root, tmp_path).git.recent_commits[0].message == "password: [masked]"


def test_uncommitted_changes_outlive_commits_and_are_counted() -> None:
    git_context = pb.GitContext(
        recent_commits=[pb.Commit(hash="0" * 40, message=f"commit {number}") for number in range(20)],
        uncommitted_changes=[
            pb.UncommittedChange(path=f"src/file{number}.py", status="modified") for number in range(9)
        ],
    )
    for most in (4_000, 1_500, 1_000, 500, 200, 50):
        found = sections.history(git_context, 20, most, set())
        assert len(found.uncommitted_changes) + found.more_uncommitted_changes == 9
        assert most < 200 or len(to_json(found)) <= most
        assert found.older_commits or len(found.recent_commits) == 20
    assert [len(sections.history(git_context, 20, most, set()).uncommitted_changes) for most in (1_500, 1_000)] == [
        9,
        9,
    ]
    assert (
        "- 9 not listed"
        in markdown(
            pb.GetContextResponse(context=pb.Context(git_context=pb.GitContext(more_uncommitted_changes=9)))
        ).decode()
    )
