"""Group commit: what is published while the log writes goes down together in the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cco_sidecar.bus.base import MAX_EVENT_BYTES, Outgoing, Published
from cco_sidecar.core.clock import Clock, timestamp
from cco_sidecar.core.errors import Kind, SidecarError, invalid_event, unavailable
from cco_sidecar.storage.eventlog.base import EventLog, NewEvent
from orchestra.v1.event_service_pb2 import Event

# What may wait for a slow disk. Publishers are told before memory grows.
_MAX_WAITING_BYTES = 64 * 2**20
# Commits begin at least so long after one another.
_APART_SECONDS = 0.001


@dataclass(slots=True)
class Pending:
    """An event that is on its way to the log."""

    record: NewEvent
    event: Event
    urgent: bool
    done: asyncio.Future[Published] | Together


class Together:
    """Stands for the futures of events that are submitted, and so stored, together: ``all`` has their results."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._count = count
        self._published: list[Published] = []
        self.all: asyncio.Future[list[Published]] = loop.create_future()

    def done(self) -> bool:
        return self.all.done()

    def set_result(self, published: Published) -> None:
        self._published.append(published)
        if len(self._published) == self._count:
            self.all.set_result(self._published)

    def set_exception(self, problem: Exception) -> None:
        self.all.set_exception(problem)


class GroupCommit:
    """``deliver(pending, seq)`` hands a stored event to readers and returns their names. ``flushed(urgent)`` is
    called after the last event of a batch. ``failing``: the last write failed."""

    def __init__(
        self,
        event_log: EventLog,
        clock: Clock,
        deliver: Callable[[Pending, int], list[str]],
        flushed: Callable[[bool], None],
    ) -> None:
        self._log = event_log
        self._clock = clock
        self._deliver = deliver
        self._flushed = flushed
        self._loop = asyncio.get_running_loop()
        self._pending: list[Pending] = []
        self._in_flight: list[Pending] = []
        self._bytes = 0
        self._writing = False
        self._scheduled = False
        self._closed = False
        self._began = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.failing = False

    @property
    def depth(self) -> int:
        """Events accepted and not yet stored."""
        return len(self._pending) + len(self._in_flight)

    def check_room(self) -> None:
        """Raises SidecarError (EVT_004) if too much waits to be written."""
        if self._bytes > _MAX_WAITING_BYTES:
            raise SidecarError(
                Kind.RATE_LIMITED,
                "EVT_004",
                f"{self.depth:,} events wait to be written to disk, more than may wait; publish again in a second",
                retry_after_seconds=1,
            )

    def has_pending(self, project: str, topic: str) -> bool:
        """Reports whether an event of a topic waits to be stored."""
        waiting = (*self._in_flight, *self._pending)
        return any(item.record.project == project and item.event.topic == topic for item in waiting)

    def submit(self, outgoing: Outgoing) -> asyncio.Future[Published]:
        """Queues an event, in call order. Events of one iteration of the event loop are committed together. Raises
        SidecarError (EVT_001) when the bus is closed."""
        done: asyncio.Future[Published] = self._loop.create_future()
        self._submit(outgoing, done)
        return done

    def submit_all(self, outgoing: Sequence[Outgoing]) -> asyncio.Future[list[Published]]:
        """Queues one or more events like ``submit``, with one future for all of them."""
        together = Together(len(outgoing), self._loop)
        for each in outgoing:
            self._submit(each, together)
        return together.all

    def _submit(self, outgoing: Outgoing, done: asyncio.Future[Published] | Together) -> None:
        if self._closed:
            raise unavailable("EVT_001", "the sidecar is shutting down; retry after it has restarted")
        event = outgoing.event
        micros = self._clock.micros()
        event.timestamp.CopyFrom(timestamp(micros))
        record = NewEvent(outgoing.project, micros, outgoing.ttl, event.SerializeToString())
        self._bytes += len(record.payload)
        self._pending.append(Pending(record, event, outgoing.urgent, done))
        self._idle.clear()
        if not self._scheduled and not self._writing:
            self._schedule()

    async def close(self) -> None:
        """Waits until everything accepted is stored; refuses what comes later."""
        self._closed = True
        await self._idle.wait()

    def _schedule(self) -> None:
        """Commits in the next iteration of the event loop, or a little later when commits follow each other closely:
        each costs two changes of thread."""
        self._scheduled = True
        due = self._began + _APART_SECONDS
        if due <= self._loop.time():
            self._loop.call_soon(self._commit)
        else:
            self._loop.call_at(due, self._commit)

    def _commit(self) -> None:
        """Passes all pending events to the idle writer, as one batch."""
        self._scheduled = False
        if self._writing or not self._pending:
            return
        batch, self._pending = self._pending, []
        self._writing = True
        self._began = self._loop.time()
        self._in_flight = batch
        self._log.append([item.record for item in batch]).add_done_callback(partial(self._committed, batch))

    def _committed(self, batch: list[Pending], written: asyncio.Future[list[int]]) -> None:
        self._writing = False
        self._in_flight = []
        self._bytes -= sum(len(item.record.payload) for item in batch)
        problem = written.exception()
        self.failing = problem is not None
        if problem is not None:
            for item in batch:
                if not item.done.done():
                    item.done.set_exception(_not_written(problem))
        else:
            for item, seq in zip(batch, written.result(), strict=True):
                subscribers = self._deliver(item, seq)
                if not item.done.done():
                    item.done.set_result(Published(item.event.event_id, item.event.timestamp, subscribers))
            self._flushed(any(item.urgent for item in batch))
        if self._pending:
            self._schedule()
        else:
            self._idle.set()


def _not_written(problem: BaseException) -> SidecarError:
    why = f" ({problem.strerror})" if isinstance(problem, OSError) and problem.strerror else ""
    text = f"the event could not be written to disk{why}; nothing was published, retry"
    error = SidecarError(Kind.INTERNAL, "STR_001", text, retry_after_seconds=1)
    error.__cause__ = problem
    return error


def check_size(event: Event) -> None:
    """Raises SidecarError (EVT_002) for an event that is too large."""
    if event.ByteSize() > MAX_EVENT_BYTES:
        raise invalid_event(
            f"the event has {event.ByteSize()} bytes; the maximum is {MAX_EVENT_BYTES}. "
            "Store large data as a result's artifact and publish its id",
            field="data",
        )
