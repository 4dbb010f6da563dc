"""The life of an agent: a pure state machine, (life, input) to (life, effects).

::

    QUEUED ── Admitted ──> STARTING ── Started ──> RUNNING ── Exited ──> ENDED
      ^                        │                      │                    │
      │                        └── StartFailed ──> ENDED                   │
      │                                               │                    │
      ├──── RetryDue ──── BACKING_OFF <── Exited (failed, attempts left)   │
      └──────────────────────────── Resumed ───────────────────────────────┘

``StopRequested`` ends what is QUEUED or BACKING_OFF at once. What is STARTING or RUNNING ends by its process, and
``stop_reason`` says why. The supervisor carries the effects out in their order and feeds the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_NEEDS_INPUT,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STOPPED,
    AGENT_STATUS_STUCK,
    AgentStatus,
)

ENDED_STATUSES = frozenset({AGENT_STATUS_COMPLETED, AGENT_STATUS_FAILED, AGENT_STATUS_STOPPED})
RUNNING_STATUSES = frozenset({AGENT_STATUS_RUNNING, AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_STUCK})


class Phase(Enum):
    # Waits for a free slot.
    QUEUED = auto()
    # Has a slot; its worktree, context and process are being made.
    STARTING = auto()
    RUNNING = auto()
    # Its last attempt failed; the next one is due later.
    BACKING_OFF = auto()
    ENDED = auto()


class Effect(Enum):
    # Joins the queue of agents that wait for a slot, or leaves it.
    ENQUEUE = auto()
    LEAVE_QUEUE = auto()
    # Starts the process of the present attempt. Answered by Started or StartFailed.
    LAUNCH = auto()
    # Saves the record and announces the start.
    SAVE_START = auto()
    # Waits for the end of the process. Answered by Exited.
    WATCH = auto()
    # Saves the record with another status.
    SAVE = auto()
    # Ends the process, its tokens first.
    STOP_PROCESS = auto()
    # Saves the failed attempt, and gives the slot to the next agent.
    SAVE_RETRY = auto()
    # Starts the timer of the next attempt, answered by RetryDue; or stops it.
    SCHEDULE_RETRY = auto()
    CANCEL_RETRY = auto()
    # Ends the tokens, saves and announces the end, gives the slot to the next agent.
    FINISH = auto()


@dataclass(frozen=True, slots=True)
class Life:
    """``attempt`` counts the attempts that were begun; ``stop_reason`` is why somebody wants it stopped."""

    phase: Phase = Phase.QUEUED
    status: AgentStatus = AGENT_STATUS_PENDING
    reason: str = "waits for a free slot"
    attempt: int = 0
    max_attempts: int = 1
    stop_reason: str = ""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A slot is free for it."""


@dataclass(frozen=True, slots=True)
class Started:
    """Its process runs."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    reason: str


@dataclass(frozen=True, slots=True)
class Observed:
    """``status``: RUNNING, NEEDS_INPUT or STUCK."""

    status: AgentStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """``status``: COMPLETED, FAILED or STOPPED; ``retry_reason``: what to say while the next attempt is awaited."""

    status: AgentStatus
    reason: str
    retry_reason: str = ""


@dataclass(frozen=True, slots=True)
class StopRequested:
    reason: str


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The pause before the next attempt is over."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody wants an ended agent to go on."""

    reason: str


Input = Admitted | Started | StartFailed | Observed | Exited | StopRequested | RetryDue | Resumed
Step = tuple[Life, tuple[Effect, ...]]


class IllegalTransition(Exception):
    """An input that cannot come in this phase: a defect of whoever feeds it."""


def step(life: Life, given: Input) -> Step:
    """Raises IllegalTransition."""
    match life.phase, given:
        case _, StopRequested(reason):
            return _stop(life, reason)
        case Phase.QUEUED, Admitted():
            return replace(life, phase=Phase.STARTING, attempt=life.attempt + 1), (Effect.LAUNCH,)
        case Phase.STARTING, Started():
            return _start(life)
        case Phase.STARTING, StartFailed(reason):
            if life.stop_reason:
                return _end(life, AGENT_STATUS_STOPPED, life.stop_reason)
            return _end(life, AGENT_STATUS_FAILED, reason)
        case Phase.RUNNING, Observed(status, reason) if status in RUNNING_STATUSES:
            changed = status != life.status and not life.stop_reason
            return (replace(life, status=status, reason=reason), (Effect.SAVE,)) if changed else (life, ())
        case Phase.RUNNING, Exited(status, reason, retry_reason) if status in ENDED_STATUSES:
            if status == AGENT_STATUS_FAILED and life.attempt < life.max_attempts and not life.stop_reason:
                waits = replace(life, phase=Phase.BACKING_OFF, status=AGENT_STATUS_PENDING, reason=retry_reason)
                return waits, (Effect.SAVE_RETRY, Effect.SCHEDULE_RETRY)
            return _end(life, status, reason)
        case Phase.BACKING_OFF, RetryDue():
            return replace(life, phase=Phase.QUEUED), (Effect.ENQUEUE,)
        case Phase.ENDED, Resumed(reason):
            most = max(life.max_attempts, life.attempt + 1)
            queued = Life(reason=reason, attempt=life.attempt, max_attempts=most)
            return queued, (Effect.ENQUEUE,)
    raise IllegalTransition(f"{type(given).__name__} in phase {life.phase.name}")


def recovered(
    status: AgentStatus, reason: str, attempt: int, max_attempts: int, *, began: bool, backing_off: bool
) -> Step:
    """The life of an agent of an earlier sidecar, from its record. ``began``: a process of the attempt behind the last
    recorded one may have begun, so that it is not begun twice; ``backing_off``: the record names a time for a retry."""
    life = Life(Phase.QUEUED, status, reason, attempt, max_attempts)
    if status in ENDED_STATUSES:
        return replace(life, phase=Phase.ENDED), ()
    if status in RUNNING_STATUSES:
        return replace(life, phase=Phase.RUNNING), (Effect.WATCH,)
    if began:
        return _start(replace(life, phase=Phase.STARTING, attempt=attempt + 1))
    if backing_off:
        return replace(life, phase=Phase.BACKING_OFF), (Effect.SCHEDULE_RETRY,)
    return life, (Effect.ENQUEUE,)


def _start(life: Life) -> Step:
    runs = replace(life, phase=Phase.RUNNING, status=AGENT_STATUS_RUNNING, reason=f"attempt {life.attempt}")
    return runs, (Effect.SAVE_START, Effect.WATCH, *((Effect.STOP_PROCESS,) if life.stop_reason else ()))


def _stop(life: Life, reason: str) -> Step:
    """The first reason stays; asking again may shorten the time that the process has."""
    if life.phase is Phase.QUEUED:
        stopped, effects = _end(life, AGENT_STATUS_STOPPED, reason)
        return stopped, (Effect.LEAVE_QUEUE, *effects)
    if life.phase is Phase.BACKING_OFF:
        stopped, effects = _end(life, AGENT_STATUS_STOPPED, reason)
        return stopped, (Effect.CANCEL_RETRY, *effects)
    if life.phase is Phase.ENDED:
        return life, ()
    return replace(life, stop_reason=life.stop_reason or reason), (Effect.STOP_PROCESS,)


def _end(life: Life, status: AgentStatus, reason: str) -> Step:
    return replace(life, phase=Phase.ENDED, status=status, reason=reason), (Effect.FINISH,)
