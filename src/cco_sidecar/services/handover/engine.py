"""Reads every event and result from the event log and hands it to the rules.

No rule acts twice on the same event: what an event caused is stored with the event's id.
"""

from __future__ import annotations

import asyncio
import logging

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import SIDECAR
from cco_sidecar.core.retry import Backoff
from cco_sidecar.services.handover.notices import Notices
from cco_sidecar.services.handover.reactions import Reactions
from cco_sidecar.services.handover.rules import Plan
from cco_sidecar.storage.base import Stores
from cco_sidecar.supervision.approvals import Approvals
from cco_sidecar.supervision.results import ResultRecorder
from cco_sidecar.supervision.supervision import Supervision
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

_READ_AT_ONCE = 1000
# Marks among the positions that the rules have run before; no project has this name.
_BEGUN = ""


class Handover:
    """Reads each project's log in order and stores the position. A project that fails or waits delays no other."""

    def __init__(
        self,
        plan: Plan,
        *,
        supervision: Supervision,
        stores: Stores,
        bus: EventBus,
        recorder: ResultRecorder,
        approvals: Approvals,
        types: AgentTypes,
    ) -> None:
        self._store = stores.handover
        self._bus = bus
        self._notices = Notices(bus)
        self._reactions = Reactions(
            plan,
            self._notices,
            supervision=supervision,
            stores=stores,
            recorder=recorder,
            approvals=approvals,
            types=types,
        )
        self._read: dict[str, int] = {}
        # Projects with new events, and projects that are being read.
        self._waiting: set[str] = set()
        self._reading: set[str] = set()
        self._tasks = Background()
        self._open = False

    async def recover(self) -> None:
        """Continues where an earlier sidecar stopped. Raises SidecarError.

        On the first start ever, existing projects begin at their newest event.
        """
        self._bus.listen(self._on_event)
        known = await self._store.positions()
        if _BEGUN not in known:
            # The first start ever: skip earlier events. Later, a project without a position is new.
            for project in await self._bus.projects():
                known.setdefault(project, (await self._bus.read(project, 0, 0)).head)
                await self._store.set_position(project, known[project])
            await self._store.set_position(_BEGUN, 0)
        for project in await self._bus.projects():
            after = self._read[project] = known.get(project, 0)
            while entries := (await self._bus.read(project, after, _READ_AT_ONCE)).entries:
                for entry in entries:
                    self._notices.remember(entry)
                after = entries[-1].seq
            self._wake(project)

    def start(self) -> None:
        """Lets the rules act, from now on."""
        self._open = True
        for project in list(self._waiting):
            self._wake(project)

    async def close(self) -> None:
        """Stops the rules. The next start continues after the last stored position."""
        self._open = False
        await self._tasks.end()

    def _on_event(self, project: str, entry: Entry) -> None:
        self._wake(project)

    def _wake(self, project: str) -> None:
        self._waiting.add(project)
        if self._open and project not in self._reading:
            self._reading.add(project)
            self._tasks.start(self._follow(project), f"hand-over of project {project}")

    async def _follow(self, project: str) -> None:
        """Reads a project until it has no new event; retries after an error."""
        backoff = Backoff()
        try:
            while project in self._waiting:
                self._waiting.discard(project)
                try:
                    await self._catch_up(project)
                    backoff.succeeded()
                except SidecarError as problem:
                    log.warning("hand-over of project %s failed, retrying: %s", project, problem)
                    await asyncio.sleep(backoff.failed())
                    self._waiting.add(project)
        finally:
            self._reading.discard(project)

    async def _catch_up(self, project: str) -> None:
        page = await self._bus.read(project, self._read.get(project, 0), _READ_AT_ONCE)
        await self._declare_gap(project, page.trimmed)
        if not page.entries:
            return
        for entry in page.entries:
            try:
                await self._reactions.react(project, entry)
            except SidecarError:
                raise
            except Exception:
                # An event that cannot be processed must not block those after it.
                log.exception("could not process an event of project %s", project)
            self._read[project] = entry.seq
            self._notices.forget(entry)
        await self._store.set_position(project, page.entries[-1].seq)
        if page.entries[-1].seq < page.head:
            self._waiting.add(project)

    async def _declare_gap(self, project: str, trimmed: int) -> None:
        """Publishes a gap if events were trimmed before they were read: no rule will process them."""
        read = self._read.get(project, 0)
        if trimmed <= read or not self._reactions.active:
            return
        data = Struct()
        data.update({"missed": trimmed - read})
        await self._bus.publish(project, Event(event_type="handover_gap", publisher=SIDECAR, topic="error", data=data))
        self._read[project] = trimmed
