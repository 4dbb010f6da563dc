"""The event engine against a model: publishers, readers, workers, crashes, failing writes and a clock that jumps.

Hypothesis chooses the steps. CI runs some hundreds; `make event-machine` more than ten thousand.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.bus.contract import event
from tests.bus.test_embedded import ManualClock

from cco_sidecar.bus.base import FROM_OLDEST, Outgoing, SubscriptionKey
from cco_sidecar.bus.consumers.ledger import Holder
from cco_sidecar.bus.consumers.letters import EVENT_TYPE
from cco_sidecar.bus.consumers.registry import Consumers, no_longer_here
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.event_stores import Announcement, ConsumerChange
from cco_sidecar.storage.eventlog import log as log_module
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1 import consumer_service_pb2 as pb

EXAMPLES = int(os.environ.get("EXAMPLES", "40"))
STEPS = int(os.environ.get("STEPS", "50"))
# Shrinking an example takes minutes, more than a test may.
PHASES = set(Phase) if "SHRINK" in os.environ else set(Phase) - {Phase.shrink, Phase.explain}
SECOND = 1_000_000
ACK_WAIT, DELIVERIES, IN_FLIGHT, RETAINED = 30, 3, 8, 20
FAILURES = st.sampled_from(["", "", "", "before", "after"])
AGENTS = ("ann", "bob", "cy")
TASKS = frozenset({"task"})
_projects = itertools.count()

T = TypeVar("T")


class Flaky:
    """A ConsumerStore whose next ``save`` fails, before or after it has stored the change."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.fails = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def save(self, change: ConsumerChange) -> Sequence[Announcement]:
        how, self.fails = self.fails, ""
        stored: Sequence[Announcement] = [] if how == "before" else await self._store.save(change)
        if how:
            raise internal("STR_001", "this write fails")
        return stored


class Reader:
    """A subscriber that keeps its own cursor."""

    def __init__(self, key: SubscriptionKey) -> None:
        self.key = key
        self.cursor = FROM_OLDEST


