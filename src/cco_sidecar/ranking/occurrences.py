"""Where the words of a task stand in files, and what that says (BM25).

Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate

from cco_sidecar.ranking.chunks import Chunked, Counts, Found
from cco_sidecar.ranking.words import Hit, Terms

_K1, _B = 1.2, 0.75
# Bytes of an average chunk.
_CHUNK_BYTES = 1500
_PATH = 2.0
# Files with more hits are searched again for the next request of the same task, and for tasks before the latest.
_REMEMBERED_HITS, _REMEMBERED_TASKS = 2_000, 8


class Occurrences:
    """Where the terms stand, and how much each says (its inverse document frequency)."""

    def __init__(self, files: Mapping[str, Chunked], terms: Terms) -> None:
        self._files = files
        self._found = {path: found for path, file in files.items() if (found := _found(file, terms)).counts}
        self._of_path = _in_paths(tuple(files), terms)
        count = [0] * len(terms.weights)
        for in_path in self._of_path.values():
            for term in in_path:
                count[term] += 1
        for path, found in self._found.items():
            in_path = self._of_path.get(path, frozenset())
            for term, _ in found.counts:
                count[term] += term not in in_path
        size = len(files)
        self._weights = [
            weight * math.log(1 + (size - n + 0.5) / (n + 0.5)) for weight, n in zip(terms.weights, count, strict=True)
        ]
        self._average = sum(len(file.raw) for file in files.values()) / max(1, size) or 1.0

    def in_texts(self) -> dict[str, float]:
        """Returns the score of each file whose text has a term."""
        return {
            path: self._bm25(found.counts, len(self._files[path].raw) / self._average)
            for path, found in self._found.items()
        }

    def in_paths(self) -> dict[str, float]:
        """Returns what each path says that has a term."""
        return {
            path: _PATH * sum(self._weights[term] for term in sorted(terms)) for path, terms in self._of_path.items()
        }

    def of_chunks(self, path: str) -> list[float]:
        """Returns the score of each chunk of a file."""
        file = self._files[path]
        scores = [0.0] * len(file.chunks)
        if path in self._found:
            for chunk, counts in self._found[path].by_chunk(file):
                scores[chunk] = self._bm25(counts, file.sizes[chunk] / _CHUNK_BYTES)
        return scores

    def _bm25(self, counts: Counts, length: float) -> float:
        norm = _K1 * (1 - _B + _B * length)
        return sum([self._weights[term] * n * (_K1 + 1) / (n + norm) for term, n in counts])


def _found(file: Chunked, terms: Terms) -> Found:
    """Returns the hits in a file's text; those for the latest tasks are kept with the file."""
    for found in file.searched:
        if found.terms is terms:
            return found
    hits = terms.find(file.raw)
    if hits and file.data is not file.raw:
        hits = terms.find(file.searchable)
    found = Found(terms, terms.expanded(hits)) if hits else _nothing(terms)
    if len(hits) <= _REMEMBERED_HITS:
        file.searched = (found, *file.searched[: _REMEMBERED_TASKS - 1])
    return found


@lru_cache(maxsize=_REMEMBERED_TASKS)
def _nothing(terms: Terms) -> Found:
    return Found(terms, [])


@lru_cache(maxsize=_REMEMBERED_TASKS)
def _in_paths(paths: tuple[str, ...], terms: Terms) -> Mapping[str, frozenset[int]]:
    """Returns the terms in each path that has some. All paths are searched at once."""
    lines = [f"{path}\n".encode("utf-8", "replace") for path in paths]
    ends = list(accumulate(map(len, lines)))
    found: dict[str, list[Hit]] = {}
    number = 0
    for hit in terms.find(b"".join(lines), most=None):
        while hit.offset >= ends[number]:
            number += 1
        found.setdefault(paths[number], []).append(hit)
    return {path: frozenset(hit.term for hit in terms.expanded(hits)) for path, hits in found.items()}
