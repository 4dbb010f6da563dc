"""The lifecycle of an agent as a pure state machine: (life, input) to (life, effects).

::

    QUEUED ── Admitted ──> STARTING ── Started ──> RUNNING ── Exited ──> ENDED
      ^                        │                      │                    │
      ├───── NoSlot ───────────┤                      │                    │
      │                        └── StartFailed ──> ENDED                   │
      │                                               │                    │
      ├──── RetryDue ──── BACKING_OFF <── Exited (failed, attempts left)   │
      └──────────────────────────── Resumed ───────────────────────────────┘

``StopRequested`` ends a QUEUED or BACKING_OFF agent at once. A STARTING or RUNNING agent ends when its process does,
and ``stop_reason`` records why. The supervisor executes the effects in order and feeds the inputs.
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
    """The phases of the state machine; the status that users see is separate."""

    # Waiting for a free slot.
    QUEUED = auto()
    # Has a slot; its worktree, context and process are being created.
    STARTING = auto()
    RUNNING = auto()
    # Its last attempt failed; the next one is due later.
    BACKING_OFF = auto()
    ENDED = auto()


class Effect(Enum):
    """What the supervisor has to do after a transition."""

    # Adds the agent, which has no slot any more, to the queue of those that wait for one, or removes it.
    ENQUEUE = auto()
    LEAVE_QUEUE = auto()
    # Starts the process of the current attempt. Answered by Started, StartFailed or NoSlot.
    LAUNCH = auto()
    # Saves the record and announces the start.
    SAVE_START = auto()
    # Waits for the end of the process. Answered by Exited.
    WATCH = auto()
    # Saves the record with another status.
    SAVE = auto()
    # Ends the process, and revokes its tokens at once.
    STOP_PROCESS = auto()
    # Saves the failed attempt and frees the slot.
    SAVE_RETRY = auto()
    # Starts the timer of the next attempt, answered by RetryDue, or cancels it.
    SCHEDULE_RETRY = auto()
    CANCEL_RETRY = auto()
    # Revokes the tokens, saves and announces the end, and frees the slot.
    FINISH = auto()


@dataclass(frozen=True, slots=True)
class Life:
    """The state of one agent. ``attempt``: how many attempts have begun; ``stop_reason``: why it is being stopped, if
    it is."""

    phase: Phase = Phase.QUEUED
    status: AgentStatus = AGENT_STATUS_PENDING
    reason: str = "waiting for a free slot"
    attempt: int = 0
    max_attempts: int = 1
    stop_reason: str = ""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A slot is free for the agent."""


@dataclass(frozen=True, slots=True)
class Started:
    """The process runs."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The process could not be started."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoSlot:
    """The machine had no free slot after all: another sidecar has used it."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What monitoring reports. ``status``: RUNNING, NEEDS_INPUT or STUCK."""

    status: AgentStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has ended. ``status``: COMPLETED, FAILED or STOPPED; ``retry_reason``: the reason to show until the
    next attempt; ``retryable``: another attempt may follow a failure."""

    status: AgentStatus
    reason: str
    retry_reason: str = ""
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A caller, or the sidecar, wants the agent to stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The backoff before the next attempt is over."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A caller starts an ended agent again."""

    reason: str


Input = Admitted | Started | StartFailed | NoSlot | Observed | Exited | StopRequested | RetryDue | Resumed
Step = tuple[Life, tuple[Effect, ...]]


class IllegalTransition(Exception):
    """The input is not allowed in this phase: a bug of the caller."""


def step(life: Life, given: Input) -> Step:
    """Returns the next life and the effects to execute. Raises IllegalTransition."""
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
        case Phase.STARTING, NoSlot():
            if life.stop_reason:
                return _end(life, AGENT_STATUS_STOPPED, life.stop_reason)
            return replace(life, phase=Phase.QUEUED, attempt=life.attempt - 1), (Effect.ENQUEUE,)
        case Phase.RUNNING, Observed(status, reason) if status in RUNNING_STATUSES:
            changed = status != life.status and not life.stop_reason
            return (replace(life, status=status, reason=reason), (Effect.SAVE,)) if changed else (life, ())
        case Phase.RUNNING, Exited(status, reason, retry_reason, retryable) if status in ENDED_STATUSES:
            retryable = retryable and life.attempt < life.max_attempts and not life.stop_reason
            if status == AGENT_STATUS_FAILED and retryable:
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
    """Returns the life of an agent of an earlier sidecar, from its record.

    ``began``: there is a trace of the attempt's process, which must not be started twice; for a pending agent, of the
    attempt after the last recorded one. ``backing_off``: the record has a retry time.
    """
    life = Life(Phase.QUEUED, status, reason, attempt, max_attempts)
    if status in ENDED_STATUSES:
        return replace(life, phase=Phase.ENDED), ()
    if status in RUNNING_STATUSES:
        # Without a trace of the attempt this is a restored copy, and the agent may still run on the original system:
        # no other attempt follows.
        most = max_attempts if began else attempt
        return replace(life, phase=Phase.RUNNING, max_attempts=most), (Effect.WATCH,)
    if began:
        return _start(replace(life, phase=Phase.STARTING, attempt=attempt + 1))
    if backing_off:
        return replace(life, phase=Phase.BACKING_OFF), (Effect.SCHEDULE_RETRY,)
    return life, (Effect.ENQUEUE,)


def _start(life: Life) -> Step:
    runs = replace(life, phase=Phase.RUNNING, status=AGENT_STATUS_RUNNING, reason=f"attempt {life.attempt}")
    return runs, (Effect.SAVE_START, Effect.WATCH, *((Effect.STOP_PROCESS,) if life.stop_reason else ()))


def _stop(life: Life, reason: str) -> Step:
    """Keeps the first reason. A repeated request may shorten the grace period."""
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
