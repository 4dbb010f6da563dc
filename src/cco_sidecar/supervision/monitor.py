"""What is known of a running agent from outside: signs of life, questions, limits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cco_sidecar.supervision.life import Observed
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_RUNNING, AGENT_STATUS_STUCK

# A person who debugs may stop a shim once or twice.
_MOST_SHIM_STOPS = 5
SHIM_STOPPED = "its shim was repeatedly stopped by a signal"
OVERTIME = "limit: it ran beyond its wall time, and its shim did not end it"


@dataclass
class Monitor:
    """Of one attempt. Times are monotonic seconds; ``deadline`` None means no limit, ``stuck_after`` 0 neither.

    ``needs_input``: the agent said so itself; ``questions``: ids of approvals that it asked for and that are open;
    ``ended_for``: why the sidecar itself had to end it.
    """

    stuck_after: float = 0.0
    heard: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    shim_stops: int = 0
    ended_for: str = ""
    needs_input: bool = False
    questions: set[str] = field(default_factory=set)

    def hear(self, at: float) -> None:
        """A call, a heartbeat or a line of output."""
        self.heard = max(self.heard, at)

    def shim_was_stopped(self) -> None:
        self.shim_stops += 1

    def must_end(self, now: float) -> bool:
        """Its shim is kept from enforcing the limits: an agent that is not sandboxed can stop its own."""
        if self.shim_stops >= _MOST_SHIM_STOPS:
            self.ended_for = SHIM_STOPPED
        elif self.deadline is not None and now > self.deadline:
            self.ended_for = OVERTIME
        return bool(self.ended_for)

    def judge(self, now: float, *, attempt: int, message: str, stopped_by_signal: bool) -> Observed:
        """``message``: what the agent said last."""
        if self.needs_input or self.questions:
            return Observed(AGENT_STATUS_NEEDS_INPUT, message or "waits for an approval")
        if stopped_by_signal:
            return Observed(AGENT_STATUS_STUCK, "its process was stopped by a signal; SIGCONT lets it continue")
        silent = now - self.heard
        if self.stuck_after and silent > self.stuck_after:
            return Observed(AGENT_STATUS_STUCK, f"no call, heartbeat or output for {int(silent)} s")
        return Observed(AGENT_STATUS_RUNNING, f"attempt {attempt}")
