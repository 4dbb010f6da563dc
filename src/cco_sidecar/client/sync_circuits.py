# Written by scripts/unasync.py from aio_circuits.py; change that file.
"""The synchronous client: circuit breakers that a team shares."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cco_sidecar.client.errors import CircuitOpenError, ConflictError
from cco_sidecar.client.sync_events import Events
from cco_sidecar.client.values import CLOSED, OPEN, TRYING, CircuitState

T = TypeVar("T")

CIRCUIT_CHANGED = "circuit_changed"
# How often another agent may change a circuit's state while this one does.
_TRIES = 20
# A year.
_MAX_OPEN_SECONDS = 31_536_000


class Circuit:
    """A circuit breaker. Its state is the newest event of a topic of its own, so it survives everybody."""

    def __init__(self, events: Events, name: str, max_failures: int, open_seconds: float, project_id: str) -> None:
        self._events = events
        self._name = name
        self._topic = f"circuit.{name}"
        self._max_failures = max_failures
        if not 0 <= open_seconds <= _MAX_OPEN_SECONDS:
            raise ValueError(f"open_seconds must be from 0 to {_MAX_OPEN_SECONDS}, not {open_seconds}")
        self._open_for = timedelta(seconds=open_seconds)
        # Of the topic; needed only if it is not listed because it has expired.
        self._newest = "0"
        self._project_id = project_id

    def call(self, work: Callable[[], T]) -> T:
        """Runs ``work`` and returns its result. Raises CircuitOpenError without running it if others failed too often;
        an exception of ``work`` counts as a failure."""
        self.enter()
        try:
            result = work()
        except Exception as problem:
            self.failed(str(problem))
            raise
        self.succeeded()
        return result

    def enter(self) -> None:
        """Asks whether to try. Raises CircuitOpenError. Call ``succeeded`` or ``failed`` afterwards."""
        for _ in range(_TRIES):
            now = self._state()
            if now.state == CLOSED:
                return
            left = self._open_for - (datetime.now(UTC) - now.since)
            if left > timedelta():
                seconds = left.total_seconds()
                raise CircuitOpenError(
                    f"circuit '{self._name}' is {now.state} after {now.failures} failures"
                    f"{f', the last: {now.reason}' if now.reason else ''}; try again in {seconds:.0f} s",
                    seconds,
                )
            if self._change(now, TRYING, now.failures, now.reason):
                return
        raise self._contended()

    def succeeded(self) -> None:
        """Closes the circuit, unless it was opened after this call began. Raises SidecarError, and CircuitOpenError if
        too many change it at a time."""
        for _ in range(_TRIES):
            now = self._state()
            if not now.failures or now.state == OPEN or self._change(now, CLOSED, 0, ""):
                return
        raise self._contended()

    def failed(self, reason: str = "") -> None:
        """Counts a failure, and opens the circuit if it is one too many, or if this was the agent that tried. Raises
        SidecarError, and CircuitOpenError if too many change it at a time."""
        for _ in range(_TRIES):
            now = self._state()
            failures = now.failures + 1
            closed = now.state == CLOSED and failures < self._max_failures
            if self._change(now, CLOSED if closed else OPEN, failures, reason[:1000]):
                return
        raise self._contended()

    def _contended(self) -> CircuitOpenError:
        text = f"circuit '{self._name}' is changed by too many agents at a time; try again"
        return CircuitOpenError(text, self._open_for.total_seconds())

    def _state(self) -> CircuitState:
        page = self._events.list(topic=self._topic, limit=1, project_id=self._project_id)
        return CircuitState.of(page.events[-1] if page.events else None, self._newest)

    def _change(self, before: CircuitState, state: str, failures: int, reason: str) -> bool:
        """Records a new state. Returns False if another agent changed it in the meantime."""
        data = {"circuit": self._name, "state": state, "failures": failures, "reason": reason}
        try:
            self._events.publish(
                CIRCUIT_CHANGED,
                data,
                topic=self._topic,
                project_id=self._project_id,
                expected_last_event_id=before.event_id,
            )
        except ConflictError as problem:
            self._newest = str(problem.details.get("last_event_id") or self._newest)
            time.sleep(random.uniform(0.0, 0.1))
            return False
        return True
