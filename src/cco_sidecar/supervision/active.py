"""An agent that has not ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.run import Exit, Run
from cco_sidecar.supervision.leases import Lease
from cco_sidecar.supervision.life import ENDED_STATUSES, Life
from cco_sidecar.supervision.monitor import Monitor
from cco_sidecar.supervision.usage_totals import UsageTotals
from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.event_service_pb2 import PRIORITY_HIGH, PRIORITY_LOW

_RANK = {PRIORITY_HIGH: 0, PRIORITY_LOW: 2}


@dataclass(eq=False)
class ActiveAgent:
    """``record`` is what others see; only the supervisor changes it, and ``life``. The lease, the usage and the monitor
    belong to those who made them.

    ``begun``: its process runs or could not be started, or it ended before; ``ended``: its end is on disk.
    """

    number: int
    record: Agent
    request: SpawnAgentRequest
    runner: Runner
    life: Life
    run: Run | None = None
    lease: Lease = field(default_factory=Lease)
    usage: UsageTotals = field(default_factory=UsageTotals)
    monitor: Monitor = field(default_factory=Monitor)
    # How the last attempt ended, and its last lines; None before.
    exit: Exit | None = None
    last_lines: list[str] = field(default_factory=list)
    # This run has stored a result.
    has_result: bool = False
    # Seconds that the process has to end by itself when it is stopped.
    grace: float = 0.0
    retry_timer: asyncio.TimerHandle | None = None
    # Effects that wait for the disk are carried out one after the other.
    in_order: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def agent_id(self) -> str:
        return self.record.agent_id

    @property
    def is_ending(self) -> bool:
        """Its process is gone, or somebody wants it gone."""
        return self.life.status in ENDED_STATUSES or bool(self.life.stop_reason)

    @property
    def has_process(self) -> bool:
        return self.record.HasField("process_id")

    @property
    def rank(self) -> tuple[int, int]:
        """Its place in the queue: priority, then age."""
        return _RANK.get(self.record.priority, 1), self.number

    async def read_reports(self) -> None:
        """Takes in what the program printed of its own work since the last look."""
        if not self.runner.reports:
            return
        async with self.reading:
            await asyncio.to_thread(self.usage.read)
        self.record.usage.CopyFrom(self.usage.total())

    def set_begun(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
