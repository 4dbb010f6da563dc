"""Runs an agent in its own mount and PID namespaces (namespaces(7)). Standard library only: the shim imports it.

The shim starts a chain of three processes:

    outer   creates the namespaces and the mounts, then exits
    init    process 1 of the PID namespace: reaps orphans, and reports how the agent ended
    agent   the program

The mounts are created in a first user namespace. The agent runs in a second one, nested in it, where the kernel locks
the mounts: they cannot be unmounted to reveal what they hide (mount_namespaces(7), "Restrictions on mount namespaces").
With ``user`` the shim runs as root. No user namespaces are created then, and the agent has no capabilities.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
import sys

# Type checkers treat this name like typing.TYPE_CHECKING; importing typing would cost milliseconds.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

# linux/sched.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
# linux/mount.h
_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_NOEXEC = 8
_MS_REMOUNT = 32
_MS_NOATIME = 1024
_MS_NODIRATIME = 2048
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_MS_RELATIME = 1 << 21
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
# Mount attributes as statvfs(3) reports them, and the flags that preserve them: a remount must not drop them.
_KEPT = (
    (os.ST_RDONLY, _MS_RDONLY),
    (os.ST_NOSUID, _MS_NOSUID),
    (os.ST_NODEV, _MS_NODEV),
    (os.ST_NOEXEC, _MS_NOEXEC),
    (os.ST_NOATIME, _MS_NOATIME),
    (os.ST_NODIRATIME, _MS_NODIRATIME),
    (os.ST_RELATIME, _MS_RELATIME),
)
# Kernel files that root can write and that affect the whole machine, not only the namespace.
_OF_THE_KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/sys")
_MEMORY_DEVICES = ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg")
# Releases a process that waits on a pipe. A read from a closed pipe returns no bytes instead.
_GO = b"1"
_SSH_CONFIG = "/etc/ssh/ssh_config.d"


class Started:
    """A confined agent as the shim sees it: the pid of ``init``, and a pipe that delivers the agent's wait status."""

    def __init__(self, init: int, status: int) -> None:
        self.init = init
        self.status = status


def start(sandbox: dict[str, Any], become_agent: Callable[[], NoReturn]) -> Started:
    """Runs ``become_agent`` confined. Raises OSError if the system does not allow it.

    ``sandbox``: ``hidden`` and ``visible`` paths, ``read_only`` paths, ``user`` {uid, gid, groups} or None.
    """
    told, tell = os.pipe()
    wait, go = os.pipe()
    status_read, status_write = os.pipe()
    outer = os.fork()
    if outer == 0:
        for descriptor in (told, go, status_read):
            os.close(descriptor)
        _run(tell, lambda: _outer(sandbox, become_agent, tell, wait, status_write))
    for descriptor in (tell, wait, status_write):
        os.close(descriptor)
    try:
        init = _follow(outer, told, go)
    except OSError:
        os.close(status_read)
        raise
    finally:
        # A process that still waits on it reads end-of-file.
        os.close(go)
        os.close(told)
    return Started(init, status_read)


def _follow(outer: int, told: int, go: int) -> int:
    """Writes the ID map of the user namespace on request, and releases init once it is a child of the shim.

    Returns init's pid. Raises OSError for a failure in outer or init.
    """
    init = 0
    try:
        while True:
            word, value, text = _hear(told)
            if word == b"M":
                _map_ids(outer)
                os.write(go, _GO)
            elif word == b"I":
                init = value
                break
            else:
                raise OSError(value or errno.EPERM, text or "the sandbox could not be created")
    except OSError:
        # It may be waiting for its map.
        os.kill(outer, signal.SIGKILL)
        raise
    finally:
        os.waitpid(outer, 0)
    # Only now is the shim init's parent, so that init dies with the shim.
    os.write(go, _GO)
    word, value, text = _hear(told)
    if word != b"R":
        raise OSError(value or errno.EPERM, text or "the sandbox could not be created")
    return init


def _hear(told: int) -> tuple[bytes, int, str]:
    head = os.read(told, 9)
    if len(head) < 9:
        return b"", 0, ""
    word, value, size = head[:1], *struct.unpack("<ii", head[1:])
    return word, value, os.read(told, size).decode(errors="replace") if size else ""


def _say(tell: int, word: bytes, value: int = 0, text: str = "") -> None:
    data = text.encode()[:4000]
    os.write(tell, word + struct.pack("<ii", value, len(data)) + data)


