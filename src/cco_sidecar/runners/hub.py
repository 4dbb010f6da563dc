"""The runners that are connected to this sidecar: what they offer, what they are told, and what they report."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cco_sidecar.core import ids
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, spawn_failed, unavailable
from cco_sidecar.runners.remote import RemoteRun
from orchestra.v1 import runner_service_pb2 as pb

log = logging.getLogger(__name__)

# A connection that was silent for so long may be replaced by one of another process.
_SILENT_SECONDS = 10.0
# What is stored of the output of one attempt.
_MAX_OUTPUT_BYTES = 2**30
_MAX_ORDERS = 10_000
# Attempts that are ended after one report because nobody here knows them.
_MOST_STRANGERS = 100
# The codes of the errors for a process whose agents were given up, for a runner that is silent, and for one without a
# free slot.
GIVEN_UP, LOST, FULL = "RUN_002", "RUN_004", "RUN_006"

Monotonic = Callable[[], float]


class RemoteRunner:
    """A runner as it is known here, connected or not. Implements Place."""

    def __init__(self, runner_id: str, hub: Hub) -> None:
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
        # IDs of the agents that have a worktree there.
        self.worktrees: tuple[str, ...] = ()
        self.runs: dict[tuple[str, int], RemoteRun] = {}
        # Reports are stored one after the other.
        self.reporting = asyncio.Lock()
        self._orders: asyncio.Queue[pb.AttendRunnerResponse | None] | None = None
        self._unanswered: dict[str, tuple[pb.AttendRunnerResponse, asyncio.Future[pb.RunnerAnswer]]] = {}

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
        return self.attends and self._now() - self.heard < _SILENT_SECONDS

    @property
    def running(self) -> int:
        """How many agents run there, for all sidecars."""
        return self.others + len(self.runs)

    @property
    def has_slot(self) -> bool:
        return not self.offer.capacity or self.running < self.offer.capacity

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
        return any((order.agent_id, order.attempt) == key for order, _ in self._unanswered.values())

    def post(self, order: pb.AttendRunnerResponse) -> None:
        # From any thread, and perhaps after the loop has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._post, order)

    def _post(self, order: pb.AttendRunnerResponse) -> None:
        if self._orders is not None and self._orders.qsize() < _MAX_ORDERS:
            self._orders.put_nowait(order)

    async def ask(self, order: pb.AttendRunnerResponse, patience: float | None = None) -> pb.RunnerAnswer:
        """Sends an order and returns its answer, however often the connection is interrupted. Raises SidecarError: the
        error of the answer, RUN_006 if the runner has no free slot, or RUN_004 if it is lost, or does not answer within
        ``patience`` seconds."""
        until = None if patience is None else self._now() + patience
        order.order_id = ids.sortable("order")
        answer = self._loop.create_future()
        self._unanswered[order.order_id] = (order, answer)
        try:
            if self.reported:
                self._post(order)
            while not answer.done():
                if self.is_lost() or (until is not None and self._now() > until):
                    raise lost(self.runner_id)
                await asyncio.wait({answer}, timeout=1.0)
            answered: pb.RunnerAnswer = answer.result()
        finally:
            del self._unanswered[order.order_id]
        if answered.error_code == FULL:
            raise unavailable(FULL, answered.error_message)
        if answered.error_message:
            raise spawn_failed(f"runner {self.runner_id}: {answered.error_message}")
        return answered

    def answer(self, given: pb.RunnerAnswer) -> None:
        _, answer = self._unanswered.get(given.order_id, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(given)

    def catch_up(self) -> None:
        """Sends what the runner may have missed. Its agents have a lease by now."""
        self.reported = True
        missed = [order for order, _ in self._unanswered.values()]
        missed += [order for run in self.runs.values() for order in run.pending()]
        for each in missed:
            self._post(each)

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


class Hub:
    """``runners``: by ID. Not thread-safe."""

    def __init__(
        self, lost_after: float, silent: Callable[[], float], clock: Clock, now: Monotonic = time.monotonic
    ) -> None:
        """``lost_after``: seconds after which a runner that is silent is lost; ``silent``: for how many this sidecar
        gave no sign of life to the others."""
        self.lost_after = lost_after
        self.now = now
        self._silent = silent
        self._clock = clock
        self.runners: dict[str, RemoteRunner] = {}
        self._began = now()
        # Processes of runners whose agents were given up.
        self.given_up: set[str] = set()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls ``listener`` when agents may be started that could not before. It must not block or raise."""
        self._listeners.append(listener)

    def changed(self) -> None:
        for listener in self._listeners:
            listener()

    def runner(self, runner_id: str) -> RemoteRunner:
        """Returns what is known of a runner, which may not have connected since the start."""
        if runner_id not in self.runners:
            self.runners[runner_id] = RemoteRunner(runner_id, self)
        return self.runners[runner_id]

    def run_at(self, directory: Path, agent_id: str, attempt: int, runner_id: str) -> RemoteRun:
        """Returns the run of an attempt at a runner; the same one each time, until it is forgotten."""
        remote = self.runner(runner_id)
        run = remote.runs.get((agent_id, attempt))
        return run if run is not None else RemoteRun(directory, agent_id, attempt, remote)

    def is_gone(self, runner_id: str) -> bool:
        """Whether a runner is lost, or has not come since the start for as long."""
        remote = self.runners.get(runner_id)
        return self.now() - self._began > self.lost_after if remote is None else remote.is_lost()

    def look(self) -> None:
        """Gives up runners that are lost. Called every second."""
        for runner_id, remote in list(self.runners.items()):
            if remote.lose():
                log.warning("runner %s is lost: silent for %d seconds", runner_id, self.lost_after)
                self.changed()
            if remote.is_lost() and not remote.runs and not remote.connected:
                del self.runners[runner_id]

    def listed(self) -> Sequence[pb.Runner]:
        """Returns all runners that are connected, or were and are not lost, by ID."""
        return [_shown(each) for _, each in sorted(self.runners.items()) if each.instance and not each.is_lost()]

    def attend(self, request: pb.AttendRunnerRequest) -> RemoteRunner:
        """Connects a runner. Raises SidecarError: RUN_001 if another process has its ID, RUN_002 if its agents were
        given up."""
        remote = self.runner(request.runner_id)
        remote.lose()
        self._require_current(request.instance)
        silent = self.now() - remote.heard
        if remote.connected and silent < _SILENT_SECONDS and remote.instance not in ("", request.instance):
            raise conflict(
                "RUN_001",
                f"another runner is connected as '{request.runner_id}' from {remote.offer.host}; give each its own ID",
            )
        remote.instance, remote.heard, remote.left = request.instance, self.now(), False
        remote.offer = request.runner
        remote.offer.runner_id = request.runner_id
        remote.tags = frozenset(request.runner.tags)
        log.info("runner connected", extra={"runner_id": request.runner_id, "host": request.runner.host})
        remote.reported = False
        return remote

    async def report(self, request: pb.ReportRunnerRequest) -> pb.ReportRunnerResponse:
        """Stores what happened at a runner. Raises SidecarError: RUN_002, RUN_003 if it is not connected."""
        async with self.runner(request.runner_id).reporting:
            return await self._report(request)

    async def _report(self, request: pb.ReportRunnerRequest) -> pb.ReportRunnerResponse:
        remote = self.runner(request.runner_id)
        remote.lose()
        self._require_current(request.instance)
        if remote.instance != request.instance or not remote.connected:
            raise unavailable("RUN_003", f"runner '{request.runner_id}' is not connected here; attend first")
        had_slot = remote.usable and remote.has_slot
        remote.heard = self.now()
        remote.others = max(0, request.running - sum(not each.HasField("end") for each in request.runs))
        if request.worktrees:
            remote.worktrees = tuple(request.worktrees)
        remote.offer.reported_at.CopyFrom(self._clock.timestamp())
        stored = await asyncio.to_thread(_store, remote, request)
        known = {(each.agent_id, each.attempt): each for each in request.runs}
        # Before the answers: until then, an attempt that is being started is no stranger.
        lacking = [run for key, run in remote.runs.items() if key not in known]
        gone = [run for run in lacking if remote.knows_no_more(run, request.instance)]
        for answer in request.answers:
            remote.answer(answer)
        for run in gone:
            run.set_over()
        strangers = 0
        for key, there in known.items():
            ours = remote.runs.get(key)
            if ours is not None:
                ours.instance, ours.listed_at, ours.worktree = request.instance, self.now(), there.worktree
            if ours is not None and there.HasField("end") and _is_whole(ours, there):
                ours.set_over()
            elif ours is None and not remote.starts(key) and strangers < _MOST_STRANGERS:
                strangers += 1
                _end(remote, there)
        if not remote.reported:
            remote.catch_up()
        if request.leaving:
            log.info("runner has left", extra={"runner_id": request.runner_id})
            remote.left = True
            remote.lose()
            self.changed()
        elif remote.has_slot and not had_slot:
            self.changed()
        # Others take this sidecar's agents over so long after its last sign of life.
        lease = max(0.0, self.lost_after - self._silent())
        return pb.ReportRunnerResponse(stored=stored, lease_seconds=lease)

    def _require_current(self, instance: str) -> None:
        """Raises SidecarError (RUN_002)."""
        if instance in self.given_up:
            raise conflict(
                GIVEN_UP, "the runner was silent for too long, and its agents were given up; end them and join again"
            )


