"""The runners that are connected to this sidecar, and what they report."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock, uptime
from cco_sidecar.core.errors import conflict, unavailable
from cco_sidecar.runners.remote import RemoteRun
from cco_sidecar.runners.remote_runner import GIVEN_UP, NOT_STARTED, SILENT_SECONDS, RemoteRunner
from orchestra.v1 import runner_service_pb2 as pb

log = logging.getLogger(__name__)

# What is stored of the output of one attempt.
_MAX_OUTPUT_BYTES = 2**30
# Attempts that are ended after one report because nobody here knows them.
_MOST_STRANGERS = 100


class Hub:
    """``runners``: by ID. Not thread-safe."""

    def __init__(
        self, lost_after: float, silent: Callable[[], float], clock: Clock, now: Callable[[], float] = uptime
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
        self._storing = Background()

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
        if remote.connected and silent < SILENT_SECONDS and remote.instance not in ("", request.instance):
            raise conflict(
                "RUN_001",
                f"another runner is connected as '{request.runner_id}' from {remote.offer.host}; give each its own ID",
            )
        if remote.instance != request.instance:
            # Its storage may be another, too.
            remote.worktrees = ()
        remote.instance, remote.heard, remote.left = request.instance, self.now(), False
        remote.offer = request.runner
        remote.offer.runner_id = request.runner_id
        remote.tags = frozenset(request.runner.tags)
        log.info("runner connected", extra={"runner_id": request.runner_id, "host": request.runner.host})
        remote.reported = False
        return remote

    async def report(self, request: pb.ReportRunnerRequest) -> pb.ReportRunnerResponse:
        """Stores what happened at a runner. Raises SidecarError: RUN_002, RUN_003 if it is not connected."""
        turn = self.runner(request.runner_id).reporting
        await turn.acquire()
        # To its end: what a thread writes for a call that was cancelled must not meet what the next report brings.
        return await self._storing.finish(self._report_in_turn(request, turn))

    async def _report_in_turn(self, request: pb.ReportRunnerRequest, turn: asyncio.Lock) -> pb.ReportRunnerResponse:
        try:
            return await self._report(request)
        finally:
            turn.release()

    async def _report(self, request: pb.ReportRunnerRequest) -> pb.ReportRunnerResponse:
        remote = self.runner(request.runner_id)
        remote.lose()
        self._require_current(request.instance)
        if remote.instance != request.instance or not remote.connected:
            raise unavailable("RUN_003", f"runner '{request.runner_id}' is not connected here; attend first")
        could_start = remote.can_start
        remote.heard = self.now()
        own = sum(not each.HasField("end") and (each.agent_id, each.attempt) in remote.runs for each in request.runs)
        remote.others = max(0, request.running - own)
        remote.refused = any(each.error_code == NOT_STARTED for each in request.answers)
        if request.lists_worktrees:
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
        elif remote.can_start and not could_start:
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
