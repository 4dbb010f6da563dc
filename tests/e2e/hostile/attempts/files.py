"""Reading, changing and finding files that are not its own."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from attempts.core import HOME, RECORDS, RUN_DIR, STORAGE, TARGETS, UNITS, Refused, attempt, described


def read(path: Path | str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        data = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    if not data:
        raise Refused("it is empty")
    return f"{len(data)} bytes of {path}"


def listed(path: Path) -> str:
    """Names in a directory, without those that lead to the agent's own files."""
    own = set(RUN_DIR.parts)
    names = sorted({entry.name for entry in path.iterdir()} - own)
    if not names:
        raise Refused("nothing but its own is listed")
    return f"names in {path}: {', '.join(names[:5])}"


def may_write(path: Path) -> str:
    """Opens for writing and writes nothing. A device mounted over the file accepts all writes and discards them."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    os.close(descriptor)
    if stat.S_ISCHR(mode) and path.parts[1] != "dev":
        raise Refused("a device lies over it")
    return f"may write {path}"


def may_add_to(directory: Path) -> str:
    """Uses an unnamed file, which disappears when it is closed."""
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as problem:
        if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        raise Refused("the file system has no files without a name") from problem
    return f"may add files to {directory}"


def may_make(path: Path) -> str:
    """Creates a file and removes it again."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()
    return f"made {path}"


def may_rename(path: Path) -> str:
    other = path.with_name(f"{path.name}.moved")
    path.rename(other)
    other.rename(path)
    return f"renamed {path}"


def victim_directory() -> Path:
    return Path(TARGETS.get("victim", {}).get("directory", "/nowhere"), "1")


def read_of_victim(name: str) -> str:
    """The other agent's environment and files may be in a directory of its own."""
    with contextlib.suppress(FileNotFoundError):
        return read(victim_directory() / "agent" / name)
    return read(victim_directory() / name)


TOKEN_FILE = STORAGE / "operator.token"


