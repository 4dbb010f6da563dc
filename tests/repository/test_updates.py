"""After changes that are known by path, a snapshot is brought up to date: it is what a scan of all files finds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from inotify_simple import Event
from tests.support.repositories import commit_all, git

from cco_sidecar.repository.snapshot import Scanner, Snapshot
from cco_sidecar.repository.watch import Queue

Act = Callable[[Path], object]
KEY = "project"


def _append(name: str) -> Act:
    def act(root: Path) -> None:
        with open(root / name, "a") as file:
            file.write("more = 1\n")

    return act


def _write(name: str, text: str = "new = 1\n") -> Act:
    return lambda root: (root / name).write_text(text)


def _saved_by_an_editor(root: Path) -> None:
    (root / ".a.py.tmp").write_text("x = 3\n")
    (root / ".a.py.tmp").rename(root / "a.py")


def _deleted_and_made_again(root: Path) -> None:
    text = (root / "a.py").read_text()
    (root / "a.py").unlink()
    (root / "a.py").write_text(text)


def _replaced_by_a_link(root: Path) -> None:
    (root / "a.py").unlink()
    (root / "a.py").symlink_to("b.py")


def _touched_as_it_was(root: Path) -> None:
    stamp = (root / "one.bin").stat().st_mtime_ns
    os.utime(root / "one.bin", ns=(stamp, stamp))


BY_PATH: dict[str, Act] = {
    "a tracked file": _append("a.py"),
    "a file that was modified": _append("modified.py"),
    "back to what was committed": _write("modified.py", "x = 1\n"),
    "a staged file": _append("staged.py"),
    "an untracked file": _append("untracked.py"),
    "a new file": _write("new.py"),
    "a new file below": _write("src/new.py"),
    "a name with brackets": _write("src/[id] *.py"),
    "a name that is not ASCII": _write("src/größe.py"),
    "a new ignored file": _write("debug.log"),
    "an ignored file that is tracked": _append("kept.log"),
    "deleted": lambda root: (root / "a.py").unlink(),
    "an untracked file is deleted": lambda root: (root / "untracked.py").unlink(),
    "a deleted file comes back": _write("deleted.py", "x = 1\n"),
    "deleted and made again": _deleted_and_made_again,
    "moved": lambda root: (root / "a.py").rename(root / "src" / "moved.py"),
    "saved by an editor": _saved_by_an_editor,
    "only touched": lambda root: os.utime(root / "a.py", (1, 1)),
    "executable": lambda root: (root / "a.py").chmod(0o755),
    "a secret file": _write("secrets.yaml", "password: x\n"),
    "a secret file that was there": _append("prod.env"),
    "a link": lambda root: (root / "link.py").symlink_to("a.py"),
    "replaced by a link": _replaced_by_a_link,
    "a link is deleted": lambda root: (root / "old_link").unlink(),
    "barred by the rules": _write("never.csv"),
    "excluded by the rules": _write("excluded.py"),
    "a manifest": _write("pyproject.toml", '[project]\ndependencies = ["requests"]\n'),
    "managed by a filter": _touched_as_it_was,
    "managed by a filter, and changed": _append("one.bin"),
    "in a directory that has only ignored files": _write("logs/new.py"),
    "a pipe": lambda root: os.mkfifo(root / "pipe"),
    "in conflict": _append("conflict.py"),
}
# Git has to be asked about everything.
UNKNOWN: dict[str, Act] = {
    "within a nested repository": _append("nested/c.py"),
    "within a submodule": _append("library/b.py"),
    "a second name": lambda root: os.link(root / "a.py", root / "linked.py"),
    "a name that is masked": _write("x_ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5.py"),
    "one side of a rename": lambda root: (root / "b.py").unlink(),
}
WITH_A_SCAN: dict[str, Act] = {
    "a new directory": lambda root: (root / "fresh").mkdir(),
    "a deleted directory": lambda root: (root / "empty").rmdir(),
    "a moved directory": lambda root: (root / "empty").rename(root / "other"),
    "ignored now": _write(".gitignore", "*.py\n"),
    "ignored below": _write("src/.gitignore", "*.py\n"),
    "attributes": _write(".gitattributes", "*.py binary\n"),
    "staged": lambda root: git(root, "add", "a.py", "modified.py"),
    "committed": lambda root: git(root, "commit", "-qam", "more"),
    "another branch": lambda root: git(root, "symbolic-ref", "HEAD", "refs/heads/other"),
    "configuration": lambda root: git(root, "config", "core.fileMode", "false"),
    "many files": lambda root: [(root / f"many{number}").write_text("") for number in range(120)],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository in which everything occurs that a scan tells apart."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    for name in (
        "b.py",
        "a.py",
        "modified.py",
        "staged.py",
        "deleted.py",
        "kept.log",
        "one.bin",
        "src/app.py",
        "prod.env",
    ):
        (root / name).write_text("x = 1\n")
    (root / "conflict.py").write_text("x = 1\n")
    (root / ".gitattributes").write_text("*.bin filter=upper\n")
    (root / ".cco").mkdir()
    (root / ".cco" / "context.toml").write_text('never = ["*.csv"]\nexclude = ["excluded.py"]\n')
    git(root.parent, "init", "-q", str(root))
    git(root, "config", "filter.upper.clean", "tr a-z A-Z")
    git(root, "add", "--force", ".")
    (root / ".gitignore").write_text("*.log\n")
    (root / "old_link").symlink_to("a.py")
    commit_all(root)
    library = tmp_path / "library"
    library.mkdir()
    (library / "b.py").write_text("y = 1\n")
    commit_all(library)
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "library")
    commit_all(root)
    _make_a_conflict(root)
    (root / "nested").mkdir()
    (root / "nested" / "c.py").write_text("z = 1\n")
    commit_all(root / "nested")
    for name in ("modified.py", "staged.py", "untracked.py"):
        (root / name).write_text("x = 2\n")
    git(root, "add", "staged.py")
    (root / "deleted.py").unlink()
    (root / "empty").mkdir()
    (root / "logs").mkdir()
    (root / "logs" / "a.log").write_text("one line\n")
    # The index is as old as the file, so git cannot go by the time.
    stamp = (root / "one.bin").stat().st_mtime_ns
    os.utime(root / ".git" / "index", ns=(stamp, stamp))
    return root


def _make_a_conflict(root: Path) -> None:
    git(root, "branch", "side")
    (root / "conflict.py").write_text("x = 2\n")
    commit_all(root)
    (root / "conflict.py").write_text("x = 3\n")
    git(root, "stash", "-q")
    (root / "conflict.py").write_text("x = 4\n")
    commit_all(root)
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "stash", "pop", "-q")


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    yield queue
    queue.close()


def _scanned(root: Path, tmp_path: Path, queue: Queue) -> tuple[Scanner, Snapshot]:
    scanner = Scanner(root, tmp_path / "scratch", queue.descriptor)
    queue.begin(KEY)
    snapshot, watched = scanner.scan(afresh=False)
    assert watched.complete
    queue.finish(KEY, watched)
    assert not queue.changed(KEY)
    return scanner, snapshot


def _afresh(root: Path, tmp_path: Path) -> Snapshot:
    return Scanner(root, tmp_path / "other").scan(afresh=False)[0]


@pytest.mark.parametrize("what", BY_PATH)
def test_an_update_finds_what_a_scan_finds(root: Path, tmp_path: Path, queue: Queue, what: str) -> None:
    scanner, before = _scanned(root, tmp_path, queue)
    assert before == _afresh(root, tmp_path)
    # The second time, the state before is itself an update's.
    for act in (BY_PATH[what], _append("src/app.py")):
        act(root)
        assert queue.changed(KEY)
        changed = queue.begin(KEY)
        assert changed is not None
        after = scanner.update(before, changed)
        assert after == _afresh(root, tmp_path)
        before = after


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_paths_do_not_tell_takes_a_scan(root: Path, tmp_path: Path, queue: Queue, what: str) -> None:
    (root / "c.py").write_text((root / "b.py").read_text())
    git(root, "add", "--intent-to-add", "c.py")
    git(root, "rm", "-q", "--cached", "deleted.py")
    git(root, "commit", "-qm", "deleted", "--", "deleted.py")
    scanner, before = _scanned(root, tmp_path, queue)
    UNKNOWN[what](root)
    changed = queue.begin(KEY)
    assert changed is not None
    assert scanner.update(before, changed) is None


def test_a_file_with_two_names_takes_a_scan(root: Path, tmp_path: Path, queue: Queue) -> None:
    os.link(root / "a.py", root / "linked.py")
    scanner, before = _scanned(root, tmp_path, queue)
    _append("linked.py")(root)
    assert scanner.update(before, queue.begin(KEY) or ()) is None


def test_git_s_directory_may_stand_in_the_tree(tmp_path: Path, queue: Queue) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "--separate-git-dir", str(root / "store.git"))
    git(root, "config", "core.worktree", str(root))
    (root / "a.py").write_text("x = 1\n")
    git(root, "add", "a.py")
    git(root, "commit", "-qm", "one")
    _scanned(root, tmp_path, queue)
    git(root, "symbolic-ref", "HEAD", "refs/heads/other")
    assert queue.begin(KEY) is None


def test_an_overflow_during_the_first_scan_counts(root: Path, tmp_path: Path, queue: Queue) -> None:
    scanner = Scanner(root, tmp_path / "scratch", queue.descriptor)
    queue.begin(KEY)
    _, watched = scanner.scan(afresh=False)
    assert queue._inotify is not None
    read = queue._inotify.read
    queue._inotify.read = lambda timeout: [Event(wd=-1, mask=0x4000, cookie=0, name=""), *read(timeout=timeout)]
    queue.finish(KEY, watched)
    queue._inotify.read = read
    assert queue.changed(KEY) and queue.begin(KEY) is None


@pytest.mark.parametrize("what", WITH_A_SCAN)
def test_other_changes_take_a_scan(root: Path, tmp_path: Path, queue: Queue, what: str) -> None:
    _scanned(root, tmp_path, queue)
    git(root, "checkout", "-q", "HEAD", "--", "conflict.py")
    queue.begin(KEY)
    WITH_A_SCAN[what](root)
    assert queue.changed(KEY)
    assert queue.begin(KEY) is None


def test_a_staged_rename_takes_a_scan(root: Path, tmp_path: Path, queue: Queue) -> None:
    git(root, "mv", "src/app.py", "src/renamed.py")
    scanner, before = _scanned(root, tmp_path, queue)
    assert "renamed" in {each.status for each in before.git.uncommitted_changes}
    _append("src/renamed.py")(root)
    assert scanner.update(before, queue.begin(KEY) or ()) is None


def test_a_plain_directory_is_updated_too(tmp_path: Path, queue: Queue) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    scanner, before = _scanned(root, tmp_path, queue)
    _append("a.py")(root)
    _write("b.py")(root)
    changed = queue.begin(KEY)
    assert changed == {"a.py", "b.py"}
    assert scanner.update(before, changed) == _afresh(root, tmp_path)


def test_a_repository_without_a_commit_is_updated_too(tmp_path: Path, queue: Queue) -> None:
    root = tmp_path / "empty"
    git(tmp_path, "init", "-q", str(root))
    (root / "a.py").write_text("x = 1\n")
    git(root, "add", "a.py")
    scanner, before = _scanned(root, tmp_path, queue)
    _append("a.py")(root)
    _write("b.py")(root)
    changed = queue.begin(KEY)
    assert changed is not None
    after = scanner.update(before, changed)
    assert after == _afresh(root, tmp_path)
    assert after is not None
    assert [(each.path, each.diff) for each in after.git.uncommitted_changes] == [("a.py", "+1 -0"), ("b.py", "")]


def test_what_changes_during_a_scan_is_seen_by_the_next(root: Path, tmp_path: Path, queue: Queue) -> None:
    scanner, before = _scanned(root, tmp_path, queue)
    _append("a.py")(root)
    changed = queue.begin(KEY)
    _append("src/app.py")(root)
    assert changed == {"a.py"}
    middle = scanner.update(before, changed)
    assert middle is not None
    assert queue.begin(KEY) == {"src/app.py"}
    assert scanner.update(middle, {"src/app.py"}) == _afresh(root, tmp_path)


def test_a_snapshot_is_equal_only_to_an_equal_one(root: Path, tmp_path: Path) -> None:
    """What the tests here compare."""
    snapshot = _afresh(root, tmp_path)
    assert snapshot.barred and snapshot.files and snapshot.git.uncommitted_changes
    assert snapshot != replace(snapshot, barred=[])
