"""What git knows of a working tree: files, branch, history, changes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.repository import masking
from cco_sidecar.repository.git import GitRepository
from cco_sidecar.repository.layout import GitFailed
from orchestra.v1.context_service_pb2 import Commit, GitContext, UncommittedChange

FULL_HISTORY = 1000
# In front of every commit; behind a NUL, so that nobody's subject is taken for it.
_FORMAT = "%x00commit%x00%x00%H%x00%an%x00%ct%x00%s%x00"
_COMMIT = re.compile(r"\0commit\0\0(?=[0-9a-f]{40,64}\0)")
# 9999-12-31T23:59:59Z
_LAST_SECOND = 253_402_300_799
_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "modified"}


class Git:
    """What git says of ``root``. ``available`` is false for a plain directory. ``storage`` (a path below ``root``, or
    empty) is left out of everything; ``scratch`` is a directory that only we write; of ``foreign`` directories nothing
    is shown."""

    def __init__(self, root: Path, scratch: Path, storage: str = "", foreign: Sequence[Path] = ()) -> None:
        self.root = root
        self._repository = GitRepository(root, scratch, foreign)
        self._outside = [f":(exclude){storage}"] if storage else []
        self._history: tuple[object, list[Commit]] = ("", [])
        self._prefix = ""
        self._shallow = Path()
        self.directories: list[Path] = []
        self.available = False

    def look(self, *, afresh: bool = False) -> None:
        """Finds out whether ``root`` is in a working tree, and where its git directories are. Raises GitFailed."""
        if afresh:
            self._history = ("", [])
        self.directories = []
        layout = self._repository.open()
        # A root that its repository ignores is a directory of its own.
        self.available = layout is not None and (
            layout.top == self.root or self._repository.run("check-ignore", "-q", ".").code != 0
        )
        if layout is None or not self.available:
            return
        inside = self.root.relative_to(layout.top)
        self._prefix = "" if layout.top == self.root else f"{inside.as_posix()}/"
        self._shallow = layout.common_dir / "shallow"
        heads = [Path(top) for top, _, _ in os.walk(layout.common_dir / "refs")]
        tops = [self.root.parents[depth] for depth in range(len(inside.parts))]
        own = (layout.git_dir, layout.git_dir / "logs", layout.common_dir, layout.common_dir / "info")
        self.directories = [path for path in (*own, *heads, *tops) if path.is_dir()]

    def files(self) -> list[str]:
        """Tracked files and untracked ones that are not ignored, sorted."""
        listed = self._must("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", ".", *self._outside)
        return sorted(set(filter(None, listed.split("\0"))))

    def ignored_directories(self) -> set[str]:
        listed = self._must("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
        return {path.rstrip("/") for path in listed.split("\0") if path.endswith("/")}

    def state(self) -> GitContext:
        """Branch, history (newest first, up to FULL_HISTORY), uncommitted changes and remote."""
        context = GitContext()
        status = self._must(
            "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty",
            "--", ".", *self._outside,
        ).split("\0")  # fmt: skip
        head = ""
        for line in status:
            if line.startswith("# branch.oid "):
                head = line.removeprefix("# branch.oid ")
            elif line.startswith("# branch.head ") and not line.endswith("(detached)"):
                context.branch = shown(line.removeprefix("# branch.head "))
        if head and head != "(initial)":
            context.recent_commits.extend(self._commits(head))
        context.uncommitted_changes.extend(self._changes(status, initial=head in ("", "(initial)")))
        self._remote(context)
        return context

    def _commits(self, head: str) -> list[Commit]:
        key = (head, self._shallow.stat().st_mtime_ns if self._shallow.exists() else 0)
        if self._history[0] != key:
            # Naming paths drops empty commits; at the top of a worktree there is no need to.
            paths = ["--", ".", *self._outside] if self._prefix or self._outside else []
            # NUL is the one byte that no part of a commit can hold.
            text = self._repository.text(
                "log", f"-n{FULL_HISTORY}", f"--format={_FORMAT}", "--name-only", "-z",
                "--no-renames", "--no-show-signature", "--relative", head, *paths,
            )  # fmt: skip
            if text is None:
                return []
            self._history = (key, [_commit(record) for record in _COMMIT.split(text)[1:]])
        return self._history[1]

    def _changes(self, status: list[str], *, initial: bool) -> list[UncommittedChange]:
        counts = self._numstat(initial)
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
                changes.append(UncommittedChange(path=shown(path), status=what, diff=counts.get(path, "")))
        return sorted(changes, key=lambda change: change.path)

    def _relative(self, path: str) -> str:
        """Status names paths from the worktree's top; ours are from ``root``. Empty when outside."""
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else ""

    def _numstat(self, initial: bool) -> dict[str, str]:
        against = ["--cached"] if initial else ["HEAD"]
        text = self._repository.text(
            "diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty",
            "--relative", *against, "--", ".", *self._outside,
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


def without_credentials(url: str) -> str:
    """A remote's URL without user name, password and query; ``git@host:path`` stays as it is."""
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            return ""
        return shown(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")))
    user, at, rest = url.partition("@")
    return shown(url if not at or user == "git" or "/" in user else rest)


def shown(text: str) -> str:
    """A text of git's as a context may hold it: valid UTF-8, keys masked."""
    return masking.mask(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))[0]


def _commit(record: str) -> Commit:
    sha, author, seconds, subject, *names = record.split("\0")
    known = int(seconds) if seconds.isdigit() and int(seconds) <= _LAST_SECOND else 0
    return Commit(
        hash=sha,
        message=shown(subject),
        author=shown(author),
        timestamp=Timestamp(seconds=known),
        files_changed=[shown(name.lstrip("\n")) for name in names if name.strip("\n")],
    )
