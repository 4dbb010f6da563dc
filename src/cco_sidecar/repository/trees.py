"""Reads commits and the trees of the past from a repository's objects, without checking anything out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.lru import ByteLru
from cco_sidecar.repository import masking
from cco_sidecar.repository.file_cache import FileCache, Raw, raw_of
from cco_sidecar.repository.git import GitRepository
from cco_sidecar.repository.history import FULL_HISTORY, Git
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.rules import read_rules
from cco_sidecar.repository.snapshot import FileStat, Snapshot
from orchestra.v1.context_service_pb2 import GitContext, Metadata

_RECORD = re.compile(r"\0commit\0\0")
_FORMAT = "%x00commit%x00%x00%H%x00%P%x00%an%x00%B"
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
# Lines around a change that belong to it.
_AROUND = 3
_TIMEOUT_SECONDS = 120.0
# Files up to this size are read together; few are larger.
_READ_TOGETHER_BYTES = 1024 * 1024


class PastCommit(NamedTuple):
    """A commit with one parent."""

    sha: str
    parent: str
    author: str
    message: str


class Trees:
    """The past of a repository. Blocking, and not thread-safe. ``texts`` has the files of the snapshots that were
    returned."""

    def __init__(self, root: Path, scratch: Path, cache_bytes: int) -> None:
        """The rules of ``root`` apply to its past. Raises GitFailed if it is no repository, RulesInvalid."""
        self._root = root
        self._rules = read_rules(root)
        self._git = Git(root, scratch)
        self._repository = GitRepository(root, scratch)
        if self._repository.open() is None:
            raise GitFailed(f"{root} is not in a git repository")
        self._git.look()
        self._blobs: ByteLru[str, bytes] = ByteLru(cache_bytes // 2)
        self._names: dict[FileStat, str] = {}
        self.texts: FileCache = _PastFiles(self, cache_bytes // 2)

    def commits(self, most: int) -> list[PastCommit]:
        """Returns the newest commits that are no merges and have a parent. Raises GitFailed."""
        if self._repository.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").code:
            return []
        text = self._output("log", "--no-merges", f"-n{most}", f"--format={_FORMAT}", "--no-show-signature", "HEAD")
        found = []
        for record in _RECORD.split(text.decode("utf-8", "replace"))[1:]:
            sha, parent, author, message = record.split("\0", 3)
            if parent and " " not in parent:
                found.append(PastCommit(sha, parent, author, masking.mask(message.strip())))
        return found

    def hunks(self, commit: PastCommit) -> dict[str, list[tuple[int, int]]]:
        """Returns the lines that a commit changed in files that exist before and after it, in the parent's numbering
        from 1, with three lines around. Raises GitFailed."""
        output = self._output(
            "-c", "core.quotePath=false", "diff-tree", "-r", "-p", "-U0", "--no-renames", "--no-ext-diff",
            "--no-textconv", "--diff-filter=M", "--relative", "--src-prefix=a/", "--dst-prefix=b/", commit.parent,
            commit.sha,
        )  # fmt: skip
        found: dict[str, list[tuple[int, int]]] = {}
        path = ""
        # Lines of a hunk that are still to come: they may look like headers.
        left = 0
        for line in output.split(b"\n"):
            if left:
                left -= line[:1] in (b"-", b"+")
            elif line.startswith(b"diff --git "):
                path = ""
            elif line.startswith((b"--- a/", b'--- "a/')):
                path = _unquoted(line[4:].rstrip(b"\t"))[2:]
            elif path and (match := _HUNK.match(line)):
                start, count = int(match[1]), int(match[2] or b"1")
                left = count + int(match[3] or b"1")
                # Nothing is removed: the lines around the place after `start` where something is added.
                first, last = (start + 1, start) if count == 0 else (start, start + count - 1)
                found.setdefault(path, []).append((max(1, first - _AROUND), last + _AROUND))
        return found

    def snapshot(self, commit: str) -> Snapshot:
        """Returns the files and the history of a commit, without the files that no agent gets. Raises GitFailed."""
        files: dict[str, FileStat] = {}
        listed = self._output("ls-tree", "-r", "-l", "-z", commit)
        for record in os.fsdecode(listed).split("\0")[:-1]:
            fields, _, path = record.partition("\t")
            mode, kind, name, size = fields.split()
            # Git says `BAD` for an object that is not there, as in a partial clone.
            barred = masking.is_secret_file(path) or self._rules.is_barred(path)
            if kind == "blob" and size.isdigit() and mode != "120000" and not barred:
                info = FileStat(int(size), 0, 0, int(name[:15], 16), 0)
                self._names[info] = name
                files[path] = info
        self._load([info for info in files.values() if info.size <= _READ_TOGETHER_BYTES])
        directories = sorted({parent for path in files for parent in _parents(path)})
        git = GitContext(recent_commits=self._git.commits(commit)[:FULL_HISTORY])
        return Snapshot(self._root, files, directories, [], git, Metadata(), self._rules)

    def blob(self, info: FileStat) -> bytes:
        """Returns the content of a file of a snapshot. Raises GitFailed."""
        name = self._names[info]
        data = self._blobs.get(name)
        if data is None:
            self._load([info])
            data = self._blobs.get(name)
        return data if data is not None else self._output("cat-file", "blob", name)

    def _load(self, wanted: list[FileStat]) -> None:
        names = [name for name in {self._names[info] for info in wanted} if self._blobs.get(name) is None]
        if not names:
            return
        output = self._output("cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode())
        for name, data in _batched(output):
            self._blobs.put(name, data, len(data) + 200)

    def _output(self, *arguments: str, given: bytes = b"") -> bytes:
        done = self._repository.run(*arguments, given=given, timeout=_TIMEOUT_SECONDS)
        if done.code:
            raise GitFailed(f"git {arguments[0]} failed in {self._root}", done.said)
        return done.output


class _PastFiles(FileCache):
    def __init__(self, trees: Trees, most_bytes: int) -> None:
        super().__init__(most_bytes)
        self._trees = trees

    def raw(self, root: Path, path: str, info: FileStat) -> Raw:
        return raw_of(self._trees.blob(info), info)


def _unquoted(name: bytes) -> str:
    """Returns a file name of git's output, where unusual ones are written as C strings (core.quotePath,
    git-config(1))."""
    if name.startswith(b'"'):
        name = _ESCAPE.sub(
            lambda match: bytes([int(match[1], 8)]) if len(match[1]) == 3 else _ESCAPED.get(match[1], match[1]),
            name[1:-1],
        )
    return os.fsdecode(name)


def _batched(output: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents from the output of ``git cat-file --batch``."""
    at = 0
    while at < len(output):
        end = output.index(b"\n", at)
        name, kind, *size = output[at:end].split()
        at = end + 1
        if kind == b"blob":
            yield name.decode(), output[at : at + int(size[0])]
            at += int(size[0]) + 1


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
