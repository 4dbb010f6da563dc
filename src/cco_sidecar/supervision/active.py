"""An agent that has not ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.run import Exit, Run
from cco_sidecar.supervision.leases import Lease
from cco_sidecar.supervision.life import ENDED_STATUSES, Life
from cco_sidecar.supervision.monitor import Monitor
from cco_sidecar.supervision.usage_totals import UsageTotals
from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.event_service_pb2 import PRIORITY_HIGH, PRIORITY_LOW

_MAX_BACKOFF_SECONDS = 3600.0
_RANK = {PRIORITY_HIGH: 0, PRIORITY_LOW: 2}


@dataclass(eq=False)
class Attempt:
    """One attempt: its run, and what is known about it. ``exit`` and ``last_lines``: how it ended and the end of its
    output; None and empty until then."""

    run: Run
    monitor: Monitor
    exit: Exit | None = None
    last_lines: Sequence[str] = ()


@dataclass(eq=False)
class ActiveAgent:
    """The state of an agent that has not ended. Not thread-safe.

    ``record``: what other callers see; ``life``: what the state machine knows, which only the supervisor changes;
    ``attempt``: the current attempt, or the last one until the next begins; None before the first. ``begun`` is set
    once the process runs or could not be started, or the agent has ended; ``ended`` is set once the end is on disk.
    """

    number: int
    record: Agent
    request: SpawnAgentRequest
    runner: Runner
    life: Life
    attempt: Attempt | None = None
    lease: Lease = field(default_factory=Lease)
    usage: UsageTotals = field(default_factory=UsageTotals)
    # The record as other sidecars see it, and whether another one has the agent now.
    shown: bytes = b""
    taken_over: bool = False
    # Seconds between the request to stop and the kill.
    grace: float = 0.0
    retry_timer: asyncio.TimerHandle | None = None
    # Effects that write to disk run one after the other.
    in_order: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def agent_id(self) -> str:
        return self.record.agent_id

    @property
    def is_ending(self) -> bool:
        """Whether the agent has ended or is being stopped."""
        return self.life.status in ENDED_STATUSES or bool(self.life.stop_reason)

    @property
    def has_process(self) -> bool:
        """Whether the agent's process is known to run."""
        return self.record.HasField("process_id")

    @property
    def rank(self) -> tuple[int, int]:
        """The position in the queue: by priority, then by age."""
        return _RANK.get(self.record.priority, 1), self.number

    def backoff_seconds(self) -> float:
        """Returns the seconds before the next attempt; doubled each time, at most one hour."""
        doubled: float = self.runner.backoff_seconds * 2 ** (self.life.attempt - 1)
        return min(doubled, _MAX_BACKOFF_SECONDS)

    async def read_reports(self) -> None:
        """Updates the usage from what the program has printed since the last call."""
        if not self.runner.reports:
            return
        async with self.reading:
            await asyncio.to_thread(self.usage.read)
        self.record.usage.CopyFrom(self.usage.total())

    def wait_again(self) -> None:
        """Releases the callers that wait for the start: the next one may be long in coming."""
        self.set_begun()
        self.begun = asyncio.get_running_loop().create_future()

    def set_begun(self) -> None:
        """Releases the callers that wait for the start."""
        if not self.begun.done():
            self.begun.set_result(None)
