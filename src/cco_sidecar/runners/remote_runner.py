"""A runner as a sidecar knows it: what it offers, what runs there, and what it was told."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cco_sidecar.core import ids
from cco_sidecar.core.errors import SidecarError, spawn_failed, unavailable
from cco_sidecar.runners.remote import RemoteRun
from orchestra.v1 import runner_service_pb2 as pb

log = logging.getLogger(__name__)

# The codes of the errors for a process whose agents were given up, for a runner that is silent, and for an attempt that
# surely was not started.
GIVEN_UP, LOST, NOT_STARTED = "RUN_002", "RUN_004", "RUN_006"
# A connection that was silent for so long gets no agents, and may be replaced by one of another process.
SILENT_SECONDS = 10.0
_MAX_ORDERS = 10_000


@dataclass(eq=False)
class _Asked:
    """An order that has to be answered. ``sent``: whether the runner may have it."""

    order: pb.AttendRunnerResponse
    answer: asyncio.Future[pb.RunnerAnswer]
    sent: bool = False

    @property
    def waits(self) -> bool:
        return not self.answer.done()


class Registry(Protocol):
    """What all runners have in common. ``given_up``: their processes whose agents were given up; ``lost_after``: the
    seconds after which one that is silent is lost."""

    given_up: set[str]
    lost_after: float

    def now(self) -> float:
        """The uptime, in seconds."""
        ...

    def changed(self) -> None:
        """Agents may be started that could not before."""
        ...


class RemoteRunner:
    """A runner as it is known here, connected or not. Implements Place."""

    def __init__(self, runner_id: str, hub: Registry) -> None:
        self.runner_id = runner_id
        self._hub = hub
        self._loop, self._now = asyncio.get_running_loop(), hub.now
        self.offer = pb.Runner(runner_id=runner_id)
        self.tags: frozenset[str] = frozenset()
        self.instance = ""
        self.heard = self._now()
        # Since it connected: from then on its agents have a lease.
        self.reported = False
        # It has said that it ends, and that its agents have ended.
        self.left = False
        # How many agents run there for other sidecars, as it last reported.
        self.others = 0
        # With its last report it refused to start an attempt.
        self.refused = False
        # IDs of the agents that have a worktree there.
        self.worktrees: tuple[str, ...] = ()
        self.runs: dict[tuple[str, int], RemoteRun] = {}
        # Reports are stored one after the other.
        self.reporting = asyncio.Lock()
        self._orders: asyncio.Queue[pb.AttendRunnerResponse | None] | None = None
        self._unanswered: dict[str, _Asked] = {}

    @property
    def connected(self) -> bool:
        return self._orders is not None

    @property
    def attends(self) -> bool:
        """Whether the runner is connected, and its agents have a lease."""
        return self.connected and self.reported

    @property
    def usable(self) -> bool:
        """Whether agents can be started there now."""
        return self.attends and self._now() - self.heard < SILENT_SECONDS

    @property
    def running(self) -> int:
        """How many agents run there, for all sidecars."""
        return self.others + len(self.runs)

    @property
    def can_start(self) -> bool:
        """Whether another agent can be started there now."""
        return self.usable and not self.refused and self.running < (self.offer.capacity or math.inf)

    @property
    def load(self) -> float:
        """The share of its capacity that is used, 0 to 1."""
        return self.running / (self.offer.capacity or 1000)

    def watch(self, run: RemoteRun) -> None:
        run.instance, run.listed_at = self.instance, self._now()
        self.runs[run.key] = run

    def is_lost(self) -> bool:
        return self.left or self._now() - self.heard > self._hub.lost_after

    def lose(self) -> bool:
        """If the runner is lost, nothing counts any more of what it says, or was told. Returns whether that is new."""
        return self.is_lost() and self._drop()

    def give_up(self) -> None:
        """Gives up a runner that does not do what it is told: it gets no lease any more, and has to join again."""
        if self._drop():
            log.error("runner %s does not end its agents; it is given up", self.runner_id)

    def _drop(self) -> bool:
        """Refuses the runner's process from now on. Returns whether there was one."""
        if not self.instance:
            return False
        self._hub.given_up.add(self.instance)
        self.instance = ""
        if self._orders is not None:
            self._orders.put_nowait(None)
        return True

    def knows_no_more(self, run: RemoteRun, instance: str) -> bool:
        """Whether a run is over that a report of ``instance`` lacks. Another process, perhaps on another machine, says
        nothing about what the former one started: that ends with its lease."""
        same = run.instance == instance
        return not self.starts(run.key) and (same or self._now() - run.listed_at > self._hub.lost_after)

    def forget(self, key: tuple[str, int]) -> None:
        def forget() -> None:
            if self.runs.pop(key, None) is not None:
                self._post(pb.AttendRunnerResponse(agent_id=key[0], attempt=key[1], forget=pb.ForgetRun()))
                self._hub.changed()

        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(forget)

    def starts(self, key: tuple[str, int]) -> bool:
        """Whether an attempt is being started, so that the runner need not know it yet."""
        return any((each.order.agent_id, each.order.attempt) == key for each in self._unanswered.values())

    def post(self, order: pb.AttendRunnerResponse) -> None:
        # From any thread, and perhaps after the loop has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._post, order)

    def _post(self, order: pb.AttendRunnerResponse) -> bool:
        """Returns whether the runner may get the order."""
        if self._orders is None or self._orders.qsize() >= _MAX_ORDERS:
            return False
        self._orders.put_nowait(order)
        return True

    async def ask(self, order: pb.AttendRunnerResponse, patience: float | None = None) -> pb.RunnerAnswer:
        """Sends an order and returns its answer, however often the connection is interrupted. Raises SidecarError: the
        error of the answer, RUN_006 if an attempt surely was not started because there is no slot or no connection, or
        RUN_004 if the runner is lost, or does not answer within ``patience`` seconds."""
        until = None if patience is None else self._now() + patience
        order.order_id = ids.sortable("order")
        asked = self._unanswered[order.order_id] = _Asked(order, self._loop.create_future())
        try:
            if self.reported:
                asked.sent = self._post(order)
            while asked.waits:
                if self.is_lost() or (until is not None and self._now() > until):
                    # One that has left starts nothing after its last report.
                    started = asked.sent and not self.left
                    raise lost(self.runner_id, started=started or not order.HasField("launch"))
                await asyncio.wait({asked.answer}, timeout=1.0)
            answered: pb.RunnerAnswer = asked.answer.result()
        finally:
            del self._unanswered[order.order_id]
        if answered.error_code == NOT_STARTED:
            raise unavailable(NOT_STARTED, answered.error_message)
        if answered.error_message:
            raise spawn_failed(f"runner {self.runner_id}: {answered.error_message}")
        return answered

    def answer(self, given: pb.RunnerAnswer) -> None:
        asked = self._unanswered.get(given.order_id)
        if asked is not None and asked.waits:
            asked.answer.set_result(given)

    def catch_up(self) -> None:
        """Sends what the runner may have missed. Its agents have a lease by now."""
        self.reported = True
        for asked in self._unanswered.values():
            if asked.waits:
                asked.sent |= self._post(asked.order)
        for order in [order for run in self.runs.values() for order in run.pending()]:
            self._post(order)

    async def orders(self, welcome: pb.AttendRunnerResponse) -> AsyncIterator[pb.AttendRunnerResponse]:
        """Yields what the runner has to do, until another connection takes over."""
        former, own = self._orders, asyncio.Queue[pb.AttendRunnerResponse | None]()
        self._orders = own
        if former is not None:
            former.put_nowait(None)
        try:
            yield welcome
            while (order := await own.get()) is not None:
                yield order
        finally:
            if self._orders is own:
                self._orders = None


def lost(runner_id: str, *, started: bool = True) -> SidecarError:
    """Returns the error for a runner that is silent. ``started``: whether it may have started what it was to start."""
    return unavailable(LOST if started else NOT_STARTED, f"runner {runner_id} is not connected")
