"""Commits that come from a runner: stored if they are whole, and named only by the agent's own branch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners.worktree import Repository

BRANCH = "agent/a"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "here"
    path.mkdir()
    (path / "one.txt").write_text("one\n")
    commit_all(path)
    return path


@pytest.fixture
def here(root: Path, tmp_path: Path) -> Repository:
    repository = Repository(root, tmp_path / "scratch")
    repository.note_start(BRANCH, head(root))
    return repository


@pytest.fixture
def there(root: Path, tmp_path: Path) -> Path:
    """The runner's clone, with a commit on the agent's branch."""
    path = tmp_path / "there"
    git(tmp_path, "clone", "--quiet", str(root), str(path))
    git(path, "switch", "--quiet", "--create", BRANCH)
    add(path, "work.txt")
    return path


def head(path: Path, name: str = "HEAD") -> str:
    return git(path, "rev-parse", name).strip()


def add(path: Path, name: str) -> str:
    (path / name).write_text(f"{name}\n")
    commit_all(path, name)
    return head(path)


def pack_of(path: Path, scratch: Path, tip: str, *have: str) -> bytes:
    return Repository(path, scratch).pack(tip, have)


def test_a_branch_comes_and_grows(here: Repository, there: Path, root: Path, tmp_path: Path) -> None:
    first = head(there)
    here.advance(BRANCH, pack_of(there, tmp_path / "other", first, head(root)), first)
    assert git(root, "show", f"{BRANCH}:work.txt") == "work.txt\n"
    second = add(there, "more.txt")
    here.advance(BRANCH, pack_of(there, tmp_path / "other", second, first), second)
    assert head(root, BRANCH) == second
    assert git(root, "fsck", "--strict") == ""
    # Once more changes nothing.
    here.advance(BRANCH, b"", second)


@pytest.mark.parametrize("tip", ["--output=/tmp/victim", "main", "", "HEAD", "f" * 39, "../x"])
def test_what_is_no_id_of_a_commit_reaches_no_command(here: Repository, root: Path, tmp_path: Path, tip: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with pytest.raises(SidecarError, match="not the ID of a commit"):
        here.take(b"", tip.replace("/tmp/victim", str(victim)))
    assert victim.read_text() == "precious"


def test_a_commit_of_others_cannot_be_taken(here: Repository, root: Path) -> None:
    git(root, "switch", "--quiet", "--create", "secret")
    secret = add(root, "secret.txt")
    git(root, "switch", "--quiet", "main")
    with pytest.raises(SidecarError, match="not of branch"):
        here.advance(BRANCH, b"", secret)
    assert git(root, "branch", "--list", BRANCH) == ""


def test_what_is_incomplete_leaves_nothing(here: Repository, there: Path, root: Path, tmp_path: Path) -> None:
    first = head(there)
    second = add(there, "more.txt")
    # Without the first commit.
    pack = pack_of(there, tmp_path / "other", second, first)
    before = sorted(path.name for path in (root / ".git" / "objects").rglob("*"))
    with pytest.raises(SidecarError):
        here.advance(BRANCH, pack, second)
    with pytest.raises(SidecarError, match="cannot be stored"):
        here.advance(BRANCH, b"PACK of lies", second)
    assert sorted(path.name for path in (root / ".git" / "objects").rglob("*")) == before
    assert git(root, "branch", "--list", BRANCH) == ""


def test_a_commit_that_nobody_sent_is_missing(here: Repository, root: Path) -> None:
    with pytest.raises(SidecarError, match="is missing"):
        here.advance(BRANCH, b"", "f" * 40)


def test_a_tree_that_would_harm_a_checkout_is_refused(
    here: Repository, there: Path, root: Path, tmp_path: Path
) -> None:
    blob = head(there, "HEAD:one.txt")
    (tmp_path / "tree").write_text(f"100644 blob {blob}\t.git\n")
    tree = subprocess.run(
        ["git", "mktree"], cwd=there, input=(tmp_path / "tree").read_text(), capture_output=True, text=True, check=True
    ).stdout.strip()
    tip = git(there, "commit-tree", tree, "-p", "HEAD", "-m", "hostile").strip()
    with pytest.raises(SidecarError, match="cannot be stored"):
        here.advance(BRANCH, pack_of(there, tmp_path / "other", tip, head(root)), tip)


@pytest.mark.parametrize("change", ["added here", "rewritten there"])
def test_what_was_changed_on_both_sides_stays_on_both(
    here: Repository, there: Path, root: Path, tmp_path: Path, change: str
) -> None:
    first = head(there)
    here.advance(BRANCH, pack_of(there, tmp_path / "other", first, head(root)), first)
    if change == "added here":
        git(root, "switch", "--quiet", BRANCH)
        add(root, "mine.txt")
        git(root, "switch", "--quiet", "main")
        add(there, "theirs.txt")
    else:
        git(there, "commit", "--quiet", "--amend", "--message", "other")
    mine, theirs = head(root, BRANCH), head(there)
    with pytest.raises(SidecarError, match="was changed here too"):
        here.advance(BRANCH, pack_of(there, tmp_path / "other", theirs, head(root)), theirs)
    assert head(root, BRANCH) == mine


def test_a_shallow_clone_claims_nothing(root: Path, tmp_path: Path) -> None:
    add(root, "two.txt")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{root}", str(tmp_path / "shallow"))
    assert Repository(tmp_path / "shallow", tmp_path / "scratch").tips(10) == []
    assert Repository(root, tmp_path / "scratch").tips(10) != []
