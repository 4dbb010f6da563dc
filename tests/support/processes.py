"""Looking at processes."""

from __future__ import annotations

from pathlib import Path

import psutil
from tests.support.sidecars import until

from cco_sidecar.agents.run import MARK


def lives(pid: int) -> bool:
    """There is such a process, and it is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pid_in(path: Path) -> int:
    """The pid that a process writes into a file, as soon as it is there."""
    return until(lambda: int(path.read_text() or 0) if path.exists() else 0, f"a pid in {path.name}")


def of_run(directory: Path) -> list[psutil.Process]:
    """Everything alive that belongs to a run: its keeper, and what carries its mark or one of its subdirectories'."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            ours = (
                Path(mark).is_relative_to(directory) if mark else f"{directory}/" in " ".join(process.cmdline()) + "/"
            )
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