def _run(tell: int, act: Callable[[], None]) -> NoReturn:
    """Runs ``act`` in a forked process. Reports an OSError to the shim, and never returns into the shim's code."""
    try:
        act()
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        _say(tell, b"E", problem.errno or 0, f"sandbox: {problem.strerror}{where}")
    finally:
        os._exit(127)


def _outer(sandbox: dict[str, Any], become_agent: Callable[[], NoReturn], tell: int, wait: int, status: int) -> None:
    own_namespace = sandbox.get("user") is None
    _unshare(_CLONE_NEWNS | _CLONE_NEWPID | (_CLONE_NEWUSER if own_namespace else 0))
    if own_namespace:
        _say(tell, b"M")
        # Wait until the shim has written the map.
        _wait_for(wait)
    # Mounts made outside from now on do not appear inside.
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _arrange(sandbox)
    # Keep the old /proc open: the one that init mounts over it does not list this process.
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    ready_read, ready_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    init = os.fork()
    if init == 0:
        os.close(ready_read)
        os.close(mapped_write)

        def become_init() -> None:
            _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
            if os.geteuid() == 0 and own_namespace:
                _close_the_kernel()
            if own_namespace:
                _unshare(_CLONE_NEWUSER | _CLONE_NEWNS)
            os.close(processes)
            os.write(ready_write, _GO)
            _wait_for(mapped_read)
            for descriptor in (ready_write, mapped_read):
                os.close(descriptor)
            _init(become_agent, tell, wait, status)

        _run(tell, become_init)
    os.close(ready_write)
    os.close(mapped_read)
    if os.read(ready_read, 1) != _GO:
        os.waitpid(init, 0)
        os._exit(127)
    if own_namespace:
        _map_ids(init, processes)
    os.write(mapped_write, _GO)
    _say(tell, b"I", init)


def _wait_for(pipe: int) -> None:
    """Blocks until the other side releases this process. Exits if the other side is gone."""
    if os.read(pipe, 1) != _GO:
        os._exit(127)


def _init(become_agent: Callable[[], NoReturn], tell: int, wait: int, status: int) -> None:
    """Process 1 of the namespace: starts the agent once the shim is its parent, and exits when no process is left."""
    _wait_for(wait)
    os.close(wait)
    # The current handlers are the shim's.
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Fails if the shim has already died: no process would be left to end the agent.
    _say(tell, b"R")
    os.close(tell)
    agent = os.fork()
    if agent == 0:
        os.close(status)
        become_agent()
    # Keep the agent out of this process: its memory holds the run's specification, its descriptors are the shim's.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for descriptor in _descriptors():
        if descriptor != status:
            _close(descriptor)
    while True:
        try:
            pid, code = os.wait()
        except ChildProcessError:
            os._exit(0)
        except InterruptedError:
            continue
        if pid == agent:
            os.write(status, struct.pack("<i", code))
            os.close(status)


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        pass


# -- mounts ------------------------------------------------------------------------------------------------


