"""Streams: one for each project, created by whoever needs it first."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError, NotFoundError

from cco_sidecar.bus.base import MAX_EVENT_BYTES
from cco_sidecar.bus.idempotency import WINDOW_SECONDS
from cco_sidecar.bus.jetstream.connection import Connection
from cco_sidecar.core.settings import Settings

_EPOCH = "cco-epoch"
_PROJECT = "cco-project"
# Of an encoded text; names of streams have at most 255 characters.
_MOST_CHARACTERS = 120
# What the headers of a message may add.
_HEADERS_BYTES = 4096
_KEPT_SHARE = 0.94
# "stream name already in use with a different configuration": another sidecar was first.
_EXISTS = 10058
_PLAIN = re.compile(r"[A-Za-z0-9-]")


@dataclass(slots=True)
class Stream:
    """The stream of a project. ``epoch``: 8 hex digits, chosen when it was created. ``first`` and ``last`` are the
    numbers of its oldest and newest message as they were last heard of; of an empty stream, ``first`` is one more.
    ``lost``: no stream has that name any more, or another one."""

    name: str
    epoch: str
    first: int
    last: int
    lost: bool = False

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
            ours = [info.config.metadata or {} for info in page if self.is_ours(info.config.name or "")]
            found += [known[_PROJECT] for known in ours if _PROJECT in known]
            offset += len(page)
        return found

    async def open(self, project: str, epoch: str = "", first: int = 1) -> Stream:
        """Returns the stream of a project; creates it if there is none, with an ``epoch`` and the number of its
        ``first`` event."""
        name = f"{self._prefix}_{encoded(project)}"
        try:
            info = await self._connection.jetstream.stream_info(name)
        except NotFoundError:
            info = await self._create(project, name, epoch or secrets.token_hex(4), first)
        info = await self._adjusted(info)
        state = info.state
        return Stream(name, (info.config.metadata or {}).get(_EPOCH, ""), max(1, state.first_seq), state.last_seq)

    async def _adjusted(self, info: StreamInfo) -> StreamInfo:
        """Gives a stream the limits of the settings."""
        most, age = self._settings.max_events, self._settings.event_retention
        if (info.config.max_msgs, info.config.max_age) == (most, age):
            return info
        window = min(WINDOW_SECONDS, age)
        return await self._connection.jetstream.update_stream(
            info.config.evolve(max_msgs=most, max_age=age, duplicate_window=window)
        )

    async def look(self, project: str) -> Stream:
        """Returns the stream of a project as it is."""
        name = f"{self._prefix}_{encoded(project)}"
        info = await self._connection.jetstream.stream_info(name)
        epoch = (info.config.metadata or {}).get(_EPOCH, "")
        return Stream(name, epoch, max(1, info.state.first_seq), info.state.last_seq)

    async def refresh(self, stream: Stream) -> StreamInfo:
        """Asks the leader how far the stream goes."""
        # What arrives while the answer is under way is newer than it.
        known = stream.last
        try:
            info = await self._connection.jetstream.stream_info(stream.name)
        except NotFoundError:
            stream.lost = True
            raise
        epoch = (info.config.metadata or {}).get(_EPOCH, "")
        stream.lost = epoch != stream.epoch or info.state.last_seq < known
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

    async def _create(self, project: str, name: str, epoch: str, first: int) -> StreamInfo:
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
            metadata={_EPOCH: epoch, _PROJECT: project},
            first_seq=first if first > 1 else None,
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
    if len(plain) > _MOST_CHARACTERS:
        return f"{plain[:40]}_{sha256(text.encode()).hexdigest()}"
    return plain or "_"
