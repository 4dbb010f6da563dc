"""The shim alone: how an agent ended, what it printed, its limits, and that it leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.processes import pid_in, process_alive
from tests.support.sidecars import until

from cco_sidecar.runners import shim
from cco_sidecar.runners.logs import Line, LogReader, last_lines

PYTHON = [sys.executable, "-I", "-S", "-c"]
MEGABYTE = 2**20
# A process that left its process tree: double fork, its own session, an empty environment, SIGTERM ignored.
DAEMON = """
import os, signal, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.execve("/bin/sleep", ["sleep", "600"], {})
"""
# Prints the first half, waits until the shim has read it, prints the second half.
IN_TWO_READS = """
import fcntl, os, sys, termios, time
for half in sys.argv[1:]:
    os.write(1, half.encode())
    while any(fcntl.ioctl(1, termios.FIONREAD, bytes(4))):
        time.sleep(0.001)
"""

# A child in its own session that records when it is asked to stop.
POLITE_CHILD = """
setsid sh -c 'trap "echo asked; exit 0" TERM; touch ready; while :; do sleep 0.05; done' &
while [ ! -e ready ]; do sleep 0.02; done
"""


class ShimRun:
    """A shim and the directory of its run."""

    def __init__(self, directory: Path, argv: Sequence[str], *, listens: bool = True, **spec: Any) -> None:
        self.directory = directory
        directory.mkdir()
        self.work = directory.parent
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | spec.pop("env", {})
        self.spec = {"argv": list(argv), "env": environment, "cwd": str(self.work), "grace": 10.0, **spec}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", shim.__file__, str(directory)],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        if not listens:
            self.process.stdout.close()
        self._give(json.dumps(self.spec).encode())
        self.answer: dict[str, Any] = json.loads(self.process.stdout.readline()) if listens else {}

    def _give(self, specification: bytes) -> None:
        assert self.process.stdin is not None
        with self.process.stdin:
            self.process.stdin.write(specification)

    @property
    def pid(self) -> int:
        return int(self.answer["pid"])

    @property
    def log(self) -> Path:
        return self.directory / "output.log"

    def say(self, words: str) -> None:
        with open(self.directory / "control", "w") as control:
            control.write(words)

    def end(self, timeout: float = 30.0) -> dict[str, Any]:
        """Waits for the shim to exit normally; returns its report."""
        self.process.wait(timeout)
        assert self.process.stderr is not None
        assert (self.process.returncode, self.process.stderr.read()) == (0, b"")
        assert {path.name for path in self.directory.iterdir()} == {"shim.json", "output.log", "exit.json"}
        report: dict[str, Any] = json.loads((self.directory / "exit.json").read_text())
        assert abs(report["ended_at"] - time.time()) < 60
        return report

    def lines(self, stream: str = "stdout") -> list[str]:
        return [line.text for line in self.all_lines() if line.stream == stream]

    def all_lines(self) -> list[Line]:
        return list(LogReader(self.log).read())

    def close(self) -> None:
        for process in (*self._family(), self.process):
            process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []


StartShim = Callable[..., ShimRun]


@pytest.fixture
def start_shim(tmp_path: Path) -> Iterator[StartShim]:
    """Starts a shim with an agent; whatever is left of it at the end of the test is killed."""
    shim_run: list[ShimRun] = []

    def start(*argv: str, **spec: Any) -> ShimRun:
        shim_run.append(ShimRun(tmp_path / f"run-{len(shim_run)}", argv, **spec))
        return shim_run[-1]

    yield start
    for each in shim_run:
        each.close()


def unread(pid: int) -> int:
    """Bytes in the pipe of a process's stdout."""
    pipe = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(pipe)


def ending(report: dict[str, Any]) -> tuple[int | None, str | None]:
    return report["exit_code"], report["signal"]


# -- how it ended ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 42, 127, 255])
def test_an_exit_code_is_reported_unchanged(start_shim: StartShim, code: int) -> None:
    report = start_shim("sh", "-c", f"exit {code}").end()
    assert (*ending(report), report["limit"], report["stopped"]) == (code, None, "", False)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGHUP", "SIGPIPE", "SIGRTMIN"])