def _arrange(sandbox: dict[str, Any]) -> None:
    """Hides paths, shows those in them that the agent needs, and makes others read-only."""
    hidden = _real(sandbox["hidden"])
    kept = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC)
        for path in _real(sandbox["visible"])
        if any(_is_below(path, top) for top in hidden)
    }
    covered = []
    # Deepest first: a mount on a parent would make the path unreachable.
    for path in reversed(hidden):
        if stat.S_ISDIR(os.stat(path).st_mode):
            _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
            covered.append(path)
        else:
            _mount(os.devnull, path, None, _MS_BIND)
    # Another user must be able to traverse the directories that lead to a visible path.
    before = os.umask(0o022)
    for path, descriptor in sorted(kept.items()):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "a").close()
        _mount(f"/proc/self/fd/{descriptor}", path, None, _MS_BIND | _MS_REC)
        os.close(descriptor)
    os.umask(before)
    for path in filter(os.path.ismount, covered):
        _mount(None, path, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    for path in sandbox["read_only"]:
        if os.path.exists(path):
            _protect(path)
    if os.geteuid() == 0:
        _cover_devices()
    elif sandbox.get("user") is None:
        _own_ssh_configuration()


def _real(paths: Iterable[str]) -> list[str]:
    """Returns the existing paths with symbolic links resolved, parents first."""
    return sorted({os.path.realpath(path) for path in paths if os.path.exists(path)})


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _protect(path: str) -> None:
    """Makes a path read-only, with the mounts below it. It is bind-mounted on itself, so its siblings are not
    affected."""
    _mount(path, path, None, _MS_BIND | _MS_REC)
    with open("/proc/self/mountinfo", "rb") as file:
        points = {os.fsdecode(line.split()[4].decode("unicode_escape").encode("latin-1")) for line in file}
    for point in sorted(point for point in points if _is_below(point, path)):
        flags = os.statvfs(point).f_flag
        kept = sum(ours for theirs, ours in _KEPT if flags & theirs)
        _mount(None, point, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def _close_the_kernel() -> None:
    """Makes kernel settings read-only.

    Root in a namespace that maps root is root to sysctl(8), and /proc/sys/kernel/core_pattern names a program to run.
    """
    for path in _OF_THE_KERNEL:
        if os.path.exists(path):
            _protect(path)


def _cover_devices() -> None:
    """Hides block and memory devices: root could read a hidden file directly from the disk."""
    for name in os.listdir("/dev"):
        path = f"/dev/{name}"
        if path in _MEMORY_DEVICES or _is_block_device(path):
            _mount(os.devnull, path, None, _MS_BIND)


def _is_block_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.lstat(path).st_mode)
    except OSError:
        return False


def _own_ssh_configuration() -> None:
    """Replaces the ssh configuration files that the system includes with copies that the user owns.

    ssh refuses an included file whose owner is neither root nor the user, and in a namespace that maps a single user,
    root's files belong to nobody.
    """
    try:
        texts = {name: _content(f"{_SSH_CONFIG}/{name}") for name in os.listdir(_SSH_CONFIG)}
    except OSError:
        return
    if not texts:
        return
    _mount("tmpfs", _SSH_CONFIG, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "size=1m,mode=0755")
    for name, text in texts.items():
        with open(f"{_SSH_CONFIG}/{name}", "wb") as file:
            file.write(text)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(64 * 1024)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    libc = ctypes.CDLL(None, use_errno=True)
    options = None if data is None else data.encode()
    if libc.mount(*words, ctypes.c_ulong(flags), options):
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", target)


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


# -- identities --------------------------------------------------------------------------------------------


def _map_ids(pid: int, processes: int | None = None) -> None:
    """Maps every ID to itself (user_namespaces(7)). Only root may map more than its own ID.

    ``processes``: a descriptor of the /proc directory to use, if another one is mounted at /proc now.
    """
    if os.geteuid() != 0:
        _write(f"{pid}/setgroups", "deny", processes)
        _write(f"{pid}/uid_map", f"{os.geteuid()} {os.geteuid()} 1", processes)
        _write(f"{pid}/gid_map", f"{os.getegid()} {os.getegid()} 1", processes)
        return
    for name in ("uid_map", "gid_map"):
        with os.fdopen(_open(f"self/{name}", os.O_RDONLY, processes)) as file:
            extents = [line.split() for line in file]
        _write(f"{pid}/{name}", "\n".join(f"{inside} {inside} {count}" for inside, _, count in extents), processes)


def _open(name: str, flags: int, processes: int | None) -> int:
    return os.open(f"/proc/{name}", flags) if processes is None else os.open(name, flags, dir_fd=processes)


def _write(name: str, text: str, processes: int | None) -> None:
    descriptor = _open(name, os.O_WRONLY, processes)
    try:
        os.write(descriptor, text.encode())
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, f"/proc/{name}") from problem
    finally:
        os.close(descriptor)


def become(user: dict[str, Any]) -> None:
    """Switches to another user permanently. Raises OSError."""
    os.setgroups(user["groups"])
    os.setgid(user["gid"])
    os.setuid(user["uid"])


def trial(hidden: Iterable[str]) -> str:
    """Returns why agents cannot be confined here; empty if they can. Builds a complete sandbox around a process that
    exits."""
    if sys.platform != "linux":
        return "only Linux has namespaces"
    try:
        started = start({"hidden": list(hidden), "visible": [], "read_only": [], "user": None}, lambda: os._exit(0))
    except OSError as problem:
        return f"the system does not allow it: {problem.strerror}"
    with os.fdopen(started.status, "rb") as status:
        code = status.read(4)
    os.waitpid(started.init, 0)
    return "" if code == struct.pack("<i", 0) else "a process in the sandbox could not be started"
