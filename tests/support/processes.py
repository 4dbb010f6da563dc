"""Looking at processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
from tests.support.sidecars import until

from cco_sidecar.runners.run import MARK

# Of a shell: it does not hear SIGTERM.
DEAF = "trap '' TERM; while :; do sleep 0.05; done"


def tells_its_pid(path: Path, then: str = DEAF) -> list[str]:
    """A command that writes its pid into a file and goes on as said."""
    return ["sh", "-c", f'echo $$ > "{path}.new"; mv "{path}.new" "{path}"; {then}']


def process_alive(pid: int) -> bool:
    """There is such a process, and it is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pid_in(path: Path) -> int:
    """The pid that a process writes into a file, as soon as it is there."""
    return until(lambda: int(path.read_text() or 0) if path.exists() else 0, f"a pid in {path.name}")


def lines_in(path: Path) -> list[str]:
    """The lines that a process has written into a file. The one that it writes is not among them: what is appended over
    the end of a page can be seen half."""
    whole, _, _ = (path.read_text() if path.exists() else "").rpartition("\n")
    return whole.split("\n") if whole else []


def of_run(directory: Path) -> list[psutil.Process]:
    """Everything alive that belongs to a run, or to the runs below a directory: shims, and what carries a mark."""
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
    """Its command line; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def end_all(directory: Path) -> list[str]:
    """Kills everything that belongs to the runs below a directory; what it was."""
    left = of_run(directory)
    told = [f"{each.pid} {command_line_of(each)}" for each in left]
    for each in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    return told


def agents_of(sidecar: psutil.Process) -> list[psutil.Process]:
    """Its children but for those that read repositories."""
    return [
        child for child in sidecar.children() if "cco_sidecar.services.context.worker" not in command_line_of(child)
    ]
