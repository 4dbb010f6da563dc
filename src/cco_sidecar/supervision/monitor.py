"""Monitoring of a running agent: activity, open questions and limits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cco_sidecar.supervision.life import Observed
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_RUNNING, AGENT_STATUS_STUCK

# Debugging may stop a shim once or twice.
_MAX_SHIM_STOPS = 5
SHIM_STOPPED = "its shim was repeatedly stopped by a signal"
OVERTIME = "limit: ran longer than its wall-time limit, and its shim did not end it"


@dataclass
class Monitor:
    """What is known about one attempt. Times are monotonic seconds.

    ``deadline`` None and ``stuck_after`` 0 mean no limit. ``last_activity``: of the last call, heartbeat or line of
    output; ``needs_input``: the agent reported that it waits for a person; ``questions``: by id, its open
    approvals; ``ended_for``: why the sidecar itself ended it.
    """

    stuck_after: float
    last_activity: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    shim_stops: int = 0
    ended_for: str = ""
    needs_input: bool = False
    questions: dict[str, str] = field(default_factory=dict)

    def record_activity(self, at: float) -> None:
        """Records that the agent was active at a time."""
        self.last_activity = max(self.last_activity, at)

    def shim_was_stopped(self) -> None:
        """Counts that the shim was found stopped by a signal."""
        self.shim_stops += 1

    def must_end(self, now: float) -> bool:
        """Whether the sidecar has to end the agent because its shim cannot: an agent without a sandbox can stop its own
        shim."""
        if self.shim_stops >= _MAX_SHIM_STOPS:
            self.ended_for = SHIM_STOPPED
        elif self.deadline is not None and now > self.deadline:
            self.ended_for = OVERTIME
        return bool(self.ended_for)

    def judge(self, now: float, *, attempt: int, message: str, stopped_by_signal: bool) -> Observed:
        """Returns the status of the running agent. ``message``: the agent's last progress message."""
        if self.needs_input or self.questions:
            return Observed(AGENT_STATUS_NEEDS_INPUT, message or "waiting for an approval")
        if stopped_by_signal:
            return Observed(AGENT_STATUS_STUCK, "its process was stopped by a signal; SIGCONT continues it")
        silent = now - self.last_activity
        if self.stuck_after and silent > self.stuck_after:
            return Observed(AGENT_STATUS_STUCK, f"no call, heartbeat or output for {int(silent)} s")
        return Observed(AGENT_STATUS_RUNNING, f"attempt {attempt}")
