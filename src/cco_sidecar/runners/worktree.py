"""Creates and removes a git worktree, with its own branch, for an agent.

Filters and hooks of the repository may run while the worktree is created. Therefore ``PREPARE`` runs as the agent, with
its environment, limits and sandbox. The git commands that the sidecar itself runs start no other program.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cco_sidecar.core.errors import spawn_failed
from cco_sidecar.repository import git
from cco_sidecar.repository.git import Done, GitRepository
from cco_sidecar.repository.layout import GitFailed, small_file
from cco_sidecar.repository.masking import is_secret_file
from cco_sidecar.storage.files import sync_directory

# git-worktree(1) in three steps, so that the failing step can be named. flock runs one at a time: git fails if it reads
# what another process is writing. `--lock` protects the worktree from `git worktree prune` of other agents, which
# cannot see its directory. The hook runs as git runs it (githooks(5), post-checkout).
PREPARE = """
root=$1 path=$2; shift 2
fail() { code=$?; echo "$1 failed (exit $code)"; exit 1; }
cd "$root" || fail "entering $root"
command -v flock >/dev/null || flock() { :; }
common=$(git rev-parse --git-common-dir)
( flock -w 30 9; git worktree add --quiet --no-checkout --lock "$@" ) 9>"$common/cco-worktree.lock" \\
  || fail "git worktree add"
