"""How a project's events in memory are connected to its stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from cco_sidecar.bus.jetstream.follower import Follower
from cco_sidecar.bus.jetstream.stored import StoredEvents
from cco_sidecar.bus.jetstream.streams import Stream
from cco_sidecar.bus.journaled import Channel


@dataclass(slots=True)
class Link:
    """How a channel is connected to its stream. ``moved`` is set, and replaced, whenever a message arrives."""

    channel: Channel
    stream: Stream
    stored: StoredEvents
    follower: Follower
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    # How far the clock of this machine is ahead of the stream's, in microseconds: at most what was seen.
    ahead: int = 2**62

    def arrived(self, now: int, micros: int) -> int:
        """Returns when an event was stored, by the clock of this machine. It may be read long after."""
        self.ahead = min(self.ahead, now - micros)
        return micros + self.ahead

    def lose(self, upto: int) -> None:
        """Notes that the stream no longer has what should have come next."""
        self.channel.journal.lose(upto)
        self.stream.first = max(self.stream.first, upto + 1)
        for subscription in self.channel.subscriptions.values():
            subscription.lose(upto)

    def tell(self) -> None:
        """Wakes those who wait for messages."""
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()
