"""The words of a command line, as whoever typed them means them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def resolved(words: Sequence[str], directory: str, root: Path, workdir: Path) -> list[str]:
    """Words that name files of ``directory``, for a program that runs in ``workdir``: the project's ``root``, or a
    worktree of it. A file of the project is the worktree's own where it has it, any other is named by its whole path.
    All other words stay as they are, and all when no directory is given."""
    return [_resolved(word, directory, root, workdir) for word in words] if directory else list(words)


def _resolved(word: str, directory: str, root: Path, workdir: Path) -> str:
    path = os.path.normpath(os.path.join(directory, word))
    # Not Path.is_file: it raises for a word that is longer than a file's name can be.
    if os.path.isabs(word) or not os.path.isfile(path):  # noqa: PTH113, PTH117
        return word
    if not Path(path).is_relative_to(root):
        return path
    own = workdir / Path(path).relative_to(root)
    if not own.is_file():
        # Not in git: only the project's own directory has it.
        return path
    return word if Path(directory) == root else str(own)


def missing(program: str, path: str, directory: Path) -> str:
    """Why a program cannot be run from ``directory`` with this ``PATH``; empty when it can."""
    if "/" not in program:
        return "" if shutil.which(program, path=path) else f"there is no program '{program}' on the sidecar's PATH"
    place = directory / program
    if not place.is_file():
        return f"there is no program '{place}'"
    return (
        "" if os.access(place, os.X_OK) else f"'{place}' is not executable: chmod +x it, or name its interpreter first"
    )