cd "$path" && git reset --quiet --hard --no-recurse-submodules || fail "checking the files out"
hook=$(git rev-parse --git-path hooks/post-checkout)
test ! -x "$hook" || {
  echo "running the hook post-checkout"
  "$hook" "$(printf '%040d' 0)" "$(git rev-parse HEAD)" 1 || fail "the hook post-checkout"
}
"""
# Refs that say what the branches of a runner started from: its own HEAD is another than that of the sidecar.
_STARTS = "refs/cco/starts/"
# An ID in full (git-rev-parse(1)), and nothing that git could take for an option.
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# So many times what is wanted of a diff is read, because files of secrets are left out of it.
_READ = 32


class Repository:
    """The repository that worktrees are created from. Its methods block. Raises SidecarError (AGT_001) if there is no
    repository, or if git cannot be run."""

    def __init__(self, root: Path, scratch: Path, foreign: Sequence[Path] = ()) -> None:
        """``foreign``: directories whose contents must not be exposed."""
        self._git = GitRepository(root, scratch, foreign)
        try:
            found = self._git.open()
        except GitFailed as problem:
            raise spawn_failed(str(problem)) from problem
        if found is None:
            raise spawn_failed(f"{root.name} is not a git repository; isolation 'worktree' needs one")
        self._layout = found

    @property
    def common_dir(self) -> Path:
        """The directory that all worktrees of the repository share."""
        return self._layout.common_dir

    def commit_of(self, reference: str) -> str:
        """Returns the commit that a branch or another reference names; empty if there is none."""
        return self._text("rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")

    def tips(self, most: int) -> list[str]:
        """Returns the newest commits that have a name and all that leads to them, at most so many."""
        if self.is_partial:
            return []
        newest = ("--sort=-creatordate", f"--count={most}", "--format=%(objectname)")
        return self._text("for-each-ref", *newest, "refs/heads", "refs/remotes", "refs/tags").split()

    def pack(self, wanted: str, have: Sequence[str]) -> bytes:
        """Returns a commit and all that leads to it, without what leads to ``have``. Commits that are not here are
        ignored."""
        known = [each for each in have if _COMMIT.fullmatch(each) and self.commit_of(each)]
        given = "".join(f"{line}\n" for line in (wanted, *(f"^{each}" for each in known)))
        arguments = ("pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "--quiet")
        done = self._done(*arguments, given=given.encode())
        if done.code:
            raise spawn_failed(f"the commits of {self._git.root.name} cannot be read: {done.said[:200]}")
        return done.output

    @property
    def is_partial(self) -> bool:
        """Whether not everything that leads to a commit is here (git-clone(1), --depth and --filter)."""
        common = self._layout.common_dir
        return (common / "shallow").exists() or any((common / "objects" / "pack").glob("*.promisor"))

    def take(self, pack: bytes, tip: str) -> None:
        """Stores a pack that makes the commit ``tip`` complete. Raises SidecarError (AGT_001) if it does not, or is
        damaged; then nothing of it stays."""
        if not _COMMIT.fullmatch(tip):
            raise spawn_failed(f"{tip[:80]!r} is not the ID of a commit")
        objects = self._layout.common_dir / "objects"
        with tempfile.TemporaryDirectory(dir=objects, prefix="incoming-") as directory:
            apart = Path(directory)
            (apart / "pack").mkdir()
            if pack:
                stored = self._done("index-pack", "--stdin", "--fix-thin", "--strict", given=pack, objects=apart)
                if stored.code:
                    raise spawn_failed(f"the commits cannot be stored: {stored.said[:200]}")
            if self._done("rev-list", "--objects", "--quiet", tip, "--not", "--all", "--", objects=apart).code:
                fix = "if a repository is a shallow or partial clone, fix: git fetch --unshallow, or clone it again"
                raise spawn_failed(f"what leads to commit {tip[:12]} is missing; {fix}")
            # The index last: with it, git finds the pack.
            for file in sorted((apart / "pack").iterdir(), key=lambda each: each.suffix == ".idx"):
                file.rename(objects / "pack" / file.name)

    def advance(self, branch: str, pack: bytes, tip: str) -> None:
        """Stores what an agent added to its branch elsewhere, and makes the branch name it. Raises SidecarError
        (AGT_001) if that is not what was here, and more."""
        former = self.commit_of(f"refs/heads/{branch}")
        start = former or self.commit_of(_STARTS + branch)
        if not start or tip == former:
            return
        if _COMMIT.fullmatch(tip) and tip != start and self.commit_of(tip):
            # Nobody makes others' work his own by naming it.
            raise spawn_failed(f"commit {tip[:12]} is here, and not of branch {branch}")
        self.take(pack, tip)
        if not self._succeeds("merge-base", "--is-ancestor", start, tip):
            raise spawn_failed(f"branch {branch} was changed here too, or rewritten there: {tip[:12]} does not follow")
        if not self._succeeds("update-ref", f"refs/heads/{branch}", tip, former or "0" * len(tip)):
            raise spawn_failed(f"branch {branch} cannot be written")

    def has_branch(self, branch: str) -> bool:
        """Whether the branch exists."""
        return bool(self._text("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"))

    def is_merged(self, commit: str) -> bool:
        """Whether the checked-out branch contains the commit."""
        return self._succeeds("merge-base", "--is-ancestor", commit, "HEAD")

    def is_clean(self) -> bool:
        """Whether there is no uncommitted change and no untracked file."""
        done = self._run("status", "--porcelain", "--ignore-submodules=dirty")
        return done[0] == 0 and not done[1].strip()

    def fork_point(self, branch: str) -> str:
        """Returns the merge base of a branch and of what it started from: the checked-out branch, unless ``note_start``
        said otherwise. Empty if there is none."""
        return self._text("merge-base", self.commit_of(_STARTS + branch) or "HEAD", branch)

    def note_start(self, branch: str, commit: str) -> None:
        """Notes what a new branch starts from. Raises SidecarError (AGT_001)."""
        if not self._succeeds("update-ref", _STARTS + branch, commit):
            raise spawn_failed(f"the start of branch {branch} cannot be written")

    def changed_files(self, base: str) -> dict[str, list[str]]:
        """Returns the paths that differ from a commit, committed or not, by the letter of ``git diff``: A, M, D."""
        found: dict[str, list[str]] = {}
        done = self._done(
            "diff", "--name-status", "--no-renames", "--no-ext-diff", "--ignore-submodules=dirty", "-z", base
        )
        parts = _names(done.output)
        for letter, name in zip(parts[::2], parts[1::2], strict=False):
            found.setdefault(letter[:1], []).append(name)
        found.setdefault("A", []).extend(self.untracked_files())
        return {} if done.code else {letter: sorted(names) for letter, names in found.items() if names}

    def untracked_files(self) -> list[str]:
        """Returns the files that git neither knows nor ignores."""
        return sorted(filter(None, _names(self._output("ls-files", "--others", "--exclude-standard", "-z"))))

    def diff(self, base: str, most: int) -> bytes:
        """Returns up to ``most`` bytes of what differs from a commit, committed or not, as ``git diff`` prints it.

        Files of secrets are left out, and large ones are only named.
        """
        options = ("--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", base, "--")
        names = self._output("diff", "--name-only", "-z", *options).split(b"\0")
        large = ("-c", f"core.bigFileThreshold={most}")
        text = self._output(*large, "diff", "--no-color", *options, cut_at=_READ * most)
        # Each part begins with this line, and no other line does: those of a file begin with a sign.
        parts = re.split(rb"(?m)^(?=diff --)", text)
        kept = [part for name, part in zip(names, parts[1:], strict=False) if not is_secret_file(os.fsdecode(name))]
        return b"".join(kept)[:most]

    def forget_worktree(self, path: Path) -> None:
        """Removes the repository's administrative files of the worktree at ``path``."""
        wanted = str(path / ".git")
        for known in (self._layout.common_dir / "worktrees").glob("*/gitdir"):
            try:
                # The path is relative with worktree.useRelativePaths (git-config(1)).
                if os.path.normpath(known.parent / os.fsdecode(small_file(known).strip())) == wanted:
                    shutil.rmtree(known.parent, ignore_errors=True)
            except GitFailed:
                continue

    def delete_branch(self, branch: str) -> None:
        """Deletes a branch, merged or not."""
        self._run("update-ref", "-d", f"refs/heads/{branch}")
        self._run("update-ref", "-d", _STARTS + branch)

    def _text(self, *arguments: str) -> str:
        code, text = self._run(*arguments)
        return "" if code else text.strip()

    def _succeeds(self, *arguments: str) -> bool:
        return self._run(*arguments)[0] == 0

    def _run(self, *arguments: str) -> tuple[int, str]:
        done = self._done(*arguments)
        return done.code, os.fsdecode(done.output)

    def _output(self, *arguments: str, cut_at: int | None = None) -> bytes:
        return self._done(*arguments, cut_at=cut_at).output

    def _done(
        self, *arguments: str, cut_at: int | None = None, given: bytes = b"", objects: Path | None = None
    ) -> Done:
        try:
            return self._git.run(*arguments, cut_at=cut_at, given=given, objects=objects)
        except GitFailed as problem:
            raise spawn_failed(str(problem)) from problem


