"""What is checked before an event is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cco_sidecar.bus.base import FROM_OLDEST, Outgoing, Published
from cco_sidecar.bus.commits import GroupCommit, check_size
from cco_sidecar.bus.idempotency import Keys, used_for_another
from cco_sidecar.bus.journal import Journal
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict
from orchestra.v1.event_service_pb2 import Event


class Publishing:
    """Nothing may be awaited between ``check`` and ``submit``: the second relies on the first."""

    def __init__(self, commits: GroupCommit, clock: Clock) -> None:
        self._commits = commits
        self._clock = clock

    def check(self, journal: Journal, keys: Keys, outgoing: Outgoing) -> None:
        """Raises SidecarError if the event is not to be published."""
        event = outgoing.event
        check_size(event)
        self._commits.check_room()
        if event.idempotency_key:
            keys.check(event, self._clock.steady_micros())
        if outgoing.expected_last and not keys.knows(event):
            self._check_expected(journal, outgoing)

    async def submit_all(self, keys: Sequence[Keys], outgoing: Sequence[Outgoing]) -> list[Published]:
        """``keys`` are those of the events' projects. Raises SidecarError (EVT_001) when the bus is closed."""
        if any(each.event.idempotency_key for each in outgoing):
            pairs = zip(keys, outgoing, strict=True)
            return await asyncio.gather(*(self.submit(*pair) for pair in pairs))
        return await self._commits.submit_all(outgoing)

    def submit(self, keys: Keys, outgoing: Outgoing) -> asyncio.Future[Published]:
        """Raises SidecarError (EVT_001) when the bus is closed."""
        if outgoing.event.idempotency_key:
            return keys.publish(outgoing, self._clock.steady_micros(), self._commits.submit)
        return self._commits.submit(outgoing)

    def _check_expected(self, journal: Journal, outgoing: Outgoing) -> None:
        expected, topic = outgoing.expected_last, outgoing.event.topic
        if expected != FROM_OLDEST:
            journal.parsed(expected, "expected_last_event_id")
        # An event that is being stored has no id yet, so nobody can expect it.
        pending = self._commits.has_pending(outgoing.project, topic)
        newest = "" if pending else journal.newest_of(topic)
        if newest != expected:
            raise not_the_newest(topic, newest, expected)


def check_together(outgoing: Sequence[Outgoing]) -> None:
    """Raises SidecarError (EVT_003) if events that are published together contradict each other."""
    keyed: dict[tuple[str, str, str], Event] = {}
    for each in outgoing:
        key = each.event.idempotency_key
        if key and keyed.setdefault((each.project, each.event.publisher, key), each.event) != each.event:
            raise used_for_another(key)


def not_the_newest(topic: str, newest: str, expected: str) -> SidecarError:
    """``newest`` is empty while it is being stored."""
    shown = {"": "still being stored", FROM_OLDEST: "not there: the topic has none"}.get(newest, newest)
    return conflict(
        "EVT_003",
        f"the newest event of topic '{topic}' is {shown}, not {expected}; read the topic again, and publish "
        "with the id of its newest event",
        last_event_id=newest,
    )
