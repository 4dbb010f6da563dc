"""What git knows about a working tree: files, branch, history and changes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.repository import masking
from cco_sidecar.repository.git import GitRepository
from cco_sidecar.repository.layout import GitFailed
from orchestra.v1.context_service_pb2 import Commit, GitContext, UncommittedChange

FULL_HISTORY = 1000
# Marks the start of a commit. It contains NULs, so that no commit subject can imitate it.
_FORMAT = "%x00commit%x00%x00%H%x00%an%x00%ct%x00%s%x00"
_COMMIT = re.compile(r"\0commit\0\0(?=[0-9a-f]{40,64}\0)")
# Files that git is asked about by name: the command line is limited, and for many, the whole tree is as fast.
_MOST_NAMED = 100
# Runs git while files are looked at, or another git.
POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="git")
# 9999-12-31T23:59:59Z
_LAST_SECOND = 253_402_300_799
_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "modified"}

# An entry of `git ls-files --debug -z`: the path, and the time of the file in seconds and nanoseconds.
_INDEXED = re.compile(r"([^\0]+)\0  ctime: [^\n]*\n  mtime: (\d+):(\d+)\n(?:  [^\n]*\n)*")


class _Change(NamedTuple):
    """A path from ``root`` that differs from HEAD. ``in_tree_only``: the index is the same as HEAD."""

    path: str
    status: str
    in_tree_only: bool


class Git:
    """Git information about ``root``. ``available`` is false for a plain directory. Blocking; once looked at, it may be
    read from several threads.

    ``storage`` (a path below ``root``, or empty) is excluded everywhere. ``scratch`` is a directory that only we write.
    The contents of ``foreign`` directories are never exposed.
    """

    def __init__(self, root: Path, scratch: Path, storage: str = "", foreign: Sequence[Path] = ()) -> None:
        self.root = root
        self._repository = GitRepository(root, scratch, foreign)
        self._outside = [f":(exclude){storage}"] if storage else []
        self._history: tuple[object, list[Commit]] = ("", [])
        self._ahead: Future[tuple[str, list[Commit] | None]] | None = None
        self._prefix = ""
        self._shallow = Path()
        self._outer_attributes = False
        # Where this directory is in the main working tree, for a linked one (git-worktree(1)).
        self.main_root: Path | None = None
        self.directories: list[Path] = []
        self.available = False
        # Whether there is no commit yet, and whether attributes can name filters, as of the last `state`.
        self._initial = False
        self._filters = True

    @property
    def outside(self) -> tuple[Path, ...]:
        """Files elsewhere that say what git ignores."""
        return self._repository.outside if self._repository.layout is not None else ()

    def look(self, *, afresh: bool = False) -> None:
        """Checks whether ``root`` is in a working tree, and finds its git directories. Raises GitFailed.

        ``afresh`` drops the cached history.
        """
        if afresh:
            self._history = ("", [])
        self.directories = []
        layout = self._repository.open()
        # A root that its repository ignores counts as a plain directory.
        self.available = layout is not None and (
            layout.top == self.root or self._repository.run("check-ignore", "-q", ".").code != 0
        )
        if layout is None or not self.available:
            return
        inside = self.root.relative_to(layout.top)
        self._prefix = "" if layout.top == self.root else f"{inside.as_posix()}/"
        self._shallow = layout.common_dir / "shallow"
        linked = layout.git_dir != layout.common_dir and layout.common_dir.name == ".git"
        self.main_root = layout.common_dir.parent / inside if linked else None
        heads = [Path(top) for top, _, _ in os.walk(layout.common_dir / "refs")]
        tops = [self.root.parents[depth] for depth in range(len(inside.parts))]
        own = (layout.git_dir, layout.git_dir / "logs", layout.common_dir, layout.common_dir / "info")
        self.directories = [path for path in (*own, *heads, *tops) if path.is_dir()]
        attributes = [top / ".gitattributes" for top in tops] + [layout.common_dir / "info" / "attributes"]
        self._outer_attributes = any(path.exists() for path in attributes)

    def files(self, paths: Collection[str] = ()) -> list[str]:
        """Returns the tracked and the untracked files that are not ignored, sorted; only of ``paths``, if there are
        some. Raises GitFailed."""
        listed = self._must("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *self._named(paths))
        return sorted(set(filter(None, listed.split("\0"))))

    def ignored_directories(self) -> set[str]:
        """Returns the directories that git ignores, whatever is in them."""
        listed = self._must("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
        # It lists those too that have only ignored files. Others may come.
        found = [path.rstrip("/") for path in listed.split("\0") if path.endswith("/")]
        if not found:
            return set()
        given = os.fsencode("\0".join(found))
        named = self._repository.run("check-ignore", "-z", "--stdin", "--no-index", given=given)
        return set(os.fsdecode(named.output).split("\0")) - {""}

    def _named(self, paths: Collection[str]) -> list[str]:
        """Returns arguments of git for a few paths, or for the whole directory if there are none or too many."""
        named = [f":(literal){path}" for path in sorted(paths)] if 0 < len(paths) <= _MOST_NAMED else ["."]
        return [*named, *self._outside]

    def state(self, *, attributes: bool = True) -> GitContext:
        """Returns the branch, the history (newest first, up to FULL_HISTORY), uncommitted changes and the remote.

        ``attributes``: there are files of attributes below ``root``. Raises GitFailed.
        """
        self._filters = attributes or self._outer_attributes
        context = GitContext()
        status = self._status(())
        head = ""
        for line in status:
            if line.startswith("# branch.oid "):
                head = line.removeprefix("# branch.oid ")
            elif line.startswith("# branch.head ") and not line.endswith("(detached)"):
                context.branch = shown(line.removeprefix("# branch.head "))
        if head and head != "(initial)":
            commits = self.commits(head)
            context.recent_commits.extend(commits[:FULL_HISTORY])
            context.older_commits = len(commits) > FULL_HISTORY or self._shallow.exists()
        self._initial = head in ("", "(initial)")
        changes = self._without_filtered(self._changes(status))
        tracked = [change.path for change in changes if change.status != "untracked"]
        counts = self._numstat(tracked) if tracked else {}
        context.uncommitted_changes.extend(_uncommitted(changes, counts))
        self._remote(context)
        return context

    def state_after(self, known: GitContext, paths: Collection[str]) -> GitContext | None:
        """Returns the state after only some files of the working tree have changed; None if it takes more to know. At
        most 100 ``paths``. Raises GitFailed."""
        if any(shown(path) != path for path in paths) or any(map(_is_shown_otherwise, known.uncommitted_changes)):
            # Several paths may be shown alike.
            return None
        counting = POOL.submit(self._numstat, paths)
        try:
            status = self._changes(self._status(paths))
            # A path that was a directory names the files in it too.
            changes = self._without_filtered([change for change in status if change.path in paths])
        finally:
            counts = counting.result()
        kept = [change for change in known.uncommitted_changes if change.path not in paths]
        fresh = sorted((*kept, *_uncommitted(changes, counts)), key=lambda change: change.path)
        states = {change.status for change in fresh}
        if states & {"renamed", "copied"} or {"added", "deleted"} <= states:
            # A status of some paths does not see both sides of a rename.
            return None
        context = GitContext()
        context.CopyFrom(known)
        del context.uncommitted_changes[:]
        context.uncommitted_changes.extend(fresh)
        return context

    def _status(self, paths: Collection[str]) -> list[str]:
        return self._must(
            "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty",
            "--", *self._named(paths),
        ).split("\0")  # fmt: skip

    def commits(self, head: str) -> list[Commit]:
        """Returns the history of a commit, newest first, up to one more than FULL_HISTORY."""
        key = (head, self._shallow.stat().st_mtime_ns if self._shallow.exists() else 0)
        if self._history[0] != key:
            ahead, self._ahead = self._ahead, None
            known, commits = ahead.result() if ahead is not None else ("", None)
            if known != head:
                commits = self._log(head)
            if commits is None:
                return []
            self._history = (key, commits)
        return self._history[1]

    def read_ahead(self) -> None:
        """Begins to read the history if none is known: it takes longer than all else."""
        if self.available and not self._history[1]:
            self._ahead = POOL.submit(self._log_of_head)

    def _log_of_head(self) -> tuple[str, list[Commit] | None]:
        head = (self._repository.text("rev-parse", "--verify", "-q", "HEAD") or "").strip()
        return head, self._log(head) if head else None

    def _log(self, head: str) -> list[Commit] | None:
        # Path arguments drop empty commits, so pass them only where needed.
        paths = ["--", ".", *self._outside] if self._prefix or self._outside else []
        # NUL is the only byte that no part of a commit can contain.
        text = self._repository.text(
            "log", f"-n{FULL_HISTORY + 1}", f"--format={_FORMAT}", "--name-only", "-z",
            "--no-renames", "--no-show-signature", "--relative", head, *paths,
        )  # fmt: skip
        if text is None:
            return None
        # Most histories hold no secret; to look once is much faster than at each name. A value may end with its line.
        lines = _decoded(text.replace("\0", "\n"))
        show = _decoded if masking.mask(lines) == lines else shown
        return [_commit(record, show) for record in _COMMIT.split(text)[1:]]

    def _changes(self, status: list[str]) -> list[_Change]:
        changes = []
        lines = iter(status)
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind in ("1", "2", "u"):
                fields = rest.split(" ", {"1": 7, "2": 8, "u": 9}[kind])
                path, letters = fields[-1], fields[0]
                if kind == "2":
                    next(lines, None)
                letter = next((c for c in letters if c != "."), "M")
                what = "conflicted" if kind == "u" else _STATUS.get(letter, "modified")
            elif kind == "?":
                path, what = rest, "untracked"
            else:
                continue
            path = self._relative(path)
            if path:
                # The first letter compares the index with HEAD, the second the working tree with the index.
                in_tree_only = kind == "1" and letters == ".M"
                changes.append(_Change(path, what, in_tree_only=in_tree_only))
        return changes

    def _without_filtered(self, changes: list[_Change]) -> list[_Change]:
        """Leaves out files that are managed by a filter, such as Git LFS, and as old as the index knows them.

        Git compares them by running the filter, which we never do, so it takes such a file for modified whenever it
        cannot go by the time alone (gitattributes(5), racy-git).
        """
        modified = [change.path for change in changes if change.in_tree_only] if self._filters else []
        if not modified:
            return changes
        given = os.fsencode("\0".join(modified))
        listed = self._repository.run("check-attr", "-z", "--stdin", "filter", given=given)
        fields = os.fsdecode(listed.output).split("\0")
        filtered = {
            path
            for path, value in zip(fields[::3], fields[2::3], strict=False)
            if value not in ("unspecified", "unset")
        }
        same = self._as_old_as_the_index(filtered) if filtered else set()
        return [change for change in changes if not (change.in_tree_only and change.path in same)]

    def _as_old_as_the_index(self, paths: set[str]) -> set[str]:
        listed = self._repository.text("ls-files", "--debug", "-z", "--", *self._named(paths)) or ""
        same = set()
        for match in _INDEXED.finditer(listed):
            if match[1] in paths:
                with suppress(OSError):
                    known = int(match[2]) * 10**9 + int(match[3])
                    if (self.root / match[1]).lstat().st_mtime_ns == known:
                        same.add(match[1])
        return same

    def _relative(self, path: str) -> str:
        """Converts a path from the top of the worktree to one from ``root``; empty if it is outside."""
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else ""

    def _numstat(self, changed: Collection[str]) -> dict[str, str]:
        """Returns the numbers of lines added to and removed from tracked files."""
        against = ["--cached"] if self._initial else ["HEAD"]
        text = self._repository.text(
            "diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty",
            "--relative", *against, "--", *self._named(changed),
        )  # fmt: skip
        counts = {}
        for record in (text or "").split("\0"):
            match = re.match(r"(\d+|-)\t(\d+|-)\t(.+)", record, re.DOTALL)
            if match and match[1] != "-":
                counts[match[3]] = f"+{match[1]} -{match[2]}"
        return counts

    def _remote(self, context: GitContext) -> None:
        remotes = self._repository.remotes
        if remotes:
            name = "origin" if "origin" in remotes else min(remotes)
            context.remote = shown(name)
            context.remote_url = without_credentials(remotes[name])

    def _must(self, *arguments: str) -> str:
        done = self._repository.run(*arguments)
        if done.code:
            raise GitFailed(f"git {arguments[0]} failed in {self.root}", done.said)
        return os.fsdecode(done.output)


def _is_shown_otherwise(change: UncommittedChange) -> bool:
    return masking.MASK in change.path or "\ufffd" in change.path


def _uncommitted(changes: Iterable[_Change], counts: Mapping[str, str]) -> list[UncommittedChange]:
    """Returns the changes by path. ``counts``: lines added and removed, by path."""
    found = [
        UncommittedChange(path=shown(each.path), status=each.status, diff=counts.get(each.path, "")) for each in changes
    ]
    return sorted(found, key=lambda change: change.path)


def without_credentials(url: str) -> str:
    """Returns a remote's URL without user name, password, query and fragment. Keeps ``git@host:path``."""
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            return ""
        return shown(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")))
    user, at, rest = url.partition("@")
    return shown(url if not at or user == "git" or "/" in user else rest)


def shown(text: str) -> str:
    """Makes git output safe for a context: valid UTF-8, with secrets masked."""
    return masking.mask(_decoded(text))


def _decoded(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _commit(record: str, show: Callable[[str], str]) -> Commit:
    """``show`` makes its texts safe."""
    sha, author, seconds, subject, *names = record.split("\0")
    known = int(seconds) if seconds.isdigit() and int(seconds) <= _LAST_SECOND else 0
    return Commit(
        hash=sha,
        message=show(subject),
        author=show(author),
        timestamp=Timestamp(seconds=known),
        files_changed=[show(name.lstrip("\n")) for name in names if name.strip("\n")],
    )
