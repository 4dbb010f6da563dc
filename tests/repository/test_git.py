"""One repository, read by several readers at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.repositories import commit_all, git
from tests.support.sidecars import small_repository

from cco_sidecar.repository import beneath
from cco_sidecar.repository import git as git_module
from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.git import GitRepository
from cco_sidecar.repository.layout import GitFailed, discover, require_own


def test_many_readers_at_once_while_the_head_changes(tmp_path: Path) -> None:
    root = small_repository(tmp_path / "root")
    scratch = tmp_path / "scratch"

    def look(_: int) -> str:
        repository = GitRepository(root, scratch)
        repository.open()
        return (repository.text("rev-parse", "HEAD") or "").strip()

    head = git(root, "rev-parse", "HEAD").strip()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(look, range(40))) == {head}
        for number in range(5):
            git(root, "checkout", "--quiet", "-b", f"branch-{number}")
            assert set(pool.map(look, range(20))) == {head}
    assert not list(scratch.rglob(".*")), "no half-written file is left"


@pytest.mark.parametrize(
    "part",
    [
        "objects",
        "objects/pack",
        "objects/info",
        "objects/ab/borrowed",
        "refs",
        "refs/heads/borrowed",
        "packed-refs",
        "index",
        "config",
        "info",
    ],
)
def test_links_to_another_projects_repository_are_refused(tmp_path: Path, part: str) -> None:
    mine, other = small_repository(tmp_path / "mine"), small_repository(tmp_path / "other")
    link = mine / ".git" / part
    if link.exists():
        link.rename(link.with_name("moved"))
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(other / ".git" / part)
    layout = discover(mine)
    assert layout is not None
    with pytest.raises(GitFailed, match="is a link"):
        require_own(layout, [other])


@pytest.mark.parametrize("part", ["objects", "objects/pack", "index"])
def test_a_link_that_comes_and_goes_reveals_nothing(tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another repository's part is in place only while git runs: after the check, and removed before the next one."""
    mine, other = small_repository(tmp_path / "mine"), small_repository(tmp_path / "other")
    (other / "theirs.py").write_text("secret = 1\n")
    commit_all(other, "theirs")
    link, moved = mine / ".git" / part, mine / ".git" / f"{part}.moved"
    repository = GitRepository(mine, tmp_path / "scratch", [other])
    repository.open()
    real, seen = git_module._run, []

    def run(*arguments: Any) -> Any:
        link.rename(moved)
        link.symlink_to(other / ".git" / part)
        try:
            seen.append(real(*arguments))
        finally:
            link.unlink()
            moved.rename(link)
        return seen[-1]

    monkeypatch.setattr(git_module, "_run", run)
    with pytest.raises(GitFailed, match="changed while git read it"):
        repository.text("ls-files")
    assert seen, "git ran"


@pytest.mark.parametrize("moved", ["mine", "mine/.git", "."])
def test_a_swapped_parent_directory_reveals_nothing(
    tmp_path: Path, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directories that contain a part are swapped: the git directory, the project, and its parent."""
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "other").mkdir()
    mine, other = small_repository(base / "mine"), small_repository(tmp_path / "other" / "mine")
    place, theirs, aside = base / moved, tmp_path / "other" / moved, tmp_path / "aside"
    repository = GitRepository(mine, tmp_path / "scratch", [other])
    repository.open()
    real = git_module._run

    def run(*arguments: Any) -> Any:
        place.rename(aside)
        place.symlink_to(theirs)
        try:
            return real(*arguments)
        finally:
            place.unlink()
            aside.rename(place)

    monkeypatch.setattr(git_module, "_run", run)
    with pytest.raises(GitFailed, match="changed while git read it"):
        repository.text("ls-files")


def test_a_link_in_place_of_the_git_directory_is_refused(tmp_path: Path) -> None:
    mine = small_repository(tmp_path / "mine")
    (mine / ".git").rename(mine / "elsewhere")
    (mine / ".git").symlink_to("elsewhere")
    with pytest.raises(GitFailed, match="is a link"):
        discover(mine)


def test_a_repository_is_read_while_others_write_to_it(tmp_path: Path) -> None:
    root = small_repository(tmp_path / "root")
    repository = GitRepository(root, tmp_path / "scratch", [tmp_path / "other"])
    repository.open()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            (root / "file.txt").write_text(str(number))
            commit_all(root, f"commit {number}")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(20):
            assert "commit" in (repository.text("log", "--format=commit %H") or "")
    finally:
        stop.set()
        writing.join()


@pytest.mark.parametrize("open_at", [beneath._open_at, beneath._step_by_step])
def test_files_are_opened_beneath_their_root_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_at: Callable[[int, str], int]
) -> None:
    monkeypatch.setattr(beneath, "_open_at", open_at)
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "inner").mkdir(parents=True)
    secret.mkdir()
    (secret / "key").write_text("secret")
    (root / "inner" / "file").write_text("mine")
    with open(open_beneath(root, "inner/file")) as file:
        assert file.read() == "mine"
    (root / "link").symlink_to(secret)
    (root / "inner" / "key").symlink_to(secret / "key")
    os.mkfifo(root / "fifo")
    for name in (
        "link/key",
        "inner/key",
        "../secret/key",
        "inner/../../secret/key",
        "fifo",
        "inner",
        "nothing",
        "inner/file\0x",
    ):
        with pytest.raises(OSError):
            os.close(open_beneath(root, name))


def test_the_index_is_not_written(tmp_path: Path) -> None:
    """A touched but unchanged file makes `git diff` refresh the index (diff.autoRefreshIndex)."""
    root = small_repository(tmp_path / "root")
    repository = GitRepository(root, tmp_path / "scratch", [tmp_path / "other"])
    repository.open()
    tracked = next(path for path in root.iterdir() if path.is_file())
    os.utime(tracked, (1, 1))
    index = root / ".git" / "index"
    before = (index.stat().st_ino, index.stat().st_mtime_ns)
    assert repository.run("diff", "--numstat", "HEAD").code == 0
    assert (index.stat().st_ino, index.stat().st_mtime_ns) == before
