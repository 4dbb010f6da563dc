"""Says why a context within a budget holds what it holds."""

from __future__ import annotations

from cco_sidecar.core.codec import to_json
from cco_sidecar.core.reasons import Reason
from cco_sidecar.ranking.cutting import Excerpt
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context import sections
from cco_sidecar.services.context.focused import Focused
from cco_sidecar.services.context.plan import Plan
from orchestra.v1.context_service_pb2 import (
    DISPOSITION_CUT,
    DISPOSITION_INCLUDED,
    DISPOSITION_LEFT_OUT,
    Candidate,
    ExplainContextResponse,
    LineRange,
)

DEFAULT_LIMIT = 200


def explain(snapshot: Snapshot, focused: Focused, max_bytes: int, limit: int) -> ExplainContextResponse:
    """Returns the best ``limit`` candidates; ``focused`` was built within ``max_bytes``."""
    plan = focused.plan
    excerpts = {excerpt.path: excerpt for excerpt in focused.excerpts}
    shares = plan.shares()
    paths = [*snapshot.files, *(barred.path for barred in snapshot.barred)]
    paths.sort(key=lambda path: (-shares.get(path, -1.0), path not in excerpts, path))
    response = ExplainContextResponse(
        total_candidates=len(paths), max_bytes=max_bytes, used_bytes=len(to_json(focused.response))
    )
    top = max(plan.ranking.scores.values(), default=0.0) if plan.ranking else 0.0
    barred = {each.path: each for each in snapshot.barred}
    for path in paths[:limit]:
        if path in barred:
            candidate = Candidate(disposition=DISPOSITION_LEFT_OUT, reason=barred[path].reason, size=barred[path].bytes)
        else:
            candidate = _candidate(path, snapshot, focused, excerpts.get(path))
        candidate.path = sections.utf8(path)
        if path in shares:
            candidate.score = shares[path]
            _add_signals(candidate, path, plan, top)
        response.candidates.append(candidate)
    return response


def _candidate(path: str, snapshot: Snapshot, focused: Focused, excerpt: Excerpt | None) -> Candidate:
    plan = focused.plan
    candidate = Candidate(size=snapshot.files[path].size)
    if path in plan.files:
        candidate.line_count = plan.files[path].line_count
    if excerpt is None:
        candidate.disposition = DISPOSITION_LEFT_OUT
        candidate.reason = plan.problems.get(path, Reason.LESS_RELEVANT)
        return candidate
    whole = excerpt.parts == [(0, max(1, candidate.line_count))]
    candidate.disposition = DISPOSITION_INCLUDED if whole else DISPOSITION_CUT
    candidate.reason = focused.reasons.get(path, Reason.RELEVANT)
    candidate.lines.extend(LineRange(first=part.start + 1, last=part.end) for part in excerpt.parts)
    return candidate


def _add_signals(candidate: Candidate, path: str, plan: Plan, top: float) -> None:
    if plan.ranking is None or not top:
        return
    candidate.factor = round(plan.ranking.factors[path], 3)
    for name, points in plan.ranking.signals.items():
        if points.get(path):
            candidate.signals[name] = round(points[path] / top, 3)
