"""Resolves the file names on a command line, which are relative to the directory in which it was typed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def resolved(words: Sequence[str], directory: str, root: Path, workdir: Path) -> list[str]:
    """Returns the arguments of a command, with file names adjusted for a program that runs in ``workdir``.

    ``words``: arguments typed in ``directory``; ``workdir``: the project's ``root`` or one of its worktrees. The name
    of a project file refers to the worktree's copy if there is one. Any other file name becomes an absolute path.
    Arguments that name no file are unchanged, and so are all arguments if ``directory`` is empty.
    """
    return [_resolved(word, directory, root, workdir) for word in words] if directory else list(words)


def _resolved(word: str, directory: str, root: Path, workdir: Path) -> str:
    path = os.path.normpath(os.path.join(directory, word))
    # Not Path.is_file: it raises for arguments that are longer than a file name can be.
    if os.path.isabs(word) or not os.path.isfile(path):  # noqa: PTH113, PTH117
        return word
    if not Path(path).is_relative_to(root):
        return path
    own = workdir / Path(path).relative_to(root)
    if not own.is_file():
        # The file is not in git: only the project's own directory has it.
        return path
    return word if Path(directory) == root else str(own)


def missing(program: str, path: str, directory: Path) -> str:
    """Returns why a program cannot be run from ``directory`` with this ``PATH``; empty if it can."""
    if "/" not in program:
        return "" if shutil.which(program, path=path) else f"program '{program}' not found on the sidecar's PATH"
    place = directory / program
    if not place.is_file():
        return f"program '{place}' not found"
    return (
        ""
        if os.access(place, os.X_OK)
        else f"'{place}' is not executable: run chmod +x on it, or put its interpreter first"
    )
