"""Where the words of a task stand in files, and what that says (BM25).

Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from cco_sidecar.ranking.chunks import Chunked, Found
from cco_sidecar.ranking.words import Hit, Terms

_K1, _B = 1.2, 0.75
# Bytes of an average chunk.
_CHUNK_BYTES = 1500
_PATH = 2.0
# Files with more hits are searched again for the next request of the same task.
_REMEMBERED_HITS = 2_000
_NO_COUNTS: Counter[int] = Counter()


class Occurrences:
    """Where the terms stand, and how much each says (its inverse document frequency)."""

    def __init__(self, files: Mapping[str, Chunked], terms: Terms) -> None:
        self._files = files
        found = {path: each for path, file in files.items() if (each := _found(file, terms)).hits}
        self._hits = {path: each.hits for path, each in found.items()}
        self._of_file = {path: each.counts for path, each in found.items()}
        self._of_path = _in_paths(list(files), terms)
        count = [0] * len(terms.weights)
        for path in self._of_file.keys() | self._of_path.keys():
            for term in self._of_file.get(path, {}).keys() | self._of_path.get(path, frozenset()):
                count[term] += 1
        size = len(files)
        self._weights = [
            weight * math.log(1 + (size - n + 0.5) / (n + 0.5)) for weight, n in zip(terms.weights, count, strict=True)
        ]
        self._average = sum(len(file.raw) for file in files.values()) / max(1, size) or 1.0

    def in_texts(self) -> dict[str, float]:
        """Returns the score of each file whose text has a term."""
        return {
            path: self._bm25(counts, len(self._files[path].raw) / self._average)
            for path, counts in self._of_file.items()
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
        by_chunk: dict[int, dict[int, int]] = {}
        for term, offset in self._hits.get(path, ()):
            counts = by_chunk.setdefault(file.chunk_at(offset), {})
            counts[term] = counts.get(term, 0) + 1
        for chunk, counts in by_chunk.items():
            scores[chunk] = self._bm25(counts, file.size(file.chunks[chunk]) / _CHUNK_BYTES)
        return scores

    def _bm25(self, counts: Mapping[int, int], length: float) -> float:
        norm = _K1 * (1 - _B + _B * length)
        return sum(self._weights[term] * n * (_K1 + 1) / (n + norm) for term, n in sorted(counts.items()))


def _found(file: Chunked, terms: Terms) -> Found:
    """Returns the hits in a file's text; those for the latest task are kept with the file."""
    if file.searched is not None and file.searched.terms is terms:
        return file.searched
    hits = terms.find(file.raw)
    if hits and file.data != file.raw:
        hits = terms.find(file.data)
    if hits:
        hits = terms.expanded(hits)
        found = Found(terms, hits, Counter(hit.term for hit in hits))
    else:
        found = Found(terms, hits, _NO_COUNTS)
    if len(hits) <= _REMEMBERED_HITS:
        file.searched = found
    return found


def _in_paths(paths: list[str], terms: Terms) -> dict[str, set[int]]:
    """Returns the terms in each path that has some. All paths are searched at once."""
    lines = [f"{path}\n".encode("utf-8", "replace") for path in paths]
    ends = list(accumulate(map(len, lines)))
    found: dict[str, list[Hit]] = {}
    number = 0
    for hit in terms.find(b"".join(lines), most=None):
        while hit.offset >= ends[number]:
            number += 1
        found.setdefault(paths[number], []).append(hit)
    return {path: {hit.term for hit in terms.expanded(hits)} for path, hits in found.items()}
