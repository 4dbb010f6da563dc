"""Namespaces, mounts and devices: ways out of the sandbox."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attempts.core import HOME, STORAGE, TARGETS, Attempt, Refused, attempt, in_child
from attempts.files import TOKEN_FILE, may_write, read, removed_afterwards
from attempts.processes import WHOM, parent

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_MOVE, _MS_PRIVATE = 4096, 16384, 8192, 1 << 18
_MNT_DETACH = 2


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
