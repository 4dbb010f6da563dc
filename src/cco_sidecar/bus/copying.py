"""Copies the events of a storage directory into NATS, and back, with their ids, so that cursors stay valid."""

from __future__ import annotations

from pathlib import Path

from cco_sidecar.bus.jetstream import messages
from cco_sidecar.bus.jetstream.connection import FAILURES, Connection, away
from cco_sidecar.bus.jetstream.stored import StoredEvents
from cco_sidecar.bus.jetstream.streams import Streams
from cco_sidecar.core.errors import SettingsError, unavailable
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.base import EventRecord, NewEvent
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.files import make_directory
from orchestra.v1.event_service_pb2 import Event

_AT_ONCE = 500


async def require_empty(settings: Settings) -> None:
    """Raises SettingsError if a project has a stream already, SidecarError."""
    connection = Connection(settings)
    try:
        await connection.open()
        if taken := await Streams(connection, settings).projects():
            raise SettingsError(
                f"NATS has events of project '{taken[0]}' already; give another bus.prefix, or delete its streams"
            )
    except FAILURES as problem:
        raise away(problem) from problem
    finally:
        await connection.close()


async def load_events(directory: Path, settings: Settings) -> int:
    """Copies the events of ``directory`` into the streams of the settings, which must have none; returns how many there
    were. Raises SidecarError."""
    connection = Connection(settings)
    streams = Streams(connection, settings)
    log = SegmentLog(directory)
    try:
        await connection.open()
        return sum([await _load(log, connection, streams, project) for project in await log.projects()])
    except FAILURES as problem:
        raise away(problem) from problem
    finally:
        await log.close()
        await connection.close()


async def _load(log: SegmentLog, connection: Connection, streams: Streams, project: str) -> int:
    opened = await log.open(project)
    first = opened.trimmed + 1
    stream = await streams.open(project, opened.epoch, first)
    copied, seq = 0, opened.trimmed
    while found := await log.after(project, seq, opened.head, _AT_ONCE):
        for record in found:
            # Numbers whose events were refused have none; a stream has an event for each.
            while seq + 1 < record.seq:
                seq += 1
                await _put(connection, streams, project, stream.epoch, _missing(project, seq, record.micros))
            await _put(connection, streams, project, stream.epoch, record)
            seq = record.seq
            copied += 1
    return copied


async def _put(connection: Connection, streams: Streams, project: str, epoch: str, record: EventRecord) -> None:
    event = Event.FromString(record.payload)
    headers = {
        messages.TTL: str(record.ttl),
        messages.TIME: str(record.micros),
        messages.MESSAGE_ID: f"load-{epoch}-{record.seq}",
    }
    payload = messages.payload_of(event)
    stored = await connection.jetstream.publish(streams.subject(project, event.topic), payload, headers=headers)
    if stored.seq != record.seq:
        raise SettingsError(f"NATS stored event {record.seq} of project '{project}' as {stored.seq}; is it in use?")


def _missing(project: str, seq: int, micros: int) -> EventRecord:
    event = Event(event_type="refused", topic="nats", publisher="sidecar")
    return EventRecord(project, seq, micros, 1, event.SerializeToString())


async def save_events(settings: Settings, directory: Path) -> int:
    """Copies the events of the streams of the settings into a new ``directory``; returns how many there were. Raises
    SidecarError."""
    make_directory(directory)
    connection = Connection(settings)
    streams = Streams(connection, settings)
    log = SegmentLog(directory)
    try:
        await connection.open()
        return sum([await _save(log, connection, streams, project) for project in await streams.projects()])
    except FAILURES as problem:
        raise away(problem) from problem
    except OSError as problem:
        raise SettingsError(f"cannot copy the events to {directory}: {problem}") from problem
    finally:
        await log.close()
        await connection.close()


async def _save(log: SegmentLog, connection: Connection, streams: Streams, project: str) -> int:
    stream = await streams.look(project)
    upto, seq, copied = stream.last, stream.first - 1, 0
    stored = StoredEvents(connection, streams, project, stream, lambda: None)
    begun = False
    while found := await stored.after(project, seq, upto, _AT_ONCE):
        if not begun:
            # The oldest may have been dropped meanwhile.
            await log.begin(project, stream.epoch, found[0].seq - 1)
            begun = True
        elif found[0].seq > seq + 1:
            raise unavailable("STR_002", f"NATS drops the events of project '{project}' faster than they are copied")
        await log.append([NewEvent(project, each.micros, each.ttl, each.payload) for each in found])
        seq = found[-1].seq
        copied += len(found)
    if not begun:
        await log.begin(project, stream.epoch, upto)
    return copied
