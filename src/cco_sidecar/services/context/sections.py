"""The sections of a context other than files, each within a limit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from cco_sidecar.repository.snapshot import Snapshot
from orchestra.v1.context_service_pb2 import GitContext, PreviousAgentOutput, ProjectStructure

# What the framing of a repeated message takes at most, in bytes.
_FRAME_BYTES = 6


def structure(snapshot: Snapshot, max_bytes: int, strategies: set[str]) -> ProjectStructure:
    """Lists directories, then files. What does not fit is left out, files deep in the tree first."""
    found = ProjectStructure(
        root=utf8(snapshot.root.name or "/"),
        total_files=len(snapshot.files),
        total_size_bytes=sum(info.size for info in snapshot.files.values()),
    )
    space = max_bytes
    for paths, out in ((snapshot.directories, found.directories), (snapshot.files, found.files)):
        kept = []
        for path in sorted(paths, key=_depth):
            space -= len(utf8(path).encode()) + 3
            if space < 0:
                strategies.add("structure_sampling")
                break
            kept.append(path)
        out.extend(map(utf8, sorted(kept) if len(kept) < len(paths) else paths))
    return found


def history(git: GitContext, most: int, max_bytes: int, strategies: set[str]) -> GitContext:
    """Keeps the newest commits. Drops more commits or uncommitted changes if they name too many files."""
    found = GitContext()
    found.CopyFrom(git)
    del found.recent_commits[most:]
    while found.ByteSize() > max_bytes and (found.recent_commits or found.uncommitted_changes):
        strategies.add("history_sampling")
        if len(found.recent_commits) > len(found.uncommitted_changes):
            del found.recent_commits[len(found.recent_commits) // 2 :]
        else:
            del found.uncommitted_changes[len(found.uncommitted_changes) // 2 :]
    return found


def outputs(given: Iterable[PreviousAgentOutput], max_bytes: int, strategies: set[str]) -> list[PreviousAgentOutput]:
    """Keeps the newest outputs that fit."""
    space = max_bytes
    taken = []
    for output in given:
        size = output.ByteSize() + _FRAME_BYTES
        if size > space:
            # A smaller, older one may still fit.
            strategies.add("output_sampling")
            continue
        space -= size
        taken.append(output)
    return taken


def strategy(strategies: set[str]) -> str:
    """Returns the one name for what was done."""
    return "smart" if len(strategies) > 1 else next(iter(strategies), "none")


def kind(path: str) -> str:
    """Returns the kind of a file, such as ``*.py``; its name if it has no suffix."""
    name = PurePosixPath(path)
    return f"*{name.suffix}" if name.suffix else name.name


def utf8(path: str) -> str:
    """Decodes a file name, which is bytes; what is not UTF-8 becomes replacement characters."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _depth(path: str) -> int:
    return path.count("/")
