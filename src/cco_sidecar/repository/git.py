"""Runs git. No other module does.

A repository's own configuration can name programs in about thirty ways: filters, hooks, fsmonitor, textconv, ssh
commands, credential helpers, pagers, promisor remotes, includes. They are not disabled one by one. Instead, git gets
our own directory (the shadow) as GIT_DIR. Its configuration is written by us, from a short list of keys that name no
program, and it has no hooks. Objects, refs and the index are those of the repository.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.repository.git_keys import OF_PERSON, OF_REPOSITORY
from cco_sidecar.repository.layout import (
    MAX_CONFIG_BYTES,
    GitFailed,
    Layout,
    blocking_file,
    discover,
    head_of,
    require_own,
    settled,
    small_file,
    state_of,
)
from cco_sidecar.repository.remote import Remote

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0
MAX_OUTPUT_BYTES = 256 * 2**20
_MAX_STDERR_BYTES = 64 * 1024
# A command that prints nothing for this long may be blocked on a FIFO.
_STALLED_SECONDS = 0.3
_ATTEMPTS = 10
_CHUNK = 2**16
_LINKED = ("refs", "packed-refs", "reftable", "logs", "shallow", "worktrees")


class Done(NamedTuple):
    """The outcome of a git command. ``output`` is stdout, ``said`` is stderr."""

    code: int
    output: bytes
    said: str


class GitRepository:
    """A repository, read by git through a shadow directory in ``scratch``, which only we may write.

    Blocking; once opened, commands may run at the same time. ``layout`` is None until ``open`` finds a repository.
    """

    def __init__(self, root: Path, scratch: Path, foreign: Sequence[Path] = ()) -> None:
        """``foreign`` are directories whose contents must not be exposed."""
        self.root = root
        self._foreign = foreign
        self._shadow = _shadow_of(root, scratch)
        self.layout: Layout | None = None
        # Files elsewhere that say what git ignores, or where that stands.
        self.outside: tuple[Path, ...] = ()
        self.remotes: dict[str, str] = {}

    def open(self) -> Layout | None:
        """Finds the repository and reads its configuration; None for a plain directory. Raises GitFailed."""
        self.layout = discover(self.root)
        if self.layout is not None:
            try:
                require_own(self.layout, self._foreign)
                self._write_shadow(self.layout)
            except GitFailed:
                raise
            except OSError as problem:
                # The error text may quote the target of a link in the repository, so it only goes to the log.
                raise GitFailed(f"cannot read the repository of {self.root}", str(problem)) from problem
        return self.layout

    def run(
        self,
        *arguments: str,
        given: bytes = b"",
        timeout: float = TIMEOUT_SECONDS,
        cut_at: int | None = None,
        remote: Remote | None = None,
        objects: Path | None = None,
    ) -> Done:
        """Runs a git command in ``root``; ``given`` is its stdin, ``timeout`` is in seconds. With ``cut_at``, at most
        so many bytes of its output are read. ``remote``: what it may reach; nothing unless it is given. ``objects``:
        where it writes objects, apart from those of the repository.

        Raises GitFailed if git is missing, times out or prints too much, or if the repository changes while it runs.
        """
        assert self.layout is not None
        environment = _environment() | {
            "GIT_DIR": str(self._shadow),
            "GIT_WORK_TREE": str(self.layout.top),
            "GIT_INDEX_FILE": str(self.layout.git_dir / "index"),
            "GIT_OBJECT_DIRECTORY": str(self.layout.common_dir / "objects"),
        }
        if remote is not None:
            environment |= remote.environment()
        if objects is not None:
            environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = environment["GIT_OBJECT_DIRECTORY"]
            environment["GIT_OBJECT_DIRECTORY"] = str(objects)
        if not self._foreign:
            return _run(arguments, self.root, environment, timeout, self.layout, given, cut_at)
        until = time.monotonic() + timeout
        for _ in range(_ATTEMPTS):
            # An agent may replace a part of the repository with a link after our check and restore it before the next.
            before = settled(self.layout)
            if discover(self.root) != self.layout:
                break
            require_own(self.layout, self._foreign)
            left = max(0.0, until - time.monotonic())
            done = _run(arguments, self.root, environment, left, self.layout, given, cut_at)
            if state_of(self.layout) == before:
                return done
        raise GitFailed(f"the repository of {self.root} changed while git read it")

    def text(self, *arguments: str) -> str | None:
        """Returns the output of a command, with undecodable bytes as surrogates; None if it fails."""
        done = self.run(*arguments)
        if done.code:
            log.debug("git %s: %s", arguments[0], done.said)
            return None
        return os.fsdecode(done.output)

    # -- the shadow directory --------------------------------------------------------------------------

    def _write_shadow(self, layout: Layout) -> None:
        (self._shadow / "info").mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._shadow / "objects").mkdir(exist_ok=True)
        _replace(self._shadow / "HEAD", head_of(layout))
        _replace(self._shadow / "config", self._config(layout))
        for name in _LINKED:
            _link(self._shadow / name, layout.common_dir / name)
        for name in ("exclude", "attributes"):
            _link(self._shadow / "info" / name, layout.common_dir / "info" / name)
        _link(self._shadow / "info" / "sparse-checkout", layout.git_dir / "info" / "sparse-checkout")
        shared = {path.name: path for path in layout.git_dir.glob("sharedindex.*")}
        for stale in self._shadow.glob("sharedindex.*"):
            if stale.name not in shared:
                stale.unlink(missing_ok=True)
        for name, path in shared.items():
            _link(self._shadow / name, path)

    def _config(self, layout: Layout) -> bytes:
        own = dict(_entries(small_file(layout.common_dir / "config", MAX_CONFIG_BYTES)))
        of_worktree = layout.git_dir / "config.worktree"
        if own.get("extensions.worktreeconfig", "").lower() in ("true", "1", "yes", "on") and of_worktree.is_file():
            own |= _entries(small_file(of_worktree, MAX_CONFIG_BYTES))
        self.remotes = {
            key.removeprefix("remote.").removesuffix(".url"): value
            for key, value in own.items()
            if key.startswith("remote.") and key.endswith(".url")
        }
        # Otherwise git would read .mailmap from the working tree, and `git diff` would rewrite the index.
        kept = {"log.mailmap": "false", "diff.autorefreshindex": "false"}
        # A repository may have no directory for logs, where the shadow's would lead.
        kept |= {"core.logallrefupdates": "false"}
        kept |= {key: value for key, value in _of_person().items() if key in OF_PERSON}
        ignored_by = [own.get("core.excludesfile", ""), kept.get("core.excludesfile", "")]
        self.outside = (
            *_configuration_of_person(),
            _configuration_directory() / "ignore",
            *(layout.top / Path(value).expanduser() for value in ignored_by if value),
        )
        kept |= {key: value for key, value in own.items() if key in OF_REPOSITORY}
        if excludes := _patterns_file(own.get("core.excludesfile", ""), layout.top):
            kept["core.excludesfile"] = excludes
        if any(key.startswith("extensions.") for key in kept):
            kept["core.repositoryformatversion"] = "1"
        else:
            kept["core.repositoryformatversion"] = "0"
        return _written(kept)


@lru_cache(maxsize=64)
def _entries(config: bytes) -> Mapping[str, str]:
    """Returns the last value of each key in a configuration file, without includes. Raises GitFailed."""
    arguments = ("config", "--file", "-", "--no-includes", "-z", "--list")
    done = _run(arguments, Path("/"), _environment(), TIMEOUT_SECONDS, None, config)
    if done.code:
        raise GitFailed("cannot read the repository's configuration", done.said)
    return _pairs(done.output)


def _patterns_file(value: str, top: Path) -> str:
    """Returns the file of patterns that a repository names, if it is a regular file; git would wait for a FIFO."""
    path = top / Path(value).expanduser() if value else None
    return str(path) if path is not None and path.is_file() and path.stat().st_size <= MAX_CONFIG_BYTES else ""


def _configuration_directory() -> Path:
    """Git's directory in the user's configuration (git-config(1))."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "git"


