"""An agent that attacks whatever it can reach from its own environment and process.

    agent.py PHASE

After each attempt it rewrites `hostile-report-PHASE.json` in its working directory: ``{attempt: "got: what" | "refused:
how"}``. At the end it writes `hostile-times-PHASE.json` with the start and end of each attempt (seconds of the
monotonic clock). A third verdict, ``left: word``, needs a check from outside: the input was accepted, and it did harm
if ``word`` shows up where it should not.

Locations are not secret from it: ``HOSTILE_TARGETS`` (JSON) names the paths and pids that a patient attacker would
find. It changes nothing permanently: files are opened for writing but not written, a signal is undone at once, mounts
are made in a namespace that ends with the attempt, and only processes of the test are touched, after a check of their
command lines.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import hashlib
import hmac
import http.client
import json
import os
import re
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

TARGETS: dict[str, Any] = json.loads(os.environ.get("HOSTILE_TARGETS", "{}"))
ARCHITECT = os.environ.get("AGENT_TYPE", "") == "chief-architect"
RUN_DIR = Path(os.environ.get("AGENT_RUN_DIR", "/nowhere"))
# What the shim writes of the run, above the directory that the agent may see.
RECORDS = RUN_DIR.parent
STORAGE = Path(TARGETS.get("storage", "/nowhere"))
HOME = Path(os.environ.get("HOME", "/nowhere"))
UNITS = HOME / ".config" / "systemd" / "user"
TOKEN = os.environ.get("JWT_TOKEN", "")
ISSUE = os.environ.get("ISSUE_ID", "")
TYPE = os.environ.get("AGENT_TYPE", "")
# The limit of one attempt.
_ATTEMPT_SECONDS = 60
_CALL_SECONDS = 20.0
# A token, or enough of one to tell whose it is.
_JWT = re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{40,}")


class Refused(Exception):
    """The attempt failed; the text says how."""


Attempt = Callable[[], str]
_attempts: dict[str, dict[str, Attempt]] = {}


def attempt(phase: str, name: str, *, only: str = "") -> Callable[[Attempt], Attempt]:
    """``only``: ``architect`` or ``coder``, if the attempt is an attack only for that one."""

    def add(act: Attempt) -> Attempt:
        if only in ("", "architect" if ARCHITECT else "coder"):
            _attempts.setdefault(phase, {})[name] = act
        return act

    return add


# -- files ------------------------------------------------------------------------------------------------


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


# -- processes --------------------------------------------------------------------------------------------


def command_line_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def parent() -> int:
    """Its shim, or whatever process is between them."""
    pid = os.getppid()
    if "shim" not in command_line_of(pid):
        raise Refused("its parent is nobody's shim")
    return pid


def sidecar() -> int:
    pid = int(TARGETS["sidecar_pid"])
    return known_as(pid, str(STORAGE))


def victim() -> int:
    return known_as(int(TARGETS["victim"]["pid"]), TARGETS["victim"]["tag"])


def known_as(pid: int, word: str) -> int:
    """The pid, if the process is the one meant: in this namespace the pid may belong to another process, or to none."""
    try:
        words = command_line_of(pid)
    except OSError as problem:
        raise Refused("there is no such process here") from problem
    if word not in words:
        raise Refused("that process is another one here")
    return pid


WHOM: dict[str, Callable[[], int]] = {"its parent": parent, "the sidecar": sidecar, "another agent": victim}


def environment_of(whose: Callable[[], int]) -> str:
    data = Path(f"/proc/{whose()}/environ").read_bytes()
    if not data:
        raise Refused("it is empty")
    return f"{len(data)} bytes of environment"


def descriptors_of(whose: Callable[[], int]) -> str:
    targets = [entry.readlink() for entry in Path(f"/proc/{whose()}/fd").iterdir()]
    if not targets:
        raise Refused("there are none")
    return f"{len(targets)} descriptors, such as {targets[-1]}"


def below_root_of(whose: Callable[[], int]) -> str:
    return read(f"/proc/{whose()}/root{TOKEN_FILE}")


def below_directory_of(whose: Callable[[], int]) -> str:
    """From its working directory, wherever that is."""
    pid = whose()
    place = Path(f"/proc/{pid}/cwd").readlink()
    return read(f"/proc/{pid}/cwd/{os.path.relpath(TOKEN_FILE, place)}")


def memory_of(whose: Callable[[], int]) -> str:
    pid = whose()
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
    return "its memory can be opened for writing"


def traced(whose: Callable[[], int]) -> str:
    """PTRACE_SEIZE, by a child whose exit detaches again."""
    pid = whose()

    def seize() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(0x4206, pid, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
        return "it can be traced"

    return in_child(seize)


def descriptor_stolen_from(whose: Callable[[], int]) -> str:
    """pidfd_getfd(2)."""
    handle = os.pidfd_open(whose())
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        stolen = libc.syscall(438, handle, 1, 0)
        if stolen < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        os.close(stolen)
    finally:
        os.close(handle)
    return "took its standard output"


def stopped(whose: Callable[[], int]) -> str:
    """Stops the process and continues it at once."""
    pid = whose()
    os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 0.2
        state = ""
        while state not in ("T", "t") and time.monotonic() < deadline:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    finally:
        os.kill(pid, signal.SIGCONT)
    if state not in ("T", "t"):
        raise Refused("the signal was not heard")
    return "it stood still"


def killed(whose: Callable[[], int]) -> str:
    """Only asks whether it may send SIGKILL. It really sends it only to the first process of a namespace, which cannot
    be killed from inside.
    """
    pid = whose()
    if pid == 1:
        os.kill(pid, signal.SIGKILL)
        raise Refused("the signal was not heard")
    os.kill(pid, 0)
    return "it may be sent SIGKILL"


def limited(whose: Callable[[], int]) -> str:
    """Sets a limit to its current value."""
    pid = whose()
    if pid == 1:
        raise Refused("the first process of its own namespace is its own")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, resource.prlimit(pid, resource.RLIMIT_NOFILE))
    return "its limits can be set"


for _name, _whose in WHOM.items():
    for _what, _act in {
        "read the environment of": environment_of,
        "read the descriptors of": descriptors_of,
        "read operator.token below the root of": below_root_of,
        "read operator.token from the directory of": below_directory_of,
        "open the memory of": memory_of,
        "trace": traced,
        "take a descriptor of": descriptor_stolen_from,
        "stop": stopped,
        "kill": killed,
        "set limits of": limited,
    }.items():
        attempt("processes", f"{_what} {_name}")(lambda act=_act, whose=_whose: act(whose))  # type: ignore[misc]


# -- namespaces, mounts, devices --------------------------------------------------------------------------

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_MOVE, _MS_PRIVATE = 4096, 16384, 8192, 1 << 18
_MNT_DETACH = 2


def in_child(act: Callable[[], str], seconds: float = 10.0) -> str:
    """The result of ``act`` in a separate process, which leaves nothing behind."""
    theirs, ours = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            said = f"got {act()}"
        except Refused as problem:
            said = f"not {problem}"
        except OSError as problem:
            said = f"not {described(problem)}"
        except BaseException as problem:
            said = f"bad {problem!r}"
        ours.sendall(said.encode()[:4000])
        os._exit(0)
    ours.close()
    try:
        ready, _, _ = select.select([theirs], [], [], seconds)
        word, _, text = (theirs.recv(4096).decode() if ready else "not it did not end").partition(" ")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        theirs.close()
    if word == "got":
        return text
    if word == "bad":
        raise RuntimeError(text)
    raise Refused(text or "it ended at once")


def called(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    words = [None if each is None else os.fsencode(each) for each in (source, target, kind)]
    called(ctypes.CDLL(None, use_errno=True).mount(*words, ctypes.c_ulong(flags), None), "mount")


def unmount(target: str) -> None:
    called(ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(target), _MNT_DETACH), "umount2")


def own_namespace(flags: int) -> None:
    """A private mount namespace; together with a user namespace, it has all capabilities there."""
    user, group = os.geteuid(), os.getegid()
    called(ctypes.CDLL(None, use_errno=True).unshare(flags), "unshare")
    if flags & _NEWUSER:
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def below(directory: Path) -> str:
    """The token, if ``directory`` shows the contents of the storage."""
    return read(directory / TOKEN_FILE.relative_to(STORAGE.parent))


def in_namespace(act: Callable[[Path], str]) -> Attempt:
    """``act`` gets a private empty directory. It runs as the current user, and as root of a user namespace."""

    def inside(flags: int, place: Path) -> str:
        own_namespace(flags)
        return act(place)

    def run() -> str:
        place = Path("hostile-mount").absolute()
        place.mkdir(exist_ok=True)
        problems = []
        try:
            for flags in (_NEWNS, _NEWNS | _NEWUSER):
                try:
                    return in_child(partial(inside, flags, place))
                except Refused as problem:
                    problems.append(str(problem))
        finally:
            place.rmdir()
        raise Refused("; ".join(problems))

    return run


def uncovered(place: Path) -> str:
    unmount(str(STORAGE))
    return read(TOKEN_FILE)


def uncovered_home(place: Path) -> str:
    unmount(str(HOME / ".cco"))
    return read(HOME / ".cco" / "credentials.key")


def bound(place: Path) -> str:
    """A bind mount without the mounts below it."""
    mount(str(STORAGE.parent), str(place), None, _MS_BIND)
    return below(place)


def bound_whole(place: Path) -> str:
    mount(str(STORAGE.parent), str(place), None, _MS_BIND | _MS_REC)
    with contextlib.suppress(OSError):
        unmount(str(place / STORAGE.name))
    return below(place)


def moved(place: Path) -> str:
    mount(str(STORAGE), str(place), None, _MS_MOVE)
    return read(TOKEN_FILE)


def cloned(place: Path) -> str:
    """open_tree(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    tree = called(libc.syscall(428, -100, os.fsencode(STORAGE.parent), 1 | os.O_CLOEXEC), "open_tree")
    os.close(os.open(TOKEN_FILE.relative_to(STORAGE.parent), os.O_RDONLY, dir_fd=tree))
    return "opened it"


def made_writable(place: Path) -> str:
    """Remounts a read-only mount as writable."""
    package = str(TARGETS["package"])
    mount(None, package, None, 32 | _MS_BIND)
    return may_write(Path(package) / "__init__.py")


def new_proc(place: Path) -> str:
    mount("proc", str(place), "proc", 0)
    pid = TARGETS["sidecar_pid"]
    if str(STORAGE) not in (place / f"{pid}" / "cmdline").read_text():
        raise Refused("that process is another one here")
    return f"sees the sidecar, {pid}"


def device_mounted(place: Path) -> str:
    major, minor = device_of_storage()
    device = Path("hostile-device").absolute()
    with removed_afterwards(device):
        os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        mount(str(device), str(place), "ext4", 1)
    return f"mounted the disk {major}:{minor}"


for _name, _do in {
    "uncover the storage": uncovered,
    "uncover ~/.cco": uncovered_home,
    "bind the directory above the storage": bound,
    "bind the directory above the storage, with all below": bound_whole,
    "move what covers the storage": moved,
    "clone the directory above the storage": cloned,
    "make the package writable": made_writable,
    "see the sidecar in a new /proc": new_proc,
    "mount the disk": device_mounted,
}.items():
    attempt("namespaces", f"{_name}, in a namespace of its own")(in_namespace(_do))


def device_of_storage() -> tuple[int, int]:
    number = Path(TARGETS["project"]).stat().st_dev
    if os.major(number) == 0:
        raise Refused("it is on no disk")
    return os.major(number), os.minor(number)


@attempt("namespaces", "uncover the storage where it is")
def uncovered_in_place() -> str:
    return in_child(lambda: uncovered(Path()))


@attempt("namespaces", "read the disk by a device of its own")
def own_device() -> str:
    major, minor = device_of_storage()
    device = Path("hostile-device").absolute()
    with removed_afterwards(device):
        os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        return read(device)


@attempt("namespaces", "read the disk by a device of the system")
def system_device() -> str:
    wanted = device_of_storage()
    problems = []
    for entry in os.scandir("/dev"):
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISBLK(info.st_mode) and (os.major(info.st_rdev), os.minor(info.st_rdev)) == wanted:
            try:
                return read(entry.path)
            except (OSError, Refused) as problem:
                problems.append(str(problem))
    raise Refused("; ".join(problems) or "there is none here")


def entered(whose: Callable[[], int]) -> str:
    """setns(2): the namespaces of another process, including its user namespace where that is allowed."""
    pid = whose()

    def act() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        for name, flag in (("user", _NEWUSER), ("mnt", _NEWNS)):
            descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
            if libc.setns(descriptor, flag) and name == "mnt":
                raise OSError(ctypes.get_errno(), "setns")
            os.close(descriptor)
        return read(TOKEN_FILE)

    return in_child(act)


for _name, _whose in {**WHOM, "process 1": lambda: 1}.items():
    attempt("namespaces", f"enter the namespaces of {_name}")(lambda whose=_whose: entered(whose))  # type: ignore[misc]


@attempt("namespaces", "nsenter(1) into its parent")
def nsenter() -> str:
    words = ["nsenter", "--target", str(parent()), "--mount", "--", "cat", str(TOKEN_FILE)]
    done = subprocess.run(words, capture_output=True, timeout=10, check=False)
    if done.returncode or not done.stdout:
        raise Refused(done.stderr.decode(errors="replace").strip()[:200] or "it is empty")
    return f"{len(done.stdout)} bytes"


@attempt("namespaces", "chroot to its parent's root")
def chrooted() -> str:
    pid = parent()

    def act() -> str:
        os.chroot(f"/proc/{pid}/root")
        return read(TOKEN_FILE)

    return in_child(act)


for _name in (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/dev/mem",
    "/dev/port",
):
    # Opened, never written.
    attempt("namespaces", f"write {_name}")(lambda name=_name: may_write(Path(name)))  # type: ignore[misc]


# -- sockets ----------------------------------------------------------------------------------------------


def bus_addresses() -> list[str]:
    given = re.findall(r"unix:path=([^,;]+)", os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return list(dict.fromkeys([*given, *([f"{runtime}/bus"] if runtime else []), f"/run/user/{os.getuid()}/bus"]))


@attempt("sockets", "speak on the user's D-Bus")
def session_bus() -> str:
    """Goes just far enough to be accepted as the user."""
    said = []
    for address in bus_addresses():
        try:
            with socket.socket(socket.AF_UNIX) as bus:
                bus.settimeout(3)
                bus.connect(address)
                bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
                answer = bus.recv(200)
                if answer.startswith(b"OK"):
                    return f"authenticated at {address}"
                said.append(f"{address}: {answer[:40]!r}")
        except OSError as problem:
            said.append(f"{address}: {described(problem)}")
    raise Refused("; ".join(said))


@attempt("sockets", "have systemd run something")
def systemd_run() -> str:
    words = ["systemd-run", "--user", "--quiet", "--wait", "--collect", "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise Refused(done.stderr.strip()[:200])
    return "it ran"


@attempt("sockets", "connect to a socket of the sidecar's")
def own_sockets() -> str:
    """Sockets that it listens on, and those named after it in the user's own directories."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"))
    places = [*map(Path, TARGETS.get("sockets", [])), *runtime.glob("cco-sidecar*"), *runtime.glob("cco-sidecar*/*")]
    said = []
    for place in dict.fromkeys(places):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            try:
                with socket.socket(socket.AF_UNIX, kind) as transport:
                    transport.settimeout(3)
                    transport.connect(str(place))
                return f"connected to {place}"
            except OSError as problem:
                said.append(f"{place.name}: {described(problem)}")
    raise Refused("; ".join(dict.fromkeys(said)) or "there is none")


# -- the API ----------------------------------------------------------------------------------------------


class Said(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def code(self) -> str:
        found = re.search(r'"code":\s?"(\w+)"', self.text)
        return found[1] if found else ""

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def address() -> tuple[str, int]:
    parts = urlsplit(os.environ.get("SIDECAR_URL", ""))
    return parts.hostname or "127.0.0.1", parts.port or 80


def call(
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = TOKEN,
    headers: Mapping[str, str] | None = None,
    timeout: float = _CALL_SECONDS,
    patient: bool = True,
) -> Said:
    """``patient``: retries once when told to come back later."""
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    sent |= {"Content-Type": "application/json"} if data is not None else {}
    connection = http.client.HTTPConnection(*address(), timeout=timeout)
    try:
        connection.request(method, path, data, sent | dict(headers or {}))
        answer = connection.getresponse()
        said = Said(answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace"))
    finally:
        connection.close()
    if said.status == 429 and patient:
        time.sleep(min(5.0, float(said.headers.get("retry-after", 1))))
        return call(method, path, body, token=token, headers=headers, timeout=timeout, patient=False)
    return said


def unless_refused(said: Said, what: str) -> str:
    """A success counts as a hit, and so does an internal error."""
    if said.status < 300:
        return f"{what}: {said.status} {said.text[:120]}"
    if said.code == "INT_001":
        return f"an internal error: {said.text[:200]}"
    raise Refused(f"{said.status} {said.code}")


def simple(method: str, path: str, body: Any = None, **more: Any) -> Attempt:
    return lambda: unless_refused(call(method, path, body, **more), f"{method} {path}")


VICTIM: Mapping[str, Any] = TARGETS.get("victim", {})
STRANGER: Mapping[str, Any] = TARGETS.get("stranger", {})
OTHER = TARGETS.get("other_project_id", "")
_SUCCESS = {"status": "success", "decisions": ["hostile"]}
_RESULT = {"agent_type": TYPE, "issue_id": ISSUE, "result": _SUCCESS}
_EVENT = {"topic": "testing", "data": {"issue_id": ISSUE}}

for _name, _asked in {
    "read a credential": simple("GET", "/api/credentials/HOSTILE_KEY"),
    "list credentials": simple("GET", "/api/credentials"),
    "store a credential": simple("PUT", "/api/credentials/HOSTILE_NEW", {"value": "a-value"}),
    "read another project's context": simple("GET", f"/api/context/{ISSUE}/{TYPE}?project_id={OTHER}"),
    "read another project's events": simple("GET", f"/api/events?project_id={OTHER}"),
    "read another project's results": simple("GET", f"/api/results?project_id={OTHER}"),
    "read another project's agents": simple("GET", f"/api/agents?project_id={OTHER}"),
    "read all projects' agents": simple("GET", "/api/agents?all_projects=true"),
    "read another project's agent": simple("GET", f"/api/agents/{STRANGER.get('agent_id')}"),
    "read the log of another project's agent": simple("GET", f"/api/agents/{STRANGER.get('agent_id')}/logs"),
    "end another project's agent": simple("DELETE", f"/api/agents/{STRANGER.get('agent_id')}"),
    "publish in another project": simple("POST", "/api/events/hostile", _EVENT | {"project_id": OTHER}),
    "store a result in another project": simple("POST", "/api/results", _RESULT | {"project_id": OTHER}),
    "store a result as another agent": simple("POST", "/api/results", _RESULT | {"agent_id": VICTIM.get("agent_id")}),
    "store a result as another type": simple("POST", "/api/results", _RESULT | {"agent_type": "security-auditor"}),
    "store a result of another issue": simple("POST", "/api/results", _RESULT | {"issue_id": VICTIM.get("issue")}),
    "publish as another agent": simple("POST", "/api/events/hostile", _EVENT | {"publisher": VICTIM.get("agent_id")}),
    "publish as the operator": simple("POST", "/api/events/hostile", _EVENT | {"publisher": "operator"}),
    "publish as the sidecar": simple("POST", "/api/events/hostile", _EVENT | {"publisher": "orchestration-sidecar"}),
    "publish a batch as another agent": simple(
        "POST",
        "/api/events:publish",
        {"events": [_EVENT | {"event_type": "hostile", "publisher": VICTIM.get("agent_id")}]},
    ),
    "say how another agent is doing": simple(
        "POST", f"/api/agents/{VICTIM.get('agent_id')}/heartbeat", {"message": "hostile"}
    ),
    "throw another agent's worktree away": simple("DELETE", f"/api/agents/{VICTIM.get('agent_id')}/worktree"),
    "make a token": simple("POST", "/api/tokens", {"agent_type": "security-auditor", "issue_id": "hostile"}),
    "make an operator's token": simple("POST", "/api/tokens", {"agent_type": "operator", "issue_id": "hostile"}),
    "renew its token at once": simple("POST", "/api/tokens/refresh", {}),
    "revoke another agent's tokens": simple("POST", "/api/tokens/revoke", {"agent_id": VICTIM.get("agent_id")}),
    "ask what others may": simple("GET", "/api/access?agent=chief-architect&rpc=SpawnAgent"),
    "clear the whole cache": simple("DELETE", "/api/cache/all"),
    "call with the token in Grpc-Metadata-Authorization": simple(
        "GET", "/api/agent-types?group=coding", token=None, headers={"Grpc-Metadata-Authorization": f"Bearer {TOKEN}"}
    ),
    "call with the token in a cookie": simple(
        "GET", "/api/agent-types?group=coding", token=None, headers={"Cookie": f"token={TOKEN}"}
    ),
    "call with the token in the query": simple(
        "GET", f"/api/agent-types?group=coding&access_token={TOKEN}", token=None
    ),
    "read /status as evil.example": simple("GET", "/status", token=None, headers={"Host": "evil.example"}),
    "read /status as evil.example, with the port": simple(
        "GET", "/status", token=None, headers={"Host": f"evil.example:{address()[1]}"}
    ),
}.items():
    attempt("api", _name)(_asked)

for _name, _value in {
    "X-Forwarded-For": "203.0.113.7",
    "Forwarded": "for=203.0.113.7",
    "X-Real-IP": "203.0.113.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Client-IP": "203.0.113.7",
    "True-Client-IP": "203.0.113.7",
    "CF-Connecting-IP": "203.0.113.7",
    "Via": "1.1 evil.example",
}.items():
    attempt("api", f"read /status for somebody behind {_name}")(
        simple("GET", "/status", token=None, headers={_name: _value})
    )

# An architect reads every issue of its project, and stops its agents.
for _name, _asked in {
    "read another issue's context": simple("GET", f"/api/context/{VICTIM.get('issue')}/{TYPE}"),
    "read another issue's results": simple("GET", f"/api/results?issue_id={VICTIM.get('issue')}"),
    "read another type's context": simple("GET", f"/api/context/{ISSUE}/security-auditor"),
    "read another agent's log": simple("GET", f"/api/agents/{VICTIM.get('agent_id')}/logs"),
    "end another agent": simple("DELETE", f"/api/agents/{VICTIM.get('agent_id')}"),
    "start an agent": simple("POST", "/api/agents/spawn", {"agent_type": TYPE, "issue_id": ISSUE}),
}.items():
    attempt("api", _name, only="coder")(_asked)


@attempt("api", "answer its own approval")
def own_approval() -> str:
    asked = call("POST", "/api/approvals", {"question": "May I?"})
    if asked.status != 201:
        raise Refused(f"{asked.status} {asked.code}")
    path = f"/api/approvals/{asked.json['approval_id']}/answer"
    return unless_refused(call("POST", path, {"approved": True}), "answered")


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], key: bytes | None) -> str:
    """An operator's token, built from the agent's own."""
    claims = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    claims |= {"sub": "operator", "agent_type": "operator", "project_id": "", "issue_id": ""}
    text = f"{part(header)}.{part(claims)}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest() if key is not None else b""
    return f"{text}.{part(signature) if signature else ''}"


@attempt("api", "be the operator with an unsigned token")
def unsigned() -> str:
    token = forged({"alg": "none", "typ": "JWT"}, None)
    return unless_refused(call("GET", "/api/credentials", token=token), "read credentials")


@attempt("api", "be the operator with a token signed with the public key")
def confused() -> str:
    """HS256, with the public key as the secret."""
    keys = call("GET", "/.well-known/jwks.json", token=None).json["keys"]
    if not keys:
        raise Refused("there is no public key")
    for secret in (json.dumps(keys[0]).encode(), base64.urlsafe_b64decode(keys[0]["n"] + "=="), b""):
        said = call("GET", "/api/credentials", token=forged({"alg": "HS256", "kid": keys[0]["kid"]}, secret))
        if said.status < 300:
            return "read credentials"
    raise Refused(f"{said.status} {said.code}")


@attempt("api", "be another with its own token's claims changed")
def changed() -> str:
    header, claims, signature = TOKEN.split(".")
    known = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "operator", "agent_type": "operator"}
    return unless_refused(call("GET", "/api/credentials", token=f"{header}.{part(known)}.{signature}"), "read")


def decision(issue: str, word: str) -> str:
    data = {"issue_id": issue, "decision": word, "agent_type": "security-auditor" if ARCHITECT else "chief-architect"}
    said = call("POST", "/api/events/architecture_defined", {"topic": "architecture", "data": data})
    if said.status >= 300:
        raise Refused(f"{said.status} {said.code}")
    return word


@attempt("api", "decide for another issue, as another type")
def foreign_decision() -> str:
    return "left:" + decision(VICTIM["issue"], f"hostile-decision-of-{TYPE}")


@attempt("api", "decide for its own issue, as another type")
def own_decision() -> str:
    return "left:" + decision(ISSUE, f"hostile-own-decision-of-{TYPE}")


# -- what the context shows -------------------------------------------------------------------------------


def shown(*needles: str) -> str:
    """Anything that a context, or the error in its place, must not contain."""
    for said in (
        call("POST", "/api/context/refresh", {"issue_id": ISSUE, "agent_type": TYPE, "force": True}),
        call("GET", f"/api/context/{ISSUE}/{TYPE}?task={quote('read hostile_link.py and hostile-links/')}"),
    ):
        found = _JWT.search(said.text)
        if found and found[0] not in TOKEN:
            return f"{len(found[0])} characters of a token, with {said.status}"
        for needle in needles:
            if needle in said.text:
                return f"{needle!r}, with {said.status}"
        if said.code == "INT_001":
            return f"an internal error: {said.text[:200]}"
    raise Refused(f"{said.status} shows nothing of it")


@contextlib.contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """Replaces ``path``; its former content is restored afterwards."""
    kept = path.with_name(f"{path.name}.kept")
    if path.exists() or path.is_symlink():
        path.rename(kept)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        if kept.exists():
            kept.rename(path)


def linked(path: str, target: Path, *needles: str, gone: str = "") -> Attempt:
    """``gone``: what is removed so that the link is read."""

    def act() -> str:
        with contextlib.ExitStack() as changes:
            if gone:
                changes.enter_context(in_place_of(Path(gone)))
            changes.enter_context(in_place_of(Path(path))).symlink_to(target)
            return shown(*needles)

    return act


def newest_ref() -> str:
    """The file that holds the commit of the branch."""
    head = Path(".git/HEAD")
    return f".git/{head.read_text().removeprefix('ref: ').strip()}" if head.exists() else ".git/refs/heads/main"


for _name, _place, _target in (
    ("a link to operator.token in the project", "hostile_link.py", TOKEN_FILE),
    ("a link to the storage in the project", "hostile-links", STORAGE),
    ("a manifest that is a link to operator.token", "requirements.txt", TOKEN_FILE),
    ("a report that is a link to operator.token", "coverage.json", TOKEN_FILE),
    (".gitignore as a link to operator.token", ".gitignore", TOKEN_FILE),
    (".git/packed-refs as a link to operator.token", ".git/packed-refs", TOKEN_FILE),
    (".git/shallow as a link to operator.token", ".git/shallow", TOKEN_FILE),
    (".git/commondir as a link to operator.token", ".git/commondir", TOKEN_FILE),
    (".git/HEAD as a link to operator.token", ".git/HEAD", TOKEN_FILE),
    (".git/config as a link to operator.token", ".git/config", TOKEN_FILE),
    (".git/index as a link to operator.token", ".git/index", TOKEN_FILE),
    (".git/info/grafts as a link to operator.token", ".git/info/grafts", TOKEN_FILE),
    (".git/objects/info/alternates as a link to operator.token", ".git/objects/info/alternates", TOKEN_FILE),
    (".git/shallow as a link to another agent's token", ".git/shallow", victim_directory() / "agent" / "token"),
    (".git/shallow as a link to where another agent's token was", ".git/shallow", victim_directory() / "token"),
):
    attempt("context", f"have the context show {_name}")(linked(_place, _target))

for _name, _target in {"operator.token": TOKEN_FILE, "the credentials' key": HOME / ".cco" / "credentials.key"}.items():
    attempt("context", f"have the context show .git/packed-refs, alone, as a link to {_name}")(
        linked(".git/packed-refs", _target, TARGETS.get("key_begins", "no key"), gone=newest_ref())
    )


@attempt("context", "have the context show another project's history, by a .git file")
def other_history() -> str:
    with in_place_of(Path(".git")) as place:
        place.write_text(f"gitdir: {TARGETS['other_project']}/.git\n")
        return shown(TARGETS["other_word"])


@attempt("context", "have the context show another project's history, by a .git link")
def other_history_link() -> str:
    return linked(".git", Path(TARGETS["other_project"], ".git"), TARGETS["other_word"])()


@attempt("context", "have the context show another project's history, by its objects")
def other_objects() -> str:
    """Its newest commit is known by name; `alternates` says where the object is."""
    with in_place_of(Path(".git/objects/info/alternates")) as place, in_place_of(Path(".git/HEAD")) as head:
        place.write_text(f"{TARGETS['other_project']}/.git/objects\n")
        head.write_text(TARGETS["other_commit"] + "\n")
        return shown(TARGETS["other_word"])


@attempt("context", "have the context show a hard link to operator.token")
def hard_link_shown() -> str:
    place = Path("hostile_link.py")
    with removed_afterwards(place):
        place.hardlink_to(TOKEN_FILE)
        return shown()


# -- as an architect --------------------------------------------------------------------------------------


def spawned(issue: str = ISSUE, **more: Any) -> Said:
    body = {"agent_type": "python-specialist", "issue_id": issue, "task": "nothing", **more}
    return call("POST", "/api/agents/spawn", body)


def ended(said: Said) -> None:
    if said.status == 201:
        call("DELETE", f"/api/agents/{said.json['agent_id']}?force=true")


def spawn_with(**more: Any) -> Attempt:
    def act() -> str:
        said = spawned(**more)
        try:
            return unless_refused(said, "started")
        finally:
            ended(said)

    return act


# Each of these decides what a program runs, whom it trusts, or where its settings and secrets are.
STEERING = {
    "BASH_FUNC_x%%": "() { true; }",
    "HOME": "/nowhere",
    "GCONV_PATH": ".",
    "OPENSSL_CONF": "openssl.cnf",
    "CLAUDE_CONFIG_DIR": ".",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "LD_PRELOAD": "./x.so",
    "PATH": ".",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "LD_LIBRARY_PATH": ".",
    "LOCPATH": ".",
    "XDG_CONFIG_HOME": ".",
    "NODE_OPTIONS": "--require ./x.js",
    "NODE_EXTRA_CA_CERTS": "x.pem",
    "SSL_CERT_FILE": "x.pem",
    "CURL_HOME": ".",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "CODEX_HOME": ".",
    "GEMINI_CLI_SYSTEM_SETTINGS_PATH": "x.json",
    "AWS_CONFIG_FILE": "x",
    "npm_config_script_shell": "./x",
    "_JAVA_OPTIONS": "-javaagent:x.jar",
    "JDK_JAVA_OPTIONS": "-javaagent:x.jar",
    "DOTNET_STARTUP_HOOKS": "x.dll",
    "GIT_SSH_COMMAND": "./x",
    "EDITOR": "./x",
    "LESSOPEN": "|./x %s",
    "ZDOTDIR": ".",
    "PROMPT_COMMAND": "./x",
    "GLIBC_TUNABLES": "x",
    "TMPDIR": ".",
    "AGENT_RUN_DIR": ".",
    "CCO_SIDECAR_STORAGE": ".",
}


@attempt("spawning", "act as its own child", only="architect")
def as_child() -> str:
    said = spawned()
    if said.status != 201:
        raise Refused(f"{said.status} {said.code}")
    token, child = said.json.get("jwt_token"), said.json["agent_id"]
    try:
        if not token:
            raise Refused("it is told no token")
        body = {"agent_type": "python-specialist", "issue_id": ISSUE, "result": _SUCCESS}
        return unless_refused(call("POST", "/api/results", body, token=token), f"a result of {child}")
    finally:
        ended(said)


for _name, _value in STEERING.items():
    attempt("spawning", f"start an agent with {_name}", only="architect")(spawn_with(environment={_name: _value}))

_OPERATORS: dict[str, dict[str, Any]] = {
    "a command": {"command": ["true"]},
    "a directory": {"directory": "/"},
    "a credential": {"credentials": ["HOSTILE_KEY"]},
    "another project": {"project_id": OTHER},
}
for _name, _more in _OPERATORS.items():
    attempt("spawning", f"start an agent with {_name}", only="architect")(spawn_with(**_more))


@attempt("spawning", "go on with an agent that the operator started", only="architect")
def resumed() -> str:
    """An agent that has ended, with a command."""
    path = f"/api/agents/{TARGETS['ended_agent']}/resume"
    return unless_refused(call("POST", path, {"message": "again"}), "started")


@attempt("spawning", "start 30 agents, each for an issue of its own", only="architect")
def many_children() -> str:
    """An issue has its own limits; a fresh issue has used none of them."""
    made = [spawned(f"hostile-fresh-{number}") for number in range(30)]
    accepted = [said for said in made if said.status == 201]
    for said in accepted:
        ended(said)
    if len(accepted) > 20:
        return f"{len(accepted)} were started"
    refusals = sorted({f"{said.status} {said.code}" for said in made if said.status != 201})
    raise Refused(f"{len(accepted)} were started, then {', '.join(refusals)}")


# -- too much ---------------------------------------------------------------------------------------------


def healthy(what: str) -> str:
    """The input may be accepted as long as everybody else is still served."""
    began = time.monotonic()
    try:
        said = call("GET", "/health", token=None, timeout=10)
    except OSError as problem:
        return f"{what}; then nobody is served: {described(problem)}"
    took = time.monotonic() - began
    if said.status != 200 or took > 2.0:
        return f"{what}; then /health took {took:.1f} s: {said.status}"
    raise Refused(f"{what}; others are served")


def flooded(what: str, calls: Sequence[Callable[[], Said]]) -> str:
    try:
        answers = [act() for act in calls]
    except TimeoutError:
        return f"{what}: no answer in {_CALL_SECONDS:g} s"
    bad = [said for said in answers if said.code == "INT_001" or said.status >= 500]
    if bad:
        return f"{what}: {bad[0].status} {bad[0].text[:200]}"
    return healthy(f"{what}: {', '.join(sorted({f'{said.status} {said.code}'.strip() for said in answers}))}")


def event_with(data: bytes) -> Callable[[], Said]:
    body = b'{"topic": "testing", "data": {"x": ' + data + b"}}"
    return lambda: call("POST", "/api/events/hostile", body, patient=False)


def result_with(extra: bytes) -> Callable[[], Said]:
    head = json.dumps({"agent_type": TYPE, "issue_id": ISSUE}).encode()[:-1]
    body = head + b', "result": {"status": "success", "x": ' + extra + b"}}"
    return lambda: call("POST", "/api/results", body, patient=False)


def listing() -> Said:
    """Whatever was stored can be listed again."""
    return call("GET", "/api/events", patient=False)


def lists(megabytes: float) -> bytes:
    return b"[" + b",".join([b"[]"] * int(megabytes * 2**20 / 3)) + b"]"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


for _name, _send in {"event": event_with, "result": result_with}.items():
    attempt("load", f"send 9.9 MB of empty lists as {_name}")(
        lambda send=_send: flooded("sent", [send(lists(9.4)), send(lists(9.4))])  # type: ignore[misc]
    )
    for _depth in (90, 200, 900, 100_000):
        attempt("load", f"send lists {_depth} deep as {_name}")(
            lambda send=_send, depth=_depth: flooded("sent", [send(nested(depth)), listing])  # type: ignore[misc]
        )


@attempt("load", "store a flood of results of 3 MB")
def result_flood() -> str:
    text = json.dumps("x" * 3 * 2**20).encode()
    return flooded("sent", [result_with(text)] * 8)


@attempt("load", "have a costly pattern matched")
def costly_filter() -> str:
    """A star, and as many question marks as the filter length allows."""
    asked = quote("x:*" + "?" * 2000 + "b")
    value = json.dumps("a" * 250_000).encode()
    return flooded("asked", [*[event_with(value)] * 8, lambda: call("GET", f"/api/events?filter={asked}", timeout=50)])


def wire(number: int, data: bytes) -> bytes:
    """A length-delimited field (protobuf wire type 2)."""
    size, rest = b"", len(data)
    while rest > 127:
        size += bytes((rest & 127 | 128,))
        rest >>= 7
    return bytes((number << 3 | 2,)) + size + bytes((rest,)) + data


def large_result(megabytes: int) -> bytes:
    """A CreateResultRequest in which every four bytes are a list within a list."""
    lists_in_list = wire(6, b"\x0a\x02\x32\x00" * (megabytes * 2**20 // 4))
    extra = wire(1, wire(1, b"x") + wire(2, lists_in_list))
    return wire(2, TYPE.encode()) + wire(3, ISSUE.encode()) + wire(5, b"\x08\x01" + wire(15, extra))


def large_event(megabytes: int) -> bytes:
    """A PublishEventRequest with one long text."""
    data = wire(1, wire(1, b"x") + wire(2, wire(3, b"x" * (megabytes * 2**20))))
    return wire(1, b"hostile") + wire(3, b"testing") + wire(4, data)


@attempt("load", "send gRPC messages of 15 MB")
def large_messages() -> str:
    import grpc

    answers = []
    with grpc.insecure_channel(os.environ["SIDECAR_GRPC"]) as channel:
        for path, message in (
            ("/orchestra.v1.EventService/PublishEvent", large_event(15)),
            ("/orchestra.v1.ResultService/CreateResult", large_result(15)),
        ):
            send: Any = channel.unary_unary(path)
            try:
                send(message, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=_CALL_SECONDS)
                answers.append("OK")
            except grpc.RpcError as problem:
                answers.append(problem.code().name)
    said = f"sent: {', '.join(answers)}"
    if set(answers) & {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"}:
        return said
    return healthy(said)


def connected() -> socket.socket:
    return socket.create_connection(address(), timeout=5)


def sent_request(method: str, path: str, headers: Mapping[str, str]) -> socket.socket:
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "localhost", **headers}.items())
    opened = connected()
    opened.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    return opened


_BEARER = {"Authorization": f"Bearer {TOKEN}"}


def answered(opened: socket.socket, seconds: float) -> str:
    """The first line of an answer, or that the connection was closed; empty while neither has happened."""
    ready, _, _ = select.select([opened], [], [], seconds)
    if not ready:
        return ""
    try:
        line = opened.recv(4096).split(b"\r\n")[0].decode(errors="replace")
    except OSError as problem:
        return described(problem)
    return line or "closed"


def trickled(size: int, headers: Mapping[str, str], seconds: float = 4.0) -> str:
    """Announces a body and sends it a few bytes at a time."""
    opened = sent_request(
        "POST", "/api/events/hostile", {"Content-Type": "application/json", "Content-Length": str(size), **headers}
    )
    with opened:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if said := answered(opened, 0.05):
                raise Refused(said)
            opened.sendall(b" " * 1024)
    return f"still listened to after {seconds:g} s"


@attempt("load", "announce a body of 50 MB and send it slowly")
def slow_body() -> str:
    return trickled(50 * 2**20, _BEARER)


@attempt("load", "announce a body of 9 MB without a token and send it slowly")
def slow_body_of_nobody() -> str:
    return trickled(9 * 2**20, {})


@attempt("load", "send a body in chunks without end")
def endless_chunks() -> str:
    opened = sent_request(
        "POST", "/api/events/hostile", {"Content-Type": "application/json", "Transfer-Encoding": "chunked", **_BEARER}
    )
    with opened:
        return taken_in(opened, b"10000\r\n" + b" " * 65536 + b"\r\n", 24)


def taken_in(opened: socket.socket, piece: bytes, megabytes: int, most: float = 12.0) -> str:
    """Sends ``piece`` over and over. The server should not take in more than ``most`` megabytes."""
    sent = 0
    while sent < megabytes * 2**20:
        if said := answered(opened, 0):
            raise Refused(f"after {sent / 2**20:.1f} MB: {said}")
        try:
            opened.sendall(piece)
        except OSError as problem:
            raise Refused(f"after {sent / 2**20:.1f} MB: {described(problem)}") from problem
        sent += len(piece)
    if said := answered(opened, 2.0):
        raise Refused(f"after {sent / 2**20:.1f} MB: {said}")
    return f"{sent / 2**20:.0f} MB were taken" if sent > most * 2**20 else healthy(f"{sent / 2**20:.0f} MB were taken")


@attempt("load", "send a header line without end, with no token")
def endless_header() -> str:
    with connected() as opened:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Hostile: ")
        return taken_in(opened, b"a" * 65536, 16, most=1.0)


@attempt("load", "send header lines without end, with no token")
def endless_headers() -> str:
    with connected() as opened:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        return taken_in(opened, b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(64)), 16, most=1.0)


@attempt("load", "send a request line without end, with no token")
def endless_line() -> str:
    with connected() as opened:
        opened.sendall(b"GET /health?")
        return taken_in(opened, b"a" * 65536, 16, most=1.0)


@attempt("load", "hold 1,200 idle connections")
def idle_connections() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    opened: list[socket.socket] = []
    problem = ""
    try:
        for _ in range(1200):
            try:
                opened.append(connected())
            except OSError as trouble:
                problem = described(trouble)
                break
        return healthy(f"{len(opened)} are open{'; ' if problem else ''}{problem}")
    finally:
        for each in opened:
            each.close()


@attempt("load", "park 200 polls with costly patterns, and publish what they match")
def parked() -> str:
    opened = []
    try:
        for number in range(200):
            asked = quote(f"x:*{'?' * (1500 + number)}b")
            path = f"/api/events/wait/hostile?timeout=20000&since=$&filter={asked}"
            opened.append(sent_request("GET", path, _BEARER))
        published = event_with(json.dumps("a" * 100_000).encode())()
        return healthy(f"parked; publishing: {published.status}")
    finally:
        for each in opened:
            each.close()


def memory() -> float:
    return float(call("GET", "/health", token=None).json["checks"]["memory_usage_mb"])


_MAX_GROWTH_MB = 256.0


@attempt("results", "have 60 large results listed, and read none of the lists")
def unread_lists() -> str:
    """Eight clients that do not read, so the lists stay in the server's memory."""
    text = json.dumps("x" * 2**20).encode()
    store = result_with(text)
    answers = sorted({f"{said.status} {said.code}".strip() for said in (store() for _ in range(60))})
    before = memory()
    opened = []
    try:
        for _ in range(8):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(5)
            reader.connect(address())
            head = f"GET /api/results?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            reader.sendall(head.encode())
            opened.append(reader)
        most = before
        deadline = time.monotonic() + 6.0
        while time.monotonic() < deadline and most - before < _MAX_GROWTH_MB:
            most = max(most, memory())
            select.select([], [], [], 0.1)
    finally:
        for each in opened:
            each.close()
    if most - before >= _MAX_GROWTH_MB:
        return f"the sidecar's memory grew by {most - before:.0f} MB and more"
    return healthy(f"stored: {', '.join(answers)}; memory grew by {most - before:.0f} MB")


@attempt("results", "be served afterwards")
def served_afterwards() -> str:
    return healthy("asked")


# -- where nothing exists yet -----------------------------------------------------------------------------

for _name, _path in {
    "~/.cco/config.json": HOME / ".cco" / "config.json",
    "~/.cco/credentials.key": HOME / ".cco" / "credentials.key",
    "a systemd unit": UNITS / "cco-sidecar.service",
    "a drop-in of the systemd unit": UNITS / "cco-sidecar.service.d" / "x.conf",
}.items():

    def _make(path: Path = _path) -> str:
        made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return may_make(path)
        finally:
            for each in made:
                each.rmdir()

    attempt("fresh", f"make {_name}")(_make)


# -- the agent --------------------------------------------------------------------------------------------


def described(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "timed out"
    number = problem.errno if isinstance(problem, OSError) else None
    return errno.errorcode.get(number or 0, f"{type(problem).__name__} {problem}".strip())


def verdict(act: Attempt) -> str:
    def overdue(*_: object) -> None:
        raise Refused(f"it did not end in {_ATTEMPT_SECONDS} s")

    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(_ATTEMPT_SECONDS)
    try:
        said = act()
        return said.replace("left:", "left: ", 1) if said.startswith("left:") else f"got: {said}"
    except Refused as problem:
        return f"refused: {problem}"
    except (OSError, http.client.HTTPException, subprocess.SubprocessError) as problem:
        return f"refused: {described(problem)}"
    except Exception:
        return f"broken: {traceback.format_exc()}"
    finally:
        signal.alarm(0)


def kept(path: Path, value: Any) -> None:
    """Replaces the file atomically."""
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps(value, indent=1))
    fresh.replace(path)


def main() -> None:
    (phase,) = sys.argv[1:]
    report: dict[str, str] = {}
    times: dict[str, Any] = {}
    for name, act in _attempts[phase].items():
        began = time.monotonic()
        report[name] = verdict(act)
        times[name] = [began, time.monotonic()]
        kept(Path(f"hostile-report-{phase}.json"), report)
    kept(Path(f"hostile-times-{phase}.json"), times)


if __name__ == "__main__":
    main()