@contextlib.contextmanager
def removed_afterwards(*paths: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


for _name, _path in {
    "read operator.token": TOKEN_FILE,
    "read operator.token, below TMPDIR": Path(os.environ.get("TMPDIR", "/nowhere"), STORAGE.name, "operator.token"),
    "read operator.token, by /proc/self/root": Path(f"/proc/self/root{TOKEN_FILE}"),
    "read operator.token, by /proc/self/cwd": Path("/proc/self/cwd", os.path.relpath(TOKEN_FILE)),
    "read operator.token, by /proc/1/root": Path(f"/proc/1/root{TOKEN_FILE}"),
    "read signing-key.pem": STORAGE / "signing-key.pem",
    "read identity.key": STORAGE / "identity.key",
    "read records.db": STORAGE / "records.db",
    "read records.db-wal": STORAGE / "records.db-wal",
    "read the log": STORAGE / "logs" / "orchestration.log",
    "read the pid file": STORAGE / "sidecar.pid",
    "read the credentials' key": HOME / ".cco" / "credentials.key",
    "read ~/.cco/config.json": HOME / ".cco" / "config.json",
    "read the systemd unit": UNITS / "cco-sidecar.service",
    "read the systemd unit of another sidecar": UNITS / "cco-sidecar-2.service",
    "read a drop-in of the systemd unit": UNITS / "cco-sidecar.service.d" / "override.conf",
}.items():
    attempt("files", _name)(lambda path=_path: read(path))  # type: ignore[misc]

for _name, _path in {
    "list the storage directory": STORAGE,
    "list events": STORAGE / "events",
    "list agents": STORAGE / "agents",
    "list results": STORAGE / "results",
    "list worktrees": STORAGE / "worktrees",
    "list ~/.cco": HOME / ".cco",
}.items():
    attempt("files", _name)(lambda path=_path: listed(path))  # type: ignore[misc]

for _name in ("token", "context.json", "output.log", "shim.json", "prompt.md", "task.md"):
    attempt("files", f"read another agent's {_name}")(lambda name=_name: read_of_victim(name))  # type: ignore[misc]

for _name in ("output.log", "shim.json", "control"):
    attempt("files", f"write its own {_name}")(lambda name=_name: may_write(RECORDS / name))  # type: ignore[misc]
    attempt("files", f"write another agent's {_name}")(lambda name=_name: may_write(victim_directory() / name))  # type: ignore[misc]

for _name in ("exit.json", "exit.json.tmp"):
    attempt("files", f"make its own {_name}")(lambda name=_name: may_make(RECORDS / name))  # type: ignore[misc]
    attempt("files", f"make another agent's {_name}")(lambda name=_name: may_make(victim_directory() / name))  # type: ignore[misc]

for _name, _path in {
    "the storage directory": STORAGE,
    "events": STORAGE / "events",
    "agents": STORAGE / "agents",
    "the git directories that the sidecar reads with": STORAGE / "git",
    "its own run's records": RECORDS,
    "~/.cco": HOME / ".cco",
    "the systemd user units": UNITS,
    "site-packages": Path(TARGETS.get("site_packages", "/nowhere")),
    "the cco_sidecar package": Path(TARGETS.get("package", "/nowhere")),
    "the standard library": Path(os.__file__).parent,
    "the interpreter's directory": Path(TARGETS.get("interpreter", "/nowhere")).resolve().parent,
}.items():
    attempt("files", f"add a file to {_name}")(lambda path=_path: may_add_to(path))  # type: ignore[misc]

for _name, _path in {
    "records.db": STORAGE / "records.db",
    "operator.token": TOKEN_FILE,
    "~/.cco/config.json": HOME / ".cco" / "config.json",
    "the systemd unit": UNITS / "cco-sidecar.service",
    "a module of the cco_sidecar package": Path(TARGETS.get("package", "/nowhere")) / "__init__.py",
    "the shim's program": Path(TARGETS.get("package", "/nowhere")) / "agents" / "shim.py",
    "the interpreter": Path(TARGETS.get("interpreter", "/nowhere")),
    "a module of the standard library": Path(os.__file__),
    "the cco program": Path(TARGETS.get("interpreter", "/nowhere")).with_name("cco"),
}.items():
    attempt("files", f"write {_name}")(lambda path=_path: may_write(path))  # type: ignore[misc]

for _name, _path in {
    "its own run's records": RECORDS,
    "another agent's directory": victim_directory().parent,
    "the storage directory": STORAGE,
    "~/.cco": HOME / ".cco",
}.items():
    attempt("files", f"rename {_name}")(lambda path=_path: may_rename(path))  # type: ignore[misc]


def ways_up() -> list[str]:
    """Walks up from the run's directory, wherever in the storage it is."""
    return ["../" * steps for steps in range(1, 7)]


@attempt("files", "read operator.token, above the run's directory")
def above() -> str:
    for steps in ways_up():
        with contextlib.suppress(FileNotFoundError):
            return read(f"{RUN_DIR}/{steps}operator.token")
    raise Refused("it is nowhere there")


@attempt("files", "read operator.token, relative to a descriptor of the run's directory")
def by_descriptor() -> str:
    directory = os.open(RUN_DIR, os.O_PATH | os.O_DIRECTORY)
    try:
        for steps in ways_up():
            with contextlib.suppress(FileNotFoundError):
                os.close(os.open(f"{steps}operator.token", os.O_RDONLY, dir_fd=directory))
                return f"opened {steps}operator.token"
    finally:
        os.close(directory)
    raise Refused("it is nowhere there")


@attempt("files", "make a directory in which commands look for sidecars")
def where_sidecars_are() -> str:
    """Whoever creates this directory first decides where the operator's commands go. It is enough to know whether it
    could be created.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "/nowhere")
    said = []
    for place in (Path(runtime, "cco-sidecar"), Path(f"/tmp/cco-sidecar-{os.getuid()}")):
        try:
            return may_add_to(place) if place.exists() else may_add_to(place.parent) + f", and so make {place}"
        except OSError as problem:
            said.append(f"{place}: {described(problem)}")
    raise Refused("; ".join(said))


@attempt("files", "read operator.token, through a symbolic link")
def by_symlink() -> str:
    link = Path("hostile-link")
    with removed_afterwards(link):
        link.symlink_to(TOKEN_FILE)
        return read(link)


@attempt("files", "link operator.token into the project")
def by_hard_link() -> str:
    link = Path("hostile-hard-link")
    with removed_afterwards(link):
        link.hardlink_to(TOKEN_FILE)
        return read(link)


@attempt("files", "use a descriptor that was left open")
def inherited() -> str:
    """A program gets three descriptors; any other open one was inherited."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if int(entry.name) > 2 and not target.startswith(f"/proc/{os.getpid()}/fd"):
                found.append(f"{entry.name} -> {target}")
    if not found:
        raise Refused("there are three")
    return ", ".join(found)


@attempt("files", "read another project's files")
def other_project() -> str:
    return read(Path(TARGETS["other_project"]) / "plans.py")


@attempt("files", "open operator.token by its file handle")
def by_handle() -> str:
    """open_by_handle_at(2) takes no paths, so mounts over them do not matter."""
    known = TARGETS.get("handle")
    if not known:
        raise Refused("the file system has no handles")
    data = bytes.fromhex(known["bytes"])
    handle = ctypes.create_string_buffer(struct.pack("=Ii", len(data), known["type"]) + data)
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor = libc.open_by_handle_at(place, handle, os.O_RDONLY)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "open_by_handle_at")
        os.close(descriptor)
    finally:
        os.close(place)
    return "opened it"