def _configuration_of_person() -> tuple[Path, Path]:
    return Path("~/.gitconfig").expanduser(), _configuration_directory() / "config"


def _of_person() -> Mapping[str, str]:
    """Returns the configuration of the user who runs the sidecar, without includes that depend on a repository: for
    those, git would read the repository's own configuration too."""
    return _read_of_person(tuple(map(_version, _configuration_of_person())))


def _version(path: Path) -> tuple[int, int]:
    try:
        info = path.stat()
    except OSError:
        return (0, 0)
    return (info.st_mtime_ns, info.st_size)


@lru_cache(maxsize=1)
def _read_of_person(versions: tuple[tuple[int, int], ...]) -> Mapping[str, str]:
    """``versions`` are those of the files, which have no others."""
    environment = _environment(person=True) | {"GIT_DIR": os.devnull}
    done = _run(("config", "--includes", "-z", "--list"), Path("/"), environment, 10.0, None)
    return {} if done.code else _pairs(done.output)


def _pairs(listed: bytes) -> dict[str, str]:
    entries = (entry.partition("\n") for entry in os.fsdecode(listed).split("\0") if entry)
    # A key without a value means true.
    return {key: value if equals else "true" for key, equals, value in entries}


def _written(values: Mapping[str, str]) -> bytes:
    lines = []
    for key, value in sorted(values.items()):
        section, _, name = key.partition(".")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'[{section}]\n\t{name} = "{escaped}"\n')
    return os.fsencode("".join(lines))


