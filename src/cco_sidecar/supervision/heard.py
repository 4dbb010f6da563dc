"""What the events of agents, and of answers to them, change in their records."""

from __future__ import annotations

from functools import partial

from cco_sidecar.bus.entry import Entry
from cco_sidecar.core import announcements
from cco_sidecar.core.principal import OPERATOR
from cco_sidecar.supervision.records import Records
from cco_sidecar.supervision.supervisor import Supervisor

_HANDLED = frozenset(
    {"agent_completed", "agent_failed", announcements.APPROVAL_REQUESTED, announcements.APPROVAL_ANSWERED}
)


class Heard:
    """Handles events about results, approval requests and answers."""

    def __init__(self, supervisor: Supervisor, records: Records) -> None:
        self._supervisor = supervisor
        self._records = records

    def on_event(self, project: str, entry: Entry) -> None:
        """Looks at an event of any project."""
        if entry.event_type not in _HANDLED:
            return
        active = self._supervisor.active.get(entry.text("agent_id") or "")
        # Accept only events of the agent itself or of the operator.
        if active is None or entry.publisher not in (active.agent_id, OPERATOR):
            return
        match entry.event_type:
            case announcements.APPROVAL_REQUESTED if active.attempt is not None:
                question = entry.text("question") or ""
                active.attempt.monitor.questions[entry.text("approval_id") or ""] = question
                active.record.progress.message = question
            case announcements.APPROVAL_ANSWERED if active.attempt is not None and entry.publisher == OPERATOR:
                open_questions = active.attempt.monitor.questions
                answered = open_questions.pop(entry.text("approval_id") or "", None)
                if active.record.progress.message == answered:
                    # What it says now, or the next question.
                    active.record.progress.message = next(iter(open_questions.values()), "")
            case _ if result_id := entry.text("result_id"):
                self._supervisor.in_order(active, partial(self._records.note_result, active, result_id))
