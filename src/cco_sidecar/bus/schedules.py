"""Schedules: events that are published later, each run exactly once, also across crashes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cco_sidecar.bus import quota
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import LAST_MICROS, Clock, micros_of, timestamp
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, not_found
from cco_sidecar.core.retry import Backoff
from cco_sidecar.storage.event_stores import ScheduleStore
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.schedule_service_pb2 import Schedule

log = logging.getLogger(__name__)

# The clock may be set meanwhile.
_LOOK_SECONDS = 10.0
_SECOND = 1_000_000
_CRON_FIELDS = 5


# Raises SidecarError if a caller may not do what it asks.
Check = Callable[[Schedule], None]


class Schedules:
    """Schedules by project and id. Their times are those of the wall clock. Not thread-safe."""

    def __init__(self, store: ScheduleStore, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._schedules: dict[str, dict[str, Schedule]] = defaultdict(dict)
        # Those that cannot be published, such as one whose time zone is no longer known.
        self._aside: dict[tuple[str, str], Schedule] = {}
        self._changed = asyncio.Event()
        self._changing = asyncio.Lock()
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored. Raises SidecarError."""
        for schedule in await self._store.all():
            self._schedules[schedule.project_id][schedule.schedule_id] = schedule

    def find(self, project: str, schedule_id: str) -> Schedule | None:
        return self._schedules.get(project, {}).get(schedule_id)

    def of(self, project: str) -> list[Schedule]:
        """Returns a project's schedules, the next first."""
        found = self._schedules.get(project, {}).values()
        return sorted(found, key=lambda schedule: (micros_of(schedule.next_at), schedule.schedule_id))

    async def put(self, schedule: Schedule, may_replace: Check | None = None) -> None:
        """Adds a schedule, or replaces the one of its id; sets ``next_at`` if it has a cron expression. Runs to
        completion even if the caller is cancelled. Raises SidecarError: REQ_001 for a cron expression or a time zone
        that is invalid, SCH_002 if there are too many, and what ``may_replace`` raises of the one that is replaced."""
        if schedule.cron:
            schedule.next_at.CopyFrom(timestamp(next_run(schedule, self._clock.micros())))
        await self._background.finish(self._put(schedule, may_replace))

    async def _put(self, schedule: Schedule, may_replace: Check | None) -> None:
        async with self._changing:
            known = self._schedules[schedule.project_id]
            if schedule.schedule_id in known:
                if may_replace is not None:
                    may_replace(known[schedule.schedule_id])
            else:
                creators = [each.created_by for each in known.values()]
                quota.check(creators, schedule.created_by, "schedules", "SCH_002")
            await self._store.put(schedule)
            known[schedule.schedule_id] = schedule
        self._changed.set()

    async def delete(self, project: str, schedule_id: str, may_delete: Check | None = None) -> None:
        """Runs to completion even if the caller is cancelled. Raises SidecarError: SCH_001, STR_001, and what
        ``may_delete`` raises."""
        await self._background.finish(self._delete(project, schedule_id, may_delete))

    async def _delete(self, project: str, schedule_id: str, may_delete: Check | None) -> None:
        async with self._changing:
            schedule = self.find(project, schedule_id)
            if schedule is None:
                raise unknown_schedule(schedule_id)
            if may_delete is not None:
                may_delete(schedule)
            await self._store.delete(project, schedule_id)
            self._schedules[project].pop(schedule_id, None)

    def drop(self) -> None:
        """Forgets all: another sidecar has them."""
        self._schedules.clear()
        self._aside.clear()

    async def run(self) -> None:
        """Publishes what is due. Runs until it is cancelled."""
        backoff = Backoff()
        while True:
            self._changed.clear()
            try:
                await self.publish_due()
                backoff.succeeded()
                pause = self._pause()
            except SidecarError as problem:
                log.warning("cannot publish what is due yet: %s", problem)
                pause = backoff.failed()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def publish_due(self) -> None:
        """Publishes each schedule that is due once, however often it was missed. Raises SidecarError."""
        now = self._clock.micros()
        due = [each for each in self._usable() if micros_of(each.next_at) <= now]
        for schedule in sorted(due, key=lambda each: micros_of(each.next_at)):
            try:
                await self._background.finish(self._publish(schedule))
            except SidecarError as problem:
                if problem.kind is not Kind.INVALID_REQUEST:
                    raise
                log.error("schedule %s is set aside until it is replaced: %s", schedule.schedule_id, problem)
                self._aside[_id(schedule)] = schedule

    async def _publish(self, schedule: Schedule) -> None:
        async with self._changing:
            known = self._schedules[schedule.project_id]
            if known.get(schedule.schedule_id) is not schedule:
                return
            event = Event()
            event.CopyFrom(schedule.event)
            # Tells the runs apart: the outbox compares with what is published already. No request may hold a NUL, so no
            # caller can take the key.
            event.idempotency_key = f"\0{schedule.schedule_id}/{micros_of(schedule.next_at)}"
            after = Schedule()
            after.CopyFrom(schedule)
            after.published += 1
            if schedule.cron:
                after.next_at.CopyFrom(timestamp(next_run(schedule, self._clock.micros())))
            announced = await self._store.publish(after, event, last=not schedule.cron)
            if schedule.cron:
                known[schedule.schedule_id] = after
            else:
                del known[schedule.schedule_id]
        if announced is not None:
            await self._outbox.publish(announced)

    async def close(self) -> None:
        """Waits for the changes that have begun."""
        await self._background.drain()

    def _usable(self) -> Iterator[Schedule]:
        every = (schedule for found in self._schedules.values() for schedule in found.values())
        return (schedule for schedule in every if schedule is not self._aside.get(_id(schedule)))

    def _pause(self) -> float:
        first = min((micros_of(each.next_at) for each in self._usable()), default=LAST_MICROS)
        return min(_LOOK_SECONDS, max(0.05, (first - self._clock.micros()) / _SECOND))


def _id(schedule: Schedule) -> tuple[str, str]:
    return schedule.project_id, schedule.schedule_id


def next_run(schedule: Schedule, after_micros: int) -> int:
    """Returns when a cron expression runs next, in Unix microseconds. Around a change of the clock for daylight saving
    time, as in Debian's cron. Raises SidecarError (REQ_001)."""
    try:
        zone = ZoneInfo(schedule.timezone or "UTC")
    except (KeyError, ValueError, OSError):
        raise invalid_request(
            f"timezone: {schedule.timezone!r} is unknown; use a name such as Europe/Warsaw, or UTC",
            field="timezone",
        ) from None
    try:
        if len(schedule.cron.split()) != _CRON_FIELDS:
            # cronsim takes a sixth for seconds.
            raise CronSimError
        found = next(CronSim(schedule.cron, datetime.fromtimestamp(after_micros / _SECOND, UTC).astimezone(zone)))
    except (CronSimError, StopIteration) as problem:
        why = f" ({problem})" if str(problem) else ""
        raise invalid_request(
            f"cron: {schedule.cron!r} is not a cron expression of five fields that ever runs{why}; an example is "
            "'0 9 * * mon-fri'",
            field="cron",
        ) from None
    return int(found.timestamp() * _SECOND)


def unknown_schedule(schedule_id: str) -> SidecarError:
    """Returns the error for an unknown schedule (SCH_001)."""
    return not_found(
        "SCH_001",
        f"schedule '{schedule_id}' not found; it may have been published. List them with 'cco schedules list'",
        schedule_id=schedule_id,
    )
