"""What an agent has used over all its attempts."""

from __future__ import annotations

from cco_sidecar.runners.logs import LogReader
from cco_sidecar.runners.usage import UsageReader, added, tokens_of, without_tokens
from orchestra.v1.agent_service_pb2 import Usage


class UsageTotals:
    """Adds up the usage of attempts. ``reader``: the current attempt's output, None between attempts; ``attempt``: what
    its program has reported."""

    def __init__(self) -> None:
        self.reader: LogReader | None = None
        self.attempt = UsageReader()
        # The usage of earlier attempts, and by session that of programs that report a session's running total.
        self._before = Usage()
        self._sessions: dict[str, Usage] = {}

    def set_before(self, usage: Usage) -> None:
        """Uses the record's usage, if the output of earlier attempts can no longer be read."""
        self._before.CopyFrom(usage)

    def set_session(self, session_id: str) -> None:
        """Sets the session that the program was started with."""
        self._before.session_id = session_id

    def total(self) -> Usage:
        """Returns the usage over all attempts."""
        total = self._before
        for session, usage in self._sessions.items():
            if not (self.attempt.running_total and session == self.attempt.usage.session_id):
                total = added(total, usage)
        return added(total, self.attempt.usage)

    def begin_attempt(self, resumed: str = "") -> None:
        """Adds the last attempt to the earlier ones. ``resumed``: the session that the next attempt resumes."""
        usage = self.attempt.usage
        if self.attempt.running_total:
            # Only tokens are running totals: turns and times are the attempt's own.
            self._sessions[usage.session_id] = tokens_of(usage)
            self._before = added(self._before, without_tokens(usage))
        else:
            self._before = added(self._before, usage)
        self.attempt = UsageReader(resumed)

    def read(self) -> None:
        """Reads what the program has printed since the last call. Blocks on the file."""
        for line in self.reader.read() if self.reader else ():
            if line.stream == "stdout":
                self.attempt.read(line.text)
