"""One repository, looked at by several at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.repositories import git
from tests.support.sidecars import small_repository

from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.git import GitRepository
from cco_sidecar.repository.layout import GitFailed, discover, require_own_objects


def test_many_open_it_at_once_while_its_head_changes(tmp_path: Path) -> None:
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
    assert not list(scratch.rglob(".*")), "nothing half-written is left"


@pytest.mark.parametrize("part", ["objects/pack", "objects/info", "refs", "refs/heads/borrowed", "packed-refs"])
def test_links_to_another_projects_repository_are_refused(tmp_path: Path, part: str) -> None:
    mine, other = small_repository(tmp_path / "mine"), small_repository(tmp_path / "other")
    link = mine / ".git" / part
    if link.is_dir():
        link.rename(link.with_name("moved"))
    link.symlink_to(other / ".git" / part)
    layout = discover(mine)
    assert layout is not None
    with pytest.raises(GitFailed, match="is a link"):
        require_own_objects(layout, [other])


def test_files_are_opened_beneath_their_root_only(tmp_path: Path) -> None:
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
    for name in ("link/key", "inner/key", "../secret/key", "inner/../../secret/key", "fifo", "inner", "nothing"):
        with pytest.raises(OSError):
            os.close(open_beneath(root, name))