class Engine(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    stores: SqlStores
    directory: Path

    @initialize()
    def begin(self) -> None:
        self.project = f"p{next(_projects)}"
        self.clock = ManualClock()
        # What was acknowledged to its publisher, by id, and until when it is delivered: in steady time and by the
        # wall clock, which is all that the next process knows.
        self.published: dict[str, int] = {}
        self.until_by_wall: dict[str, int] = {}
        self.types: dict[str, str] = {}
        # After a jump of the wall clock and a restart they may be delivered or not.
        self.expired: set[str] = set()
        self.acknowledged: set[str] = set()
        self.dead: set[str] = set()
        # Up to here, a gap was declared to the consumer; and what may be lost because nobody has it any more.
        self.excused = ""
        # Deliveries by id: who holds the event until when.
        self.held: dict[str, tuple[str, str, int]] = {}
        # The last delivery of each event, and how often it may be delivered.
        self.newest: dict[str, str] = {}
        self.allowed: dict[str, int] = {}
        self.readers = [Reader(SubscriptionKey()), Reader(SubscriptionKey(TASKS))]
        self.texts = itertools.count()
        self.lives = itertools.cycle([(0, 5), (64, 10_000), (64, 5), (0, 10_000)])
        self.run(self._open())
        self.run(self._create())

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def _open(self) -> None:
        # Every other life has next to nothing in memory.
        memory, opened = next(self.lives)
        self.log = SegmentLog(self.directory, segment_bytes=4000, max_opened=opened)
        self.bus = EmbeddedBus(self.log, self.clock, Settings(max_events=RETAINED, event_memory_mb=memory))
        self.flaky = Flaky(self.stores.consumers)
        outbox = Outbox(self.stores.outbox, self.bus)
        await outbox.recover()
        self.consumers = Consumers(self.flaky, self.bus, outbox, self.clock)
        await self.consumers.recover()

    async def _create(self) -> None:
        made = pb.ConsumerSettings(
            event_types=TASKS,
            ack_wait_seconds=ACK_WAIT,
            max_deliveries=DELIVERIES,
            max_in_flight=IN_FLIGHT,
            retry_seconds=1,
            shared=True,
        )
        record = pb.Consumer(name="work", project_id=self.project, settings=made, created_by="ann")
        await self.consumers.create(record, FROM_OLDEST, None)

    @property
    def consumer(self) -> Any:
        return self.consumers.find(self.project, "work")

    # -- publishing ----------------------------------------------------------------------------------------

    @rule(
        event_type=st.sampled_from(["task", "task", "other"]),
        ttl=st.sampled_from([60, 86_400, 86_400]),
        count=st.integers(1, 12),
        failing=st.sampled_from([False, False, False, True]),
    )
    def publish(self, event_type: str, ttl: int, count: int, failing: bool) -> None:
        outgoing = [Outgoing(self.project, event(event_type, n=next(self.texts)), ttl) for _ in range(count)]
        with pytest.MonkeyPatch.context() as patch:
            if failing:
                patch.setattr(log_module.os, "fdatasync", _broken)
            try:
                done = self.run(self.bus.publish_all(outgoing))
            except SidecarError as problem:
                assert failing and problem.code == "STR_001"
                return
        assert not failing
        for each in done:
            assert not self.published or each.event_id > max(self.published)
            self.published[each.event_id] = self.clock.steady_micros() + ttl * SECOND
            self.until_by_wall[each.event_id] = self.clock.micros() + ttl * SECOND
            self.types[each.event_id] = event_type

    # -- readers -------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, 1))
    def read(self, number: int) -> None:
        """A reader continues at its cursor: what it gets is all there is, in order, or a gap says what is missing."""
        reader = self.readers[number]

        async def poll() -> Any:
            start = await self.bus.start_of(self.project, reader.cursor, None)
            return await self.bus.wait(
                self.project, reader.key, start, "reader", timeout=0, limit=5, since=reader.cursor
            )

        batch = self.run(poll())
        after = batch.gap.resumed_after if batch.gap is not None else reader.cursor
        now = self.clock.steady_micros()
        wanted = [
            event_id
            for event_id, until in self.published.items()
            if event_id > after
            and until > now
            and event_id not in self.expired
            and reader.key.accepts("t", self.types[event_id])
        ]
        got = [entry.event_id for entry in batch.entries if entry.event_type != EVENT_TYPE]
        assert set(got) <= self.published.keys()
        got = [event_id for event_id in got if event_id not in self.expired]
        if reader.cursor == FROM_OLDEST and got:
            # The oldest retained event, whichever that is.
            wanted = wanted[wanted.index(got[0]) :]
        assert got == wanted[: len(got)]
        if not batch.more:
            assert got == wanted or reader.cursor == FROM_OLDEST
        reader.cursor = batch.cursor

    # -- workers -------------------------------------------------------------------------------------------

    @rule(agent=st.sampled_from(AGENTS), limit=st.integers(1, 6))
    def pull(self, agent: str, limit: int) -> None:
        self._pull(agent, limit)

    def _pull(self, agent: str, limit: int) -> bool:
        """Reports whether there was anything, or a gap."""

        async def take() -> Any:
            worker = self.consumer.join(Holder(agent), limit)
            try:
                return await worker.take(0.005)
            finally:
                self.consumer.leave(worker, keep=True)

        taken, gap = self.run(take())
        if gap is not None:
            self.excused = max(self.excused, gap.resumed_after)
        now = self.clock.steady_micros()
        assert len(taken) <= limit
        for item in taken:
            event_id = item.entry.event_id
            assert event_id in self.published and event_id not in self.acknowledged, item.delivery_id
            assert self.types[event_id] == "task"
            holders = [who for who, held, until in self.held.values() if held == event_id and until > now]
            assert not holders, f"{event_id} is with {holders} and was given to {agent}"
            assert item.attempt <= self.allowed.setdefault(event_id, DELIVERIES)
            self.held[item.delivery_id] = (agent, event_id, item.due)
            self.newest[event_id] = item.delivery_id
        return bool(taken or gap)

    def _choose(self, number: int) -> tuple[str, str, str] | None:
        if not self.held:
            return None
        delivery_id = list(self.held)[number % len(self.held)]
        agent, event_id, _ = self.held[delivery_id]
        return delivery_id, agent, event_id

    @rule(number=st.integers(0, 50), twice=st.booleans(), fails=FAILURES)
    def acknowledge(self, number: int, twice: bool, fails: str) -> None:
        chosen = self._choose(number)
        if chosen is None:
            return
        delivery_id, agent, event_id = chosen
        self.flaky.fails = fails
        with suppress(SidecarError):
            assert self.run(self.consumer.acknowledge([delivery_id], "nobody")) == [delivery_id]
        for _ in range(1 + twice):
            try:
                not_held = self.run(self.consumer.acknowledge([delivery_id], agent))
            except SidecarError:
                # It may be stored or not; the agent would repeat the call.
                continue
            if not_held:
                # Too late: somebody else had it since, or the sidecar forgot a delivery when it crashed.
                continue
            assert self.newest[event_id] == delivery_id, "delivered again since"
            self.acknowledged.add(event_id)
        self.held.pop(delivery_id)

    @rule(number=st.integers(0, 50), delay=st.sampled_from([None, 0.0, 5.0]), final=st.booleans(), fails=FAILURES)
    def reject(self, number: int, delay: float | None, final: bool, fails: str) -> None:
        chosen = self._choose(number)
        if chosen is not None:
            self.flaky.fails = fails
            delivery_id, agent, _ = chosen
            self.held.pop(delivery_id)
            with suppress(SidecarError):
                self.run(self.consumer.reject([delivery_id], agent, "no", delay, final=final))

    @rule(number=st.integers(0, 50))
    def extend(self, number: int) -> None:
        chosen = self._choose(number)
        if chosen is not None:
            delivery_id, agent, event_id = chosen
            if not self.consumer.extend([delivery_id], agent):
                self.held[delivery_id] = (agent, event_id, self.clock.steady_micros() + ACK_WAIT * SECOND)

    @rule(agent=st.sampled_from(AGENTS))
    def an_agent_dies(self, agent: str) -> None:
        self.consumers.release(agent)
        self.held = {each: held for each, held in self.held.items() if held[0] != agent}

    @rule()
    def replay(self) -> None:
        letters = self.run(self.stores.consumers.letters(self.project, "work", []))
        self.dead = {letter.event.event_id for letter in letters}
        assert not self.dead & self.acknowledged
        for letter in letters:
            self.allowed[letter.event.event_id] = letter.attempts + DELIVERIES
        with suppress(SidecarError):
            self.run(self.consumer.replay(letters))

    @rule()
    def reset(self) -> None:
        """Back to before all that is in flight; the workers that have it do not know, and settle it."""
        self.flaky.fails = ""
        assert self.run(self.consumer.acknowledge([], "nobody")) == []
        in_flight = [each.event_id for each in self.consumer.snapshot().in_flight]
        # An event with a dead letter may then be acknowledged as well.
        if not in_flight or self.run(self.stores.consumers.letters(self.project, "work", [])):
            return
        epoch, _, number = min(in_flight).rpartition("-")
        cursor = f"{epoch}-{int(number) - 1:010}"
        self.run(self.consumer.reset(cursor))
        self.acknowledged = {event_id for event_id in self.acknowledged if event_id <= cursor}
        for delivery_id, (agent, _, _) in self.held.items():
            assert self.run(self.consumer.acknowledge([delivery_id], agent)) == [delivery_id]
        self.held.clear()

    # -- time and failures -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 6, 31, 61]))
    def time_passes(self, seconds: int) -> None:
        self.clock.ahead += seconds * SECOND

    @rule(seconds=st.integers(-100_000, 100_000))
    def the_wall_clock_jumps(self, seconds: int) -> None:
        self.clock.off += seconds * SECOND

    @rule(cleanly=st.booleans(), fails=FAILURES)
    def restart(self, cleanly: bool, fails: str) -> None:
        """The next process knows what is on disk, and nothing else."""
        self.flaky.fails = fails

        async def again() -> None:
            if cleanly:
                await self.consumers.close()
            else:
                for consumer in self.consumers.of(self.project):
                    consumer.end(no_longer_here())
            await self.bus.close()
            await self.log.close()
            await self._open()

        # A delivery that is not written is made again, perhaps to somebody else.
        kept = cleanly and not self.flaky.fails
        before = self.clock.steady_micros()
        # Steady time begins with what the wall clock says when a process starts.
        self.clock.ahead, self.clock.off = self.clock.ahead + self.clock.off, 0
        self.run(again())
        self.published = {event_id: self.until_by_wall[event_id] for event_id in self.published}
        until = self.clock.steady_micros() + ACK_WAIT * SECOND
        self.held = {
            each: (agent, event_id, until)
            for each, (agent, event_id, due) in self.held.items()
            if kept and due > before
        }

    @invariant()
    def time_has_passed(self) -> None:
        now = self.clock.steady_micros()
        self.expired |= {event_id for event_id, until in self.published.items() if until <= now}

    @invariant()
    def no_more_is_in_flight_than_may_be(self) -> None:
        assert self.consumer.snapshot().in_flight_count <= IN_FLIGHT + len(self.dead)

    def teardown(self) -> None:
        """In the end, everything was acknowledged, is a dead letter, has expired, or is declared as missing."""
        if not hasattr(self, "consumers"):
            return
        self.flaky.fails = ""
        for _ in range(400):
            self.clock.ahead += 3700 * SECOND
            self.held.clear()
            taken = self._pull("last", 6)
            # A busy machine may not have read anything yet.
            behind = self.run(self.consumers.lag(self.consumer))
            if not taken and not behind and not self.consumer.snapshot().in_flight_count:
                break
            for item in list(self.held):
                assert self.run(self.consumer.acknowledge([item], "last")) == []
                self.acknowledged.add(self.held.pop(item)[1])
        self.run(self.consumers.close())
        letters = self.run(self.stores.consumers.letters(self.project, "work", []))
        dead = {letter.event.event_id for letter in letters}
        assert not dead & self.acknowledged
        now = self.clock.steady_micros()
        for event_id, until in self.published.items():
            if self.types[event_id] != "task" or event_id in self.acknowledged | dead:
                continue
            assert until <= now or event_id in self.expired or event_id <= self.excused, f"{event_id} is lost"

        async def close() -> None:
            await self.bus.close()
            await self.log.close()

        self.run(close())


def _broken(_: int) -> None:
    raise OSError(5, "this disk fails")


@pytest.fixture(scope="module")
def machine() -> Iterator[type[Engine]]:
    with tempfile.TemporaryDirectory() as directory:
        database = Database(Sqlite(Path(directory) / "records.db"))
        Engine.loop = asyncio.new_event_loop()
        Engine.stores = SqlStores(database)
        Engine.directory = Path(directory) / "events"
        Engine.directory.mkdir()
        yield Engine
        Engine.loop.close()
        database.close()


def test_the_engine_agrees_with_its_model(machine: type[Engine]) -> None:
    case = machine.TestCase
    case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        phases=PHASES,
    )
    case().runTest()
