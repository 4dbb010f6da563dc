"""The shim: a small process between the sidecar and one run of an agent.

It is the agent's parent. The agent therefore survives a crash of the sidecar, and its exit code is known afterwards.
The shim stores the output, enforces the limits, ends everything that the agent started, and records how the agent
ended. It knows only the run's directory and uses only the standard library, so it starts in milliseconds.

    shim.py DIRECTORY     reads the run's specification (JSON) from stdin until end-of-file

It is started in DIRECTORY; the argument only identifies it to other processes. All its paths are relative: if the
directory is replaced by a new start of the run, a late shim writes nothing into the new one.

    shim.json     identifies this process to a later sidecar
    output.log    what the agent printed, as CRI log lines: ``<time> stdout|stderr F|P <text>``
    control       a FIFO: ``stop <seconds>`` or ``kill``
    exit.json     how the agent ended; written last
    agent/        what the agent may read: its token, context, prompt and task

All of this works on Linux. Other systems have no subreaper and no /proc: processes that leave the agent's process group
are not found, and memory and process limits are not enforced.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import resource
import select
import signal
import struct
import sys
import time

# Type checkers treat this name like typing.TYPE_CHECKING; importing typing would cost milliseconds.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_CHUNK = 64 * 1024
_LOOK_SECONDS = 1.0
# Between SIGTERM and SIGKILL when the lease has ended: soon after it, the agent may be started elsewhere.
_LEASE_GRACE = 2.0
# Seconds between SIGTERM and SIGKILL for processes that the agent left running.
_LEFTOVER_GRACE = 2.0
_RETRY_SECONDS = 0.5
# Shorter secrets are not masked: they occur in ordinary text.
_MIN_SECRET = 4
# An unfinished line is written after so many seconds: a prompt, dots, a progress bar.
_QUIET_SECONDS = 1.0
_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# The end of a text that may be the beginning of a token.
_TOKEN_BEGINS = re.compile(rb"(?:e|ey|eyJ[A-Za-z0-9_.-]{0,8192})$")
_LINUX = sys.platform == "linux"
# As core/clock.py has it: this file is copied, and imports nothing of ours.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_STATUS = struct.Struct("<i")


class Output:
    """The log of both streams, with a size limit and with the run's secrets masked."""

    def __init__(self, path: str, most: int, secrets: list[bytes]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._most = most
        self._written = os.fstat(self._file).st_size
        self._lost = 0
        long_enough = [text for text in spellings(secrets) if len(text) >= _MIN_SECRET]
        alternatives = [re.escape(text) for text in sorted(long_enough, key=len, reverse=True)]
        self._secret = re.compile(b"|".join(alternatives)) if alternatives else None
        self._secrets = long_enough
        # Bytes of an unfinished line that are held back, because a secret may be split.
        self._hold = max([4096, *map(len, secrets)])
        self._parts = {"stdout": bytearray(), "stderr": bytearray()}
        self._waiting: float | None = None
        self.full = False

    def add(self, stream: str, data: bytes) -> None:
        """Adds bytes that the agent printed."""
        part = self._parts[stream]
        part += data
        end = part.rfind(b"\n")
        if end >= 0:
            lines = bytes(part[:end]).split(b"\n")
            del part[: end + 1]
            self._write(b"".join(self._line(stream, b"F", line) for line in lines))
        while len(part) > _CHUNK + self._hold:
            clean = self._clean(bytes(part))
            cut = len(clean) - self._hold
            self._write(self._line(stream, b"P", clean[:cut], clean=True))
            part[:] = clean[cut:]
        self._waiting = time.monotonic() if any(self._parts.values()) else None

    @property
    def due(self) -> float | None:
        """The monotonic time at which ``flush`` has something to do; None if nothing is pending."""
        return None if self._waiting is None else self._waiting + _QUIET_SECONDS

    def flush(self) -> None:
        """Writes unfinished lines, except an end that may be the beginning of a secret."""
        self._waiting = None
        for stream, part in self._parts.items():
            clean = self._clean(bytes(part))
            cut = len(clean) - self._secret_begins(clean)
            if cut:
                self._write(self._line(stream, b"P", clean[:cut], clean=True))
            part[:] = clean[cut:]

    def _secret_begins(self, text: bytes) -> int:
        """Returns how many bytes at the end may be the beginning of a secret."""
        token = _TOKEN_BEGINS.search(text)
        longest = len(token[0]) if token else 0
        for secret in self._secrets:
            for size in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:size]):
                    longest = size
                    break
        return longest

    def close(self) -> None:
        """Writes what is pending and closes the file."""
        for stream, part in self._parts.items():
            if part:
                self._write(self._line(stream, b"F", bytes(part)))
        self._note_loss()
        os.close(self._file)

    def _line(self, stream: str, tag: bytes, text: bytes, *, clean: bool = False) -> bytes:
        now = time.time_ns() // 1000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000)) + f".{now % 1_000_000:06d}Z"
        return f"{stamp} {stream} ".encode() + tag + b" " + (text if clean else self._clean(text)) + b"\n"

    def _clean(self, text: bytes) -> bytes:
        if self._secret is not None:
            text = self._secret.sub(b"[secret]", text)
        return _TOKEN.sub(b"[token]", text) if b"eyJ" in text else text

    def _write(self, data: bytes) -> None:
        if self.full:
            return
        if self._most and self._written + len(data) > self._most:
            self.full = True
            return
        self._note_loss()
        self._put(data)

    def _note_loss(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._put(self._line("stderr", b"F", b"[%d bytes of output were lost: the disk was full]" % lost))

    def _put(self, data: bytes) -> None:
        """Writes data. A full disk costs output, but never the agent."""
        try:
            written = os.write(self._file, data)
        except OSError:
            written = 0
        self._written += written
        if written < len(data):
            self._lost += len(data) - written
            # Remove the partial line; otherwise the next one would be appended to it.
            if written:
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)


