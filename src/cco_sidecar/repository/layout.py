"""Where a repository keeps its parts (gitrepository-layout(5)), found without running git."""

from __future__ import annotations

import os
import re
import stat
import time
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
        if entry.is_symlink():
            raise GitFailed(f"{entry} is a link, which is not followed")
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
        raise GitFailed(
            f"{entry} names a git directory that does not name it back (gitdir file, or core.worktree); "
            "serve one of its worktrees"
        )
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


def require_own(layout: Layout, foreign: Sequence[Path]) -> None:
    """Parts that are links, or objects borrowed from a place in ``foreign`` (gitrepository-layout(5),
    objects/info/alternates), would show what is another project's. Raises GitFailed."""
    # Whose linked worktree this is has said so itself.
    foreign = [place for place in foreign if not layout.common_dir.is_relative_to(place)]
    if not foreign:
        return
    _require_no_links(layout, foreign)
    waiting, seen = [layout.common_dir / "objects"], set[Path]()
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


# Where the parts are found: another one takes a part's place only with a change of one of these.
_PLACES = ("", "objects", "objects/pack", "objects/info", "refs", "reftable", "logs", "info")
# A change within one tick of the kernel's clock may leave the time as it was.
_TICK_SECONDS = 0.02
_SETTLES_SECONDS = 2.0

State = tuple[tuple[int, int], ...]


def settled(layout: Layout) -> State:
    """The state, when no change could hide in the tick of the last one any more. Raises GitFailed when it does not come
    to rest."""
    until = time.monotonic() + _SETTLES_SECONDS
    while True:
        state = state_of(layout)
        age = time.time() - max(changed for _, changed in state) / 1e9
        # A time in the future is a clock that was set back.
        if age > _TICK_SECONDS or age < -_TICK_SECONDS:
            return state
        if time.monotonic() > until:
            raise GitFailed(f"the repository of {layout.top} changes all the time")
        time.sleep(_TICK_SECONDS)


def state_of(layout: Layout) -> State:
    """Inode and ctime of each place; changes when a part is replaced, even if it is put back. Nobody can set ctime."""
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
            # What lies in a directory such as /tmp changes all the time, and it stays where it is.
            found.append((known.st_ino, 0 if known.st_mode & stat.S_ISVTX else known.st_ctime_ns))
    return tuple(found)


def _require_no_links(layout: Layout, foreign: Sequence[Path]) -> None:
    """Through a link in place of a directory or a pack, objects and refs of any repository could be read. git itself
    makes none there; HEAD alone was one in old repositories, and people link the rest to files of their own. Raises
    GitFailed."""
    common_dir = layout.common_dir
    for path in (*layout.git_dir.iterdir(), *common_dir.iterdir(), *_entries(common_dir / "info")):
        if path.is_symlink() and any(path.resolve().is_relative_to(place) for place in foreign):
            raise GitFailed(f"{path} is a link to another project")
    for linked in _loose_objects(common_dir / "objects"):
        raise GitFailed(f"{linked} is a link, which is not followed")
    suspects = [common_dir / name for name in ("objects", "refs", "packed-refs", "logs", "reftable")]
    objects = common_dir / "objects"
    for directory in (objects, objects / "pack", objects / "info"):
        suspects += _entries(directory)
    for top, names, files in os.walk(common_dir / "refs"):
        suspects += [Path(top, name) for name in (*names, *files)]
    for path in suspects:
        if path.is_symlink():
            raise GitFailed(f"{path} is a link, which is not followed")


def _loose_objects(objects: Path) -> Iterator[str]:
    """Those that are links."""
    for directory in objects.glob("[0-9a-f][0-9a-f]"):
        with os.scandir(directory) as entries:
            yield from (entry.path for entry in entries if entry.is_symlink())


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


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
