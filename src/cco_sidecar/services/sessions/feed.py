"""Follows the agents of sessions: reads their output into events, and records how they end.

One task follows an agent. How many events it has stored is in the session's record, in the same transaction as the
events, so nothing is lost or doubled when the sidecar ends: the output of the attempt is read once more, and the events
that are stored are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import announcements
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.retry import Backoff
from cco_sidecar.runners import logs
from cco_sidecar.services.sessions import records
from cco_sidecar.services.sessions.translation import POST_TOOL, PRE_TOOL, USER, Translation, message
from cco_sidecar.storage.base import StoredAgent, Stores
from cco_sidecar.storage.sessions import ChangedSession, SessionChange
from cco_sidecar.supervision.life import ENDED_STATUSES
from cco_sidecar.supervision.supervision import Supervision
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.session_service_pb2 import SESSION_MODE_UNSPECIFIED, Session, SessionEvent, SessionMode

log = logging.getLogger(__name__)

_OF_TOOLS = frozenset({PRE_TOOL, POST_TOOL})
# Characters of a message where the quota is filled.
_SHORT = 1000
_OF_SESSIONS = frozenset({"session_updated", "session_deleted"})
_OF_AGENTS = frozenset({"agent_spawned", "agent_completed", "agent_failed", "agent_stopped"})
Make = Callable[[Session], SessionChange | None]


class Feed:
    """The only place where the record of a session follows its agent. Not thread-safe."""

    def __init__(
        self, stores: Stores, supervision: Supervision, outbox: Outbox, bus: EventBus, quota_mb: int, clock: Clock
    ) -> None:
        self._quota = quota_mb * 2**20
        # Projects whose quota was found filled.
        self._filled: set[str] = set()
        self._sessions = stores.sessions
        self._agents = stores.agents
        self._supervisor = supervision.supervisor
        self._cluster = supervision.cluster
        self._launcher = supervision.launcher
        self._outbox = outbox
        self._bus = bus
        self._clock = clock
        # Work that is done to its end even if its caller is cancelled.
        self.background = Background()
        self._following = Background()
        # Agents that are followed; True if something happened since they were last looked at.
        self._agents_followed: dict[str, bool] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._listeners: list[Callable[[Session], None]] = []
        self._running = False

    def listen(self, listener: Callable[[Session], None]) -> None:
        """Calls ``listener`` whenever a session has ended. It must not block or raise."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Follows the agents that an earlier sidecar followed. Raises SidecarError."""
        self._running = True
        self._bus.listen(self._on_event)
        for session in await self._sessions.open():
            if not session.feed.open or session.external:
                self._ended(session)
            elif await self._is_ours(session):
                await self._recover(session)
        # Such as one that was resumed just before the earlier sidecar ended.
        for agent_id in list(self._supervisor.active):
            self._wake(agent_id)

    async def take_over(self, sidecar_id: str) -> None:
        """Follows the agents that were taken over, and ends sessions whose sidecar was lost before it spawned their
        agents. Raises SidecarError."""
        for session in await self._sessions.open():
            if not session.feed.open:
                # Its end may be still to be told to a parent that was there.
                self._ended(session)
            elif session.agent_id:
                self._wake(session.agent_id)
            elif session.feed.sidecar_id == sidecar_id and not session.external:
                await self._recover(session)

    async def _is_ours(self, session: Session) -> bool:
        """Whether this sidecar runs the agent of a session, or started a session that has none yet."""
        if not self._cluster.shared:
            return True
        runs = await self._agents.sidecar_of(session.agent_id) if session.agent_id else session.feed.sidecar_id
        return runs == self._cluster.sidecar_id

    async def close(self) -> None:
        """Stops following. The next start continues."""
        self._running = False
        for session_id in list(self._waiting):
            self._release(session_id)
        await self.background.drain()
        await self._following.end()

    async def _recover(self, session: Session) -> None:
        if not session.agent_id:
            stored = await self._agents.by_cause(session.session_id)
            if stored is None:
                # The earlier sidecar ended before the agent was spawned.
                await self.apply(session.session_id, partial(records.never_started, now=self._clock.timestamp()))
                return
            await self.attach(session.session_id, stored.agent.agent_id)
            return
        self._wake(session.agent_id)

    # -- changes -------------------------------------------------------------------------------------------

    async def apply(self, session_id: str, make: Make) -> ChangedSession | None:
        """Stores a change of a session, announces it, and tells whoever waits for its end. Returns None if there is no
        such session, or ``make`` changes nothing. Raises SidecarError."""
        changed = await self._sessions.change(session_id, make)
        if changed is not None:
            for announcement in changed.announcements:
                await self._outbox.publish(announcement)
            self._ended(changed.session)
        return changed

    async def attach(self, session_id: str, agent_id: str) -> None:
        """Records the agent of a new session, and follows it. Raises SidecarError."""
        await self.apply(session_id, partial(records.attached, agent_id=agent_id))
        self._wake(agent_id)

    async def reopen(self, session_id: str, mode: SessionMode) -> None:
        """Records that the agent of a session runs again. Raises SidecarError."""
        await self.apply(session_id, partial(records.reopened, now=self._clock.timestamp(), mode=mode))

    async def remove(self, session_id: str, principal: Principal) -> bool:
        """Deletes a session with its events. Returns whether it was there. Raises SidecarError."""

        def announce(session: Session) -> Event:
            return announcements.of_session(session, "session_deleted", principal)

        announced = await self._sessions.delete(session_id, announce)
        if announced is not None:
            await self._outbox.publish(announced)
        self._release(session_id)
        return announced is not None

    # -- following -----------------------------------------------------------------------------------------

    def _on_event(self, _project: str, entry: Entry) -> None:
        if self._cluster.shared and entry.event_type in _OF_SESSIONS and (session_id := entry.text("session_id")):
            self.background.start(self._heard(session_id), f"session {session_id}")
        if entry.event_type in _OF_AGENTS and (agent_id := entry.text("agent_id")):
            self._wake(agent_id)

    async def _heard(self, session_id: str) -> None:
        """Tells whoever waits here for a session that another sidecar may have ended."""
        backoff = Backoff()
        while self._running:
            try:
                session = await self._sessions.by_id(session_id)
            except SidecarError as problem:
                log.warning("cannot look at session %s, retrying: %s", session_id, problem)
                await asyncio.sleep(backoff.failed())
                continue
            if session is None:
                self._release(session_id)
            else:
                self._ended(session)
            return

    def _wake(self, agent_id: str) -> None:
        if not self._running:
            return
        if agent_id in self._agents_followed:
            self._agents_followed[agent_id] = True
            return
        self._agents_followed[agent_id] = False
        self._following.start(self._keep_following(agent_id), f"session of {agent_id}")

    async def _keep_following(self, agent_id: str) -> None:
        """Follows an agent until nothing happens with it; retries after an error."""
        backoff = Backoff()
        try:
            while True:
                self._agents_followed[agent_id] = False
                try:
                    await self._follow(agent_id)
                    backoff.succeeded()
                except SidecarError as problem:
                    log.warning("cannot store events of the session of agent %s, retrying: %s", agent_id, problem)
                    await asyncio.sleep(backoff.failed())
                    continue
                if not self._agents_followed[agent_id]:
                    return
        finally:
            del self._agents_followed[agent_id]

    async def _follow(self, agent_id: str) -> None:
        """Reads what the agent prints until it ends or waits for its next attempt. Raises SidecarError."""
        session = await self._sessions.by_agent(agent_id)
        stored = await self._current(agent_id)
        if session is None or stored is None or not await self._is_ours(session):
            return
        if not session.feed.open:
            if stored.agent.attempt == session.feed.attempt:
                return
            # The agent was resumed, but not through its session.
            await self.reopen(session.session_id, SESSION_MODE_UNSPECIFIED)
        attempt = max(session.feed.attempt, 1)
        while attempt <= stored.agent.attempt:
            await self._read(session.session_id, stored, attempt)
            stored = await self._current(agent_id) or stored
            attempt += 1
        if stored.agent.status in ENDED_STATUSES:
            ended = partial(records.ended, agent=stored.agent, now=self._clock.timestamp())
            await self.apply(session.session_id, ended)
        else:
            await self.apply(session.session_id, partial(records.waiting, agent=stored.agent))

    async def _current(self, agent_id: str) -> StoredAgent | None:
        """Returns a copy of the agent as it is now."""
        active = self._supervisor.find(agent_id)
        if active is not None:
            record = Agent()
            record.CopyFrom(active.record)
            return StoredAgent(active.number, record, active.request)
        return await self._agents.by_id(agent_id)

    async def _read(self, session_id: str, stored: StoredAgent, attempt: int) -> None:
        """Reads the output of an attempt to its end. Raises SidecarError."""
        agent = stored.agent
        begun = partial(records.begun, agent=agent, attempt=attempt, now=self._clock.timestamp())
        await self.apply(session_id, begun)
        session = await self._sessions.by_id(session_id)
        if session is None:
            return
        stream = _Stream(session.feed.events)
        translation = Translation(reports=self._reports(stored))
        stream.take(_opening(agent, attempt))
        await self._store(session_id, agent.project_id, stream)
        path = self._launcher.run_at(agent, attempt).output
        over = partial(self._supervisor.is_over, agent.agent_id, attempt)
        changed = asyncio.Event()
        active = self._supervisor.find(agent.agent_id)
        noticing = asyncio.ensure_future(_notify(active.ended, changed)) if active is not None else None
        try:
            async for batch in logs.follow(path, logs.LogReader(path), over, changed):
                stream.take(translation.read(batch))
                await self._store(session_id, agent.project_id, stream)
        finally:
            if noticing is not None:
                noticing.cancel()
        stream.take(translation.finish())
        await self._store(session_id, agent.project_id, stream)

    def _reports(self, stored: StoredAgent) -> bool:
        try:
            return self._supervisor.runner_of(stored.request).reports
        except SidecarError:
            # The type is no longer in the catalogue.
            return True

    async def _store(self, session_id: str, project: str, stream: _Stream) -> None:
        events = stream.pending()
        for event in events:
            if not event.HasField("timestamp"):
                event.timestamp.CopyFrom(self._clock.timestamp())
        if events:
            kept = await self._within_quota(project, events)
            await self.apply(
                session_id, partial(records.continued, events=kept, count=len(events), now=self._clock.timestamp())
            )
            stream.stored(len(events))

    async def _within_quota(self, project: str, events: Sequence[SessionEvent]) -> Sequence[SessionEvent]:
        """Returns what is stored of events: what was said, in short, where the project's quota is filled."""
        if await self._sessions.stored_bytes(project) <= self._quota:
            return events
        if project not in self._filled:
            self._filled.add(project)
            log.warning(
                "the events of sessions of project %s fill sessions.quota_mb: tool calls are not kept, messages cut",
                project,
            )
        return [_in_short(event) for event in events if event.event_type not in _OF_TOOLS]

    def _ended(self, session: Session) -> None:
        """Tells whoever waits for a session, if it has ended."""
        if session.feed.open:
            return
        self._release(session.session_id)
        for listener in self._listeners:
            listener(session)

    # -- waiting -------------------------------------------------------------------------------------------

    async def wait(self, session_id: str, seconds: float | None) -> None:
        """Returns when the session has ended or is deleted, or after ``seconds``."""
        released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[session_id].append(released)
        try:
            # It may have ended before.
            session = await self._sessions.by_id(session_id)
            if session is not None and session.feed.open:
                await asyncio.wait({released}, timeout=seconds)
        finally:
            self._waiting[session_id].remove(released)
            if not self._waiting[session_id]:
                del self._waiting[session_id]

    def _release(self, session_id: str) -> None:
        for released in self._waiting.get(session_id, ()):
            if not released.done():
                released.set_result(None)


