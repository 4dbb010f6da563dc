"""Ranks the pieces of a repository by how much they matter for a task.

The words of the task in pieces of files, to which each file adds its own score, what its path says, and what the
history says. The weights were measured (docs/context.md).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from cco_sidecar.core.reasons import Signal
from cco_sidecar.ranking import kinds, past, scopes
from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.ranking.kinds import kind_of, stem_of
from cco_sidecar.ranking.occurrences import Occurrences
from cco_sidecar.ranking.past import Change
from cco_sidecar.ranking.words import terms_of

_SIMILAR, _RECENT, _TOGETHER, _TWIN = 0.2, 0.2, 0.5, 0.3
_LEADING = 15
# Files with the best scores are split into chunks, up to so many bytes, or so many times the budget.
_LEADING_BYTES, _LEADING_TIMES = 300_000, 4
# What a file's first and last chunk get of its score: imports, and the place where code is appended.
_FIRST, _LAST = 0.15, 0.1
_CHANGE_LOG = 4.0
# Budgets in bytes, and the share of a file's score that each of its chunks gets there.
_FILE_SHARES = ((64_000, 0.5), (256_000, 0.85), (math.inf, 1.0))


class Piece(NamedTuple):
    """A chunk of a file, by number, and its score."""

    score: float
    path: str
    chunk: int


class Ranking(NamedTuple):
    """The pieces that matter, the best first, and why: what each signal gives each file, by name and path, the factor
    of each file, and ``scores``, the sum of a file's signals times its factor, of those that have any."""

    pieces: list[Piece]
    signals: dict[str, dict[str, float]]
    factors: dict[str, float]
    scores: dict[str, float]


def rank(
    files: Mapping[str, Chunked],
    task: str,
    changes: Sequence[Change],
    *,
    max_bytes: float,
    known: Mapping[str, Mapping[str, float]] | None = None,
    factors: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    lines: Mapping[str, Collection[int]] | None = None,
) -> Ranking:
    """Ranks the pieces by how much they matter for a task. Equal arguments give equal results.

    ``changes``: newest first; ``max_bytes``: the budget that they are chosen for; ``known``: further signals, as shares
    of the best file's score; ``factors``: of files, besides those of their kinds; ``weights``: of signals, 1 if absent;
    ``lines``: places that the task names, from 1, by path.
    """
    terms = terms_of(task)
    found = Occurrences(files, terms)
    weights = weights or {}
    of_words: dict[str, dict[str, float]] = {Signal.WORDS: found.in_texts(), Signal.PATH: found.in_paths()}
    own = _weighted(weights, {**of_words, Signal.SCOPE: scopes.named_by(task, files)})
    own_totals = _totals(own)
    top = max(own_totals.values(), default=0.0) or 1.0
    shares = {Signal.SIMILAR_COMMITS: past.similar(changes, terms), Signal.RECENT_COMMITS: past.recent(changes)}
    scales: dict[str, float] = {Signal.SIMILAR_COMMITS: _SIMILAR, Signal.RECENT_COMMITS: _RECENT}
    others = _weighted(
        weights,
        {
            name: {path: scales.get(name, 1.0) * top * share for path, share in points.items() if path in files}
            for name, points in (shares | dict(known or {})).items()
        },
    )
    every = dict(kinds.factors(tuple(files), task))
    for path, factor in (factors or {}).items():
        every[path] *= factor
    signals = own | others
    near = _neighbours(files, _totals(signals), every, changes)
    signals |= _weighted(weights, near)
    totals = _totals(signals)
    scores = {path: score * every[path] for path, score in totals.items()}
    leading = _leading(files, scores, max_bytes)
    per_chunk = next(share for most, share in _FILE_SHARES if max_bytes <= most)
    pieces = []
    for path in files:
        total = totals.get(path, 0.0)
        if path in leading or (total > 0 and kind_of(path).change_log):
            # The factor of change logs says that they seldom matter; one that every commit changes does.
            rate = past.rate(changes, path) if kind_of(path).change_log else 0.0
            bonus = _CHANGE_LOG * top * rate / kinds.CHANGE_LOG_FACTOR
            scored = [weights.get(Signal.WORDS, 1.0) * score for score in found.of_chunks(path)]
            scored = _with_lines(scored, files[path], (lines or {}).get(path, ()), top)
            pieces += _pieces(scored, path, own_totals.get(path, 0.0), total, per_chunk, every[path], bonus)
    pieces.sort(key=lambda piece: (-piece.score, piece.path, piece.chunk))
    return Ranking(pieces, signals, every, scores)


def _weighted(weights: Mapping[str, float], signals: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: points
        if (weight := weights.get(name, 1.0)) == 1.0
        else {path: weight * score for path, score in points.items()}
        for name, points in signals.items()
    }


def _totals(signals: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for points in signals.values():
        for path, score in points.items():
            totals[path] = totals.get(path, 0.0) + score
    return totals


def _leading(files: Mapping[str, Chunked], scores: Mapping[str, float], max_bytes: float) -> set[str]:
    """Returns the files that are worth splitting: those with the best scores, many times the budget."""
    space = max(_LEADING_BYTES, _LEADING_TIMES * max_bytes)
    leading = set()
    for path in sorted((path for path, score in scores.items() if score > 0), key=lambda path: (-scores[path], path)):
        if space <= 0:
            break
        leading.add(path)
        space -= len(files[path].raw)
    return leading


def _with_lines(scores: list[float], file: Chunked, lines: Collection[int], top: float) -> list[float]:
    """Adds what a chunk gets for a line that the task names."""
    for line in lines:
        if line <= file.line_count:
            scores[file.chunk_at(file.starts[line - 1])] += top
    return scores


def _pieces(
    scores: list[float], path: str, own: float, total: float, share: float, factor: float, bonus: float
) -> list[Piece]:
    order = sorted(range(len(scores)), key=lambda chunk: (-scores[chunk], chunk))
    ranks = {chunk: rank for rank, chunk in enumerate(order)}
    last = len(scores) - 1
    pieces = []
    for chunk, score in enumerate(scores):
        if chunk == 0:
            score += _FIRST * total
        elif chunk == last:
            score += _LAST * total
        # What history and neighbours give to the file counts for its best chunks.
        score += share * (own + (total - own) / (1 + ranks[chunk]))
        pieces.append(Piece((score + (bonus if chunk == 0 else 0.0)) * factor, path, chunk))
    return pieces


def _neighbours(
    files: Mapping[str, Chunked], total: Mapping[str, float], factors: Mapping[str, float], changes: Sequence[Change]
) -> dict[str, dict[str, float]]:
    """Returns what files get from the leading ones: tests of a file, and files that change together with it."""
    scores = {path: score * factors[path] for path, score in total.items() if score > 0}
    leading = sorted(scores, key=lambda path: (-scores[path], path))[:_LEADING]
    wanted = {stem_of(path) for path in leading}
    twins: dict[str, list[str]] = {stem: [] for stem in wanted}
    for path in files:
        if (stem := stem_of(path)) in wanted:
            twins[stem].append(path)
    tests: dict[str, float] = {}
    for path in leading:
        for twin in twins[stem_of(path)]:
            if kind_of(twin).test != kind_of(path).test:
                tests[twin] = max(tests.get(twin, 0.0), _TWIN * scores[path])
    together: dict[str, float] = {}
    for path, others in past.together(changes, leading).items():
        for other, rate in others.items():
            if other in files:
                together[other] = together.get(other, 0.0) + _TOGETHER * scores[path] * rate
    return {Signal.TESTS: tests, Signal.CHANGED_TOGETHER: together}
