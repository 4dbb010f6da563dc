"""Reads every event and result from the event log and hands it to the rules.

No rule acts twice on the same event: what an event caused is stored with the event's id. After events that concern no
rule the position is stored once a second: after a crash, these are read again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.base import EventBus, Outgoing
from cco_sidecar.bus.entry import Entry
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
_SAVE_SECONDS = 1.0
# Marks among the positions that the rules have run before, and whether in mode `off`; no project has this name.
_BEGUN = ""
_ON, _OFF = 0, 1


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
        )
        self._read: dict[str, int] = {}
        # Projects whose position is not stored yet.
        self._unsaved: set[str] = set()
        # Projects with new events, and projects that are being read.
        self._waiting: set[str] = set()
        self._reading: set[str] = set()
        self._tasks = Background()
        # Whether this sidecar runs the rules, and whether they may act.
        self._held = self._open = False
        bus.listen(self._on_event)

    async def recover(self) -> None:
        """Continues where an earlier sidecar stopped. Raises SidecarError.

        On the first start ever, and after mode `off`, projects begin at their newest event.
        """
        self._held = True
        known = await self._store.positions()
        began = known.get(_BEGUN)
        if began is None or began == _OFF:
            # Nothing is done later about what happened before. From now on, a project without a position is new.
            for project in await self._bus.projects():
                if began == _OFF or project not in known:
                    known[project] = (await self._bus.read(project, 0, 0)).head
                    await self._store.set_position(project, known[project])
        await self._store.set_position(_BEGUN, _ON if self._reactions.on else _OFF)
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
        self._tasks.start(self._save_positions(), "hand-over positions")
        for project in list(self._waiting):
            self._wake(project)

    async def drop(self) -> None:
        """Stops the rules, and forgets what was read: another sidecar continues."""
        self._held = self._open = False
        await self._tasks.end()
        for forgotten in (self._unsaved, self._waiting, self._reading):
            forgotten.clear()
        self._read.clear()
        self._notices.clear()

    async def close(self) -> None:
        """Stops the rules. The next start continues where they stopped."""
        self._open = False
        await self._tasks.end()
        with suppress(SidecarError):
            await self._save()

    def _on_event(self, project: str, entry: Entry) -> None:
        if not self._held:
            return
        if self._open and project not in self._reading and not self._reactions.concerns(entry):
            # Nothing before it is unread: a project that has something to read is being read.
            self._notices.forget(entry)
            self._advance(project, entry.seq)
            return
        self._wake(project)

    def _advance(self, project: str, seq: int) -> None:
        self._read[project] = seq
        self._unsaved.add(project)

    async def _save_positions(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            try:
                await self._save()
            except SidecarError as problem:
                log.warning("hand-over cannot store its position, retrying: %s", problem)

    async def _save(self) -> None:
        for project in list(self._unsaved):
            await self._save_one(project)

    async def _save_one(self, project: str) -> None:
        self._unsaved.discard(project)
        try:
            await self._store.set_position(project, self._read[project])
        except SidecarError:
            self._unsaved.add(project)
            raise

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
            self._advance(project, entry.seq)
            self._notices.forget(entry)
        if any(map(self._reactions.concerns, page.entries)):
            await self._save_one(project)
        if page.entries[-1].seq < page.head:
            self._waiting.add(project)

    async def _declare_gap(self, project: str, trimmed: int) -> None:
        """Publishes a gap if events were trimmed before they were read: no rule will process them."""
        read = self._read.get(project, 0)
        if trimmed <= read or not self._reactions.active:
            return
        data = Struct()
        data.update({"missed": trimmed - read})
        event = Event(event_type="handover_gap", publisher=SIDECAR, topic="error", data=data)
        await self._bus.publish(Outgoing(project, event))
        self._advance(project, trimmed)
