"""An agent that has not ended, and the line of those that wait for room."""

from __future__ import annotations

import asyncio
import heapq
import time
from dataclasses import dataclass, field

from cco_sidecar.agents.logs import LogReader
from cco_sidecar.agents.run import Run
from cco_sidecar.agents.runners import Runner
from cco_sidecar.agents.usage import UsageReader, added, tokens_of, without_tokens
from cco_sidecar.auth.tokens import Minted
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_STOPPED,
    Agent,
    SpawnAgentRequest,
    Usage,
)
from orchestra.v1.event_service_pb2 import PRIORITY_HIGH, PRIORITY_LOW

ENDED = frozenset({AGENT_STATUS_COMPLETED, AGENT_STATUS_FAILED, AGENT_STATUS_STOPPED})
# An agent is asked to end, and killed after so long.
GRACE_SECONDS = 10.0
_SLACK_SECONDS = 10.0
_RANK = {PRIORITY_HIGH: 0, PRIORITY_LOW: 2}


@dataclass
class Live:
    """An agent that has not ended. ``heard`` is the monotonic time of its last sign of life."""

    number: int
    agent: Agent
    request: SpawnAgentRequest
    runner: Runner
    run: Run | None = None
    token: Minted | None = None
    # When the token in its file was made, by the clock; None for an agent that was found again.
    token_made: float | None = None
    heard: float = 0.0
    stop_reason: str = ""
    # When its wall time is over, in monotonic seconds, and a while for its keeper to see to that; None without limit.
    deadline: float | None = None
    # How often its keeper was found stopped by a signal; why the sidecar itself had to end it.
    keeper_stops: int = 0
    ended_for: str = ""
    # It said so itself; and what it asked and was not answered yet.
    needs_input: bool = False
    questions: set[str] = field(default_factory=set)
    # What earlier attempts used; and by session what those report that give its running total.
    before: Usage = field(default_factory=Usage)
    sessions: dict[str, Usage] = field(default_factory=dict)
    reader: LogReader | None = None
    usage: UsageReader = field(default_factory=UsageReader)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    # It could not be saved when it was to be: the event that goes with it, or nothing but the record.
    unsaved: str | None = None
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    retry: asyncio.TimerHandle | None = None
    # Set when its process runs, or when it could not be started.
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    # What its present tokens end with, whatever the clock says; and that they are dead is on disk.
    session: str = ""
    revoked: bool = False
    # This run has stored a result.
    has_result: bool = False
    # Its end is being written down.
    ending: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def set_deadline(self, spent: float) -> None:
        """``spent``: seconds that its run has had."""
        most = timeout_of(self.request, self.runner)
        self.deadline = time.monotonic() + most - spent + GRACE_SECONDS + _SLACK_SECONDS if most else None

    @property
    def waits_for_person(self) -> bool:
        return self.needs_input or bool(self.questions)

    @property
    def rank(self) -> tuple[int, int]:
        """Its place in the queue: priority, then age."""
        return _RANK.get(self.agent.priority, 1), self.number

    async def read_reports(self) -> None:
        """Takes in what the program printed since the last look."""
        if not self.runner.reports:
            return
        async with self.reading:
            await asyncio.to_thread(self.take_in_reports)
        self.agent.usage.CopyFrom(self.used())

    def used(self) -> Usage:
        """By all attempts."""
        total = self.before
        for session, usage in self.sessions.items():
            if not (self.usage.running_total and session == self.usage.usage.session_id):
                total = added(total, usage)
        return added(total, self.usage.usage)

    def begin_attempt(self, resumed: str = "") -> None:
        """What the last one used counts as used before."""
        usage = self.usage.usage
        if self.usage.running_total:
            # Of tokens alone: turns and times are the attempt's own.
            self.sessions[usage.session_id] = tokens_of(usage)
            self.before = added(self.before, without_tokens(usage))
        else:
            self.before = added(self.before, usage)
        self.usage = UsageReader(resumed)

    def take_in_reports(self) -> None:
        """The same, where nobody else reads and nothing waits."""
        for line in self.reader.read() if self.reader else ():
            if line.stream == "stdout":
                self.usage.read(line.text)


def timeout_of(request: SpawnAgentRequest, runner: Runner) -> int:
    """Wall time in seconds; 0 is without limit."""
    if request.HasField("timeout_seconds"):
        return request.timeout_seconds
    return runner.timeout_seconds or 0


class WaitingLine:
    """Agents that wait for room: by priority, then by age."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int], str]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def join(self, live: Live) -> None:
        heapq.heappush(self._heap, (live.rank, live.agent.agent_id))

    def next(self) -> str:
        return heapq.heappop(self._heap)[1]

    def leave(self, agent_id: str) -> None:
        self._heap = [each for each in self._heap if each[1] != agent_id]
        heapq.heapify(self._heap)

    def position(self, agent_id: str) -> int:
        """From 1 on; 0 for one that does not wait."""
        return next((place for place, (_, each) in enumerate(sorted(self._heap), 1) if each == agent_id), 0)
