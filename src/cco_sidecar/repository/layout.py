"""Where a repository keeps its parts (gitrepository-layout(5)), found without running git."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_SMALL_BYTES = 64 * 1024
MOST_CONFIG_BYTES = 2**20
# Files of the working tree that git opens by name, whatever they are.
_READ_BY_GIT = frozenset({".gitignore", ".gitattributes", ".gitmodules", ".mailmap"})
_HEAD = re.compile(rb"(ref: refs/[^\x00-\x20~^:?*\[\\]{1,1000}|[0-9a-f]{40}|[0-9a-f]{64})\s*")


class GitFailed(OSError):
    """There is a repository, and git cannot read it, so nothing is known of what it ignores. ``said``: git's own words,
    for the log only: they may quote any file to which something in the repository was linked."""

    def __init__(self, text: str, said: str = "") -> None:
        super().__init__(text)
        self.said = said


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
        if entry.is_symlink() and not entry.resolve().is_relative_to(top.resolve()):
            raise GitFailed(f"{entry} is a link to elsewhere, which is not followed")
        if stat.S_ISDIR(mode):
            return Layout(top, entry, _common(entry))
        return Layout(top, (git_dir := _named_by(entry)), _common(git_dir))
    return None


def _named_by(entry: Path) -> Path:
    """The directory that a ``.git`` file names: a linked worktree's or a submodule's, which names this place in turn.
    Without that, any repository of the machine could be read from here."""
    word, _, path = _text(entry).partition(": ")
    git_dir = Path(os.path.normpath(entry.parent / path))
    if word != "gitdir" or not path or not git_dir.is_dir():
        raise GitFailed(f"{entry} does not name a git directory")
    if not _names_back(git_dir, entry):
        raise GitFailed(f"{entry} names a git directory that does not name it back (gitdir file, or core.worktree)")
    return git_dir


def _names_back(git_dir: Path, entry: Path) -> bool:
    if (git_dir / "gitdir").is_file():
        return (git_dir / _text(git_dir / "gitdir")).resolve() == entry.resolve()
    config = small_file(git_dir / "config", MOST_CONFIG_BYTES).decode("utf-8", "surrogateescape")
    found = re.search(r"^\s*worktree\s*=\s*\"?([^\"\n]+?)\"?\s*$", config, re.MULTILINE | re.IGNORECASE)
    return found is not None and (git_dir / found[1]).resolve() == entry.parent.resolve()


def _common(git_dir: Path) -> Path:
    pointer = git_dir / "commondir"
    if not pointer.exists():
        return git_dir
    common = Path(os.path.normpath(git_dir / _text(pointer)))
    if not common.is_dir() or not git_dir.resolve().is_relative_to(common.resolve()):
        raise GitFailed(f"{pointer} does not name the repository that {git_dir} belongs to")
    return common


def _text(path: Path) -> str:
    return small_file(path).decode("utf-8", "surrogateescape").strip("\n")


def head_of(layout: Layout) -> bytes:
    """What HEAD holds, when it is a HEAD. Raises GitFailed."""
    path = layout.git_dir / "HEAD"
    data = small_file(path)
    if not _HEAD.fullmatch(data):
        raise GitFailed(f"{path} is no HEAD of a repository")
    return data


def require_own_objects(layout: Layout, foreign: Sequence[Path]) -> None:
    """Objects borrowed from a place in ``foreign`` would show what is another project's (gitrepository-layout(5),
    objects/info/alternates). Raises GitFailed."""
    # Whose linked worktree this is has said so itself.
    foreign = [place for place in foreign if not layout.common_dir.is_relative_to(place)]
    waiting, seen = [layout.common_dir / "objects"], set[Path]()
    if foreign:
        _require_no_links(layout.common_dir)
    while waiting:
        objects = waiting.pop().resolve()
        if any(objects.is_relative_to(place) for place in foreign):
            raise GitFailed(f"the repository of {layout.top} borrows objects of another project")
        alternates = objects / "info" / "alternates"
        if objects in seen or not alternates.exists():
            continue
        seen.add(objects)
        lines = small_file(alternates).decode("utf-8", "surrogateescape").splitlines()
        waiting += [objects / line for line in lines if line and not line.startswith("#")]


def _require_no_links(common_dir: Path) -> None:
    """Through a link in place of a directory or a pack, objects and refs of any repository could be read. git itself
    makes none there; HEAD alone was one in old repositories. Raises GitFailed."""
    suspects = [common_dir / name for name in ("objects", "refs", "packed-refs", "logs", "reftable")]
    objects = common_dir / "objects"
    for directory in (objects, objects / "pack", objects / "info"):
        if directory.is_dir():
            suspects += directory.iterdir()
    for top, names, files in os.walk(common_dir / "refs"):
        suspects += [Path(top, name) for name in (*names, *files)]
    for path in suspects:
        if path.is_symlink():
            raise GitFailed(f"{path} is a link, which is not followed")


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
        for top, _, files in os.walk(directory):
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
