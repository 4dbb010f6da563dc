"""Changes that no watched directory reports are seen too."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.watch import Queue
from cco_sidecar.services.context import directory
from cco_sidecar.services.context.directory import Project
from cco_sidecar.services.context.workers import Workers


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    root = tmp_path / "main"
    root.mkdir()
    for name in ("a.py", "b.py"):
        (root / name).write_text("x = 1\n" * 1000)
    commit_all(root)
    (root / "new.py").write_text("y = 1\n")
    return root


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Workers, Queue]]:
    queue = Queue()
    (tmp_path / "storage" / "context-cache").mkdir(parents=True)
    workers = Workers(queue.descriptor, tmp_path / "storage", 2**24, [])
    yield workers, queue
    workers.close()
    queue.close()


def write_through_memory(path: Path) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b"z"
        memory.flush()


async def afresh(root: Path, workers: Workers) -> bytes:
    return (await workers.call(root, "scan", root, afresh=True, keep=False)).digest


async def test_the_ignore_file_and_configuration_of_the_user(root: Path, workers: tuple[Workers, Queue]) -> None:
    home = root.parent / "home"
    project = Project(root, *workers)
    digests = [await project.current()]
    ignore = home / ".config" / "git" / "ignore"
    ignore.parent.mkdir(parents=True)
    ignore.write_text("new.py\n")
    digests.append(await project.current())
    ignore.unlink()
    (home / "mine").write_text("b*\n")
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    digests.append(await project.current())
    (home / "mine").write_text("n*\n")
    digests.append(await project.current())
    # Dotfiles are often links to a repository of their own.
    (home / ".gitconfig").rename(home / "dotfile")
    (home / ".gitconfig").symlink_to("dotfile")
    digests.append(await project.current())
    (home / "dotfile").write_text("[core]\n\texcludesFile = ~/none\n")
    digests.append(await project.current())
    assert digests[0] == digests[2] == digests[5]
    assert digests[1] == digests[3] == digests[4] != digests[0]
    assert await project.current() == await afresh(root, workers[0])


async def test_a_file_in_the_project_that_its_configuration_names(root: Path, workers: tuple[Workers, Queue]) -> None:
    (root / "mine").write_text("nothing\n")
    git(root, "config", "core.excludesFile", "mine")
    project = Project(root, *workers)
    before = await project.current()
    (root / "mine").write_text("new.py\n")
    assert before != await project.current() == await afresh(root, workers[0])


async def test_the_rules_of_the_main_working_tree(root: Path, tmp_path: Path, workers: tuple[Workers, Queue]) -> None:
    git(root, "worktree", "add", "-q", str(tmp_path / "linked"))
    project = Project(tmp_path / "linked", *workers)
    before = await project.current()
    (root / ".cco").mkdir()
    (root / ".cco" / "context.toml").write_text('never = ["a.py"]\n')
    assert before != await project.current() == await afresh(tmp_path / "linked", workers[0])


async def test_a_memory_map_is_seen_a_while_after_another_change(
    root: Path, workers: tuple[Workers, Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(root, *workers)
    before = await project.current()
    write_through_memory(root / "a.py")
    assert await project.current() == before
    monkeypatch.setattr(directory, "_SCANNED_SECONDS", 0.0)
    monkeypatch.setattr(directory, "_QUIET_SECONDS", 0.0)
    (root / "b.py").write_text("x = 2\n")
    await project.current()
    await project.verified()
    assert project._unchanged() == await afresh(root, workers[0])
    # Nothing is known of a directory that cannot be read meanwhile.
    (root / "b.py").write_text("x = 3\n")
    await project.current()
    (root / ".git").rename(root.parent / "gone")
    (root / ".git").symlink_to(root.parent / "gone")
    await project.verified()
    with pytest.raises(GitFailed):
        await project.current()
