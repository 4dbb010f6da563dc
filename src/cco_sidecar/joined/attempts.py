"""The attempts that run here for one sidecar: its orders are carried out, and what happens is reported."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError, unavailable
from cco_sidecar.joined.order_inputs import Launch, current, worktree_of
from cco_sidecar.joined.worktree_orders import WorktreeOrders
from cco_sidecar.runners.launch import Launcher
from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.remote_runner import NOT_STARTED
from cco_sidecar.runners.run import UNKNOWN, Exit, Run
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)

Key = tuple[str, int]
ReadCommits = Callable[[Agent, Sequence[str]], Awaitable[bytes]]

_OWNER_FILE = "sidecar"
_PART_BYTES = 2**20
# Less than what a sidecar accepts, for the lists of a report that are not counted.
REPORT_BYTES = 3 * 2**20
_MOST_ENTRIES = 5000
# Of one attempt; a sidecar stores less.
_MOST_OUTPUT = 2**32 - 1
_MOST_TAKEN = 10_000
_RETRY_SECONDS = 1.0
_WORKTREES_SECONDS = 20.0


@dataclass(eq=False)
class Attempt:
    """An attempt that the sidecar has not told to forget. ``sent``: bytes of output that it has."""

    key: Key
    run: Run
    starting: asyncio.Future[pb.RunnerAnswer] | None = None
    sent: int = 0
    end: Exit | None = None
    stop: float | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size(self) -> int:
        try:
            return self.run.output.stat().st_size
        except OSError:
            return 0


class SidecarAttempts:
    """Not thread-safe."""

    def __init__(
        self,
        launcher: Launcher,
        storage: Path,
        sidecar_id: str,
        *,
        read_commits: ReadCommits,
        is_busy: Callable[[str], bool],
        require_slot: Callable[[], None],
    ) -> None:
        """``read_commits``: returns the pack of what the sidecar has, and an agent's worktree needs, beyond some
        commits; ``is_busy``: whether an agent runs here, for any sidecar; ``require_slot``: raises SidecarError if as
        many run here as may."""
        self._worktrees = WorktreeOrders(launcher.worktrees, is_busy)
        self._require_slot = require_slot
        self._read_commits = read_commits
        self._launcher = launcher
        self._agents = storage / "agents"
        self._sidecar_id = sidecar_id
        self._attempts: dict[Key, Attempt] = {}
        self._worktrees_at = 0.0
        self._answers: list[pb.RunnerAnswer] = []
        # IDs of orders that were taken. Each may come again until its answer has arrived.
        self._taken: dict[str, None] = {}
        self._background = Background()
        self._ending = self._closing = False
        # Set when nothing is held any more.
        self.emptied = asyncio.Event()
        # Set while agents have a lease: without one, their shims start nothing.
        self.leased = asyncio.Event()
        # Set when there is something to report.
        self.news = asyncio.Event()

    def holds(self, agent_id: str) -> bool:
        """Whether the agent runs here for this sidecar."""
        return any(attempt.key[0] == agent_id and attempt.end is None for attempt in self._attempts.values())

    @property
    def running(self) -> int:
        return sum(attempt.end is None for attempt in self._attempts.values())

    @property
    def is_empty(self) -> bool:
        return not self._attempts

    def welcomed(self, lost_after: int) -> None:
        """Notes that the sidecar is connected, which counts a runner as lost after so many seconds: nothing starts
        before it has the first report."""
        self._launcher.lease_seconds = lost_after
        self.leased.clear()

    def recover(self) -> None:
        """Finds the attempts that an earlier process started for the sidecar."""
        for file in self._agents.glob(f"*/*/{_OWNER_FILE}"):
            if _text(file) != self._sidecar_id or not file.parent.name.isdecimal():
                continue
            agent = Agent(agent_id=file.parent.parent.name, attempt=int(file.parent.name))
            attempt = Attempt((agent.agent_id, agent.attempt), self._launcher.run_of(agent))
            attempt.run.adopt()
            self._hold(attempt)
            self._background.start(self._watch(attempt), f"watching {agent.agent_id}")

    async def end_all(self) -> None:
        """Ends the attempts, and starts no others. Other orders are carried out."""
        self._ending = True
        self.leased.set()
        for attempt in self._attempts.values():
            # One that is being started is ended once it has begun.
            attempt.stop = 0.0
            attempt.run.stop(0.0)
        await asyncio.gather(*(attempt.over.wait() for attempt in self._attempts.values()))

    async def close(self) -> None:
        """Carries out no more orders. Attempts that run are left to the next process."""
        self._closing = True
        await self._background.end()

    async def give_up(self) -> None:
        """Ends all attempts: the sidecar has given them up."""
        await self.end_all()
        await self.close()
        for attempt in list(self._attempts.values()):
            await self._remove(attempt)
        # What comes again from now on was not carried out.
        self._answers.clear()
        self._taken.clear()
        self._ending = self._closing = False

    # -- orders ------------------------------------------------------------------------------------------

    def take(self, order: pb.AttendRunnerResponse) -> None:
        """Carries an order out, and answers it in the next report."""
        if self._closing or order.order_id in self._taken:
            return
        if order.order_id:
            self._taken[order.order_id] = None
            if len(self._taken) > _MOST_TAKEN:
                del self._taken[next(iter(self._taken))]
        self._background.start(self._carry_out(order), f"order of {self._sidecar_id}")

    async def _carry_out(self, order: pb.AttendRunnerResponse) -> None:
        key = (order.agent_id, order.attempt)
        attempt = self._attempts.get(key)
        match order.WhichOneof("order"):
            case "launch":
                answer = await self._answer_of(self._launch(key, order.launch))
            case "worktree":
                answer = await self._answer_of(self._worktrees.carry_out(order.worktree))
            case "stop" if attempt is not None:
                attempt.stop = order.stop.grace_seconds
                attempt.run.stop(attempt.stop)
                return
            case "renew" if attempt is not None:
                if attempt.starting is not None:
                    # It makes the directory.
                    await asyncio.wait({attempt.starting})
                await asyncio.to_thread(attempt.run.write_token, order.renew.jwt_token)
                return
            case "forget" if attempt is not None and attempt.end is not None:
                await self._remove(attempt)
                return
            case _:
                return
        answer.order_id = order.order_id
        self._answers.append(answer)
        self.news.set()

    async def _answer_of(self, work: Awaitable[pb.RunnerAnswer]) -> pb.RunnerAnswer:
        try:
            return await work
        except SidecarError as problem:
            return pb.RunnerAnswer(error_code=problem.code, error_message=problem.message)
        except OSError as problem:
            return pb.RunnerAnswer(error_code="AGT_001", error_message=problem.strerror or str(problem))
        except Exception as problem:
            log.exception("an order failed")
            return pb.RunnerAnswer(error_code="INT_001", error_message=f"internal error: {type(problem).__name__}")

    async def _launch(self, key: Key, order: pb.LaunchRun) -> pb.RunnerAnswer:
        """Starts an attempt, once, however often the order comes. Raises SidecarError, OSError."""
        attempt = self._attempts.get(key)
        if attempt is None:
            if self._ending:
                raise unavailable(NOT_STARTED, "the runner is being stopped")
            self._require_slot()
            attempt = Attempt(key, self._launcher.run_of(order.agent))
            attempt.starting = asyncio.ensure_future(self._background.finish(self._start(attempt, order)))
            self._hold(attempt)
        if attempt.starting is None:
            # By an earlier process.
            return pb.RunnerAnswer(process_id=attempt.run.agent_pid, worktree=worktree_of(attempt.run))
        try:
            return await asyncio.shield(attempt.starting)
        except Exception:
            await self._remove(attempt)
            raise

    async def _start(self, attempt: Attempt, order: pb.LaunchRun) -> pb.RunnerAnswer:
        current.set(Launch(order, attempt.run))
        agent = order.agent
        await asyncio.to_thread(attempt.run.prepare)
        owner = attempt.run.directory / _OWNER_FILE
        await asyncio.to_thread(write_atomically, owner, self._sidecar_id.encode(), mode=PRIVATE_FILE)
        runner = Runner.read(orjson.loads(order.preset))
        launcher = self._launcher
        if order.base:
            await self._complete(agent, order.base)
        await self.leased.wait()
        launcher.sandbox.require()
        pid = await launcher.spawn(
            agent,
            order.request,
            runner,
            attempt.run,
            order.jwt_token,
            resuming=order.resuming,
            base=order.base or "HEAD",
        )
        if attempt.stop is not None:
            attempt.run.stop(attempt.stop)
        self._background.start(self._watch(attempt), f"watching {agent.agent_id}")
        return pb.RunnerAnswer(process_id=pid, worktree=agent.worktree)

    async def _complete(self, agent: Agent, commit: str) -> None:
        """Fetches the commit that a worktree starts from, unless it is here. Raises SidecarError."""
        worktrees = self._launcher.worktrees
        have = await asyncio.to_thread(worktrees.missing, agent.project_id, commit)
        if have is not None:
            pack = await self._read_commits(agent, have)
            await asyncio.to_thread(worktrees.take, agent.project_id, pack, commit)
        await asyncio.to_thread(worktrees.note_start, agent, commit)

    async def _watch(self, attempt: Attempt) -> None:
        while attempt.end is None:
            try:
                end = await attempt.run.ended()
                attempt.end = _as_lost(end) if self._ending else end
            except OSError as problem:
                # For example, no descriptor is free.
                log.warning("cannot check the run %s, retrying: %s", attempt.run.directory, problem)
                await asyncio.sleep(_RETRY_SECONDS)
        attempt.over.set()
        self.news.set()

    # -- reports -----------------------------------------------------------------------------------------

    def report(self, request: pb.ReportRunnerRequest, most: int) -> None:
        """Adds what the sidecar does not know yet, at most so many bytes of output. Blocks on files."""
        left = min(self._add_answers(request), most)
        if time.monotonic() >= self._worktrees_at:
            self._worktrees_at = time.monotonic() + _WORKTREES_SECONDS
            request.lists_worktrees = True
            request.worktrees.extend(self._launcher.worktrees.there_are()[:_MOST_ENTRIES])
        for attempt in list(self._attempts.values()):
            # Before the output is read: what was written until the end is complete.
            end, size = attempt.end, min(attempt.size, _MOST_OUTPUT)
            known = request.runs.add(agent_id=attempt.key[0], attempt=attempt.key[1], output_bytes=size)
            known.worktree = worktree_of(attempt.run)
            if end is not None:
                known.end.CopyFrom(_message(end))
            for data in self._parts(attempt, size, left):
                request.outputs.add(agent_id=attempt.key[0], attempt=attempt.key[1], offset=attempt.sent, data=data)
                left -= len(data)

    def _add_answers(self, request: pb.ReportRunnerRequest) -> int:
        """Adds answers, the others with later reports; returns how many bytes are left."""
        left = REPORT_BYTES
        for answer in self._answers:
            size = answer.ByteSize()
            if size > REPORT_BYTES:
                answer = pb.RunnerAnswer(
                    order_id=answer.order_id, error_code="REQ_004", error_message=f"the answer has {size} bytes"
                )
                size = answer.ByteSize()
            if size > left:
                break
            request.answers.append(answer)
            left -= size
        return left

    @staticmethod
    def _parts(attempt: Attempt, size: int, left: int) -> Iterator[bytes]:
        wanted = min(size - attempt.sent, _PART_BYTES, left)
        if wanted > 0:
            try:
                with open(attempt.run.output, "rb") as file:
                    file.seek(attempt.sent)
                    yield file.read(wanted)
            except OSError as problem:
                log.warning("cannot read the output %s: %s", attempt.run.output, problem)

    def reported(self, request: pb.ReportRunnerRequest, response: pb.ReportRunnerResponse) -> None:
        """Notes what the sidecar has."""
        del self._answers[: len(request.answers)]
        for stored in response.stored:
            attempt = self._attempts.get((stored.agent_id, stored.attempt))
            if attempt is not None:
                attempt.sent = stored.output_bytes

    @property
    def has_news(self) -> bool:
        """Whether there is something that the sidecar does not know. Blocks on files."""
        # A copy: in the meantime, attempts come and go on the event loop.
        return bool(self._answers) or any(attempt.size > attempt.sent for attempt in list(self._attempts.values()))

    # -- the collection ------------------------------------------------------------------------------------

    def _hold(self, attempt: Attempt) -> None:
        self.emptied.clear()
        self._attempts[attempt.key] = attempt

    async def _remove(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt.key, None)
        if not self._attempts:
            self.emptied.set()
        attempt.over.set()
        await asyncio.to_thread(attempt.run.remove)
        # Unless another attempt is there, perhaps of another sidecar.
        with suppress(OSError):
            await asyncio.to_thread(attempt.run.directory.parent.rmdir)


def sidecars_with_runs(storage: Path) -> set[str]:
    """Returns the IDs of the sidecars whose attempts an earlier process left here."""
    return {_text(file) for file in (storage / "agents").glob(f"*/*/{_OWNER_FILE}")} - {""}


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _message(end: Exit) -> pb.RunEnd:
    return pb.RunEnd(**{name: value for name, value in end._asdict().items() if value is not None})


def _as_lost(end: Exit) -> Exit:
    """Returns the end of an attempt that was ended because the runner stops, so that another may follow elsewhere."""
    return UNKNOWN._replace(stopped=True) if end.stopped else end
