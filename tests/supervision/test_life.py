"""The life of an agent as a pure state machine: no process, no disk.

A model of the world carries out the effects: what is on disk, and which processes were started. It may crash at any
point and recovers from what is on disk alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cco_sidecar.supervision.life import (
    ENDED_STATUSES,
    Admitted,
    Effect,
    Exited,
    IllegalTransition,
    Input,
    Life,
    NoSlot,
    Observed,
    Phase,
    Resumed,
    RetryDue,
    Started,
    StartFailed,
    StopRequested,
    recovered,
    step,
)
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_NEEDS_INPUT,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STOPPED,
    AGENT_STATUS_STUCK,
)

FAILED = Exited(AGENT_STATUS_FAILED, "exit 1", "exit 1; next attempt in 5 s")
COMPLETED = Exited(AGENT_STATUS_COMPLETED, "exit 0")
INPUTS: list[Input] = [
    Admitted(),
    Started(),
    StartFailed("no such program"),
    NoSlot(),
    Observed(AGENT_STATUS_STUCK, "silent"),
    FAILED,
    StopRequested("stopped by the operator"),
    RetryDue(),
    Resumed("resumed by the operator"),
]
ALLOWED = {
    Phase.QUEUED: (Admitted, StopRequested),
    Phase.STARTING: (Started, StartFailed, NoSlot, StopRequested),
    Phase.RUNNING: (Observed, Exited, StopRequested),
    Phase.BACKING_OFF: (RetryDue, StopRequested),
    Phase.ENDED: (Resumed, StopRequested),
}


def after(life: Life, *inputs: Input) -> Life:
    for given_input in inputs:
        life, _ = step(life, given_input)
    return life


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("given_input", INPUTS, ids=lambda each: type(each).__name__)
def test_each_input_is_accepted_in_its_phases_only(phase: Phase, given_input: Input) -> None:
    life = Life(phase, attempt=1)
    if isinstance(given_input, ALLOWED[phase]):
        step(life, given_input)
    else:
        with pytest.raises(IllegalTransition, match=phase.name):
            step(life, given_input)


@pytest.mark.parametrize(
    "wrong",
    [Observed(AGENT_STATUS_COMPLETED, "x"), Exited(AGENT_STATUS_RUNNING, "x"), Exited(AGENT_STATUS_PENDING, "x")],
)
def test_a_contradicting_status_is_refused(wrong: Input) -> None:
    with pytest.raises(IllegalTransition):
        step(Life(Phase.RUNNING, attempt=1), wrong)


def test_a_start_takes_a_slot_and_is_saved_before_it_is_announced() -> None:
    starting, effects = step(Life(), Admitted())
    assert (starting.phase, starting.attempt, effects) == (Phase.STARTING, 1, (Effect.LAUNCH,))
    running, effects = step(starting, Started())
    assert running.status == AGENT_STATUS_RUNNING and running.reason == "attempt 1"
    assert effects == (Effect.SAVE_START, Effect.WATCH)


def test_a_failure_is_retried_until_the_attempts_are_used_up() -> None:
    life = after(Life(max_attempts=2), Admitted(), Started())
    life, effects = step(life, FAILED)
    assert (life.phase, life.status) == (Phase.BACKING_OFF, AGENT_STATUS_PENDING)
    assert life.reason == "exit 1; next attempt in 5 s" and effects == (Effect.SAVE_RETRY, Effect.SCHEDULE_RETRY)
    life, effects = step(life, RetryDue())
    assert (life.phase, life.reason, effects) == (Phase.QUEUED, "exit 1; next attempt in 5 s", (Effect.ENQUEUE,))
    life, effects = step(after(life, Admitted(), Started()), FAILED)
    assert (life.phase, life.status, life.attempt) == (Phase.ENDED, AGENT_STATUS_FAILED, 2)
    assert effects == (Effect.FINISH,)


@pytest.mark.parametrize("end", [COMPLETED, Exited(AGENT_STATUS_STOPPED, "its shim was asked to stop it")])
def test_only_failures_are_retried(end: Exited) -> None:
    life, effects = step(after(Life(max_attempts=9), Admitted(), Started()), end)
    assert (life.phase, life.status, life.reason, effects) == (Phase.ENDED, end.status, end.reason, (Effect.FINISH,))


def test_a_failure_that_is_not_retryable_ends_the_agent() -> None:
    life, effects = step(
        after(Life(max_attempts=9), Admitted(), Started()),
        Exited(AGENT_STATUS_FAILED, "internal error: ValueError", retryable=False),
    )
    assert (life.phase, life.reason, effects) == (Phase.ENDED, "internal error: ValueError", (Effect.FINISH,))


def test_a_start_that_fails_is_not_retried() -> None:
    life, effects = step(after(Life(max_attempts=9), Admitted()), StartFailed("no such program"))
    assert (life.status, life.reason, effects) == (AGENT_STATUS_FAILED, "no such program", (Effect.FINISH,))


def test_a_start_without_a_slot_counts_for_nothing() -> None:
    life, effects = step(after(Life(max_attempts=1), Admitted()), NoSlot())
    assert (life, effects) == (Life(max_attempts=1), (Effect.ENQUEUE,))
    life, effects = step(after(Life(), Admitted(), StopRequested("by the operator")), NoSlot())
    assert (life.phase, life.status, effects) == (Phase.ENDED, AGENT_STATUS_STOPPED, (Effect.FINISH,))


@pytest.mark.parametrize(
    ("before", "effects"),
    [
        ((), (Effect.LEAVE_QUEUE, Effect.FINISH)),
        ((Admitted(), Started(), FAILED), (Effect.CANCEL_RETRY, Effect.FINISH)),
    ],
)
def test_an_agent_without_a_process_is_stopped_at_once(before: tuple[Input, ...], effects: tuple[Effect, ...]) -> None:
    life, found = step(after(Life(max_attempts=2), *before), StopRequested("by me"))
    assert (life.phase, life.status, life.reason, found) == (Phase.ENDED, AGENT_STATUS_STOPPED, "by me", effects)


@pytest.mark.parametrize("before", [(Admitted(),), (Admitted(), Started())])
def test_a_process_exits_and_the_first_reason_stays(before: tuple[Input, ...]) -> None:
    life = after(Life(max_attempts=9), *before)
    for reason in ("by me", "by another"):
        life, effects = step(life, StopRequested(reason))
        assert (life.stop_reason, effects) == ("by me", (Effect.STOP_PROCESS,))
    if life.phase is Phase.STARTING:
        life, effects = step(life, Started())
        assert effects == (Effect.SAVE_START, Effect.WATCH, Effect.STOP_PROCESS)
    life, effects = step(life, FAILED)
    assert (life.phase, effects) == (Phase.ENDED, (Effect.FINISH,))


def test_a_start_that_was_stopped_says_so() -> None:
    life = after(Life(), Admitted(), StopRequested("by me"), StartFailed("no such program"))
    assert (life.status, life.reason) == (AGENT_STATUS_STOPPED, "by me")


def test_an_observation_is_saved_once() -> None:
    life = after(Life(), Admitted(), Started())
    life, effects = step(life, Observed(AGENT_STATUS_STUCK, "silent for 9 s"))
    assert (life.status, life.reason, effects) == (AGENT_STATUS_STUCK, "silent for 9 s", (Effect.SAVE,))
    assert step(life, Observed(AGENT_STATUS_STUCK, "silent for 10 s")) == (life, ())
    life = after(life, StopRequested("by me"))
    assert step(life, Observed(AGENT_STATUS_RUNNING, "attempt 1")) == (life, ())


@pytest.mark.parametrize(("began", "phase"), [(True, Phase.BACKING_OFF), (False, Phase.ENDED)])
def test_a_restored_copy_of_a_running_agent_is_not_started_again(began: bool, phase: Phase) -> None:
    life, effects = recovered(AGENT_STATUS_RUNNING, "attempt 1", 1, 9, began=began, backing_off=False)
    assert (life.phase, effects) == (Phase.RUNNING, (Effect.WATCH,))
    assert step(life, FAILED)[0].phase is phase


def test_a_resumed_agent_has_an_attempt_left() -> None:
    ended = Life(Phase.ENDED, AGENT_STATUS_COMPLETED, "exit 0", attempt=3, max_attempts=2, stop_reason="by me")
    life, effects = step(ended, Resumed("resumed by me"))
    assert (life.phase, life.status, life.reason) == (Phase.QUEUED, AGENT_STATUS_PENDING, "resumed by me")
    assert (life.attempt, life.max_attempts, life.stop_reason, effects) == (3, 4, "", (Effect.ENQUEUE,))


@dataclass
class World:
    """Slots, disk and processes, as far as the state machine can tell. ``saved``: (status, attempt, max_attempts,
    retry).
    """

    life: Life
    saved: tuple[int, int, int, bool]
    queued: bool = False
    timer: bool = False
    launching: bool = False
    # Attempts whose process was started; and those that still run.
    begun: list[int] = field(default_factory=list)
    running: set[int] = field(default_factory=set)
    ends: int = 0

    def save(self, *, retry: bool = False) -> None:
        self.saved = (self.life.status, self.life.attempt, self.life.max_attempts, retry)

    def carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if effect is Effect.ENQUEUE:
                self.queued = True
            elif effect is Effect.LEAVE_QUEUE:
                self.queued = False
            elif effect is Effect.LAUNCH:
                self.launching = True
            elif effect in (Effect.SAVE_START, Effect.SAVE):
                self.save()
            elif effect is Effect.SAVE_RETRY:
                self.save(retry=True)
            elif effect is Effect.SCHEDULE_RETRY:
                self.timer = True
            elif effect is Effect.CANCEL_RETRY:
                self.timer = False
            elif effect is Effect.FINISH:
                self.save()
                self.ends += 1


class LifeMachine(RuleBasedStateMachine):
    """Any order of possible inputs, and a crash at any point."""

    def __init__(self) -> None:
        super().__init__()
        life = Life(max_attempts=2)
        self.world = World(life, (life.status, 0, 2, False), queued=True)

    def feed(self, given_input: Input) -> None:
        self.world.life, effects = step(self.world.life, given_input)
        self.world.carry_out(effects)

    @precondition(lambda self: self.world.queued)
    @rule()
    def admit(self) -> None:
        self.world.queued = False
        self.feed(Admitted())

    @precondition(lambda self: self.world.launching and self.world.life.attempt not in self.world.begun)
    @rule()
    def process_begins(self) -> None:
        self.world.begun.append(self.world.life.attempt)
        self.world.running.add(self.world.life.attempt)

    @precondition(lambda self: self.world.launching and self.world.life.attempt in self.world.begun)
    @rule()
    def shim_answers(self) -> None:
        self.world.launching = False
        self.feed(Started())

    @precondition(lambda self: self.world.launching and self.world.life.attempt not in self.world.begun)
    @rule()
    def launch_fails(self) -> None:
        self.world.launching = False
        self.feed(StartFailed("no such program"))

    @precondition(lambda self: self.world.launching and self.world.life.attempt not in self.world.begun)
    @rule()
    def machine_is_full(self) -> None:
        self.world.launching = False
        self.feed(NoSlot())

    @precondition(lambda self: self.world.life.phase is Phase.RUNNING)
    @rule(status=st.sampled_from([AGENT_STATUS_RUNNING, AGENT_STATUS_STUCK, AGENT_STATUS_NEEDS_INPUT]))
    def observe(self, status: int) -> None:
        self.feed(Observed(status, "seen"))  # type: ignore[arg-type]

    @precondition(lambda self: self.world.life.phase is Phase.RUNNING)
    @rule(end=st.sampled_from([FAILED, COMPLETED]))
    def process_exits(self, end: Exited) -> None:
        self.world.running.discard(self.world.life.attempt)
        self.feed(end)

    @rule()
    def stop(self) -> None:
        self.feed(StopRequested("by me"))

    @precondition(lambda self: self.world.timer)
    @rule()
    def retry(self) -> None:
        self.world.timer = False
        self.feed(RetryDue())

    @precondition(lambda self: self.world.life.phase is Phase.ENDED and self.world.life.attempt < 6)
    @rule()
    def resume(self) -> None:
        self.world.life, effects = step(self.world.life, Resumed("again"))
        self.world.save()
        self.world.carry_out(effects)

    @rule()
    def crash(self) -> None:
        status, attempt, most, retry = self.world.saved
        began = attempt + (status == AGENT_STATUS_PENDING) in self.world.begun
        life, effects = recovered(status, "saved", attempt, most, began=began, backing_off=retry)  # type: ignore[arg-type]
        ends = self.world.ends
        self.world = replace(self.world, life=life, queued=False, timer=False, launching=False)
        self.world.carry_out(effects)
        assert self.world.ends == ends, "an end is announced once"

    @invariant()
    def no_attempt_begins_twice(self) -> None:
        assert len(self.world.begun) == len(set(self.world.begun))

    @invariant()
    def no_process_is_left_alone(self) -> None:
        """Every running process is watched, or is just being started."""
        life = self.world.life
        watched = {life.attempt} if life.phase in (Phase.RUNNING, Phase.STARTING) else set()
        assert self.world.running <= watched

    @invariant()
    def something_will_happen(self) -> None:
        """Every path ends: an agent that has not ended waits for an input that will come."""
        world = self.world
        awaited = {
            Phase.QUEUED: world.queued,
            Phase.STARTING: world.launching,
            Phase.RUNNING: True,
            Phase.BACKING_OFF: world.timer,
            Phase.ENDED: True,
        }
        assert awaited[world.life.phase], world

    @invariant()
    def the_record_is_true(self) -> None:
        """The record says that the agent has ended if and only if it has."""
        assert (self.world.saved[0] in ENDED_STATUSES) == (self.world.life.phase is Phase.ENDED)


TestLives = LifeMachine.TestCase
TestLives.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)


@given(st.lists(st.sampled_from(INPUTS), max_size=40))
def test_a_stopped_agent_always_ends(inputs: list[Input]) -> None:
    """Whatever happened to it before."""
    life = Life(max_attempts=3)
    for given_input in inputs:
        if isinstance(given_input, ALLOWED[life.phase]):
            life, _ = step(life, given_input)
    life, _ = step(life, StopRequested("by me"))
    if life.phase is Phase.STARTING:
        life, _ = step(life, Started())
    if life.phase is Phase.RUNNING:
        life, _ = step(life, FAILED)
    assert life.phase is Phase.ENDED
