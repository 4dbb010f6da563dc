"""One durable consumer: reads the bus at its cursor, and hands events to its workers until each is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers import letters
from cco_sidecar.bus.consumers.intake import Intake
from cco_sidecar.bus.consumers.ledger import Holder, Item, Ledger
from cco_sidecar.bus.consumers.saving import Saving
from cco_sidecar.bus.consumers.worker import Worker
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core.clock import Clock, timestamp
from cco_sidecar.core.errors import SidecarError, not_found
from cco_sidecar.storage.event_stores import ConsumerChange, ConsumerStore
from orchestra.v1 import consumer_service_pb2 as pb
from orchestra.v1.event_service_pb2 import Gap

# Deliveries of a stream that ended are given to others so much later: its worker may come back.
GRACE_SECONDS = 5
# Events in flight stay in memory. One more may begin below this.
MAX_IN_FLIGHT_BYTES = 4 * 2**20
_SECOND = 1_000_000


class Consumer:
    """``record`` is its stored state. Not thread-safe.

    What changes in memory is written to the store: acknowledgements before they are answered, deliveries within a
    second. After a crash, events are therefore delivered again rather than lost.
    """

    def __init__(self, record: pb.Consumer, bus: EventBus, store: ConsumerStore, outbox: Outbox, clock: Clock) -> None:
        self.record = record
        self._bus = bus
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        settings = record.settings
        self._ledger = Ledger(settings.ack_wait_seconds, settings.retry_seconds)
        # The one that gets the next event first.
        self._workers: list[Worker] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0
        # To be written with the next save: new dead letters by id, and those that are settled.
        self._letters: dict[str, pb.DeadLetter] = {}
        self._settled_letters: set[str] = set()
        self._intake = Intake(record, bus, self._arrived, self._is_full, self._end_workers)
        self._saving = Saving(self._save, f"consumer {record.project_id}/{record.name}")

    @property
    def project(self) -> str:
        return self.record.project_id

    # -- workers -----------------------------------------------------------------------------------------

    def join(self, holder: Holder, capacity: int) -> Worker:
        """Adds a worker. It takes over what a stream of the same holder had when it ended."""
        now = self._now()
        worker = Worker(holder, capacity, self._take_gap)
        if holder.worker:
            for item in list(self._ledger.items):
                if item.held and item.holder == holder and item.worker is None:
                    self._ledger.extend(item, now)
                    item.worker = worker
                    worker.holds += 1
        self._workers.append(worker)
        self._used()
        self._intake.start()
        self._assign()
        return worker

    def leave(self, worker: Worker, *, keep: bool = False) -> None:
        """Removes a worker. What was not sent is delivered to others at once, the rest after GRACE_SECONDS, or when its
        time is up with ``keep``."""
        now = self._now()
        self._workers.remove(worker)
        for item in worker.untaken():
            worker.drop(item)
            self._ledger.take_back(item, now)
        for item in self._ledger.items:
            if item.worker is worker:
                worker.drop(item)
                if not keep and not self._bus.draining:
                    self._ledger.shorten(item, now + GRACE_SECONDS * _SECOND)
        self._used()
        if not self._workers:
            self._intake.stop()
        self._assign()

    def release(self, agent_id: str) -> None:
        """Delivers what an agent holds to others at once: the agent has ended."""
        held = [item for item in self._ledger.items if item.held and item.holder.subject == agent_id]
        for item in held:
            self._fail(item, "the agent that had it ended", delay_seconds=0)
        if held:
            self._assign()

    # -- settling ----------------------------------------------------------------------------------------

    async def acknowledge(self, delivery_ids: Sequence[str], subject: str) -> list[str]:
        """Settles deliveries; returns those that ``subject`` does not hold. Raises SidecarError (STR_001)."""
        not_held = []
        for delivery_id in delivery_ids:
            item = self._ledger.held_by(delivery_id, subject)
            if item is not None:
                self._forget_worker(item)
                self._ledger.settle(item)
                if item.dead_letter_id:
                    self._settled_letters.add(item.dead_letter_id)
            elif not self._ledger.was_settled(delivery_id, subject):
                not_held.append(delivery_id)
        self._used()
        self._assign()
        await self._saving.now()
        return not_held

    async def reject(
        self, delivery_ids: Sequence[str], subject: str, reason: str, delay_seconds: float | None, *, final: bool
    ) -> list[str]:
        """Gives deliveries back, or makes them dead letters with ``final``; returns those that ``subject`` does not
        hold. Raises SidecarError (STR_001)."""
        not_held = []
        for delivery_id in delivery_ids:
            item = self._ledger.held_by(delivery_id, subject)
            if item is None:
                not_held.append(delivery_id)
                continue
            if final:
                item.last_attempt = item.attempt
            self._fail(item, reason or "rejected", delay_seconds)
        self._used()
        self._assign()
        await self._saving.now()
        return not_held

    def extend(self, delivery_ids: Sequence[str], subject: str) -> list[str]:
        """Starts the time of deliveries again; returns those that ``subject`` does not hold."""
        now = self._now()
        not_held = []
        for delivery_id in delivery_ids:
            item = self._ledger.held_by(delivery_id, subject)
            if item is None:
                not_held.append(delivery_id)
            else:
                self._ledger.extend(item, now)
        self._used()
        self._schedule()
        return not_held

    def deadline(self) -> int:
        """When deliveries made or extended now are overdue, in steady-clock microseconds."""
        return self._now() + self.record.settings.ack_wait_seconds * _SECOND

    # -- position ----------------------------------------------------------------------------------------

    async def restore(self, replayed: Sequence[pb.DeadLetter]) -> None:
        """Takes up what an earlier process had in flight. ``replayed`` are the dead letters among it."""
        now = self._now()
        by_id = {letter.dead_letter_id: letter for letter in replayed}
        lost = 0
        for each in self.record.in_flight:
            letter = by_id.get(each.dead_letter_id)
            retained = await self._bus.find(self.project, each.event_id) if letter is None else None
            entry = retained if letter is None else letters.entry_of(letter)
            if entry is None:
                lost += 1
                continue
            item = Item(entry, each.last_attempt, each.attempt, each.dead_letter_id)
            item.held = bool(each.held_by)
            item.holder = Holder(each.held_by, each.worker)
            wait = self.record.settings.ack_wait_seconds if item.held else 0
            self._ledger.add(item, now + wait * _SECOND)
        self.record.ClearField("in_flight")
        if lost:
            self._declare(Gap(since=self.record.cursor, resumed_after=self.record.cursor, missed=lost))

    async def reset(self, cursor: str) -> None:
        """Continues after ``cursor``, and forgets what is in flight. Raises SidecarError (STR_001)."""
        for item in list(self._ledger.items):
            if not item.dead_letter_id:
                self._forget_worker(item)
                self._ledger.remove(item)
        self._ledger.forget_settled()
        self.record.cursor = cursor
        self._intake.stop()
        self.record.ClearField("gap")
        if self._workers:
            self._intake.start()
        self._used()
        await self._saving.now()

    async def replay(self, found: Sequence[pb.DeadLetter]) -> int:
        """Delivers dead letters again; returns how many were not being delivered already. Raises SidecarError
        (STR_001)."""
        now = self._now()
        replayed = 0
        for letter in found:
            if letter.event.event_id in self._ledger:
                continue
            replayed += 1
            last = letter.attempts + self.record.settings.max_deliveries
            self._ledger.add(Item(letters.entry_of(letter), last, letter.attempts, letter.dead_letter_id), now)
            letter.replaying = True
            self._letters[letter.dead_letter_id] = letter
        self._used()
        self._assign()
        await self._saving.now()
        return replayed

    def discard(self, letter: pb.DeadLetter) -> None:
        """Stops the replay of a dead letter that was deleted."""
        for item in list(self._ledger.items):
            if item.dead_letter_id == letter.dead_letter_id:
                self._forget_worker(item)
                self._ledger.remove(item)
        self._letters.pop(letter.dead_letter_id, None)
        self._saving.soon()

    def end(self, problem: SidecarError) -> None:
        """Ends the workers with a problem, such as that the consumer was deleted. Nothing more is written."""
        self._end_workers(problem)
        self._intake.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._saving.forget(problem)

    async def close(self) -> None:
        """Writes the state."""
        await self._intake.close()
        if self._timer is not None:
            self._timer.cancel()
        await self._saving.close()

    def snapshot(self, *, whole: bool = True) -> pb.Consumer:
        """Returns its state; ``whole`` includes what is in flight."""
        found = pb.Consumer()
        found.CopyFrom(self.record)
        found.in_flight_count = len(self._ledger)
        found.workers.extend(sorted(worker.holder.subject for worker in self._workers))
        if whole:
            found.in_flight.extend(
                pb.InFlight(
                    event_id=item.entry.event_id,
                    attempt=item.attempt,
                    held_by=item.holder.subject if item.held else "",
                    worker=item.holder.worker if item.held else "",
                    due=timestamp(item.due),
                    dead_letter_id=item.dead_letter_id,
                    last_attempt=item.last_attempt,
                )
                for item in sorted(self._ledger.items, key=lambda item: item.entry.seq)
            )
        return found

    # -- inside ------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._clock.steady_micros()

    def _used(self) -> None:
        self.record.used_at.CopyFrom(self._clock.timestamp())
        self._saving.soon()

    def _take_gap(self) -> Gap | None:
        if not self.record.HasField("gap"):
            return None
        gap = Gap()
        gap.CopyFrom(self.record.gap)
        self.record.ClearField("gap")
        self._saving.soon()
        return gap

    def _declare(self, gap: Gap) -> None:
        """Tells the next worker that takes something. Until then the gap is stored with the cursor after it."""
        if self.record.HasField("gap"):
            gap = Gap(
                since=self.record.gap.since,
                resumed_after=gap.resumed_after,
                missed=self.record.gap.missed + gap.missed,
            )
        self.record.gap.CopyFrom(gap)
        for worker in self._workers:
            worker.wake()

    def _arrived(self, gap: Gap | None) -> None:
        if gap is not None:
            self._declare(gap)
        self._assign()

    def _is_full(self) -> bool:
        return len(self._ledger) >= self.record.settings.max_in_flight or self._ledger.bytes >= MAX_IN_FLIGHT_BYTES

    def _end_workers(self, problem: SidecarError) -> None:
        for worker in self._workers:
            worker.end(problem)

    def _assign(self) -> None:
        """Hands out what can be delivered now."""
        now = self._now()
        self._expire(now)
        while (worker := self._free_worker()) is not None:
            item = self._next(now)
            if item is None:
                break
            # They take turns.
            self._workers.remove(worker)
            self._workers.append(worker)
            self._ledger.deliver(item, worker.holder, now)
            worker.offer(item)
            self._saving.soon()
        if self._intake.skip():
            self._saving.soon()
        self._intake.more()
        self._schedule()

    def _free_worker(self) -> Worker | None:
        return next((worker for worker in self._workers if worker.has_capacity), None)

    def _next(self, now: int) -> Item | None:
        """Returns the next item to deliver: one to deliver again, or else a new one."""
        while (item := self._ledger.ready()) is not None:
            if item.entry.expires > now:
                return item
            self._ledger.remove(item)
        while not self._is_full() and (entry := self._intake.next()) is not None:
            if entry.expires > now and entry.event_id not in self._ledger:
                return Item(entry, self.record.settings.max_deliveries)
        return None

    def _expire(self, now: int) -> None:
        while overdue := self._ledger.overdue(now):
            for item in overdue:
                self._fail(item, "not acknowledged in time", delay_seconds=0, given_up=False)

    def _fail(self, item: Item, reason: str, delay_seconds: float | None, *, given_up: bool = True) -> None:
        now = self._now()
        self._forget_worker(item)
        if not self._ledger.fail(item, now, reason, delay_seconds, given_up=given_up):
            letter = letters.letter_of(item, self.record, timestamp(self._clock.micros()))
            self._letters[letter.dead_letter_id] = letter
        self._saving.soon()

    def _forget_worker(self, item: Item) -> None:
        if item.worker is not None:
            item.worker.drop(item)

    def _schedule(self) -> None:
        """Sets the timer to when the next delivery is overdue, or can be made again."""
        due = self._ledger.next_due()
        if due is None or (self._timer is not None and self._timer_due == due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(max(0.0, (due - self._now()) / _SECOND), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._assign()

    async def _save(self) -> None:
        """Writes the state and the dead letters in one transaction."""
        written, self._letters = self._letters, {}
        settled, self._settled_letters = self._settled_letters, set()
        change = ConsumerChange(
            self.snapshot(),
            list(written.values()),
            sorted(settled),
            [letters.event_of(each) for each in written.values()],
        )
        try:
            announced = await self._store.save(change)
        except SidecarError:
            self._letters = written | self._letters
            self._settled_letters |= settled
            raise
        for announcement in announced:
            await self._outbox.publish(announcement)


def unknown_consumer(name: str) -> SidecarError:
    """Returns the error for an unknown consumer (CSM_001)."""
    return not_found(
        "CSM_001",
        f"consumer '{name}' not found; create it, or list the consumers with 'cco consumers list'",
        consumer=name,
    )
