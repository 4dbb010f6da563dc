"""Starts, finds and stops background sidecars. A pid is verified before it is used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import click
import psutil

from cco_sidecar.core.environment import LIFELINE, OWN_SETTINGS
from cco_sidecar.storage.files import is_in_use

# -P: the working directory is often the repository, whose files must not be imported.
_CCO = (sys.executable, "-P", "-m", "cco_sidecar.cli.main")
# What `docker run --init` and images put in front of their program.
_INIT_PROGRAMS = frozenset({"catatonit", "docker-init", "dumb-init", "tini"})
_READY = "CCO_SIDECAR_READY_FD"
SERVER = "orchestration-server"
# A process that was created after its pid file was written has reused the pid.
_CLOCK_SLACK = 2.0
_POLL_SECONDS = 0.05


def start_in_background(
    arguments: list[str], environment: Mapping[str, str] = os.environ, directory: str | None = None
) -> int:
    """Starts `cco` with ``arguments``, detached, and returns its pid once it is ready. Raises ClickException."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as ready:
        child = subprocess.Popen(
            [*_CCO, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(write_end,),
            cwd=directory if directory and Path(directory).is_dir() else None,
            env=dict(environment) | {_READY: str(write_end)},
        )
        os.close(write_end)
        # Empty if the child exited before it was ready.
        if ready.read():
            return child.pid
    _, problem = child.communicate()
    lines = problem.decode(errors="replace").strip().splitlines()
    raise click.ClickException(lines[-1].removeprefix("cco: ") if lines else "the sidecar did not start")


def is_all_of_container() -> bool:
    """Reports whether a container ends with this process: it is process 1, or all that an init program has to run."""
    if os.getpid() == 1:
        return True
    with contextlib.suppress(OSError):
        return os.getppid() == 1 and Path("/proc/1/comm").read_text().strip() in _INIT_PROGRAMS
    return False


def become(arguments: list[str]) -> NoReturn:
    """Goes on as `cco` with ``arguments``, in the foreground."""
    sys.stdout.flush()
    os.execv(sys.executable, [*_CCO, *arguments])


def notify_ready() -> None:
    """Notifies the parent that waits in ``start_in_background``, if any."""
    descriptor = os.environ.pop(_READY, None)
    if descriptor is not None:
        # The parent is about to exit, so nothing reads our stderr.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        with open(int(descriptor), "wb") as ready:
            ready.write(b"ready")


def on_parent_exit(act: Callable[[], None]) -> None:
    """Calls ``act`` when the process that passed us a lifeline pipe exits, such as a killed test suite."""
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is not None:
        asyncio.get_running_loop().add_reader(int(descriptor), act)


def end_signal() -> asyncio.Future[signal.Signals]:
    """Returns a future of the first signal that asks this process to end: SIGTERM, SIGINT or SIGHUP. It may also be
    given one with ``end_with``."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[signal.Signals] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end_with, ended, number)
    return ended


def end_with(ended: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    """Only the first counts."""
    if not ended.done():
        ended.set_result(number)


def running(pid_file: Path) -> psutil.Process | None:
    """Returns the running sidecar that a pid file names, or None."""
    try:
        pid = int(pid_file.read_text().split()[0])
        written = pid_file.stat().st_mtime
        process = psutil.Process(pid)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        if alive and SERVER in process.cmdline() and process.create_time() <= written + _CLOCK_SLACK:
            return process
    except (OSError, ValueError, IndexError, psutil.Error):
        pass
    return None


def started_elsewhere(storage: Path, pid_file: Path) -> psutil.Process | None:
    """Waits for a sidecar that is starting on ``storage``, and returns it; None once the storage is not in use."""
    while is_in_use(storage):
        if (found := running(pid_file)) is not None:
            return found
        time.sleep(_POLL_SECONDS)
    return None


class Start(NamedTuple):
    """How a sidecar was started: its arguments, working directory and ``CCO_SIDECAR_*`` variables."""

    words: list[str]
    directory: str
    environment: dict[str, str]


def start_of(pid_file: Path) -> Start | None:
    """Returns how the running sidecar was started, or None if none is running."""
    process = running(pid_file)
    if process is None:
        return None
    line = process.cmdline()
    # Either `python -m cco_sidecar.cli.main ...` or `python .../cco ...`.
    start = line.index("-m") + 2 if "-m" in line[: line.index(SERVER)] else 2
    words = [word for word in line[start:] if word != "--daemon"]
    kept = {k: v for k, v in process.environ().items() if k.startswith(OWN_SETTINGS) and k not in (_READY, LIFELINE)}
    return Start(words, process.cwd(), kept)


def stop(pid_file: Path, *, force: bool, timeout: float, keep_agents: bool = False) -> int | None:
    """Stops the sidecar and returns its pid, or None if none is running. Raises ClickException.

    With ``keep_agents`` its agents keep running, for the next sidecar to adopt.
    """
    process = running(pid_file)
    if process is None:
        return None
    process.send_signal(signal.SIGHUP if keep_agents else signal.SIGTERM)
    if not _wait_for_exit(process, timeout):
        if not force:
            raise click.ClickException(
                f"the sidecar (pid {process.pid}) did not exit within {timeout:g} s; kill it with 'stop --force'"
            )
        process.kill()
        _wait_for_exit(process, timeout)
    return process.pid


def _wait_for_exit(process: psutil.Process, timeout: float) -> bool:
    """Waits for a process to exit, and reports whether it did. A zombie counts, because it may never be reaped."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            process.wait(_POLL_SECONDS)
            return True
        except psutil.TimeoutExpired:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
    return False
