"""The events of one consumer that are not settled: who holds which, how often it was delivered, and what comes next.

Times are in microseconds of Clock.steady_micros and passed in, so nothing here waits.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import count
from typing import Any, NamedTuple

from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.retry import doubled

_MAX_RETRY_SECONDS = 3600
# Settled deliveries that are remembered, so that an acknowledgement may be repeated.
_REMEMBERED = 1000
_SECOND = 1_000_000


class Holder(NamedTuple):
    """The agent that has an event. ``worker`` tells its processes apart, if they gave a name."""

    subject: str
    worker: str = ""


class Item:
    """An event that is not settled.

    ``holder`` has it, or had it last; ``held`` tells which. ``due`` is when the holder's time is up, or from when on it
    can be delivered again. ``attempt`` counts deliveries, of which ``last_attempt`` is the last. ``worker`` is the
    Worker that it was delivered to, while that is open. ``given_up``: its last holder rejected it, or ended.
    """

    __slots__ = (
        "attempt",
        "dead_letter_id",
        "due",
        "entry",
        "given_up",
        "held",
        "holder",
        "last_attempt",
        "reason",
        "turn",
        "worker",
    )

    def __init__(self, entry: Entry, last_attempt: int, attempt: int = 0, dead_letter_id: str = "") -> None:
        self.entry = entry
        self.attempt = attempt
        self.last_attempt = last_attempt
        self.dead_letter_id = dead_letter_id
        self.holder = Holder("")
        self.held = False
        self.given_up = False
        self.due = 0
        self.reason = ""
        self.worker: Any = None
        # Changes whenever ``due`` does; -1 once it has left the ledger.
        self.turn = 0

    @property
    def delivery_id(self) -> str:
        return f"{self.entry.event_id}.{self.attempt}"


class Ledger:
    """Items by event id. Every item is held by somebody, or waits to be delivered again."""

    def __init__(self, ack_wait_seconds: float, retry_seconds: float) -> None:
        self._ack_wait = int(ack_wait_seconds * _SECOND)
        self._retry_seconds = retry_seconds
        self._items: dict[str, Item] = {}
        # Of the events, as they are in memory.
        self.bytes = 0
        # By time: when a holder's time is up, and when a waiting item is ready. Outdated ones are skipped.
        self._agenda: list[tuple[int, int, int, Item]] = []
        self._order = count()
        self._ready: deque[tuple[int, Item]] = deque()
        self._settled: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._items

    @property
    def items(self) -> Iterable[Item]:
        return self._items.values()

    def add(self, item: Item, due: int) -> None:
        """Takes an item that waits until ``due``, or is held until then."""
        self._keep(item)
        self._set_due(item, due)

    def deliver(self, item: Item, holder: Holder, now: int) -> None:
        """Hands an item, new or waiting, to a holder."""
        self._keep(item)
        item.attempt += 1
        item.holder = holder
        item.held = True
        item.given_up = False
        self._set_due(item, now + self._ack_wait)

    def take_back(self, item: Item, now: int) -> None:
        """Undoes a delivery that never left the server."""
        item.attempt -= 1
        item.held = False
        item.given_up = True
        self._set_due(item, now)

    def held_by(self, delivery_id: str, subject: str) -> Item | None:
        """Returns the item of a delivery to ``subject``, unless that gave it up or it was delivered again since. It may
        be overdue."""
        event_id, _, attempt = delivery_id.rpartition(".")
        item = self._items.get(event_id)
        if item is None or str(item.attempt) != attempt or item.holder.subject != subject:
            return None
        return None if item.given_up else item

    def settle(self, item: Item) -> None:
        """Removes an item whose event is done."""
        self._settled[item.delivery_id, item.holder.subject] = None
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        self.remove(item)

    def was_settled(self, delivery_id: str, subject: str) -> bool:
        """Reports whether ``subject`` has settled a delivery before."""
        return (delivery_id, subject) in self._settled

    def forget_settled(self) -> None:
        """Forgets which deliveries were settled: after a reset the same ids are given again."""
        self._settled.clear()

    def remove(self, item: Item) -> None:
        item.turn = -1
        self.bytes -= len(item.entry.frame)
        del self._items[item.entry.event_id]

    def extend(self, item: Item, now: int) -> None:
        """Gives the holder the full time again."""
        item.held = True
        self._set_due(item, now + self._ack_wait)

    def shorten(self, item: Item, due: int) -> None:
        """Lets a holder's time be up at ``due`` at the latest."""
        if item.held and due < item.due:
            self._set_due(item, due)

    def fail(self, item: Item, now: int, reason: str, delay_seconds: float | None, *, given_up: bool) -> bool:
        """Notes that a delivery was not acknowledged. The event is delivered again after a delay; None means one that
        grows with each delivery. Returns False, and removes the item, if this was the last delivery."""
        item.held = False
        item.given_up = given_up
        item.reason = reason
        if item.attempt >= item.last_attempt:
            self.remove(item)
            return False
        if delay_seconds is None:
            delay_seconds = doubled(self._retry_seconds, item.attempt - 1, _MAX_RETRY_SECONDS)
        self._set_due(item, now + int(delay_seconds * _SECOND))
        return True

    def overdue(self, now: int) -> list[Item]:
        """Returns the held items whose time is up; the caller passes each to ``fail``."""
        found = []
        while self._agenda and self._agenda[0][0] <= now:
            _, _, turn, item = heapq.heappop(self._agenda)
            if item.turn != turn:
                continue
            if item.held:
                found.append(item)
            else:
                self._ready.append((turn, item))
        return found

    def ready(self) -> Item | None:
        """Returns the next item to deliver again, as of the last call of ``overdue``."""
        while self._ready:
            turn, item = self._ready.popleft()
            if item.turn == turn:
                # Until it is delivered, it is not found in any queue.
                return item
        return None

    def next_due(self) -> int | None:
        """Returns when ``overdue`` has something to do."""
        while self._agenda and self._agenda[0][3].turn != self._agenda[0][2]:
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    def _keep(self, item: Item) -> None:
        if item.entry.event_id not in self._items:
            self._items[item.entry.event_id] = item
            self.bytes += len(item.entry.frame)

    def _set_due(self, item: Item, due: int) -> None:
        item.due = due
        item.turn += 1
        heapq.heappush(self._agenda, (due, next(self._order), item.turn, item))
