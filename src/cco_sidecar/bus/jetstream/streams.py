"""Streams: one for each project, created by whoever needs it first."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError, NotFoundError

from cco_sidecar.bus.base import MAX_EVENT_BYTES
from cco_sidecar.bus.idempotency import WINDOW_SECONDS
from cco_sidecar.bus.jetstream.connection import Connection
from cco_sidecar.core.settings import Settings

_EPOCH = "cco-epoch"
# What the headers of a message may add.
_HEADERS_BYTES = 4096
_KEPT_SHARE = 0.94
# "stream name already in use with a different configuration": another sidecar was first.
_EXISTS = 10058
_PLAIN = re.compile(r"[A-Za-z0-9-]")


@dataclass(slots=True)
class Stream:
    """The stream of a project. ``epoch``: 8 hex digits, chosen when it was created. ``first`` and ``last`` are the
    numbers of its oldest and newest message as they were last heard of; of an empty stream, ``first`` is one more."""

    name: str
    epoch: str
    first: int
    last: int

    def take(self, info: StreamInfo) -> None:
        self.first, self.last = max(self.first, info.state.first_seq), max(self.last, info.state.last_seq)
        self.first = max(1, min(self.first, self.last + 1))


class Streams:
    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._prefix = settings.bus_prefix

    def is_ours(self, name: str) -> bool:
        return name.startswith(f"{self._prefix}_")

    def subject(self, project: str, topic: str) -> str:
        """Returns the subject of a topic's events; ``>`` for those of all topics."""
        return f"{self._prefix}.{encoded(project)}.{topic if topic == '>' else encoded(topic)}"

    async def projects(self) -> list[str]:
        """Returns the projects that have a stream."""
        found: list[str] = []
        offset = 0
        while page := await self._connection.jetstream.streams_info(offset=offset):
            names = [info.config.name or "" for info in page]
            found += [decoded(name.removeprefix(f"{self._prefix}_")) for name in names if self.is_ours(name)]
            offset += len(page)
        return found

    async def open(self, project: str) -> Stream:
        """Returns the stream of a project; creates it if there is none."""
        name = f"{self._prefix}_{encoded(project)}"
        try:
            info = await self._connection.jetstream.stream_info(name)
        except NotFoundError:
            info = await self._create(project, name)
        state = info.state
        return Stream(name, (info.config.metadata or {}).get(_EPOCH, ""), max(1, state.first_seq), state.last_seq)

    async def refresh(self, stream: Stream) -> StreamInfo:
        """Asks the leader how far the stream goes."""
        info = await self._connection.jetstream.stream_info(stream.name)
        stream.take(info)
        return info

    async def trim(self, stream: Stream) -> None:
        """Drops the oldest events of a stream that takes more space than it may. Also takes note of what is dropped by
        age and number. Several sidecars may do it at once."""
        state = (await self.refresh(stream)).state
        most = self._settings.event_disk_mb * 2**20
        if state.bytes > most:
            # A little more, so that the next event does not trim again.
            keep = int(state.messages * most / state.bytes * _KEPT_SHARE)
            await self._connection.jetstream.purge_stream(stream.name, keep=max(1, keep))
            await self.refresh(stream)

    async def _create(self, project: str, name: str) -> StreamInfo:
        settings = self._settings
        config = StreamConfig(
            name=name,
            description=f"events of project {project}",
            subjects=[self.subject(project, ">")],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            num_replicas=settings.bus_replicas or (3 if self._connection.clustered else 1),
            max_msgs=settings.max_events,
            # A limit in bytes would reserve them, for each project.
            max_bytes=-1,
            max_age=settings.event_retention,
            max_msg_size=MAX_EVENT_BYTES + _HEADERS_BYTES,
            duplicate_window=min(WINDOW_SECONDS, settings.event_retention),
            allow_direct=True,
            allow_atomic=True,
            deny_delete=True,
            metadata={_EPOCH: secrets.token_hex(4)},
        )
        try:
            return await self._connection.jetstream.add_stream(config)
        except APIError as problem:
            if problem.err_code != _EXISTS:
                raise
            return await self._connection.jetstream.stream_info(name)


def encoded(text: str) -> str:
    """Returns a text as one token of a subject, which can also be a part of a stream's name. Never empty."""
    plain = "".join(char if _PLAIN.match(char) else "".join(f"_{byte:02x}" for byte in char.encode()) for char in text)
    return plain or "_"


def decoded(text: str) -> str:
    """Returns what was encoded."""
    if text == "_":
        return ""
    return re.sub(r"(?:_[0-9a-f]{2})+", lambda match: bytes.fromhex(match[0].replace("_", "")).decode(), text)
