"""How a run ended, as a status and a reason that a person understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cco_sidecar.runners.run import Exit
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_STOPPED,
    AgentStatus,
)

# strerror(EMFILE): nothing else says that the limit of open files was hit.
_TOO_MANY_FILES = "Too many open files"


class Outcome(NamedTuple):
    status: AgentStatus
    reason: str


def outcome(
    end: Exit, last_output: Sequence[str], *, stop_reason: str, reported: str, open_files: int, ended_for: str = ""
) -> Outcome:
    """``ended_for``: why the sidecar itself ended it; ``stop_reason``: why somebody had it stopped; ``reported``: the
    error that the program printed; ``open_files``: the limit, 0 for none."""
    # One that had ended well by itself when the stop came was not stopped.
    if stop_reason and not (end.known and end.exit_code == 0 and not end.stopped):
        return Outcome(AGENT_STATUS_STOPPED, stop_reason)
    if ended_for and not end.known:
        return Outcome(AGENT_STATUS_FAILED, ended_for)
    if end.limit:
        return Outcome(AGENT_STATUS_FAILED, f"limit: {end.limit}")
    if not end.known:
        return Outcome(AGENT_STATUS_FAILED, "it ended while nobody watched, or its shim was killed; how is unknown")
    if end.stopped:
        return Outcome(AGENT_STATUS_STOPPED, "its shim was told to end it")
    if end.signal:
        return Outcome(AGENT_STATUS_FAILED, f"it was killed by {end.signal}")
    if end.exit_code == 0:
        if reported:
            return Outcome(AGENT_STATUS_FAILED, f"it reported: {reported}")
        return Outcome(AGENT_STATUS_COMPLETED, "it exited with 0")
    if open_files and any(_TOO_MANY_FILES in line for line in last_output):
        return Outcome(AGENT_STATUS_FAILED, f"limit: it had more than {open_files} files open")
    said = f"; it reported: {reported}" if reported else ""
    return Outcome(AGENT_STATUS_FAILED, f"it exited with {end.exit_code}{said}")
