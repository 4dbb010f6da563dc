"""What a repository's history says about a task: commits with a similar message, recency, files changed together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cco_sidecar.ranking.words import Terms

# Commits that change more files say nothing about any of them.
_MOST_FILES = 20
_MOST_FILES_TOGETHER = 15
_SIMILAR_HALF_LIFE, _RECENT_HALF_LIFE = 300, 50
_RECENT_COMMITS, _TOGETHER_COMMITS, _RATE_COMMITS = 200, 500, 100
_MESSAGE_CHARACTERS = 600
# Makes a pair of files that changed together once or twice count little.
_PRIOR = 3


class Change(NamedTuple):
    """A commit: its message, and the files that it changed."""

    message: str
    files: Sequence[str]


def similar(changes: Sequence[Change], terms: Terms) -> dict[str, float]:
    """Returns how much the files of commits with similar messages matter, at most 1. Newest first."""
    words = [terms.of_text(change.message[:_MESSAGE_CHARACTERS]) for change in changes]
    count = len(changes)
    frequency = [0] * len(terms.names)
    for found in words:
        for term in found:
            frequency[term] += 1
    weights = [terms.weights[term] * math.log(1 + (count - n + 0.5) / (n + 0.5)) for term, n in enumerate(frequency)]
    scores: dict[str, float] = {}
    for age, (change, found) in enumerate(zip(changes, words, strict=True)):
        if found and 0 < len(change.files) <= _MOST_FILES:
            score = sum(weights[term] for term in sorted(found)) / (1 + 0.05 * len(change.message.split()))
            score *= 0.5 ** (age / _SIMILAR_HALF_LIFE) / math.sqrt(len(change.files))
            for path in change.files:
                scores[path] = scores.get(path, 0.0) + score
    return _scaled(scores)


def recent(changes: Sequence[Change]) -> dict[str, float]:
    """Returns how recently and often the files changed, at most 1."""
    scores: dict[str, float] = {}
    for age, change in enumerate(changes[:_RECENT_COMMITS]):
        if len(change.files) <= _MOST_FILES:
            for path in change.files:
                scores[path] = scores.get(path, 0.0) + 0.5 ** (age / _RECENT_HALF_LIFE)
    return _scaled(scores)


def together(changes: Sequence[Change], leading: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns, for each leading file, the share of its commits that changed each other file too."""
    wanted = set(leading)
    count: dict[str, int] = {}
    shared: dict[str, dict[str, int]] = {path: {} for path in leading}
    for change in changes[:_TOGETHER_COMMITS]:
        if len(change.files) > _MOST_FILES_TOGETHER:
            continue
        for path in change.files:
            if path in wanted:
                count[path] = count.get(path, 0) + 1
                for other in change.files:
                    if other != path:
                        shared[path][other] = shared[path].get(other, 0) + 1
    return {
        path: {other: n / (count[path] + _PRIOR) for other, n in others.items()}
        for path, others in shared.items()
        if others
    }


def rate(changes: Sequence[Change], path: str) -> float:
    """Returns the share of the last commits that changed a file."""
    last = changes[:_RATE_COMMITS]
    return sum(path in change.files for change in last) / len(last) if last else 0.0


def _scaled(scores: dict[str, float]) -> dict[str, float]:
    top = max(scores.values(), default=0.0)
    return {path: score / top for path, score in scores.items()} if top else {}
