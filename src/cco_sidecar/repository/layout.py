"""Finds the parts of a repository (gitrepository-layout(5)) without running git."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_SMALL_BYTES = 64 * 1024
MAX_CONFIG_BYTES = 2**20
# Files of the working tree that git opens by name, even if they are not regular files.
_READ_BY_GIT = frozenset({".gitignore", ".gitattributes", ".gitmodules", ".mailmap"})
_HEAD = re.compile(rb"(ref: refs/[^\x00-\x20~^:?*\[\\]{1,1000}|[0-9a-f]{40}|[0-9a-f]{64})\s*")


class GitFailed(OSError):
    """A repository exists but cannot be read, so it is unknown what it ignores.

    ``said`` is git's own output. It is for the log only, because it may quote any file that the repository links to.
    """

    def __init__(self, text: str, said: str = "") -> None:
        super().__init__(text)
        self.said = said


class Layout(NamedTuple):
    """``top`` is the working tree; ``git_dir`` has HEAD and the index; ``common_dir`` has refs, objects and config."""

    top: Path
    git_dir: Path
    common_dir: Path


def discover(root: Path) -> Layout | None:
    """Returns the repository whose working tree contains ``root``, or None for a plain directory.

    An embedded bare repository is ignored, as with git's ``safe.bareRepository=explicit``. Raises GitFailed.
    """
    for top in (root, *root.parents):
        entry = top / ".git"
        try:
            mode = entry.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as problem:
            raise GitFailed(f"cannot read {entry}: {problem.strerror}") from problem
        if entry.is_symlink():
            raise GitFailed(f"{entry} is a link; links are not followed")
        if stat.S_ISDIR(mode):
            return Layout(top, entry, _common(entry))
        return Layout(top, (git_dir := _named_by(entry)), _common(git_dir))
    if (root / "HEAD").is_file() and (root / "objects").is_dir() and (root / "refs").is_dir():
        raise GitFailed(f"{root} is a bare repository; fix: serve a clone with a working tree (git clone {root} ...)")
    return None


def _named_by(entry: Path) -> Path:
    """Returns the directory that a ``.git`` file names, of a linked worktree or a submodule. Raises GitFailed.

    That directory must point back to this file. Otherwise, any repository on the machine could be read from here.
    """
    word, _, path = _text(entry).partition(": ")
    git_dir = Path(os.path.normpath(entry.parent / path))
    if word != "gitdir" or not path or not git_dir.is_dir():
        raise GitFailed(f"{entry} does not name a git directory")
    if not _names_back(git_dir, entry):
        raise GitFailed(
            f"{entry} names a git directory that does not point back to it (gitdir file, or core.worktree); "
            "fix: serve one of its worktrees"
        )
    return git_dir


def _names_back(git_dir: Path, entry: Path) -> bool:
    if (git_dir / "gitdir").is_file():
        return (git_dir / _text(git_dir / "gitdir")).resolve() == entry.resolve()
    config = small_file(git_dir / "config", MAX_CONFIG_BYTES).decode("utf-8", "surrogateescape")
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
    """Returns the content of HEAD. Raises GitFailed if it is not a valid HEAD."""
    path = layout.git_dir / "HEAD"
    data = small_file(path)
    if not _HEAD.fullmatch(data):
        raise GitFailed(f"{path} is not a valid HEAD")
    return data


def require_own(layout: Layout, foreign: Sequence[Path]) -> None:
    """Checks that the repository exposes nothing of ``foreign`` directories. Raises GitFailed.

    It could do so through parts that are links, or through borrowed objects (objects/info/alternates,
    gitrepository-layout(5)).
    """
    # A repository whose linked worktree this is points back to it, so it is not foreign.
    foreign = [place for place in foreign if not layout.common_dir.is_relative_to(place)]
    if not foreign:
        return
    _require_no_links(layout, foreign)
    waiting, seen = [layout.common_dir / "objects"], set[Path]()
    while waiting:
        objects = waiting.pop().resolve()
        if any(objects.is_relative_to(place) for place in foreign):
            raise GitFailed(f"the repository of {layout.top} borrows objects from another project")
        alternates = objects / "info" / "alternates"
        if objects in seen or not alternates.exists():
            continue
        seen.add(objects)
        lines = small_file(alternates).decode("utf-8", "surrogateescape").splitlines()
        waiting += [objects / line for line in lines if line and not line.startswith("#")]


# The directories that contain the parts: replacing a part changes one of these.
_PLACES = ("", "objects", "objects/pack", "objects/info", "refs", "reftable", "logs", "info")
# Two changes within one tick of the kernel clock may have the same ctime.
_TICK_SECONDS = 0.02
_SETTLES_SECONDS = 2.0

State = tuple[tuple[int, int], ...]


def settled(layout: Layout) -> State:
    """Returns the state once its last change is older than a clock tick, so that no later change can be missed.

    Raises GitFailed if the repository keeps changing.
    """
    until = time.monotonic() + _SETTLES_SECONDS
    while True:
        state = state_of(layout)
        age = time.time() - max(changed for _, changed in state) / 1e9
        # A time in the future means that the clock was set back.
        if age > _TICK_SECONDS or age < -_TICK_SECONDS:
            return state
        if time.monotonic() > until:
            raise GitFailed(f"the repository of {layout.top} keeps changing")
        time.sleep(_TICK_SECONDS)


def state_of(layout: Layout) -> State:
    """Returns the inode and ctime of each directory.

    It changes when a part is replaced, even if it is restored, because ctime cannot be set.
    """
    places = [layout.top / ".git", *(layout.common_dir / name for name in _PLACES)]
    for path in (layout.top, layout.git_dir, layout.common_dir):
        places += (path, *path.parents)
    found = []
    for place in places:
        try:
            known = place.lstat()
        except OSError:
            found.append((0, 0))
        else:
            # The content of a sticky directory such as /tmp changes constantly, but others cannot replace our entries.
            found.append((known.st_ino, 0 if known.st_mode & stat.S_ISVTX else known.st_ctime_ns))
    return tuple(found)


def _require_no_links(layout: Layout, foreign: Sequence[Path]) -> None:
    """Rejects links through which objects and refs of another repository could be read. Raises GitFailed.

    Git itself creates no links for directories and packs. HEAD was a link in old repositories, and people link other
    files to their own; such a link is rejected only if it leads to a foreign directory.
    """
    common_dir = layout.common_dir
    for path in (*layout.git_dir.iterdir(), *common_dir.iterdir(), *_entries(common_dir / "info")):
        if path.is_symlink() and any(path.resolve().is_relative_to(place) for place in foreign):
            raise GitFailed(f"{path} is a link to another project")
    for linked in _loose_objects(common_dir / "objects"):
        raise GitFailed(f"{linked} is a link; links are not followed")
    suspects = [common_dir / name for name in ("objects", "refs", "packed-refs", "logs", "reftable")]
    objects = common_dir / "objects"
    for directory in (objects, objects / "pack", objects / "info"):
        suspects += _entries(directory)
    for top, names, files in os.walk(common_dir / "refs"):
        suspects += [Path(top, name) for name in (*names, *files)]
    for path in suspects:
        if path.is_symlink():
            raise GitFailed(f"{path} is a link; links are not followed")


def _loose_objects(objects: Path) -> Iterator[str]:
    """Yields the loose objects that are links."""
    for directory in objects.glob("[0-9a-f][0-9a-f]"):
        with os.scandir(directory) as entries:
            yield from (entry.path for entry in entries if entry.is_symlink())


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def small_file(path: Path, most: int = _SMALL_BYTES) -> bytes:
    """Reads a regular file. Raises GitFailed for anything else, and for more than ``most`` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise GitFailed(f"cannot read {path}: {problem.strerror}") from problem
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise GitFailed(f"{path} is not a regular file; fix: remove it")
        data = file.read(most + 1)
    if len(data) > most:
        raise GitFailed(f"{path} is larger than {most} bytes")
    return data


def blocking_file(layout: Layout) -> Path | None:
    """Returns a FIFO or device on which git would block; None if there is none."""
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
