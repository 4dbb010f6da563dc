"""A snapshot of a project's directory: its files and its git state."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.core.clock import LAST_MICROS, timestamp
from cco_sidecar.core.reasons import Reason
from cco_sidecar.repository import masking, metadata
from cco_sidecar.repository.history import POOL, Git
from cco_sidecar.repository.rules import NO_RULES, RULES_FILE, Rules, read_rules
from cco_sidecar.repository.watch import NO_QUEUE, Marker, Watched
from orchestra.v1.context_service_pb2 import GitContext, Metadata

# Excluded from a plain directory. A repository defines itself what it ignores.
_NEVER = frozenset(
    {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache", ".pytest_cache",
     ".ruff_cache", ".gradle", ".idea", "target", "dist", "build", ".next", ".terraform"}
)  # fmt: skip


class FileStat(NamedTuple):
    """Identifies a version of a file without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, info: os.stat_result) -> FileStat:
        return cls(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev)

    @property
    def modified(self) -> Timestamp:
        """When the file was changed. Some file systems store times that no Timestamp can be."""
        return timestamp(min(max(0, self.mtime_ns // 1000), LAST_MICROS))


def stat_of(path: Path, *, follow: bool = False) -> FileStat | None:
    """Returns the version of a file, or of what it links to; None if there is none."""
    try:
        return FileStat.of(path.stat(follow_symlinks=follow))
    except OSError:
        return None


class Barred(NamedTuple):
    """A file that must not enter any context."""

    path: str
    reason: str
    bytes: int


@dataclass(frozen=True)
class Snapshot:
    """The state of a project. ``digest`` is equal for equal files, directories, git state and metadata."""

    root: Path
    files: dict[str, FileStat]
    directories: list[str]
    barred: list[Barred]
    git: GitContext
    metadata: Metadata
    rules: Rules = NO_RULES
    digest: bytes = b""
    # Paths in ``files`` that are no files of the project.
    added: frozenset[str] = frozenset()

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The files of the project."""
        return tuple(path for path in self.files if path not in self.added) if self.added else tuple(self.files)

    def with_added(self, added: Mapping[str, FileStat]) -> Snapshot:
        """Returns a snapshot in which more can be chosen than the project's files."""
        if not added:
            return self
        return replace(self, files={**self.files, **added}, added=frozenset(added))


class Scanner:
    """Scans a project's directory, in the worker process. Blocking; one scan at a time."""

    def __init__(self, root: Path, excluded: Path, queue: int = NO_QUEUE, foreign: Sequence[Path] = ()) -> None:
        """``excluded`` is the storage directory, which is never part of a project; it may contain ``root``, a worktree.

        ``queue`` is the inotify descriptor for watches. ``foreign`` are the directories of other projects.
        """
        self.root = root
        self._excluded = excluded.resolve()
        within = self._excluded.is_relative_to(root) and self._excluded != root
        self._storage = self._excluded.relative_to(root).as_posix() if within else ""
        self._git = Git(root, self._excluded / "git", self._storage, foreign)
        self._queue = queue
        self._watch = Marker(queue)
        # Files elsewhere that decide about ours, as the last scan found them.
        self.outside: dict[Path, FileStat | None] = {}
        # Some file has several names. A change by one of them is not reported for the others.
        self._linked = False

    def scan(self, *, afresh: bool) -> tuple[Snapshot, Watched]:
        """Scans the directory. ``afresh`` drops cached git history. Raises OSError, GitFailed, RulesInvalid."""
        self._watch = Marker(self._queue)
        self._git.look(afresh=afresh)
        self._linked = False
        main = self._git.main_root
        decide = (*self._git.outside, *([main / RULES_FILE] if main is not None else []))
        # People link such files to a repository of their own.
        self.outside = {path: stat_of(path, follow=True) for path in decide}
        rules = self._rules()
        for directory in self._git.directories:
            self._watch.add_git(directory)
        self._git.read_ahead()
        if self._git.available:
            ignored = self._git.ignored_directories()
            found = self._walk(lambda path, name: name == ".git" or path in ignored)
            # Every directory is watched by now, so no later change is missed.
            attributes = any(name.endswith(".gitattributes") for _, names in found for name in names)
            state = POOL.submit(self._git.state, attributes=attributes)
            try:
                listed = self._git.files()
            except OSError:
                wait([state])
                raise
        else:
            found = self._walk(lambda path, name: name in _NEVER)
            state = None
            listed = sorted(name for _, names in found for name in names)
        directories = [path for path, _ in found if path]
        files, barred = self._sort_out(listed, {path for path, _ in found}, rules)
        git = state.result() if state is not None else GitContext()
        known = metadata.read(self.root, files)
        digest = _digest(files, directories, git, known, rules)
        return Snapshot(self.root, files, directories, barred, git, known, rules, digest), self._watch.watched()

    def update(self, before: Snapshot, changed: Collection[str]) -> Snapshot | None:
        """Returns the state after some files have changed, by path, and neither directories nor the repository nor the
        rules; None if that takes a scan. ``before`` must be what the last scan or update found. Raises GitFailed."""
        # What a repository within this one has checked out is part of our state.
        inner = {each.path for each in before.barred if each.reason in (Reason.SUBMODULE, Reason.NESTED_REPOSITORY)}
        if self._linked or any(path.startswith(f"{each}/") for each in inner for path in changed):
            return None
        listed_before = before.files.keys() | {each.path for each in before.barred}
        present = {path for path in changed if os.path.lexists(self.root / path)}
        new, git = present - listed_before, before.git
        if self._git.available and changed:
            listing = POOL.submit(self._git.files, new) if new else None
            try:
                after = self._git.state_after(before.git, {*changed, *inner})
            finally:
                new = set(listing.result()) if listing is not None else set()
            if after is None:
                return None
            git = after
        directories = {"", *before.directories}
        files, barred = self._sort_out(sorted(present & listed_before | new), directories, before.rules)
        if self._linked:
            return None
        merged = {
            path: files.get(path, info) for path, info in before.files.items() if path in files or path not in changed
        }
        if files.keys() - merged.keys():
            merged = dict(sorted((merged | files).items()))
        barred = sorted([*(each for each in before.barred if each.path not in changed), *barred])
        known = metadata.read(self.root, merged)
        digest = _digest(merged, before.directories, git, known, before.rules)
        return replace(before, files=merged, barred=barred, git=git, metadata=known, digest=digest)

    def _rules(self) -> Rules:
        """Returns the rules; those of the main working tree for a linked one that has none, as git may ignore them."""
        rules = read_rules(self.root)
        main = self._git.main_root
        return read_rules(main) if rules == NO_RULES and main is not None else rules

    def _walk(self, skip: Callable[[str, str], bool]) -> list[tuple[str, list[str]]]:
        """Returns the directories and their files, sorted. Each directory is watched before it is listed.

        ``skip(path, name)`` says whether to skip a directory.
        """
        waiting = [""]
        found: list[tuple[str, list[str]]] = []
        while waiting:
            relative = waiting.pop()
            directory = self.root / relative
            if directory == self._excluded:
                continue
            self._watch.add(directory, f"{relative}/" if relative else "")
            names: list[str] = []
            try:
                entries = list(os.scandir(directory))
            except OSError:
                if not relative:
                    raise
                continue
            for entry in entries:
                path = f"{relative}/{entry.name}" if relative else entry.name
                if not entry.is_dir(follow_symlinks=False):
                    names.append(path)
                elif not skip(path, entry.name):
                    waiting.append(path)
            found.append((relative, names))
        return sorted(found)

    def _sort_out(
        self, listed: list[str], walked: Collection[str], rules: Rules
    ) -> tuple[dict[str, FileStat], list[Barred]]:
        files: dict[str, FileStat] = {}
        barred: list[Barred] = []
        # The walk follows no links, so what it has seen is inside.
        inside = dict.fromkeys(walked, True)
        root = f"{self.root}/"
        for path in listed:
            if self._storage and (path == self._storage or path.startswith(f"{self._storage}/")):
                continue
            try:
                info = os.lstat(root + path)
            except OSError:
                continue
            parent = path.rpartition("/")[0]
            if parent not in inside:
                # If the path of a directory contains a link, its files are elsewhere.
                inside[parent] = os.path.realpath(root + parent) == root + parent
            self._linked |= info.st_nlink > 1 and stat.S_ISREG(info.st_mode)
            if stat.S_ISLNK(info.st_mode):
                barred.append(Barred(path, Reason.SYMLINK, 0))
            elif stat.S_ISDIR(info.st_mode):
                # Git lists a directory where another repository begins.
                nested = path.endswith("/")
                barred.append(Barred(path.rstrip("/"), Reason.NESTED_REPOSITORY if nested else Reason.SUBMODULE, 0))
            elif not stat.S_ISREG(info.st_mode):
                continue
            elif not inside[parent]:
                barred.append(Barred(path, Reason.OUTSIDE_ROOT, 0))
            elif masking.is_secret_file(path):
                barred.append(Barred(path, Reason.SECRET_FILE, info.st_size))
            elif rules.is_barred(path):
                barred.append(Barred(path, Reason.NEVER, info.st_size))
            else:
                files[path] = FileStat.of(info)
        return files, sorted(barred)


def _digest(
    files: dict[str, FileStat], directories: list[str], git: GitContext, known: Metadata, rules: Rules
) -> bytes:
    digest = hashlib.sha256()
    for path, info in files.items():
        digest.update(
            f"{path}\0{info.size}\0{info.mtime_ns}\0{info.ctime_ns}\0{info.inode}\n".encode("utf-8", "surrogateescape")
        )
    digest.update("\0".join(directories).encode("utf-8", "surrogateescape"))
    digest.update(git.SerializeToString(deterministic=True))
    digest.update(known.SerializeToString(deterministic=True))
    digest.update(repr(rules).encode())
    return digest.digest()
