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
# In front of every commit; behind a NUL, so that nobody's subject is taken for it.
_FORMAT = "%x00commit%x00%x00%H%x00%an%x00%ct%x00%s%x00"
_COMMIT = re.compile(r"\0commit\0\0(?=[0-9a-f]{40,64}\0)")
# 9999-12-31T23:59:59Z
_LAST_SECOND = 253_402_300_799
_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "modified"}


class GitFailed(OSError):
    """There is a repository, and git does not read it: nothing can be said of what it ignores."""


class Git:
    """Runs git in ``root``. ``available`` is false for a plain directory. ``storage`` (a path below ``root``, or
    empty) is left out of everything."""

    def __init__(self, root: Path, storage: str = "") -> None:
        self.root = root
        self._outside = [f":(exclude){storage}"] if storage else []
        self._history: tuple[object, list[Commit]] = ("", [])
        self._prefix = ""
        # What git wrote to stderr when it last failed.
        self._said = ""
        self._quiet: tuple[str, ...] = ()
        self._shallow = Path()
        self.directories: list[Path] = []
        self.available = False

    def look(self, *, afresh: bool = False) -> None:
        """Finds out whether ``root`` is in a worktree, and where its git directories are. Raises GitFailed."""
        if afresh:
            self._history = ("", [])
        self._quiet = ()
        found = self._run(
            "rev-parse", "--is-inside-work-tree", "--absolute-git-dir", "--git-common-dir", "--show-prefix"
        )
        inside = found is not None and found.startswith("true\n")
        # A root that its repository ignores is a directory of its own.
        self.available = inside and (self._run("check-ignore", "-q", ".") is None)
        if found is None and any((top / ".git").exists() for top in (self.root, *self.root.parents)):
            raise GitFailed(f"git cannot read the repository of {self.root}: {self._said or 'is it installed?'}")
        if found is None or not self.available:
            self.directories = []
            return
        _, git_dir, common, self._prefix, *_ = [*found.split("\n"), ""]
        common_dir = (self.root / common).resolve()
        self._shallow = common_dir / "shallow"
        self._quiet = self._filters_off()
        heads = [Path(top) for top, _, _ in os.walk(common_dir / "refs")]
        tops = [self.root.parents[depth] for depth in range(self._prefix.count("/"))]
        wanted = [Path(git_dir), Path(git_dir, "logs"), common_dir, common_dir / "info", *heads, *tops]
        self.directories = [path for path in wanted if path.is_dir()]

    def _filters_off(self) -> tuple[str, ...]:
        """Status and diff would run the filters that a repository's configuration names."""
        pattern = r"^filter\..*\.(clean|smudge|process|required)$"
        listed = self._run("config", "-z", "--name-only", "--get-regexp", pattern)
        off: list[str] = []
        for name in sorted(set(filter(None, (listed or "").split("\0")))):
            off += ["-c", f"{name}={'false' if name.endswith('.required') else ''}"]
        return tuple(off)

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
            "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--", ".", *self._outside
        ).split("\0")
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
            text = self._run(
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
        text = self._run(
            "diff",
            "--numstat",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            "--relative",
            *against,
            "--",
            ".",
            *self._outside,
        )
        counts = {}
        for record in (text or "").split("\0"):
            match = re.match(r"(\d+|-)\t(\d+|-)\t(.+)", record, re.DOTALL)
            if match and match[1] != "-":
                counts[match[3]] = f"+{match[1]} -{match[2]}"
        return counts

    def _remote(self, context: GitContext) -> None:
        text = self._run("config", "-z", "--get-regexp", r"^remote\..*\.url$") or ""
        pairs = [entry.split("\n", 1) for entry in text.split("\0") if "\n" in entry]
        remotes = {key.removeprefix("remote.").removesuffix(".url"): url for key, url in pairs}
        if remotes:
            name = "origin" if "origin" in remotes else min(remotes)
            context.remote = shown(name)
            context.remote_url = without_credentials(remotes[name])

    def _must(self, *arguments: str) -> str:
        text = self._run(*arguments)
        if text is None:
            raise GitFailed(f"git {arguments[0]} failed in {self.root}: {self._said}")
        return text

    def _run(self, *arguments: str) -> str | None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                ("git", *_SAFE, *self._quiet, *arguments),
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
            self._said = done.stderr.decode(errors="replace").strip()
            log.debug("git %s: %s", arguments[0], self._said)
            return None
        return os.fsdecode(done.stdout)


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
    return secrets.mask(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))[0]


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
