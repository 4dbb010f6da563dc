"""What an agent has used, over all its attempts."""

from __future__ import annotations

from cco_sidecar.runners.logs import LogReader
from cco_sidecar.runners.usage import UsageReader, added, tokens_of, without_tokens
from orchestra.v1.agent_service_pb2 import Usage


class UsageTotals:
    """``reader`` gives the present attempt's output; None between attempts. ``attempt``: what its program reported."""

    def __init__(self) -> None:
        self.reader: LogReader | None = None
        self.attempt = UsageReader()
        # What earlier attempts used; and by session what those report that give its running total.
        self._before = Usage()
        self._sessions: dict[str, Usage] = {}

    def set_before(self, usage: Usage) -> None:
        """As the record has it, where the attempts' output can no longer be read."""
        self._before.CopyFrom(usage)

    def set_session(self, session_id: str) -> None:
        self._before.session_id = session_id

    def total(self) -> Usage:
        total = self._before
        for session, usage in self._sessions.items():
            if not (self.attempt.running_total and session == self.attempt.usage.session_id):
                total = added(total, usage)
        return added(total, self.attempt.usage)

    def begin_attempt(self, resumed: str = "") -> None:
        """What the last attempt used counts as used before. ``resumed``: the session that the next one goes on with."""
        usage = self.attempt.usage
        if self.attempt.running_total:
            # Of tokens alone: turns and times are the attempt's own.
            self._sessions[usage.session_id] = tokens_of(usage)
            self._before = added(self._before, without_tokens(usage))
        else:
            self._before = added(self._before, usage)
        self.attempt = UsageReader(resumed)

    def read(self) -> None:
        """Takes in what the program printed since the last look. Blocks on the file."""
        for line in self.reader.read() if self.reader else ():
            if line.stream == "stdout":
                self.attempt.read(line.text)