def test_a_signal_is_reported_by_its_name(start_shim: StartShim, name: str) -> None:
    report = start_shim("sh", "-c", f"kill -{int(signal.Signals[name])} $$; exit 3").end()
    assert (*ending(report), report["stopped"]) == (None, name, False)


def test_a_signal_without_a_name_is_reported_too(start_shim: StartShim) -> None:
    report = start_shim("sh", "-c", f"kill -{signal.SIGRTMIN + 1} $$").end()
    assert report["exit_code"] is None and "35" in report["signal"].replace("RTMIN+1", "35")


def test_an_agent_that_cannot_be_started_is_an_error_that_names_the_file(start_shim: StartShim, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program\n")
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x7fELF nothing")
    nonsense.chmod(0o755)
    lost = tmp_path / "lost"
    lost.write_text("#!/nowhere/interpreter\n")
    lost.chmod(0o755)
    cases: list[tuple[str, str, str, str]] = [
        ("/nowhere/program", str(tmp_path), "No such file", "/nowhere/program"),
        ("no-program-of-this-name", str(tmp_path), "No such file", "no-program-of-this-name"),
        (str(plain), str(tmp_path), "Permission denied", str(plain)),
        (str(tmp_path), str(tmp_path), "Permission denied", str(tmp_path)),
        (str(nonsense), str(tmp_path), "Exec format error", str(nonsense)),
        (str(lost), str(tmp_path), "No such file", str(lost)),
        ("sh", "/nowhere/directory", "No such file", "/nowhere/directory"),
        ("sh", str(plain), "Not a directory", str(plain)),
    ]
    for program, directory, error, filename in cases:
        shim_run = start_shim(program, cwd=directory)
        assert error in shim_run.answer.get("error", ""), (program, directory, shim_run.answer)
        assert filename in shim_run.answer["filename"]
        shim_run.process.wait(10)
        assert not {"exit.json", "control"} & {path.name for path in shim_run.directory.iterdir()}


def test_an_impossible_command_line_is_an_error(start_shim: StartShim) -> None:
    assert "Argument list too long" in start_shim("sh", env={"TASK": "x" * 200_000}).answer.get("error", "")
    assert start_shim("sh", env={"TASK": "a\0b"}).answer.get("error"), "a NUL"


@pytest.mark.parametrize("init", ["os._exit(1)", "time.sleep(600)", "os.fork() and os._exit(1) or time.sleep(600)"])
def test_a_sandbox_that_fails_halfway_leaves_no_process(init: str, tmp_path: Path) -> None:
    """They would become the sidecar's, as zombies."""
    fails = f"""
import os, sys, time
sys.path.append({str(Path(shim.__file__).parent)!r})
import confine, shim
confine._init = lambda *_: {init}
confine._hear, hear = lambda told: (b"E", 1, "broken") if (heard := hear(told))[0] == b"I" else heard, confine._hear
shim.main()
sys.stderr.write(repr(shim.children_of(os.getpid())))
"""
    sandbox = {"hidden": [], "visible": [], "read_only": [], "user": None}
    done = subprocess.run(
        [sys.executable, "-c", fails],
        input=json.dumps({"argv": ["true"], "env": {}, "cwd": "/", "sandbox": sandbox}).encode(),
        cwd=tmp_path,
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert (json.loads(done.stdout)["error"], done.stderr) == ("broken", b"[]")


def test_a_truncated_specification_starts_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    started = tmp_path / "started"
    done = subprocess.run(
        [sys.executable, "-I", "-S", shim.__file__, str(directory)],
        input=json.dumps({"argv": ["touch", str(started)], "env": {}, "cwd": "/"})[:-1].encode(),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0 and not started.exists() and not (directory / "exit.json").exists()


def test_an_agent_runs_even_when_nobody_reads_the_answer(start_shim: StartShim) -> None:
    shim_run = start_shim("sh", "-c", "echo on; exit 4", listens=False)
    assert ending(shim_run.end()) == (4, None)
    assert shim_run.lines() == ["on"]


def test_the_initial_state_of_an_agents_process(start_shim: StartShim, tmp_path: Path) -> None:
    (tmp_path / "prompt").write_text("the task\n")
    shim_run = start_shim(
        *PYTHON,
        "import os, sys; print(sys.argv[1], os.environ['NAME'], sys.stdin.read().strip(), os.getcwd(),"
        " os.getsid(0) == os.getpid(), sorted(map(int, os.listdir('/proc/self/fd')))[:-1])",
        "漢字 é",
        env={"NAME": "Zoë"},
        stdin=str(tmp_path / "prompt"),
    )
    assert ending(shim_run.end()) == (0, None), shim_run.lines("stderr")
    assert shim_run.lines() == [f"漢字 é Zoë the task {tmp_path} True [0, 1, 2]"]
    assert shim_run.log.stat().st_mode & 0o777 == 0o600


def test_an_agent_starts_with_no_signal_ignored_or_blocked(start_shim: StartShim) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        shim_run = start_shim("grep", "-E", "SigBlk|SigIgn", "/proc/self/status")
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    shim_run.end()
    # 32 and 33 belong to the C library: nobody else can set them (nptl(7)).
    own = 1 << 31 | 1 << 32
    assert {int(line.split()[1], 16) & ~own for line in shim_run.lines()} == {0}, shim_run.lines()


def test_the_shims_identity_is_in_its_directory(start_shim: StartShim) -> None:
    shim_run = start_shim("sleep", "60")
    known = json.loads((shim_run.directory / "shim.json").read_text())
    assert (known["pid"], known["start"]) == (shim_run.process.pid, shim.start_time(shim_run.process.pid))
    assert shim_run.answer["start"] == shim.start_time(shim_run.pid) > 0
    assert known["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# -- output ---------------------------------------------------------------------------------------------


def test_all_output_is_kept_when_the_agent_exits_at_once(start_shim: StartShim) -> None:
    shim_run = start_shim(
        *PYTHON,
        "import sys, threading\n"
        "def out(stream, name):\n"
        "    for n in range(20000): stream.write(f'{name} {n}\\n')\n"
        "    stream.write('the end'); stream.flush()\n"
        "other = threading.Thread(target=out, args=(sys.stderr, 'err')); other.start()\n"
        "out(sys.stdout, 'out'); other.join()\n",
    )
    assert ending(shim_run.end()) == (0, None)
    for stream, name in (("stdout", "out"), ("stderr", "err")):
        assert shim_run.lines(stream) == [*(f"{name} {n}" for n in range(20000)), "the end"]
    stamps = [line.timestamp for line in shim_run.all_lines()]
    assert stamps == sorted(stamps)


def test_output_left_in_the_pipe_by_a_killed_agent_is_kept(start_shim: StartShim) -> None:
    shim_run = start_shim("sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; kill -9 $$")
    assert ending(shim_run.end()) == (None, "SIGKILL")
    assert shim_run.lines() == [f"line {n}" for n in range(2000)]


@pytest.mark.parametrize("letter", ["x", "é", "漢", "🙂"])
def test_a_line_of_a_megabyte_is_reassembled(start_shim: StartShim, letter: str) -> None:
    count = MEGABYTE // len(letter.encode())
    shim_run = start_shim(
        *PYTHON, f"import sys; sys.stdout.buffer.write(b'.' + {letter!r}.encode() * {count} + b'\\nlast\\n')"
    )
    assert ending(shim_run.end()) == (0, None)
    raw = shim_run.log.read_bytes()
    assert max(map(len, raw.split(b"\n"))) < MEGABYTE // 4, "it is kept in parts"
    long, last = shim_run.lines()
    assert len(long) == count + 1
    assert (long.strip(letter), last) == (".", "last")


def test_a_megabyte_without_a_newline_is_visible_while_the_agent_runs(start_shim: StartShim) -> None:
    shim_run = start_shim(
        *PYTHON, f"import sys, time; sys.stdout.write('x' * {MEGABYTE}); sys.stdout.flush(); time.sleep(60)"
    )
    until(lambda: shim_run.log.stat().st_size > MEGABYTE - 256 * 1024, "most of it")
    shim_run.say("kill\n")
    shim_run.end()
    assert shim_run.lines() == ["x" * MEGABYTE]


def test_lines_of_both_streams_are_not_mixed(start_shim: StartShim) -> None:
    shim_run = start_shim(
        *PYTHON,
        "import os\nfor n in range(40): os.write(1, b'o' * 9000); os.write(2, b'e' * 9000)\nos.write(1, b'\\n')",
    )
    shim_run.end()
    assert (shim_run.lines("stdout"), shim_run.lines("stderr")) == (["o" * 360_000], ["e" * 360_000])


def test_the_last_lines_show_the_end_of_a_very_long_one(start_shim: StartShim) -> None:
    shim_run = start_shim(*PYTHON, "import sys; print('before'); sys.exit('E' * 66_000)")
    assert ending(shim_run.end()) == (1, None)
    shown = last_lines(shim_run.log, 20)
    assert {"E"} in [set(line) for line in shown], shown


@pytest.mark.parametrize("distance", [1, 4096, 61_440, 65_535, 69_000])
def test_a_secret_is_never_written_wherever_it_occurs(start_shim: StartShim, tmp_path: Path, distance: int) -> None:
    secret = "s3cr3t/" + "pass+word" * 4
    text = ("." * distance + secret) * (400_000 // (distance + len(secret)) + 1)
    (tmp_path / "text").write_text(text)
    shim_run = start_shim("cat", stdin=str(tmp_path / "text"), redact=[secret])
    assert ending(shim_run.end()) == (0, None)
    assert "s3cr3t" not in shim_run.log.read_text() and "pass+word" not in shim_run.log.read_text()
    assert shim_run.lines() == [text.replace(secret, "[secret]")]


def test_a_secret_split_over_two_reads_is_not_written(start_shim: StartShim) -> None:
    shim_run = start_shim(*PYTHON, IN_TWO_READS, "it is hunt", "er2-and-more\nnext", redact=["hunter2-and-more"])
    assert ending(shim_run.end()) == (0, None), shim_run.lines("stderr")
    assert shim_run.lines() == ["it is [secret]", "next"]


def test_a_long_line_with_a_secret_split_over_two_reads_is_not_written(start_shim: StartShim) -> None:
    shim_run = start_shim(
        *PYTHON, IN_TWO_READS, "." * 60_000, "." * 60_000 + "hunt", "er2-and-more", redact=["hunter2-and-more"]
    )
    shim_run.end()
    assert shim_run.lines() == ["." * 120_000 + "[secret]"]


def test_the_longer_of_two_secrets_is_masked_first_and_short_ones_are_left_alone(start_shim: StartShim) -> None:
    shim_run = start_shim("echo", "abcdefgh abcd abc", redact=["abcd", "abcdefgh", "abc", ""])
    shim_run.end()
    assert shim_run.lines() == ["[secret] [secret] abc"]


@pytest.mark.parametrize(
    "secret", ["-----BEGIN KEY-----\nMIIEvQ+IBADANB\ngkqhkiG9w0BAQE\n-----END KEY-----\n", "hunter2-x\n"]
)
def test_a_multi_line_secret_is_not_written(start_shim: StartShim, secret: str) -> None:
    shim_run = start_shim("sh", "-c", 'echo "the key: $KEY"', env={"KEY": secret}, redact=[secret])
    shim_run.end()
    assert not [line for line in secret.split("\n") if line and "---" not in line and line in shim_run.log.read_text()]


def test_a_token_is_never_written(start_shim: StartShim) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9." + "SiGnAtUrE" * 40
    shim_run = start_shim(*PYTHON, IN_TWO_READS, f"Bearer {token[:30]}", f"{token[30:]};\n", f"[{token}]" * 250)
    assert ending(shim_run.end()) == (0, None)
    assert "eyJ" not in shim_run.log.read_text() and "SiGnAtUrE" not in shim_run.log.read_text()
    assert shim_run.lines() == ["Bearer [token];", "[[token]]" * 250]


def test_a_briefly_full_disk_costs_only_output(start_shim: StartShim, tmp_path: Path) -> None:
    wait = "while [ ! -e go-$n ]; do sleep 0.02; done"
    shim_run = start_shim("sh", "-c", f"for n in 0 1 2; do {wait}; echo after $n; touch done-$n; done; exit 5")
    # A limit on the shim's files makes its writes fail as a full disk does.
    _, hard = resource.prlimit(shim_run.process.pid, resource.RLIMIT_FSIZE)
    (tmp_path / "go-0").touch()
    until(shim_run.lines, "a line")
    resource.prlimit(shim_run.process.pid, resource.RLIMIT_FSIZE, (shim_run.log.stat().st_size + 10, hard))
    (tmp_path / "go-1").touch()
    until((tmp_path / "done-1").exists, "the second line")
    until(lambda: not unread(shim_run.pid), "the shim reads on")
    resource.prlimit(shim_run.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    (tmp_path / "go-2").touch()
    assert ending(shim_run.end()) == (5, None)
    assert shim_run.lines()[0] == "after 0" and shim_run.lines()[-1] == "after 2"
    if shim_run.lines() == ["after 0", "after 2"]:
        assert ["bytes of output were lost" in line for line in shim_run.lines("stderr")] == [True]


def test_the_exit_is_recorded_once_the_disk_has_space_again(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.02; done; exit 6")
    _, hard = resource.prlimit(shim_run.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(shim_run.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    (tmp_path / "go").touch()
    until(lambda: not process_alive(shim_run.pid), "the end of the agent")
    until(lambda: (shim_run.directory / "exit.json.tmp").exists(), "it tries to write")
    assert not (shim_run.directory / "exit.json").exists() and process_alive(shim_run.process.pid)
    resource.prlimit(shim_run.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert ending(shim_run.end()) == (6, None)


# -- limits ---------------------------------------------------------------------------------------------


def test_an_agent_that_prints_too_much_is_stopped(start_shim: StartShim) -> None:
    shim_run = start_shim(
        "sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done", limits={"output_bytes": MEGABYTE}
    )
    report = shim_run.end()
    assert report["limit"] == "printed more than 1 MB" and report["signal"] in ("SIGTERM", "SIGKILL")
    assert MEGABYTE // 2 < shim_run.log.stat().st_size <= MEGABYTE


def test_an_agent_that_printed_too_much_and_exited_is_detected(start_shim: StartShim, tmp_path: Path) -> None:
    """The shim sees the output and the exit at the same time."""
    shim_run = start_shim(
        "sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; head -c 50000 /dev/zero", limits={"output_bytes": 10_240}
    )
    os.kill(shim_run.process.pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    until(lambda: not process_alive(shim_run.pid), "the end of the agent")
    os.kill(shim_run.process.pid, signal.SIGCONT)
    assert shim_run.end()["limit"] == "printed more than 0.00976562 MB"


def test_an_agent_that_runs_too_long_is_asked_and_then_killed(start_shim: StartShim) -> None:
    started = time.monotonic()
    polite = start_shim(
        "sh", "-c", "trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done", limits={"wall_seconds": 1}
    )
    deaf = start_shim("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", limits={"wall_seconds": 1}, grace=0.5)
    for shim_run, expected in ((polite, (9, None)), (deaf, (None, "SIGKILL"))):
        report = shim_run.end()
        assert (report["limit"], report["stopped"]) == ("ran longer than 1 s", False)
        assert ending(report) == expected
    assert polite.lines() == ["bye"]
    assert 1.0 <= time.monotonic() - started < 10


def test_memory_is_counted_over_the_whole_process_tree(start_shim: StartShim) -> None:
    hungry = f"import time; kept = bytearray({40 * MEGABYTE}); time.sleep(60)"
    program = f"import subprocess, sys\nfor _ in range(3): subprocess.Popen([sys.executable, '-S', '-c', {hungry!r}])\n"
    one = start_shim(*PYTHON, hungry.replace("60", "0.2"), limits={"memory_bytes": 100 * MEGABYTE})
    three = start_shim(*PYTHON, f"{program}{hungry}", limits={"memory_bytes": 100 * MEGABYTE})
    report = three.end()
    assert "MB of memory; the limit is 100 MB" in report["limit"]
    assert report["peak_memory_bytes"] > 100 * MEGABYTE
    report = one.end()
    assert (*ending(report), report["limit"]) == (0, None, "")
    assert report["peak_memory_bytes"] > 40 * MEGABYTE and report["cpu_seconds"] > 0


def test_an_agent_with_too_many_processes_is_stopped_with_them(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim(
        "sh",
        "-c",
        "for n in 1 2 3 4 5 6 7 8; do sleep 600 & echo $! >> pids; done; wait",
        limits={"processes": 5},
    )
    assert shim_run.end()["limit"] == "had 9 processes; the limit is 5"
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 8 and not [pid for pid in pids if process_alive(pid)]


def test_open_files_are_limited(start_shim: StartShim) -> None:
    shim_run = start_shim(
        *PYTHON, "import os; kept = [open(os.devnull) for _ in range(100)]", limits={"open_files": 32}
    )
    assert ending(shim_run.end()) == (1, None)
    assert "Too many open files" in shim_run.lines("stderr")[-1]


# -- nothing is left ------------------------------------------------------------------------------------


def test_a_daemon_does_not_survive_its_agent(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim(
        "sh",
        "-c",
        '"$0" -I -S -c "$1" "$2"; while [ ! -e "$2" ]; do sleep 0.02; done; exit 7',
        sys.executable,
        DAEMON,
        "daemon",
    )
    daemon = pid_in(tmp_path / "daemon")
    assert ending(shim_run.end()) == (7, None)
    assert not process_alive(daemon)


def test_a_daemon_does_not_survive_a_killed_agent(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", '"$0" -I -S -c "$1" "$2"; sleep 600', sys.executable, DAEMON, "daemon")
    daemon = pid_in(tmp_path / "daemon")
    assert process_alive(daemon)
    shim_run.say("kill\n")
    assert shim_run.end()["stopped"]
    assert not process_alive(daemon) and not process_alive(shim_run.pid)


def test_leftover_processes_are_asked_before_they_are_killed(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", POLITE_CHILD + "exit 0")
    assert ending(shim_run.end()) == (0, None)
    assert shim_run.lines() == ["asked"]


def test_leftover_processes_of_a_stopped_agent_are_asked_before_they_are_killed(start_shim: StartShim) -> None:
    shim_run = start_shim("sh", "-c", "trap 'exit 3' TERM" + POLITE_CHILD + "while :; do sleep 0.05; done")
    until((shim_run.work / "ready").exists, "its child")
    started = time.monotonic()
    shim_run.say("stop 7\n")
    report = shim_run.end()
    assert (*ending(report), report["stopped"]) == (3, None, True)
    assert shim_run.lines() == ["asked"]
    assert time.monotonic() - started < 6, (
        "leftover processes need not wait for the end of the agent's own grace period"
    )


def test_a_fork_bomb_is_stopped(start_shim: StartShim) -> None:
    shim_run = start_shim(
        *PYTHON,
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nend = time.time() + 60\n"
        "print('on', flush=True)\nwhile time.time() < end:\n    if os.fork(): os._exit(0)\n",
    )
    assert ending(shim_run.end(timeout=40)) == (0, None)


def test_no_zombies_are_kept(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", "for n in $(seq 50); do (sleep 0.01 &) ; done; touch ready; sleep 600")
    until((tmp_path / "ready").exists, "the agent")
    family = psutil.Process(shim_run.process.pid)
    until(lambda: [each.pid for each in family.children()] == [shim_run.pid], "the agent alone")
    assert psutil.Process(shim_run.pid).status() != psutil.STATUS_ZOMBIE
    shim_run.say("kill\n")
    shim_run.end()


def test_a_killed_shim_takes_its_agent_with_it(start_shim: StartShim) -> None:
    shim_run = start_shim("sh", "-c", "trap '' TERM HUP INT; while :; do sleep 0.05; done")
    shim_run.process.kill()
    shim_run.process.wait(10)
    until(lambda: not process_alive(shim_run.pid), "the end of the agent")
    assert not (shim_run.directory / "exit.json").exists()


# -- control --------------------------------------------------------------------------------------------


def test_stop_asks_the_whole_group_and_the_agents_own_code_is_reported(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim(
        "sh",
        "-c",
        "sh -c 'trap \"touch child; exit 0\" TERM; touch ready; while :; do sleep 0.05; done' & "
        "trap 'wait; exit 11' TERM; while [ ! -e ready ]; do sleep 0.02; done; touch both; wait",
    )
    until((tmp_path / "both").exists, "the agent and its child")
    shim_run.say("stop 20\n")
    report = shim_run.end()
    assert (*ending(report), report["stopped"], report["limit"]) == (11, None, True, "")
    assert (tmp_path / "child").exists()


def test_an_agent_that_ignores_a_stop_is_killed_after_its_grace_period(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", "trap 'touch heard' TERM; touch ready; while :; do sleep 0.05; done")
    until((tmp_path / "ready").exists, "the agent")
    started = time.monotonic()
    shim_run.say("stop 0.7\n")
    report = shim_run.end()
    assert (*ending(report), report["stopped"]) == (None, "SIGKILL", True)
    assert (tmp_path / "heard").exists() and 0.7 <= time.monotonic() - started < 10


def test_a_kill_cuts_a_stop_short(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", "trap 'touch heard' TERM; touch ready; while :; do sleep 0.05; done")
    until((tmp_path / "ready").exists, "the agent")
    started = time.monotonic()
    shim_run.say("stop 3600\n")
    until((tmp_path / "heard").exists, "the signal")
    shim_run.say("kill\n")
    assert ending(shim_run.end()) == (None, "SIGKILL")
    assert time.monotonic() - started < 10


def test_a_later_stop_never_extends_the_time(start_shim: StartShim) -> None:
    shim_run = start_shim("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    shim_run.say("stop 0.5\nstop 3600\n")
    assert shim_run.end(timeout=15)["stopped"]


def test_a_suspended_agent_receives_a_stop(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", "trap 'exit 12' TERM; touch ready; while :; do sleep 0.05; done")
    until((tmp_path / "ready").exists, "the agent")
    os.kill(shim_run.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(shim_run.pid).status() == psutil.STATUS_STOPPED, "a suspended process")
    shim_run.say("stop 20\n")
    assert ending(shim_run.end()) == (12, None)


def test_a_signal_to_the_shim_is_a_stop_and_a_closed_terminal_is_ignored(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim("sh", "-c", "trap 'exit 13' TERM; touch ready; while :; do sleep 0.05; done")
    until((tmp_path / "ready").exists, "the agent")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        os.kill(shim_run.process.pid, number)
    os.kill(shim_run.process.pid, signal.SIGTERM)
    report = shim_run.end()
    assert (*ending(report), report["stopped"]) == (13, None, True)


def test_a_signal_to_a_starting_shim_is_a_stop_too(tmp_path: Path) -> None:
    """Sent from the first sign of the shim on, over four milliseconds. Before it handles signals it simply exits."""
    ends = []
    for number in range(16):
        directory = tmp_path / str(number)
        directory.mkdir()
        spec = {"argv": ["sleep", "600"], "env": {"PATH": os.environ["PATH"]}, "cwd": "/", "grace": 10.0}
        with subprocess.Popen(
            [sys.executable, "-I", "-S", shim.__file__, str(directory)],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            with process.stdin:
                process.stdin.write(json.dumps(spec).encode())
            while not (directory / "output.log").exists():
                pass
            at = time.perf_counter() + number * 0.00025
            while time.perf_counter() < at:
                pass
            process.terminate()
            code, report = process.wait(20), directory / "exit.json"
            ends.append((code, json.loads(report.read_text())["signal"] if report.exists() else None))
    assert set(ends) <= {(0, "SIGTERM"), (-signal.SIGTERM, None)}, ends


@pytest.mark.parametrize("words", ["hello\n", "stop soon\n", "stop 1 2\n", "\xff\xfe\n", "\n"])
def test_invalid_control_input_is_ignored(start_shim: StartShim, words: str) -> None:
    shim_run = start_shim("sh", "-c", "trap 'exit 14' TERM; echo ready; while :; do sleep 0.05; done", grace=20.0)
    until(shim_run.lines, "a line")
    shim_run.say(words)
    shim_run.say("stop 20\n")
    assert shim_run.end()["exit_code"] == 14


def test_a_stop_after_the_agent_has_ended_changes_nothing(start_shim: StartShim, tmp_path: Path) -> None:
    shim_run = start_shim(
        "sh",
        "-c",
        '"$0" -I -S -c "$1" "$2"; while [ ! -e "$2" ]; do sleep 0.02; done; exit 0',
        sys.executable,
        DAEMON,
        "d",
    )
    pid_in(tmp_path / "d")
    # Not only ended: a process that nobody has waited for is there, and can be stopped.
    until(lambda: not psutil.pid_exists(shim_run.pid), "the shim knows that the agent has ended; its daemon has not")
    shim_run.say("stop 20\n")
    report = shim_run.end()
    assert (*ending(report), report["stopped"]) == (0, None, False)
