"""What all attempts have in common: their targets, their identity, and how they are registered."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGETS: dict[str, Any] = json.loads(os.environ.get("HOSTILE_TARGETS", "{}"))
ARCHITECT = os.environ.get("AGENT_TYPE", "") == "chief-architect"
RUN_DIR = Path(os.environ.get("AGENT_RUN_DIR", "/nowhere"))
# What the shim writes of the run, above the directory that the agent may see.
RECORDS = RUN_DIR.parent
STORAGE = Path(TARGETS.get("storage", "/nowhere"))
HOME = Path(os.environ.get("HOME", "/nowhere"))
UNITS = HOME / ".config" / "systemd" / "user"
TOKEN = os.environ.get("JWT_TOKEN", "")
ISSUE = os.environ.get("ISSUE_ID", "")
TYPE = os.environ.get("AGENT_TYPE", "")
# The limit of one attempt.
ATTEMPT_SECONDS = 60
_CALL_SECONDS = 20.0
# A token, or enough of one to tell whose it is.
_JWT = re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{40,}")


class Refused(Exception):
    """The attempt failed; the text says how."""


Attempt = Callable[[], str]
ATTEMPTS: dict[str, dict[str, Attempt]] = {}


def attempt(phase: str, name: str, *, only: str = "") -> Callable[[Attempt], Attempt]:
    """``only``: ``architect`` or ``coder``, if the attempt is an attack only for that one."""

    def add(act: Attempt) -> Attempt:
        if only in ("", "architect" if ARCHITECT else "coder"):
            ATTEMPTS.setdefault(phase, {})[name] = act
        return act

    return add


def described(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "timed out"
    number = problem.errno if isinstance(problem, OSError) else None
    return errno.errorcode.get(number or 0, f"{type(problem).__name__} {problem}".strip())


def in_child(act: Callable[[], str], seconds: float = 10.0) -> str:
    """The result of ``act`` in a separate process, which leaves nothing behind."""
    theirs, ours = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            said = f"got {act()}"
        except Refused as problem:
            said = f"not {problem}"
        except OSError as problem:
            said = f"not {described(problem)}"
        except BaseException as problem:
            said = f"bad {problem!r}"
        ours.sendall(said.encode()[:4000])
        os._exit(0)
    ours.close()
    try:
        ready, _, _ = select.select([theirs], [], [], seconds)
        word, _, text = (theirs.recv(4096).decode() if ready else "not it did not end").partition(" ")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        theirs.close()
    if word == "got":
        return text
    if word == "bad":
        raise RuntimeError(text)
    raise Refused(text or "it ended at once")
