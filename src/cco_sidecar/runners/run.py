"""One run of an agent: its directory, its shim and its exit."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psutil

from cco_sidecar.core.environment import MARK
from cco_sidecar.core.errors import spawn_failed
from cco_sidecar.core.machine import boot_id
from cco_sidecar.runners.shim import children_of, start_time
from cco_sidecar.storage.files import PRIVATE_DIR, PRIVATE_FILE, write_atomically

log = logging.getLogger(__name__)

_SHIM = Path(__file__).with_name("shim.py")
# Imported as a module, so that its bytecode is cached; a script is compiled at every start.
_START = "import sys; sys.path.append(sys.argv[1].rpartition('/')[0]); import shim; shim.main()"
_LOOK_SECONDS = 0.5
_MAX_TOKEN_BYTES = 16 * 1024
_START_SECONDS = 10.0
_BETWEEN_LOOKS = 0.1
_PATIENCE_SECONDS = 30.0
# Pids of the shims that this process started. The lock is held from a shim's start until its pid is added.
_shims: set[int] = set()
_starting = threading.Lock()
_PREPARATION = "prepare"
# How the agent ended, as the shim writes it.
EXIT_FILE = "exit.json"
# Files that are kept when the run has ended.
_KEPT = frozenset({"output.log"})


class Exit(NamedTuple):
    """How a run ended. ``known`` is False if no process observed the end; ``ended_at`` is in seconds since 1970 UTC."""

    exit_code: int | None = None
    signal: str | None = None
    limit: str = ""
    stopped: bool = False
    ended_at: float | None = None
    peak_memory_bytes: float | None = None
    cpu_seconds: float | None = None
    known: bool = True


UNKNOWN = Exit(known=False)


class Run:
    """One attempt of an agent, in its own directory.

    ``directory`` holds the records of the attempt. Its subdirectory ``shared`` holds what the agent may read: token,
    context, prompt and task. ``owner``: the uid and gid that the agent runs as, if they are not the sidecar's.
    """

    def __init__(self, directory: Path, owner: tuple[int, int] | None = None) -> None:
        self.directory = directory
        self._owner = owner
        self.output = directory / "output.log"
        self.shared = directory / "agent"
        self.token_file = self.shared / "token"
        self.context_file = self.shared / "context.json"
        self.context_markdown_file = self.shared / "context.md"
        self.prompt_file = self.shared / "prompt.md"
        self.task_file = self.shared / "task.md"
        self.mcp_file = self.shared / "mcp.json"
        self.agent_pid = 0
        self._shim: psutil.Process | None = None
        self._popen: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Creates the directory, and replaces one that an interrupted start left behind."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, mode=PRIVATE_DIR)
        self.shared.mkdir(mode=PRIVATE_DIR)
        self.give(self.shared)

    def preparation(self) -> Run:
        """Returns the run of the command that prepares the worktree as the agent."""
        return Run(self.directory / _PREPARATION, self._owner)

    def give(self, path: Path) -> None:
        """Gives a path to the user that the agent runs as."""
        if self._owner is not None:
            os.chown(path, *self._owner, follow_symlinks=False)

    def write(self, path: Path, data: bytes) -> None:
        """Writes a private file that the agent owns."""
        path.touch(mode=PRIVATE_FILE)
        path.write_bytes(data)
        self.give(path)

    def write_token(self, token: str) -> None:
        """Replaces the token file atomically. Raises OSError."""
        write_atomically(self.token_file, token.encode() + b"\n", mode=PRIVATE_FILE, owner=self._owner)

    def token(self) -> str:
        """Returns the content of the token file; empty if the agent removed or replaced it."""
        try:
            descriptor = os.open(self.token_file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor) as file:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                return file.read(_MAX_TOKEN_BYTES).strip() if regular else ""
        except (OSError, ValueError):
            return ""

    async def spawn(self, specification: Mapping[str, Any]) -> int:
        """Starts the shim, which starts the agent, and returns the agent's pid. Raises SidecarError (AGT_001)."""
        answer = await asyncio.to_thread(self._spawn, json.dumps(specification).encode())
        if "error" in answer:
            where = f" ({answer['filename']})" if answer.get("filename") else ""
            raise spawn_failed(f"the agent's program could not be started: {answer['error']}{where}")
        self.agent_pid = int(answer["pid"])
        return self.agent_pid

    def _spawn(self, specification: bytes) -> dict[str, Any]:
        with _starting:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, str(_SHIM), str(self.directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self.directory,
                env={},
            )
            _shims.add(popen.pid)
        assert popen.stdin is not None and popen.stdout is not None
        with popen.stdout:
            with suppress(BrokenPipeError), popen.stdin:
                popen.stdin.write(specification)
            # A shim that does not answer must not block the caller. Not select: it does not support descriptors above
            # 1023.
            first_word = select.poll()
            first_word.register(popen.stdout, select.POLLIN)
            line, problem = b"", "its shim exited immediately"
            if first_word.poll(_START_SECONDS * 1000):
                line = popen.stdout.readline()
            else:
                # Its children hold the pipe too, and may be stopped by a signal.
                problem = f"its shim did not respond within {_START_SECONDS:g} s"
                shim = psutil.Process(popen.pid)
                for each in (*shim.children(recursive=True), shim):
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
        try:
            answer: dict[str, Any] = orjson.loads(line)
        except orjson.JSONDecodeError:
            answer = {}
        self._popen = popen
        if answer and "error" not in answer:
            with suppress(psutil.NoSuchProcess):
                self._shim = psutil.Process(popen.pid)
            return answer
        self._reap()
        if answer:
            return answer
        # The agent may already be running, and the shim has reaped nothing.
        self.kill_leftovers()
        return {"error": problem}

    def _reap(self) -> None:
        if self._popen is not None:
            self._popen.wait()
            _shims.discard(self._popen.pid)

    def adopt(self) -> bool:
        """Finds the shim that an earlier sidecar started. Returns False if it has ended."""
        try:
            known = orjson.loads((self.directory / "shim.json").read_bytes())
            shim = psutil.Process(int(known["pid"]))
            # Pids are reused: the boot, the start time and the directory identify the shim.
            same = known["boot_id"] == boot_id() and known["start"] == start_time(shim.pid)
            if same and str(self.directory) in shim.cmdline() and shim.status() != psutil.STATUS_ZOMBIE:
                self._shim = shim
                self.agent_pid = int(known.get("agent", 0)) or next(iter(children_of(shim.pid)), 0)
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            pass
        return self._shim is not None

    async def ended(self) -> Exit:
        """Waits for the end and returns how the run ended; UNKNOWN if the shim wrote no report.

        The processes that the agent left running have been ended by then, even if the shim was killed.
        """
        if self._shim is not None:
            await self._wait()
        report = self._report()
        if report is None:
            await asyncio.to_thread(self.kill_leftovers)
            # The shim may have written its report in the meantime.
            report = self._report()
        return report or UNKNOWN

    async def _wait(self) -> None:
        assert self._shim is not None
        try:
            descriptor = os.pidfd_open(self._shim.pid)
        except ProcessLookupError:
            descriptor = -1
        except (AttributeError, OSError):
            # Not supported on this system, or no descriptor is free.
            await self._look_until_ended()
            return
        try:
            # The pid may have been reused.
            if descriptor >= 0 and self._shim.is_running():
                await _readable(descriptor)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        self._reap()

    async def _look_until_ended(self) -> None:
        """Polls where pidfds are not available. Polling our own child needs no descriptor."""
        while not self._has_ended():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        self._reap()

    def _has_ended(self) -> bool:
        if self._popen is not None:
            return self._popen.poll() is not None
        assert self._shim is not None
        return not self._shim.is_running() or self._shim.status() == psutil.STATUS_ZOMBIE

    @property
    def began_at(self) -> float | None:
        """When the shim started, in seconds since 1970 UTC; None if no shim started here, as in a restored copy."""
        try:
            return (self.directory / "shim.json").stat().st_mtime
        except OSError:
            return None

    def _report(self) -> Exit | None:
        try:
            return Exit(**orjson.loads((self.directory / EXIT_FILE).read_bytes()))
        except OSError as problem:
            if problem.errno in (errno.EMFILE, errno.ENFILE):
                # No descriptor is free. The report may exist, so the caller has to retry.
                raise
            return None
        except (ValueError, TypeError):
            return None

    def stop(self, grace: float) -> None:
        """Asks the shim to end the agent and to kill everything after ``grace`` seconds. Does not wait."""
        word = b"kill\n" if grace <= 0 else f"stop {grace}\n".encode()
        # If no shim reads the FIFO, it has ended, and `ended` reports how.
        for directory in (self.directory, self.directory / _PREPARATION):
            with suppress(OSError):
                descriptor = os.open(directory / "control", os.O_WRONLY | os.O_NONBLOCK)
                with open(descriptor, "wb") as control:
                    control.write(word)

    def kill(self) -> None:
        """Kills the shim itself, for a shim that does not respond."""
        if self._popen is not None:
            self._popen.kill()
        elif self._shim is not None:
            with suppress(psutil.Error):
                self._shim.kill()

    def is_paused(self) -> bool:
        """Whether the agent's process was stopped by a signal (SIGSTOP)."""
        try:
            return psutil.Process(self.agent_pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False

    def wake(self) -> bool:
        """Continues a shim that was stopped by a signal. Returns True if it was stopped."""
        with suppress(psutil.Error):
            if self._shim is not None and self._shim.status() == psutil.STATUS_STOPPED:
                self._shim.send_signal(signal.SIGCONT)
                return True
        return False

    def kill_leftovers(self) -> None:
        """Kills every process that carries the run's mark, shims of the run, and orphans of a killed shim.

        Blocks; gives up after 30 seconds.
        """
        runs = (self, self.preparation())
        marks = [str(run.shared) for run in runs]
        shims = [[str(_SHIM), str(run.directory)] for run in runs]
        quiet = 0
        deadline = time.monotonic() + _PATIENCE_SECONDS
        # Until two consecutive scans find none: a process may be forking, or be reparented a moment after its shim
        # died.
        while quiet < 2:
            if time.monotonic() > deadline:
                text = "cannot end processes of %s: they belong to another user or wait for a device"
                log.error(text, self.directory)
                return
            found = _kill_strays()
            for process in psutil.process_iter():
                with suppress(psutil.Error, OSError):
                    words = process.cmdline()[-2:]
                    ours = words in shims or process.environ().get(MARK) in marks
                    if ours and process.status() != psutil.STATUS_ZOMBIE:
                        found = True
                        process.send_signal(signal.SIGKILL)
                        process.wait(5)
            quiet = 0 if found else quiet + 1
            time.sleep(_BETWEEN_LOOKS)

    def remove(self) -> None:
        """Removes the whole directory."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def release(self) -> None:
        """Is called when another sidecar has taken the agent over; does nothing on this machine."""

    def clean(self) -> None:
        """Removes everything except the output."""
        try:
            paths = list(self.directory.iterdir())
        except OSError:
            # The directory is gone, or the agent made it inaccessible.
            return
        for path in paths:
            regular = path.is_file() and not path.is_symlink()
            if path.name in _KEPT and regular:
                continue
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _kill_strays() -> bool:
    """Kills children that were reparented to this process when their shim was killed.

    They are in sessions of their own and are not shims; other children share our session. Returns True if any were
    killed. Processes of another user cannot be killed.
    """
    with _starting:
        strays = [child for child in psutil.Process().children() if child.pid not in _shims and _is_foreign(child)]
    ended = False
    for stray in strays:
        with suppress(psutil.Error):
            for process in (*stray.children(recursive=True), stray):
                process.kill()
            stray.wait(5)
            ended = True
    return ended


def _is_foreign(child: psutil.Process) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(child.pid) != os.getsid(0)
    return False


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