def _names(output: bytes) -> list[str]:
    """Returns file names to be shown: what is not UTF-8 is replaced."""
    return output.decode(errors="replace").split("\0")


def begin(root: Path, path: Path, scratch: Path) -> None:
    """Creates an empty directory for the worktree, and marks it as incomplete. Raises SidecarError (AGT_001)."""
    Repository(root, scratch).forget_worktree(path)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)
    _mark_of(path).touch()


def command(root: Path, path: Path, branch: str, base: str, scratch: Path) -> list[str]:
    """Returns the command that creates the worktree: on the existing branch, or on a new one from ``base``. Raises
    SidecarError (AGT_001)."""
    repository = Repository(root, scratch)
    exists = repository.has_branch(branch)
    if not exists and not repository.commit_of(base):
        raise spawn_failed(f"{root.name} has no commit yet; a worktree needs one to start from")
    # The agent's own branch may be checked out at a machine that is lost, if the repository is shared.
    naming = ("--force", str(path), branch) if exists else ("-b", branch, str(path), base)
    return ["sh", "-c", PREPARE, "prepare", str(root), str(path), *naming]


def is_half_made(path: Path) -> bool:
    """Whether the creation of the worktree was interrupted, for example because the sidecar was killed."""
    return _mark_of(path).exists()


def _mark_of(path: Path) -> Path:
    """Returns the file that exists while the worktree is created. git's own lock is not enough: an interrupted git
    removes it."""
    return path.with_name(f"{path.name}.making")


def finish(path: Path) -> None:
    """Removes the mark durably: from now on the content is the agent's work."""
    if is_half_made(path):
        _mark_of(path).unlink()
        sync_directory(path.parent)


def drop(root: Path, path: Path, scratch: Path) -> None:
    """Removes the worktree but keeps its branch, which may hold work."""
    shutil.rmtree(path, ignore_errors=True)
    Repository(root, scratch).forget_worktree(path)
    git.forget(path, scratch)
    finish(path)


def tidy(root: Path, path: Path, branch: str, scratch: Path, merged: str = "") -> bool:
    """Removes the worktree and its branch if no work is lost: no uncommitted change, and every commit is on the branch
    that is checked out in ``root``, or is ``merged`` elsewhere. Returns True if they are gone."""
    main = Repository(root, scratch)
    if not path.exists():
        return not main.has_branch(branch)
    own = Repository(path, scratch)
    # Check its HEAD too: the agent may have committed on a detached HEAD.
    tips: Sequence[str] = (main.commit_of(f"refs/heads/{branch}"), own.commit_of("HEAD"))
    if not own.is_clean() or not all(tip and (tip == merged or main.is_merged(tip)) for tip in tips):
        return False
    return remove(root, path, branch, scratch)


def remove(root: Path, path: Path, branch: str, scratch: Path) -> bool:
    """Removes the worktree and its branch, including unmerged work. Returns True if the worktree is gone."""
    drop(root, path, scratch)
    Repository(root, scratch).delete_branch(branch)
    return not path.exists()


def diff(
    root: Path, path: Path, branch: str, scratch: Path, foreign: Sequence[Path], most: int
) -> tuple[bytes, list[str]]:
    """Returns up to ``most`` bytes of the diff of the worktree against the commit at which its branch left the
    checked-out one, and the files that git does not know; empty if that commit cannot be determined.

    Raises SidecarError (AGT_001), also when the agent has replaced its repository.
    """
    main, own = Repository(root, scratch), Repository(path, scratch, foreign)
    if own.common_dir != main.common_dir:
        raise spawn_failed(f"{path.name} is no longer a worktree of {root.name}")
    base = main.fork_point(branch)
    return (own.diff(base, most), own.untracked_files()) if base else (b"", [])


def changed_files(root: Path, path: Path, branch: str, scratch: Path) -> dict[str, list[str]]:
    """Returns what the agent changed, by the letter of ``git diff``; empty if that cannot be determined."""
    base = Repository(root, scratch).fork_point(branch)
    return Repository(path, scratch).changed_files(base) if base else {}
