"""Writes docs/agent-type-contexts.md: what each agent type is given to read in repositories of several kinds.

Arguments: NAME=PATH for each repository, which is read as it is in the working tree.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.ranking.selection import FileSets, choose
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.snapshot import Scanner, Snapshot
from cco_sidecar.storage.trust import load_agent_types

_TEXTS = FileCache(2**30)
_PAGE = Path(__file__).resolve().parent.parent / "docs" / "agent-type-contexts.md"
_HEAD = """# What each agent type reads

Text files, and their size in kB, that each built-in type is given from repositories of eight kinds, without a task and
without a budget: Flask, Gin, ripgrep, a shop in Next.js, the Spring pet clinic, the skeleton of Laravel, the notebooks
of a book, and guides in Markdown. `make types-table` writes this page. With a task and a budget, a context chooses
among all files; then these are the ones that keep their score, and others count for less ([contexts](context.md)).

A type with fewer than three files of its own, which are less than 12 % of the project, gets the files of all types.

"""


def main() -> None:
    repositories = dict(argument.split("=", 1) for argument in sys.argv[1:])
    types = load_agent_types(Path("/nonexistent"))
    with tempfile.TemporaryDirectory() as scratch:
        snapshots = {
            name: Scanner(Path(path).resolve(), Path(scratch)).scan(afresh=True)[0]
            for name, path in repositories.items()
        }
    lines = [f"| type | {' | '.join(snapshots)} |", "|---" * (1 + len(snapshots)) + "|"]
    lines.append(f"| *all files* | {' | '.join(map(_whole, snapshots.values()))} |")
    for group in sorted({entry.group for entry in types.values()}):
        lines.append(f"| **{group}** |{' |' * len(snapshots)}")
        lines += [
            f"| `{name}` | {' | '.join(_cells(entry, types.file_sets, snapshots))} |"
            for name, entry in sorted(types.items())
            if entry.group == group
        ]
    _PAGE.write_text(_HEAD + "\n".join(lines) + "\n")


def _whole(snapshot: Snapshot) -> str:
    return _cell(snapshot, snapshot.files)


def _cells(entry: AgentType, file_sets: FileSets, snapshots: Mapping[str, Snapshot]) -> list[str]:
    return [
        _cell(snapshot, [choice.path for choice in choose(snapshot, entry, file_sets, "", ())])
        for snapshot in snapshots.values()
    ]


def _cell(snapshot: Snapshot, paths: Iterable[str]) -> str:
    files = [(path, snapshot.files[path]) for path in paths]
    sizes = [info.size for path, info in files if not _TEXTS.raw(snapshot.root, path, info).problem]
    return f"{len(sizes)}, {sum(sizes) // 1000}"


if __name__ == "__main__":
    main()