def _replace(path: Path, data: bytes) -> None:
    """Replaces a file atomically if its content differs, so that a full disk keeps the old content."""
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    fresh = _beside(path)
    fresh.write_bytes(data)
    fresh.replace(path)


def _link(link: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        if os.readlink(link) == str(target):  # noqa: PTH115
            return
    fresh = _beside(link)
    fresh.symlink_to(target)
    fresh.replace(link)


def _beside(path: Path) -> Path:
    """Returns a unique temporary name, because several threads or processes may read the same repository."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def forget(root: Path, scratch: Path) -> None:
    """Deletes the shadow of a repository that no longer exists."""
    shutil.rmtree(_shadow_of(root, scratch), ignore_errors=True)


def _shadow_of(root: Path, scratch: Path) -> Path:
    return scratch / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]


def ask(arguments: Sequence[str], remote: Remote | None = None) -> Done:
    """Runs a git command outside of any repository. Raises GitFailed."""
    environment = _environment() | {"GIT_CEILING_DIRECTORIES": "/"} | (remote.environment() if remote else {})
    return _run(arguments, Path("/"), environment, TIMEOUT_SECONDS, None)


@cache
def program() -> str:
    """Returns the path of the git program. Raises GitFailed."""
    found = shutil.which("git")
    if found is None:
        raise GitFailed("git is not installed, or not on the sidecar's PATH")
    return found


def _environment(*, person: bool = False) -> dict[str, str]:
    """Returns git's environment: no secrets of ours, and no variable that changes its behaviour."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR") if name in os.environ}
    if not person:
        kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return kept | {
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _run(
    arguments: Iterable[str],
    directory: Path,
    environment: Mapping[str, str],
    timeout: float,
    layout: Layout | None,
    given: bytes = b"",
    cut_at: int | None = None,
) -> Done:
    command = [program(), *arguments]
    try:
        with tempfile.TemporaryFile() if given else open(os.devnull, "rb") as stdin:
            if given:
                stdin.write(given)
                stdin.seek(0)
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
    except OSError as problem:
        raise GitFailed(f"cannot run git in {directory}: {problem.strerror}") from problem
    try:
        output, said = _read(process, command[1], timeout, layout, cut_at)
        if cut_at is not None and len(output) == cut_at:
            process.kill()
        return Done(process.wait(), output, said.decode(errors="replace").strip())
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _read(
    process: subprocess.Popen[bytes], name: str, timeout: float, layout: Layout | None, cut_at: int | None = None
) -> tuple[bytes, bytes]:
    """Reads stdout and stderr to the end, or ``cut_at`` bytes of stdout. Raises GitFailed."""
    assert process.stdout is not None and process.stderr is not None
    output, said = bytearray(), bytearray()
    started = time.monotonic()
    looked = layout is None
    with selectors.DefaultSelector() as selector:
        for pipe, data in ((process.stdout, output), (process.stderr, said)):
            selector.register(pipe.fileno(), selectors.EVENT_READ, data)
        while selector.get_map():
            spent = time.monotonic() - started
            if spent > timeout:
                raise GitFailed(f"git {name} timed out after {timeout:g} s")
            ready = selector.select(timeout - spent if looked else min(_STALLED_SECONDS, timeout - spent))
            if not ready and not looked and layout is not None:
                looked = True
                if (path := blocking_file(layout)) is not None:
                    raise GitFailed(f"{path} is not a regular file and blocks git; fix: remove it")
            for key, _ in ready:
                block = os.read(key.fd, _CHUNK)
                if not block:
                    selector.unregister(key.fd)
                elif key.data is output or len(said) < _MAX_STDERR_BYTES:
                    key.data.extend(block)
            if cut_at is not None and len(output) >= cut_at:
                return bytes(output[:cut_at]), bytes(said)
            if len(output) > MAX_OUTPUT_BYTES:
                raise GitFailed(f"git {name} printed more than {MAX_OUTPUT_BYTES} bytes")
    return bytes(output), bytes(said)
