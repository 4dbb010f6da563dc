"""What git knows of a worktree, by the git program itself."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.context import secrets
from orchestra.v1.context_service_pb2 import Commit, GitContext, UncommittedChange

log = logging.getLogger(__name__)

FULL_HISTORY = 1000
_TIMEOUT_SECONDS = 30
# Nothing that a repository's own configuration names is run, and no lock is taken beside a person's git.
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_RECORD, _FIELD = "\x1e", "\x1f"
_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "modified"}


class Git:
    """Runs git in ``root``. ``available`` is false for a plain directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._history: tuple[str, list[Commit]] = ("", [])
        self.directories: list[Path] = []
        self.available = False

    def look(self) -> None:
        """Finds out whether ``root`` is in a worktree, and where its git directories are."""
        found = self._run("rev-parse", "--is-inside-work-tree", "--absolute-git-dir", "--git-common-dir")
        self.available = found is not None and found.startswith("true\n")
        if found is None or not self.available:
            self.directories = []
            return
        _, git_dir, common = found.splitlines()[:3]
        common_dir = (self.root / common).resolve()
        heads = [Path(top) for top, _, _ in os.walk(common_dir / "refs")]
        self.directories = [Path(git_dir), Path(git_dir, "logs"), common_dir, common_dir / "info", *heads]

    def files(self) -> list[str]:
        """Tracked files and untracked ones that are not ignored, sorted."""
        listed = self._run("ls-files", "--cached", "--others", "--exclude-standard", "-z") or ""
        return sorted(set(filter(None, listed.split("\0"))))

    def ignored_directories(self) -> set[str]:
        listed = self._run("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z") or ""
        return {path.rstrip("/") for path in listed.split("\0") if path.endswith("/")}

    def state(self) -> GitContext:
        """Branch, history (newest first, up to FULL_HISTORY), uncommitted changes and remote."""
        context = GitContext()
        status = (self._run("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all") or "").split("\0")
        head = ""
        for line in status:
            if line.startswith("# branch.oid "):
                head = line.removeprefix("# branch.oid ")
            elif line.startswith("# branch.head ") and not line.endswith("(detached)"):
                context.branch = line.removeprefix("# branch.head ")
        if head and head != "(initial)":
            context.recent_commits.extend(self._commits(head))
        context.uncommitted_changes.extend(self._changes(status, initial=head in ("", "(initial)")))
        self._remote(context)
        return context

    def _commits(self, head: str) -> list[Commit]:
        if self._history[0] != head:
            form = _RECORD + _FIELD.join(("%H", "%an", "%ct", "%s", "")) + "%x00"
            text = self._run(
                "log", f"-n{FULL_HISTORY}", f"--format={form}", "--name-only", "-z", "--no-renames", "HEAD"
            )
            self._history = (head, [_commit(record) for record in (text or "").split(_RECORD)[1:]])
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
                changes.append(UncommittedChange(path=path, status=what, diff=counts.get(path, "")))
        return sorted(changes, key=lambda change: change.path)

    def _relative(self, path: str) -> str:
        """Status names paths from the worktree's top; ours are from ``root``. Empty when outside."""
        prefix = self._prefix()
        if not prefix:
            return path
        return path.removeprefix(prefix) if path.startswith(prefix) else ""

    def _prefix(self) -> str:
        return (self._run("rev-parse", "--show-prefix") or "").strip()

    def _numstat(self, initial: bool) -> dict[str, str]:
        against = ["--cached"] if initial else ["HEAD"]
        text = self._run(
            "diff",
            "--numstat",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            "--relative",
            *against,
        )
        counts = {}
        for record in (text or "").split("\0"):
            match = re.match(r"(\d+|-)\t(\d+|-)\t(.+)", record, re.DOTALL)
            if match and match[1] != "-":
                counts[match[3]] = f"+{match[1]} -{match[2]}"
        return counts

    def _remote(self, context: GitContext) -> None:
        text = self._run("config", "--get-regexp", r"^remote\..*\.url$") or ""
        remotes = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        names = [key.removeprefix("remote.").removesuffix(".url") for key in remotes]
        if names:
            context.remote = "origin" if "origin" in names else sorted(names)[0]
            context.remote_url = without_credentials(remotes[f"remote.{context.remote}.url"])

    def _run(self, *arguments: str) -> str | None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                ("git", *_SAFE, *arguments),
                cwd=self.root,
                env=environment,
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            log.warning("git %s: %s", arguments[0], problem)
            return None
        if done.returncode:
            log.debug("git %s: %s", arguments[0], done.stderr.decode(errors="replace").strip())
            return None
        return done.stdout.decode(errors="replace")


def without_credentials(url: str) -> str:
    """A remote's URL without user name and password; a path or ``git@host:path`` stays as it is."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _commit(record: str) -> Commit:
    head, _, names = record.partition("\0")
    sha, author, seconds, subject, _ = [*head.split(_FIELD), ""][:5]
    return Commit(
        hash=sha,
        message=secrets.mask(subject)[0],
        author=author,
        timestamp=Timestamp(seconds=int(seconds)),
        files_changed=[name for name in names.replace("\n", "").split("\0") if name],
    )
