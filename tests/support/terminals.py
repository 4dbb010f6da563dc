"""A `cco` command in a terminal, and what a person sees of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.commands import CCO, environment_of

from cco_sidecar.testing.process import SidecarProcess

# Makes the terminal its controlling terminal, so that Ctrl-C reaches it; a shell ignores it for jobs in the background,
# as these tests may be.
_STARTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.login_tty(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
_HOME = "\x1b[H"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PATIENCE = 30.0


class Terminal:
    """A terminal of a given size. ``written`` is everything written to it so far."""

    def __init__(self, sidecar: SidecarProcess, *arguments: str, columns: int = 120, rows: int = 30) -> None:
        self.columns, self.rows = columns, rows
        self.written = ""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = environment_of(sidecar) | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        line = [sys.executable, "-c", _STARTS, str(theirs), *CCO, *arguments]
        self._process = subprocess.Popen(line, pass_fds=(theirs,), env=environment)
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def sees(self, what: Callable[[list[str]], object]) -> list[str]:
        """The lines of the first complete picture for which ``what`` is true."""
        deadline = time.monotonic() + _PATIENCE
        while not (self.picture and what(self.picture)):
            assert self._read(deadline), f"it ended: {self.written[-2000:]}"
            assert time.monotonic() < deadline, "\n".join(self.picture) or self.written
        return self.picture

    @property
    def picture(self) -> list[str]:
        """The last complete picture."""
        for text in reversed(self.written.split(_HOME)[1:]):
            lines = _CONTROL.sub("", text).replace("\r", "").split("\n")
            if len(lines) >= self.rows:
                return [line.rstrip() for line in lines[: self.rows]]
        return []

    def end(self) -> int:
        """Waits for the command to exit; returns the exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(deadline):
            assert time.monotonic() < deadline, self.written[-2000:]
        return self._process.wait(_PATIENCE)

    def _read(self, deadline: float) -> bool:
        """False when nothing more can arrive."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._ours, 65_536) if ready else b""
        except OSError:
            # The other side is closed.
            return False
        self.written += data.decode(errors="replace")
        return bool(data) or not ready
