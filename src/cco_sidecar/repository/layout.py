"""Where a repository keeps its parts (gitrepository-layout(5)), found without running git."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SMALL_BYTES = 64 * 1024
# Files of the working tree that git opens by name, whatever they are.
_READ_BY_GIT = frozenset({".gitignore", ".gitattributes", ".gitmodules"})


class GitFailed(OSError):
    """There is a repository, and git cannot read it, so nothing is known of what it ignores."""


class Layout(NamedTuple):
    """``top``: the working tree; ``git_dir``: its HEAD and index; ``common_dir``: refs, objects and configuration."""

    top: Path
    git_dir: Path
    common_dir: Path


def discover(root: Path) -> Layout | None:
    """The repository whose working tree ``root`` is in; None for a plain directory. A bare repository that merely lies
    in a directory is not taken for one (as with git's ``safe.bareRepository=explicit``). Raises GitFailed."""
    for top in (root, *root.parents):
        entry = top / ".git"
        try:
            mode = entry.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as problem:
            raise GitFailed(f"{entry} cannot be read: {problem.strerror}") from problem
        git_dir = entry if stat.S_ISDIR(mode) else _named_by(entry)
        return Layout(top, git_dir, _common(git_dir))
    return None


def _named_by(entry: Path) -> Path:
    """The directory that a ``.git`` file names: a linked worktree's or a submodule's."""
    word, _, path = small_file(entry).decode("utf-8", "surrogateescape").strip().partition(": ")
    git_dir = Path(os.path.normpath(entry.parent / path))
    if word != "gitdir" or not path or not git_dir.is_dir():
        raise GitFailed(f"{entry} does not name a git directory")
    return git_dir


def _common(git_dir: Path) -> Path:
    pointer = git_dir / "commondir"
    if not pointer.is_file():
        return git_dir
    path = small_file(pointer).decode("utf-8", "surrogateescape").strip()
    return Path(os.path.normpath(git_dir / path))


def small_file(path: Path, most: int = _SMALL_BYTES) -> bytes:
    """The bytes of a regular file. Raises GitFailed for anything else, and for more than ``most`` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise GitFailed(f"{path} cannot be read: {problem.strerror}") from problem
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise GitFailed(f"{path} is not a regular file; remove it")
        data = file.read(most + 1)
    if len(data) > most:
        raise GitFailed(f"{path} is larger than {most} bytes")
    return data


def blocking_file(layout: Layout) -> Path | None:
    """A FIFO or device that git would open and wait for; None when there is none."""
    return next(_blocking(layout), None)


def _blocking(layout: Layout) -> Iterator[Path]:
    for directory in {layout.git_dir, layout.common_dir}:
        for top, names, files in os.walk(directory):
            if "objects" in names and top == str(directory):
                names.remove("objects")
            yield from (path for name in files if _blocks(path := Path(top, name)))
    for top, names, files in os.walk(layout.top):
        if ".git" in names:
            names.remove(".git")
        yield from (path for name in _READ_BY_GIT.intersection(files) if _blocks(path := Path(top, name)))


def _blocks(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
