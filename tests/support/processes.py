"""Inspecting processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
from tests.support.sidecars import until

from cco_sidecar.runners.run import MARK

# For a shell: it ignores SIGTERM.
DEAF = "trap '' TERM; while :; do sleep 0.05; done"


def writes_its_pid(path: Path, then: str = DEAF) -> list[str]:
    """A command that writes its pid to a file and then runs as given."""
    return ["sh", "-c", f'echo $$ > "{path}.new"; mv "{path}.new" "{path}"; {then}']


def process_alive(pid: int) -> bool:
    """The process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pid_in(path: Path) -> int:
    """The pid that a process writes to a file, as soon as it is there."""
    return until(lambda: int(path.read_text() or 0) if path.exists() else 0, f"a pid in {path.name}")


def lines_in(path: Path) -> list[str]:
    """The complete lines that a process has written to a file. The line in progress is left out, because an append
    across a page boundary can be seen half-written.
    """
    whole, _, _ = (path.read_text() if path.exists() else "").rpartition("\n")
    return whole.split("\n") if whole else []


def of_run(directory: Path) -> list[psutil.Process]:
    """Every process of a run, or of the runs below a directory: shims, and processes with its mark."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            named = (mark,) if mark else process.cmdline()
            ours = any(word == str(directory) or word.startswith(f"{directory}/") for word in named)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def command_line_of(process: psutil.Process) -> str:
    """Its command line; empty if it no longer exists."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def end_all(directory: Path) -> list[str]:
    """Kills every process of the runs below a directory; returns what it killed."""
    left = of_run(directory)
    told = [f"{each.pid} {command_line_of(each)}" for each in left]
    for each in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    return told


def agents_of(sidecar: psutil.Process) -> list[psutil.Process]:
    """The sidecar's children except its repository workers."""
    return [
        child for child in sidecar.children() if "cco_sidecar.services.context.worker" not in command_line_of(child)
    ]
