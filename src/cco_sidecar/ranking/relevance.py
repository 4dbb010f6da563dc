"""Ranks the pieces of a repository by how much they matter for a task.

BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009) over pieces of files, to which each file adds
its own score, what its path says, and what the history says. The weights were measured (docs/context.md).
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from cco_sidecar.ranking import past
from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.ranking.kinds import factors, kind_of, stem_of
from cco_sidecar.ranking.past import Change
from cco_sidecar.ranking.words import Hit, Terms

_K1, _B = 1.2, 0.75
# Bytes of an average chunk.
_CHUNK_BYTES = 1500
_PATH, _SCOPE, _SIMILAR, _RECENT, _TOGETHER, _TWIN = 2.0, 6.4, 0.2, 0.2, 0.5, 0.3
_LEADING = 15
# Files with the best scores are split into chunks, up to so many bytes, or so many times the budget.
_LEADING_BYTES, _LEADING_TIMES = 1_000_000, 10
# What a file's first and last chunk get of its score: imports, and the place where code is appended.
_FIRST, _LAST = 0.15, 0.1
_CHANGE_LOG = 4.0
_FOREIGN = 0.6
# Budgets in bytes, and the share of a file's score that each of its chunks gets there.
_FILE_SHARES = ((64_000, 0.5), (256_000, 0.7), (math.inf, 1.0))
# "pkg/dir: ...", "fix(scope): ...", "[scope] ..."
_PREFIX = re.compile(r"^\s*(?:\[([^\]\n]{1,60})\]\s*)?(?:([\w\-./,*{}|& ]{1,60}?)(?:\(([^)\n]{1,60})\))?!?:\s)?")
_SCOPE_SEPARATOR = re.compile(r"[,|&\s{}]+")
_KINDS = """
fix feat chore docs doc test tests refactor build ci style perf bugfix feature bug revert deps wip types type all
misc release fixes
"""
_COMMIT_KINDS = frozenset(_KINDS.split())


class Piece(NamedTuple):
    """A chunk of a file, by number, and its score."""

    score: float
    path: str
    chunk: int


def rank(
    files: Mapping[str, Chunked],
    task: str,
    changes: Sequence[Change],
    *,
    max_bytes: float,
    prior: Mapping[str, float] | None = None,
    foreign: Container[str] = (),
) -> list[Piece]:
    """Returns the pieces that matter for a task, the best first. Equal arguments give equal results.

    ``changes``: newest first; ``max_bytes``: the budget that they are chosen for; ``prior``: what else is known of
    files, as a share of the best file's score; ``foreign``: files that the reader does not work on.
    """
    terms = Terms(task)
    found = _Occurrences(files, terms)
    own = {path: found.score_of_file(path) for path in files}
    for path, score in _scopes(task, files).items():
        own[path] += score
    top = max(own.values(), default=0.0) or 1.0
    total = dict(own)
    for signal, weight in ((past.similar(changes, terms), _SIMILAR), (past.recent(changes), _RECENT)):
        for path, score in signal.items():
            if path in total:
                total[path] += weight * top * score
    for path, share in (prior or {}).items():
        if path in total:
            total[path] += share * top
    penalties = factors(files, task)
    for path in penalties:
        if path in foreign:
            penalties[path] *= _FOREIGN
    for path, score in _neighbours(files, total, penalties, changes).items():
        total[path] += score
    leading = _leading(files, {path: score * penalties[path] for path, score in total.items()}, max_bytes)
    per_chunk = next(share for most, share in _FILE_SHARES if max_bytes <= most)
    pieces = []
    for path in files:
        if path in leading or (total[path] > 0 and kind_of(path).change_log):
            bonus = _CHANGE_LOG * top * past.rate(changes, path) if kind_of(path).change_log else 0.0
            pieces += _pieces(found, path, own[path], total[path], per_chunk, penalties[path], bonus)
    pieces.sort(key=lambda piece: (-piece.score, piece.path, piece.chunk))
    return pieces


class _Occurrences:
    """Where the terms stand, and how much each says (its inverse document frequency)."""

    def __init__(self, files: Mapping[str, Chunked], terms: Terms) -> None:
        self._files = files
        self._hits: dict[str, list[Hit]] = {}
        self._of_file: dict[str, dict[int, int]] = {}
        self._of_path: dict[str, set[int]] = {}
        count = [0] * len(terms.weights)
        for path, file in files.items():
            self._add(path, file, terms)
            for term in self._of_file[path].keys() | self._of_path[path]:
                count[term] += 1
        size = len(files)
        self._weights = [
            weight * math.log(1 + (size - n + 0.5) / (n + 0.5)) for weight, n in zip(terms.weights, count, strict=True)
        ]
        self._average = sum(len(file.data) for file in files.values()) / max(1, size)

    def _add(self, path: str, file: Chunked, terms: Terms) -> None:
        hits = terms.find(file.data)
        self._hits[path] = terms.expanded(hits) if hits else []
        whole: dict[int, int] = {}
        for term, _ in self._hits[path]:
            whole[term] = whole.get(term, 0) + 1
        self._of_file[path] = whole
        self._of_path[path] = {term for term, _ in terms.expanded(terms.find(path.encode("utf-8", "replace")))}

    def score_of_file(self, path: str) -> float:
        length = len(self._files[path].data) / self._average if self._average else 1.0
        named = sum(self._weights[term] for term in sorted(self._of_path[path]))
        return self._bm25(self._of_file[path], length) + _PATH * named

    def scores_of_chunks(self, path: str) -> list[float]:
        file = self._files[path]
        scores = [0.0] * len(file.chunks)
        by_chunk: dict[int, dict[int, int]] = {}
        for term, offset in self._hits[path]:
            counts = by_chunk.setdefault(file.chunk_at(offset), {})
            counts[term] = counts.get(term, 0) + 1
        for chunk, counts in by_chunk.items():
            scores[chunk] = self._bm25(counts, file.size(file.chunks[chunk]) / _CHUNK_BYTES)
        return scores

    def _bm25(self, counts: Mapping[int, int], length: float) -> float:
        norm = _K1 * (1 - _B + _B * length)
        return sum(self._weights[term] * n * (_K1 + 1) / (n + norm) for term, n in sorted(counts.items()))


def _leading(files: Mapping[str, Chunked], scores: Mapping[str, float], max_bytes: float) -> set[str]:
    """Returns the files that are worth splitting: those with the best scores, many times the budget."""
    space = max(_LEADING_BYTES, _LEADING_TIMES * max_bytes)
    leading = set()
    for path in sorted((path for path, score in scores.items() if score > 0), key=lambda path: (-scores[path], path)):
        if space <= 0:
            break
        leading.add(path)
        space -= len(files[path].data)
    return leading


def _pieces(
    found: _Occurrences, path: str, own: float, total: float, share: float, penalty: float, bonus: float
) -> list[Piece]:
    scores = found.scores_of_chunks(path)
    order = sorted(range(len(scores)), key=lambda chunk: (-scores[chunk], chunk))
    ranks = {chunk: rank for rank, chunk in enumerate(order)}
    last = len(scores) - 1
    pieces = []
    for chunk, score in enumerate(scores):
        if chunk == 0:
            score += _FIRST * total
        elif chunk == last:
            score += _LAST * total
        # What the file owes to others counts for its best chunks.
        score += share * (own + (total - own) / (1 + ranks[chunk]))
        pieces.append(Piece(score * penalty + (bonus if chunk == 0 else 0.0), path, chunk))
    return pieces


def _neighbours(
    files: Mapping[str, Chunked], total: Mapping[str, float], penalties: Mapping[str, float], changes: Sequence[Change]
) -> dict[str, float]:
    """Returns what files get from the leading ones: tests of a file, and files that change together with it."""
    scores = {path: score * penalties[path] for path, score in total.items() if score > 0}
    leading = sorted(scores, key=lambda path: (-scores[path], path))[:_LEADING]
    twins: dict[str, list[str]] = {}
    for path in files:
        twins.setdefault(stem_of(path), []).append(path)
    added: dict[str, float] = {}
    for path in leading:
        for twin in twins[stem_of(path)]:
            if kind_of(twin).test != kind_of(path).test:
                added[twin] = max(added.get(twin, 0.0), _TWIN * scores[path])
    for path, others in past.together(changes, leading).items():
        for other, rate in others.items():
            if other in files:
                added[other] = added.get(other, 0.0) + _TOGETHER * scores[path] * rate
    return added


def _scopes(task: str, files: Mapping[str, Chunked]) -> dict[str, float]:
    """Returns what the files get that the task's prefix names, such as `storage/sql: ...` or `fix(parser): ...`."""
    match = _PREFIX.match(task)
    groups = [group for group in (match.groups() if match else ()) if group]
    names = [name.strip("*./ ").lower() for group in groups for name in _SCOPE_SEPARATOR.split(group)]
    added: dict[str, float] = {}
    for name in names:
        if len(name) < 2 or name in _COMMIT_KINDS or name[0].isdigit():
            continue
        matches = {path: share for path in files if (share := _share_of_scope(name, path))}
        if matches:
            count = len(matches)
            weight = _SCOPE * math.log(1 + (len(files) - count + 0.5) / (count + 0.5))
            for path, share in matches.items():
                added[path] = added.get(path, 0.0) + weight * share
    return added


def _share_of_scope(name: str, path: str) -> float:
    lowered = f"/{path.lower()}"
    if "/" in name and (f"/{name}/" in lowered or f"/{name}." in lowered):
        return 1.0
    last = name.rpartition("/")[2]
    directory, _, file = lowered.rpartition("/")
    if file.partition(".")[0] == last or directory.endswith(f"/{last}"):
        return 1.0
    if f"/{last}/" in directory:
        return 0.5
    delimited = "/" not in name and re.search(rf"[/_.-]{re.escape(last)}[/_.-]", lowered) is not None
    return 0.4 if delimited else 0.0