class _Stream:
    """The events of one attempt, in order; the first ``stored`` of them are on disk."""

    def __init__(self, stored: int) -> None:
        self._skip = stored
        self._pending: list[SessionEvent] = []

    def take(self, events: Iterable[SessionEvent]) -> None:
        for event in events:
            if self._skip:
                self._skip -= 1
            else:
                self._pending.append(event)

    def pending(self) -> Sequence[SessionEvent]:
        """Returns copies of the events that are to be stored."""
        return [SessionEvent.FromString(event.SerializeToString()) for event in self._pending]

    def stored(self, count: int) -> None:
        del self._pending[:count]


def _in_short(event: SessionEvent) -> SessionEvent:
    for part in event.content:
        if len(part.text) > _SHORT:
            part.text, event.truncated = part.text[:_SHORT], True
    return event


def _opening(agent: Agent, attempt: int) -> list[SessionEvent]:
    """The events before the first line of an attempt's output."""
    start = SessionEvent(event_type="session_start", reason=f"attempt {attempt}")
    opening = [start, message(USER, [agent.message or agent.task])]
    if attempt == agent.attempt and agent.HasField("started_at"):
        # The program may have printed something before its output is read.
        for event in opening:
            event.timestamp.CopyFrom(agent.started_at)
    return opening


async def _notify(ended: asyncio.Event, changed: asyncio.Event) -> None:
    await ended.wait()
    changed.set()
