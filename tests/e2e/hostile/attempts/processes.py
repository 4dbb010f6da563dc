"""The processes of the sidecar and of other agents."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from attempts.core import STORAGE, TARGETS, Refused, attempt, in_child
from attempts.files import TOKEN_FILE, read


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
