"""The diff of an agent's worktree: what is in it, what is masked, and what a hostile agent cannot get into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners import worktree
from cco_sidecar.services.agents.diff import MAX_DIFF_BYTES, masked

KEY = "\n".join(["MIIEpAIBAAKCAQEA" + "q7Zb" * 12] * 6)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----"


class Place:
    """A repository, and a worktree of it on a branch."""

    def __init__(self, directory: Path) -> None:
        self.root, self.path, self.scratch = directory / "root", directory / "tree", directory / "scratch"
        self.root.mkdir()
        (self.root / "a.py").write_text("a = 1\n")
        (self.root / "b.py").write_text("b = 1\n")
        commit_all(self.root)
        git(self.root, "worktree", "add", "--quiet", "-b", "agent/x", str(self.path))

    def diff(self, foreign: tuple[Path, ...] = ()) -> tuple[str, list[str]]:
        text, untracked = worktree.diff(self.root, self.path, "agent/x", self.scratch, foreign, MAX_DIFF_BYTES)
        return text.decode(), untracked


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_has_what_is_committed_and_what_is_not(place: Place) -> None:
    (place.path / "a.py").write_text("a = 2\n")
    git(place.path, "commit", "-aqm", "two")
    (place.path / "b.py").write_text("b = 2\n")
    (place.path / "new.py").write_text("new\n")
    text, untracked = place.diff()
    assert "-a = 1\n+a = 2\n" in text and "-b = 1\n+b = 2\n" in text and untracked == ["new.py"]


def test_files_of_secrets_are_left_out_however_many_and_however_named(place: Place) -> None:
    for number in range(300):
        (place.path / f"{number}-{'x' * 200}").mkdir()
        (place.path / f"{number}-{'x' * 200}" / ".env").write_text(f"PASSWORD=hunter{number}\n")
    (place.path / "z.py").write_text("z\n")
    (place.path / "a 'quoted' \u00fc.py").write_text("diff --git a/.env b/.env\n")
    git(place.path, "add", "--all", "--force")
    text, _ = place.diff()
    assert "hunter" not in text and "+z\n" in text and "+diff --git a/.env" in text


def test_large_files_are_only_named_and_many_are_cut(place: Place) -> None:
    (place.path / "large.txt").write_bytes("\U0001f600\n".encode() * 200_000)
    git(place.path, "add", "--all")
    text, _ = place.diff()
    assert "Binary files" in text and len(text) < 1000
    for number in range(40):
        (place.path / f"{number}.txt").write_text("text\n" * 2000)
    git(place.path, "add", "--all")
    raw, _ = worktree.diff(place.root, place.path, "agent/x", place.scratch, (), MAX_DIFF_BYTES)
    assert len(raw) == MAX_DIFF_BYTES


def test_a_replaced_repository_is_refused(place: Place) -> None:
    (place.path / ".git").unlink()
    git(place.path, "init", "--quiet")
    with pytest.raises(SidecarError, match="no longer a worktree"):
        place.diff()


def test_objects_of_another_project_are_not_read(place: Place, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "s.txt").write_text("of another project\n")
    commit_all(victim)
    blob = git(victim, "rev-parse", "HEAD:s.txt").strip()
    (place.root / ".git" / "objects" / "info" / "alternates").write_text(f"{victim}/.git/objects\n")
    git(place.path, "update-index", "--add", "--cacheinfo", f"100644,{blob},loot.txt")
    git(place.path, "update-index", "--skip-worktree", "loot.txt")
    assert "of another project" in place.diff()[0]
    with pytest.raises(SidecarError):
        place.diff((victim,))


@pytest.mark.parametrize("sign", ["+", "-", " "])
def test_a_key_is_masked_on_every_kind_of_line(sign: str) -> None:
    text = masked("@@ -1,9 +1,9 @@\n" + "".join(f"{sign}{line}\n" for line in PEM.split("\n")))
    assert "q7Zb" not in text and "[masked]" in text


def test_a_key_without_its_beginning_is_masked() -> None:
    assert "q7Zb" not in masked("@@ -9,4 +9,4 @@\n" + "".join(f"+{line}\n" for line in KEY.split("\n")))


def test_a_secret_of_kubernetes_is_masked() -> None:
    manifest = [
        "apiVersion: v1",
        "kind: Secret",
        "metadata:",
        "  name: x",
        "data:",
        "  token: c2VjcmV0LW9mLXByb2R1Y3Rpb24=",
    ]
    for signs in ("++++++", "     +", "     -"):
        text = masked("".join(f"{sign}{line}\n" for sign, line in zip(signs, manifest, strict=True)))
        assert "c2VjcmV0" not in text and "kind: Secret" in text


def test_only_line_feeds_end_a_line() -> None:
    patch = "+a\x0cb\rc\u2028d\n+password = 'Tr0ub4dor&3xyz'\n"
    text = masked(patch)
    assert text.startswith("+a\x0cb\rc\u2028d\n+password = ") and "Tr0ub4dor" not in text


def test_what_is_no_secret_stays_as_it_is() -> None:
    patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n context\n-before\n+after\n\\ No newline at end of file\n"
    assert masked(patch) == patch
