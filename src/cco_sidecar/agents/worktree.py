"""A git worktree and a branch of its own for an agent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from cco_sidecar.core.errors import SidecarError, spawn_failed
from cco_sidecar.storage.files import sync_directory

_TIMEOUT = 60.0


def branch_of(agent_id: str) -> str:
    return f"agent/{agent_id}"


async def add(root: Path, path: Path, branch: str) -> None:
    """A worktree of the current commit at ``path``, or none. Raises SidecarError (AGT_001)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _mark_of(path).touch()
    # One whose directory was removed by hand is still known to git.
    await _git(root, "worktree", "prune")
    exists = await _succeeds(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    naming = (str(path), branch) if exists else ("-b", branch, str(path), "HEAD")
    try:
        code, text = await _git(root, "worktree", "add", "--quiet", *naming)
        if code:
            why = f"(git exit {code}): {text.strip()[-300:]}"
            raise spawn_failed(f"a git worktree could not be made in {root.name} {why}")
    except SidecarError:
        await drop(root, path)
        raise
    await asyncio.to_thread(_unmark, path)


def is_half_made(path: Path) -> bool:
    """True for one that was being made when the sidecar was killed, whatever became of git."""
    return _mark_of(path).exists()


def _mark_of(path: Path) -> Path:
    """There while the worktree is being made. Git's own lock does not tell: a git that was hurt takes it off first."""
    return path.with_name(f"{path.name}.making")


def _unmark(path: Path) -> None:
    """Durably: what an agent then does in there is its work."""
    if is_half_made(path):
        _mark_of(path).unlink()
        sync_directory(path.parent)


async def drop(root: Path, path: Path) -> None:
    """Without its branch: there may be work on it."""
    # Twice: also one that is locked.
    await _git(root, "worktree", "remove", "--force", "--force", str(path))
    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
    await _git(root, "worktree", "prune")
    await asyncio.to_thread(_unmark, path)


async def tidy(root: Path, path: Path, branch: str) -> bool:
    """Removes the worktree and its branch when nothing in them is lost by it: no uncommitted change, and every
    commit is on the branch that is checked out in ``root``. True when they are gone."""
    if not path.exists():  # noqa: ASYNC240
        return not await _succeeds(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    code, changes = await _git(path, "status", "--porcelain")
    if code or changes.strip():
        return False
    # Its own HEAD too: an agent may have committed on no branch at all.
    code, own = await _git(path, "rev-parse", "HEAD")
    for tip in (branch, own.strip()):
        if code or not await _succeeds(root, "merge-base", "--is-ancestor", tip, "HEAD"):
            return False
    return await remove(root, path, branch)


async def remove(root: Path, path: Path, branch: str) -> bool:
    """Removes the worktree and its branch with all that is in them."""
    await drop(root, path)
    await _git(root, "branch", "-D", branch)
    return not path.exists()  # noqa: ASYNC240


async def changed_files(path: Path, branch_base: str) -> dict[str, list[str]]:
    """Paths that differ from ``branch_base``, committed or not, by ``git diff``'s letter: A, M, D."""
    await _git(path, "add", "--all", "--intent-to-add")
    code, text = await _git(path, "diff", "--name-status", "--no-renames", "-z", branch_base)
    found: dict[str, list[str]] = {}
    parts = text.split("\0")
    for letter, name in zip(parts[::2], parts[1::2], strict=False):
        found.setdefault(letter[:1], []).append(name)
    return {} if code else found


async def base(root: Path, branch: str) -> str:
    """The commit where a branch left what is checked out; empty where there is none."""
    code, text = await _git(root, "merge-base", "HEAD", branch)
    return "" if code else text.strip()


async def _succeeds(root: Path, *arguments: str) -> bool:
    return (await _git(root, *arguments))[0] == 0


async def _git(root: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output. Raises SidecarError (AGT_001) when git is missing or hangs."""
    # In a thread: the loop's own way of starting processes forks Python, which gRPC's threads do not survive.
    return await asyncio.to_thread(_run_git, root, arguments)


def _run_git(root: Path, arguments: tuple[str, ...]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            # No daemon of git's own: what is not ours below us is taken for an agent's.
            ["git", "-C", str(root), "-c", "core.fsmonitor=false", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise spawn_failed(f"git {arguments[0]} did not end in {_TIMEOUT:g} s") from None
    except OSError as problem:
        raise spawn_failed(f"git cannot be run: {problem.strerror}") from problem
    return done.returncode, done.stdout.decode(errors="replace")