def lost(runner_id: str) -> SidecarError:
    """Returns the error for a runner that is silent."""
    return unavailable(LOST, f"runner {runner_id} is not connected")


def _store(remote: RemoteRunner, request: pb.ReportRunnerRequest) -> list[pb.RunAtRunner]:
    """Stores output and ends, and returns how much of each run is here. What cannot be stored comes again with the next
    report. Blocks."""
    for part in request.outputs:
        run = remote.runs.get((part.agent_id, part.attempt))
        if run is not None and run.stored < _MAX_OUTPUT_BYTES:
            with _noted(run):
                run.append(part.offset, part.data)
    stored = []
    for there in request.runs:
        run = remote.runs.get((there.agent_id, there.attempt))
        if run is None:
            continue
        if there.HasField("end") and _is_whole(run, there):
            with _noted(run):
                run.finish(there.end)
        # What is more than can be stored is not sent again.
        here = there.output_bytes if run.stored >= _MAX_OUTPUT_BYTES else run.stored
        stored.append(pb.RunAtRunner(agent_id=there.agent_id, attempt=there.attempt, output_bytes=here))
    return stored


def _is_whole(run: RemoteRun, there: pb.RunAtRunner) -> bool:
    """Whether all of a run's output is here, or as much as can be stored."""
    return run.stored >= min(there.output_bytes, _MAX_OUTPUT_BYTES)


@contextmanager
def _noted(run: RemoteRun) -> Iterator[None]:
    """Logs an error of the disk, which must not keep the other runs of a report from being stored."""
    try:
        yield
    except OSError as problem:
        log.warning("what happened in %s cannot be stored yet: %s", run.directory, problem)


def _end(remote: RemoteRunner, there: pb.RunAtRunner) -> None:
    """Ends an attempt that nobody knows here."""
    order = pb.AttendRunnerResponse(agent_id=there.agent_id, attempt=there.attempt)
    if there.HasField("end"):
        order.forget.SetInParent()
    else:
        order.stop.grace_seconds = 0.0
    remote.post(order)


def _shown(remote: RemoteRunner) -> pb.Runner:
    shown = pb.Runner()
    shown.CopyFrom(remote.offer)
    shown.running, shown.connected = remote.running, remote.attends
    return shown
