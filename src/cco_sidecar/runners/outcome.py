"""Maps the exit of a run to a status and a readable reason."""

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

# strerror(EMFILE): the only sign that the limit on open files was hit.
_TOO_MANY_FILES = "Too many open files"


class Outcome(NamedTuple):
    """The final status of a run, and the reason shown to users."""

    status: AgentStatus
    reason: str


def outcome(
    end: Exit, last_output: Sequence[str], *, stop_reason: str, reported: str, open_files: int, ended_for: str = ""
) -> Outcome:
    """Returns the status and the reason of a run's end.

    ``stop_reason``: why the agent was stopped on request; ``ended_for``: why the sidecar itself ended it; ``reported``:
    the error that the program printed; ``open_files``: the limit, 0 for none.
    """
    # An agent that exited with 0 before the stop took effect was not stopped.
    if stop_reason and not (end.known and end.exit_code == 0 and not end.stopped):
        return Outcome(AGENT_STATUS_STOPPED, stop_reason)
    if ended_for and not end.known:
        return Outcome(AGENT_STATUS_FAILED, ended_for)
    if end.limit:
        return Outcome(AGENT_STATUS_FAILED, f"limit: {end.limit}")
    if not end.known:
        return Outcome(
            AGENT_STATUS_FAILED, "exit status unknown: it ended while no sidecar was running, or its shim was killed"
        )
    if end.stopped:
        return Outcome(AGENT_STATUS_STOPPED, "its shim was asked to stop it")
    if end.signal:
        return Outcome(AGENT_STATUS_FAILED, f"killed by {end.signal}")
    if end.exit_code == 0:
        if reported:
            return Outcome(AGENT_STATUS_FAILED, f"reported: {reported}")
        return Outcome(AGENT_STATUS_COMPLETED, "exited with code 0")
    if open_files and any(_TOO_MANY_FILES in line for line in last_output):
        return Outcome(AGENT_STATUS_FAILED, f"limit: had more than {open_files} files open")
    said = f"; reported: {reported}" if reported else ""
    return Outcome(AGENT_STATUS_FAILED, f"exited with code {end.exit_code}{said}")
