"""In which order the pieces of the candidates matter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from cco_sidecar.core.reasons import Signal
from cco_sidecar.ranking import relevance
from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.ranking.kinds import DOCUMENT_FACTOR, TEST_FACTOR, kind_of
from cco_sidecar.ranking.mentions import places
from cco_sidecar.ranking.past import Change
from cco_sidecar.ranking.relevance import Piece, Ranking
from cco_sidecar.ranking.selection import Choice, named_by
from cco_sidecar.repository.rules import Rules
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context.candidates import Candidates

# What the task names, what findings name, what the spawn asks for, what earlier agents touched, and uncommitted work,
# as shares of the best file's score.
_NAMED, _FOUND, _REQUIRED, _DECIDED, _CHANGED = 1.0, 0.8, 0.5, 0.4, 0.2
# Groups of agent types that work on documents, and on tests.
_WRITERS, _TESTERS = frozenset({"documentation", "research", "business"}), frozenset({"quality"})
# The factor of files that the agent type does not read.
_FOREIGN = 0.6
# A task that finds less than this share of the budget says too little: the files of the type follow.
_VAGUE = 0.25


class Query(NamedTuple):
    """What a context is for. ``findings``: what earlier agents of the issue found wrong or left to do; ``group``: that
    of the agent type."""

    task: str
    findings: str = ""
    group: str = ""

    @property
    def text(self) -> str:
        return f"{self.task}\n{self.findings}" if self.findings else self.task


class Plan(NamedTuple):
    """``files`` and ``problems``: the candidates; ``ranking``: None without
    a task; ``first``: pieces that are taken before all others; ``pieces``: the others, the best first; ``fills``: they
    fill the budget, however little they matter."""

    files: Mapping[str, Chunked]
    problems: Mapping[str, str]
    ranking: Ranking | None
    first: list[Piece]
    pieces: list[Piece]
    fills: bool

    def shares(self) -> dict[str, float]:
        """Returns the score of each candidate that has one, as a share of the best."""
        if self.ranking is None:
            return {}
        scores = self.ranking.scores
        top = max(scores.values(), default=0.0)
        return {path: round(score / top, 3) for path, score in scores.items() if score > 0} if top else {}


def plan(snapshot: Snapshot, choices: Sequence[Choice], candidates: Candidates, query: Query, max_bytes: int) -> Plan:
    """Ranks by what is asked; without a task, in the documented order of priority."""
    files, problems = candidates
    rules = snapshot.rules
    always = [path for path in sorted(files) if rules.is_first(path)] if rules.always else []
    first = [Piece(1.0, path, chunk) for path in always for chunk in range(len(files[path].chunks))]
    if not query.task.strip():
        return Plan(files, problems, None, first, _in_order(choices, files, rules), fills=True)
    ranking = _ranked(files, query, snapshot, choices, max_bytes)
    pieces = [piece for piece in ranking.pieces if piece.score > 0]
    first += _best_of(snapshot.added, pieces)
    found = sum(files[piece.path].size(files[piece.path].chunks[piece.chunk]) for piece in pieces)
    if found >= _VAGUE * max_bytes:
        return Plan(files, problems, ranking, first, pieces, fills=False)
    known = {(piece.path, piece.chunk) for piece in pieces}
    in_order = _in_order(choices, files, rules)
    pieces += [piece for piece in in_order if (piece.path, piece.chunk) not in known]
    return Plan(files, problems, ranking, first, pieces, fills=True)


def _best_of(paths: Collection[str], pieces: Iterable[Piece]) -> list[Piece]:
    """Returns the best piece of each file: whoever names a document wants at least that."""
    best: dict[str, Piece] = {}
    for piece in pieces if paths else ():
        if piece.path in paths:
            best.setdefault(piece.path, piece)
    return list(best.values())


def _ranked(
    files: Mapping[str, Chunked], query: Query, snapshot: Snapshot, choices: Sequence[Choice], max_bytes: int
) -> Ranking:
    paths = tuple(files)
    of_task, of_findings = places(query.task, paths), places(query.findings, paths)
    lines = {path: of_task.get(path, set()) | of_findings.get(path, set()) for path in of_task.keys() | of_findings}
    changes = [Change(commit.message, commit.files_changed) for commit in snapshot.git.recent_commits]
    known: dict[str, dict[str, float]] = {
        Signal.UNCOMMITTED: {change.path: _CHANGED for change in snapshot.git.uncommitted_changes},
        Signal.NAMED_BY_TASK: dict.fromkeys(named_by(query.task, paths) | of_task.keys() | snapshot.added, _NAMED),
        Signal.NAMED_BY_FINDING: dict.fromkeys(named_by(query.findings, paths) | of_findings.keys(), _FOUND),
        Signal.REQUIRED: _chosen_for(Signal.REQUIRED, _REQUIRED, choices),
        Signal.NAMED_BY_DECISION: _chosen_for(Signal.NAMED_BY_DECISION, _DECIDED, choices),
    }
    own = {choice.path for choice in choices if not choice.comments}
    of_role = _of_role(paths, query.group)
    factors = {path: factor if path in own else _FOREIGN * factor for path, factor in of_role.items()}
    if snapshot.rules.weights:
        factors = {path: factor * snapshot.rules.factor(path) for path, factor in factors.items()}
    return relevance.rank(
        files,
        query.text,
        changes,
        max_bytes=max_bytes,
        known=known,
        factors=factors,
        weights=snapshot.rules.signals,
        lines=lines,
    )


def _chosen_for(reason: str, share: float, choices: Sequence[Choice]) -> dict[str, float]:
    return {choice.path: share for choice in choices if choice.reason == reason}


@lru_cache(maxsize=8)
def _of_role(paths: tuple[str, ...], group: str) -> Mapping[str, float]:
    """Returns what takes back the penalty of kinds of files that a group of agent types works on."""
    factors = dict.fromkeys(paths, 1.0)
    if group in _WRITERS:
        factors |= {path: 1 / DOCUMENT_FACTOR for path in paths if kind_of(path).document}
    if group in _TESTERS:
        factors |= {path: 1 / TEST_FACTOR for path in paths if kind_of(path).test}
    return factors


def _in_order(choices: Sequence[Choice], files: Mapping[str, Chunked], rules: Rules) -> list[Piece]:
    """Ranks the beginnings of all files before the rest of any."""
    paths = [choice.path for choice in choices if choice.path in files and rules.factor(choice.path)]
    # Examples and what nobody wrote come last.
    paths.sort(key=lambda path: kind_of(path).generated)
    pieces = []
    for number, path in enumerate(paths):
        place = number / (len(paths) + 1) / 4
        pieces += [Piece((0.75 if chunk else 1.0) - place, path, chunk) for chunk in range(len(files[path].chunks))]
    return sorted(pieces, key=lambda piece: (-piece.score, piece.path, piece.chunk))
