"""Idempotency keys: a publish that is repeated is answered with the event of the first."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cco_sidecar.bus.base import Outgoing, Published
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.errors import SidecarError, conflict
from orchestra.v1.event_service_pb2 import Event

WINDOW_SECONDS = 600
WINDOW_MICROS = WINDOW_SECONDS * 1_000_000


class _Known(NamedTuple):
    """``content`` tells whether a later event with the same key is the same event."""

    content: bytes
    published: asyncio.Future[Published]
    micros: int


class Keys:
    """The keys of one project, by publisher. Not thread-safe.

    They are stored with their events, so a restart forgets only those whose events are no longer retained.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def check(self, event: Event, now_micros: int) -> None:
        """Raises SidecarError (EVT_003) if the event's key was used for another event. ``now_micros`` is steady-clock
        time."""
        self._forget(now_micros)
        known = self._known.get(_identity(event))
        if known is not None and known.content != _content(event):
            raise used_for_another(event.idempotency_key)

    def knows(self, event: Event) -> bool:
        """Reports whether ``publish`` would not store the event."""
        return bool(event.idempotency_key) and _identity(event) in self._known

    def publish(
        self, outgoing: Outgoing, now_micros: int, submit: Callable[[Outgoing], asyncio.Future[Published]]
    ) -> asyncio.Future[Published]:
        """Submits the event, unless it is known. Raises what ``submit`` raises; then the key can be used again."""
        identity = _identity(outgoing.event)
        known = self._known.get(identity)
        if known is not None:
            return asyncio.ensure_future(_again(known.published))
        content = _content(outgoing.event)
        published = submit(outgoing)
        self._known[identity] = _Known(content, published, now_micros)
        published.add_done_callback(lambda done: self._settled(identity, done))
        # Others may wait for the same future, so a caller that leaves does not cancel it.
        return asyncio.shield(published)

    def restore(self, stored: Sequence[Entry]) -> None:
        """Takes the keys of events that an earlier process stored, before all others that are known."""
        for entry in reversed(stored):
            event = entry.event
            identity = _identity(event)
            if event.idempotency_key and identity not in self._known:
                published: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
                published.set_result(Published(event.event_id, event.timestamp, []))
                self._known[identity] = _Known(_content(event), published, entry.arrived)
                self._known.move_to_end(identity, last=False)

    def saw(self, event: Event, micros: int) -> None:
        """Takes the key of an event that another process has stored. A publication of ours that waits ends with it."""
        self._forget(micros)
        identity = _identity(event)
        first = Published(event.event_id, event.timestamp, [])
        known = self._known.get(identity)
        if known is None:
            published: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
            published.set_result(first)
            self._known[identity] = _Known(_content(event), published, micros)
        elif not known.published.done():
            if known.content == _content(event):
                known.published.set_result(first._replace(duplicate=True))
            else:
                known.published.set_exception(used_for_another(event.idempotency_key))

    def _settled(self, identity: tuple[str, str], published: asyncio.Future[Published]) -> None:
        if published.cancelled() or published.exception() is not None:
            self._known.pop(identity, None)

    def _forget(self, now_micros: int) -> None:
        oldest = now_micros - WINDOW_MICROS
        while self._known:
            identity, known = next(iter(self._known.items()))
            if known.micros > oldest:
                return
            del self._known[identity]


def used_for_another(key: str) -> SidecarError:
    return conflict(
        "EVT_003",
        f"idempotency_key '{key}' was used for another event in the last {WINDOW_SECONDS // 60} minutes; use a new key "
        "for each event, and the same one only to repeat it",
        idempotency_key=key,
    )


async def _again(published: asyncio.Future[Published]) -> Published:
    first = await asyncio.shield(published)
    return Published(first.event_id, first.timestamp, [], duplicate=True)


def _identity(event: Event) -> tuple[str, str]:
    return event.publisher, event.idempotency_key


def _content(event: Event) -> bytes:
    """A digest of what the publisher gave."""
    given = Event()
    given.CopyFrom(event)
    given.ClearField("event_id")
    given.ClearField("timestamp")
    return hashlib.sha256(given.SerializeToString(deterministic=True)).digest()