def spellings(secrets: list[bytes]) -> set[bytes]:
    """Returns the forms in which a secret may appear: whole, each of its lines, and both as in JSON strings."""
    found: set[bytes] = set()
    for secret in secrets:
        for line in (secret, *secret.split(b"\n")):
            text = line.decode(errors="surrogateescape")
            found |= {line, json.dumps(text)[1:-1].encode()}
            found.add(json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogateescape"))
    return found


class Shim:
    """Runs one agent; see the module's documentation."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._limits = spec.get("limits", {})
        self._output = Output(
            "output.log",
            self._limits.get("output_bytes", 0),
            [secret.encode() for secret in spec.get("redact", [])],
        )
        self._pid = 0
        # For a confined agent: process 1 of its namespace, and the pipe that delivers the agent's wait status.
        self._init = 0
        self._status_pipe = -1
        self._status: int | None = None
        self._limit = ""
        self._stopped = False
        self._stop_early: float | None = None
        self._kill_at: float | None = None
        self._peak = 0
        self._cpu = 0.0
        self._children = True
        self._started = time.monotonic()
        self._lease = Lease(spec["lease"], spec["lease_seconds"]) if spec.get("lease") else None

    def run(self) -> None:
        """Starts the agent, waits for its end and writes exit.json. Raises OSError if the agent cannot be started."""
        become_subreaper()
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop(self._spec.get("grace", 10.0)))
        self._introduce()
        os.mkfifo("control", 0o600)
        # Open for writing too, so that a read never returns end-of-file.
        self._control = os.open("control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if self._lease is not None and self._lease.is_over():
                raise OSError(errno.ECANCELED, "its sidecar was lost")
            self._start()
        except OSError:
            os.unlink("control")
            end_descendants()
            raise
        try:
            self._introduce()
        except OSError:
            # The disk is full: a later sidecar takes the shim's first child for the agent.
            pass
        tell({"pid": self._pid, "start": start_time(self._pid)})
        if self._stop_early is not None:
            self._stop(self._stop_early)
        self._watch()
        self._output.close()
        self._write_exit()
        try:
            os.unlink("control")
        except FileNotFoundError:
            pass

    def _introduce(self) -> None:
        """Writes shim.json, which identifies this process to a later sidecar."""
        with open("/proc/sys/kernel/random/boot_id") if _LINUX else open(os.devnull) as file:
            boot = file.read().strip()
        known = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot_id": boot, "agent": self._pid}
        with open("shim.json.tmp", "w") as file:
            json.dump(known, file)
        os.rename("shim.json.tmp", "shim.json")

    def _start(self) -> None:
        """Forks and executes the agent. Raises the OSError of the child's exec."""
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        failure_read, failure_write = os.pipe()
        stdin = os.open(self._spec.get("stdin") or os.devnull, os.O_RDONLY)
        shim = os.getpid()

        def child() -> NoReturn:
            self._become_agent(shim, (stdin, out_write, err_write), failure_write)

        try:
            forked = self._fork(child)
        finally:
            for descriptor in (out_write, err_write, failure_write, stdin):
                os.close(descriptor)
        with open(failure_read, "rb") as failure:
            report = failure.read()
        if report:
            os.waitpid(forked, 0)
            number, filename = json.loads(report)
            raise OSError(number, os.strerror(number), filename)
        # Set only after exec: before that, the child would handle SIGTERM with the shim's handler.
        self._pid = (next(iter(children_of(forked)), 0) if self._init else 0) or forked
        self._streams = {out_read: "stdout", err_read: "stderr"}
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)

    def _fork(self, child: Callable[[], NoReturn]) -> int:
        """Returns the pid of our own child: the agent, or its init."""
        sandbox = self._spec.get("sandbox")
        if sandbox:
            started = _confine().start(sandbox, child)
            init: int = started.init
            self._init, self._status_pipe = init, started.status
            os.set_blocking(self._status_pipe, False)
            return init
        pid = os.fork()
        if pid == 0:
            child()
        return pid

    def _become_agent(self, shim: int, streams: tuple[int, int, int], failure: int) -> NoReturn:
        """Runs in the forked child; never returns."""
        try:
            self._prepare(shim)
            for target, descriptor in enumerate(streams):
                os.dup2(descriptor, target)
            os.chdir(self._spec["cwd"])
            argv = self._spec["argv"]
            os.execvpe(argv[0], argv, self._spec["env"])
        except OSError as problem:
            name = os.fsdecode(problem.filename or self._spec["argv"][0])
            os.write(failure, json.dumps([problem.errno, name]).encode())
        except ValueError:
            # A NUL in an argument or a variable.
            os.write(failure, json.dumps([errno.EINVAL, self._spec["argv"][0]]).encode())
        except BaseException as problem:
            # For example, a module that the other user cannot read.
            os.write(failure, json.dumps([errno.EPERM, f"{type(problem).__name__}: {problem}"[:200]]).encode())
        finally:
            os._exit(127)

    def _prepare(self, shim: int) -> None:
        """Sets up the child: session, signals, limits and user."""
        os.setsid()
        if _LINUX and not self._spec.get("sandbox"):
            # If the shim is killed, the kernel kills the agent.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != shim:
                os._exit(127)
        reset_signals()
        if self._limits.get("open_files"):
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            most = self._limits["open_files"]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        elif self._limits.get("soft_open_files"):
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._limits["soft_open_files"], hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        user = (self._spec.get("sandbox") or {}).get("user")
        if user:
            # Load the module that exec needs: the other user may not be able to read it.
            os.get_exec_path(self._spec["env"])
            _confine().become(user)

    # -- watching -----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Runs until the agent and everything that it started have ended."""
        poller = select.poll()
        for descriptor in (self._wake, self._control, *self._streams):
            poller.register(descriptor, select.POLLIN)
        if self._init:
            poller.register(self._status_pipe, select.POLLIN)
        while self._children or self._streams:
            for descriptor, _ in poller.poll(self._patience()):
                if descriptor == self._wake:
                    drain(self._wake)
                elif descriptor == self._control:
                    self._obey(drain(self._control))
                elif descriptor == self._status_pipe:
                    poller.unregister(descriptor)
                    self._hear_of_end()
                elif self._read(descriptor) is False:
                    poller.unregister(descriptor)
                    os.close(descriptor)
                    del self._streams[descriptor]
            self._reap()
            self._hold_limits()
            if self._output.due is not None and time.monotonic() >= self._output.due:
                self._output.flush()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                if self._signal(signal.SIGKILL) and self._status is not None:
                    # They cannot be signalled; do not wait until they end by themselves.
                    self._output.add("stderr", b"[processes of another user were left running]\n")
                    self._children = False
                self._kill_at = time.monotonic() + _RETRY_SECONDS
            if not self._children:
                # No process is left that could write.
                for descriptor in list(self._streams):
                    while self._read(descriptor):
                        pass
                    os.close(descriptor)
                    del self._streams[descriptor]

    def _patience(self) -> float | None:
        """Returns the milliseconds until the next check; None to wait for events only."""
        waits = [] if self._output.due is None else [self._output.due - time.monotonic()]
        if self._kill_at is not None:
            waits.append(self._kill_at - time.monotonic())
        if self._lease is not None and self._status is None:
            waits.append(_LOOK_SECONDS)
        if self._kill_at is None and self._status is None:
            if self._limits.get("memory_bytes") or self._limits.get("processes"):
                waits.append(_LOOK_SECONDS)
            if self._limits.get("wall_seconds"):
                waits.append(self._started + self._limits["wall_seconds"] - time.monotonic())
        return max(0.0, min(waits)) * 1000 if waits else None

    def _read(self, descriptor: int) -> bool | None:
        """Returns False at the end of the stream and None if there is nothing to read now."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return None
        self._output.add(self._streams[descriptor], data)
        return bool(data)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._children = False
                return
            if pid == 0:
                return
            scale = 1024 if _LINUX else 1
            self._peak = max(self._peak, usage.ru_maxrss * scale)
            self._cpu += usage.ru_utime + usage.ru_stime
            if pid == self._init:
                self._hear_of_end()
            if pid in (self._pid, self._init):
                self._on_exit(status)

    def _hear_of_end(self) -> None:
        """Receives the end of a confined agent, which is not our child, from its init."""
        data = drain(self._status_pipe)
        if len(data) == _STATUS.size:
            self._on_exit(_STATUS.unpack(data)[0])

    def _on_exit(self, status: int) -> None:
        if self._status is not None:
            return
        self._status = status
        self._ended = time.time()
        # Ask the processes that the agent left behind to end, whether or not the agent was asked.
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        at = time.monotonic() + _LEFTOVER_GRACE
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)

    def _obey(self, data: bytes) -> None:
        """Executes commands from the control FIFO."""
        for line in data.decode(errors="replace").splitlines():
            word, _, rest = line.partition(" ")
            if word == "kill":
                self._stop(0.0)
            elif word == "stop":
                try:
                    self._stop(float(rest or 0))
                except ValueError:
                    # Ignore a malformed command.
                    continue

    def _stop(self, grace: float) -> None:
        if not self._pid:
            # The agent has not started yet; stop it as soon as it has.
            self._stop_early = grace
            return
        if self._status is None:
            self._stopped = True
        self._end(grace)

    def _end(self, grace: float) -> None:
        """Asks the agent's process group to end, and kills everything after ``grace`` seconds."""
        if self._status is None:
            # A stopped process does not handle SIGTERM until it continues.
            for number in (signal.SIGTERM, signal.SIGCONT):
                self._signal_group(number)
        at = time.monotonic() + grace
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)

    def _signal(self, number: int) -> bool:
        """Signals everything that the agent started. Returns True if only processes of another user (sudo) are left."""
        if _LINUX:
            return signal_all(os.getpid(), number)
        self._signal_group(number)
        return False

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self._pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _hold_limits(self) -> None:
        if self._status is None and self._lease is not None and self._lease.is_over():
            # Also while it is being stopped, which may take long.
            self._limit = self._limit or "its sidecar was lost"
            if self._kill_at is None or self._kill_at > time.monotonic() + _LEASE_GRACE:
                self._end(_LEASE_GRACE)
            return
        if self._limit or self._status is not None or self._stopped:
            return
        limits = self._limits
        if self._output.full:
            self._exceed(self._too_much())
        elif limits.get("wall_seconds") and time.monotonic() - self._started >= limits["wall_seconds"]:
            self._exceed(f"ran longer than {limits['wall_seconds']} s", self._spec.get("grace", 10.0))
        elif limits.get("memory_bytes") or limits.get("processes"):
            processes = descendants(os.getpid())
            memory = sum(map(resident, processes))
            self._peak = max(self._peak, memory)
            if limits.get("memory_bytes") and memory > limits["memory_bytes"]:
                self._exceed(f"used {megabytes(memory)} of memory; the limit is {megabytes(limits['memory_bytes'])}")
            elif limits.get("processes") and len(processes) > limits["processes"]:
                self._exceed(f"had {len(processes)} processes; the limit is {limits['processes']}")

    def _too_much(self) -> str:
        return f"printed more than {megabytes(self._limits['output_bytes'])}"

    def _exceed(self, limit: str, grace: float = 0.0) -> None:
        self._limit = limit
        self._end(grace)

    def _write_exit(self) -> None:
        """Writes exit.json, and retries until it succeeds: it is the only record of how the agent ended. Gives up if
        the directory is gone, because nobody reads it then."""
        status = self._status if self._status is not None else 0
        if self._output.full and not self._limit and not self._stopped:
            # The agent ended before the limit was checked.
            self._limit = self._too_much()
        report = {
            "exit_code": os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else None,
            "signal": signal_name(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None,
            "limit": self._limit,
            "stopped": self._stopped,
            "ended_at": self._ended,
            "peak_memory_bytes": self._peak,
            "cpu_seconds": round(self._cpu, 3),
        }
        while True:
            try:
                for name in ("exit.json", "exit.json.tmp"):
                    if os.path.isdir(name) or os.path.islink(name):
                        # Not our file: the agent may be able to write here too.
                        os.rename(name, f"{name}.{time.time_ns()}")
                with open("exit.json.tmp", "w") as file:
                    json.dump(report, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename("exit.json.tmp", "exit.json")
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(_RETRY_SECONDS)


def tell(answer: dict[str, Any]) -> None:
    """Sends the one line that the sidecar waits for, and releases stdin and stdout. The sidecar may be gone."""
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except OSError:
        pass
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


class Lease:
    """Until when the agent may run, as a time of CLOCK_BOOTTIME that the sidecar writes to a file every second.

    The directory is opened at the start, so that renaming it changes nothing. Without a file that can be read, the last
    time counts that was read, and at first the time that a lease lasts.
    """

    def __init__(self, path: str, seconds: float) -> None:
        directory, self._name = os.path.split(path)
        self._seconds = seconds
        self._until = time.clock_gettime(_BOOT_CLOCK) + seconds
        try:
            self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._directory = -1

    def is_over(self) -> bool:
        now = time.clock_gettime(_BOOT_CLOCK)
        try:
            descriptor = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
            with open(descriptor) as file:
                found = float(file.read(64))
            # Not one of a clock that was set, nor `inf` or `nan`.
            if found <= now + self._seconds:
                self._until = found
        except (OSError, ValueError):
            pass
        return self._until < now


def become_subreaper() -> None:
    """Makes orphaned descendants children of this process instead of init's (prctl(2))."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def megabytes(count: int) -> str:
    """Formats bytes in units of 2^20 bytes, like the configured limits."""
    return f"{count / 2**20:.6g} MB"


def signal_name(number: int) -> str:
    """Returns a name such as ``SIGKILL``; most real-time signals have none and become ``SIGRTMIN+n``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def drain(descriptor: int) -> bytes:
    """Returns what can be read now; empty if there is nothing."""
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return b""


def stat_of(pid: int) -> list[str] | None:
    """Returns the fields of /proc/PID/stat after the name: state, ppid, ... (proc(5)); None if there is no such
    process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None


def start_time(pid: int) -> int:
    """Returns the clock ticks between the boot and the start of the process; 0 if unknown."""
    fields = stat_of(pid)
    return int(fields[19]) if fields else 0


def resident(pid: int) -> int:
    """Returns the resident memory of a process in bytes; 0 if unknown."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def descendants(pid: int) -> list[int]:
    """Returns the pids of all processes below ``pid``."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = children_of(waiting.pop())
        found += children
        waiting += children
    return found


def children_of(pid: int) -> list[int]:
    """Returns the pids of a process's children, oldest first."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def reset_signals() -> None:
    """Restores the default signal handling. Python ignores SIGPIPE and SIGXFSZ, and others may be inherited from the
    process that started the sidecar."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def signal_all(pid: int, number: int) -> bool:
    """Signals every process below ``pid``, but never another one that reused a pid. Returns True if there are such
    processes and none of them may be signalled."""
    refused = reached = False
    for child in descendants(pid):
        before = start_time(child)
        try:
            handle = os.pidfd_open(child)
        except (AttributeError, OSError):
            continue
        try:
            if before and start_time(child) == before:
                signal.pidfd_send_signal(handle, number)
                reached = True
        except OSError as problem:
            if problem.errno not in (errno.ESRCH, errno.EPERM):
                raise
            refused |= problem.errno == errno.EPERM
        finally:
            os.close(handle)
    return refused and not reached


def end_descendants() -> None:
    """Kills and reaps what a failed start left behind, such as a sandbox's init: the next subreaper is the sidecar,
    which would keep them as zombies."""
    while True:
        signal_all(os.getpid(), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _confine() -> Any:
    """Imports the sandbox's code, which only a confined agent needs. It is in the same directory."""
    return __import__("confine")


def main() -> None:
    try:
        Shim(json.loads(sys.stdin.buffer.read())).run()
    except OSError as problem:
        tell({"error": problem.strerror or str(problem), "filename": problem.filename or ""})


if __name__ == "__main__":
    main()
