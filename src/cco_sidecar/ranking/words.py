"""The words of a task, as they are looked for in files, and where they stand there."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

# Words that say nothing about where to look: English, and the vocabulary of commit messages.
_COMMON_WORDS = """
a about above add added adding adds after again all allow allowed allows also an and any are as at be because been
before below between both bug bugs but by can cannot change changed changes changing chore close closed closes co
com could couldn did didn do docs does doesn doing don each ensure ensures etc feat feature few fix fixed fixes
fixing for from get gets github had has have here how http https i if improve improved improves in instead into is
isn issue issues it its just let like made make makes making many may might more most move moved moves must need
needed needs new no nor not now of off on one only or other our out over own per pr refactor remove removed
removes removing rename renamed reviewed same see shall she should shouldn signed so some still such support
supported supports than that the their them then there these they this those through to too under until up update
updated updates updating upon use used uses using very via want wants was wasn way we were what when where which
while who whom why will with without won work working works would www you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_WORD = re.compile(r"[^\W_]+(?:[_\-.:]+[^\W_]+)*_*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
# Han, Hiragana, Katakana (Unicode blocks)
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
# Identifiers of agents and issues, which say nothing (RFC 9562).
_UUID = re.compile(r"\b(?:[\w\-]{0,60}-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
# The beginning of a task says what it is about: so many characters of its first line.
_TITLE_CHARACTERS = 150
# Weights, measured (docs/context.md).
_TITLE, _COMPOUND, _QUOTED = 1.6, 2.5, 2.5
_PAIR = 0.5
# How many letters may follow a term within a word: `token` is found in `tokens`, not in `tokenizer`.
_MAX_ENDING = 2
# How far apart two words of a pair may stand, in bytes.
_PAIR_GAP = 5
# Of a longer task, the beginning counts; longer words are data. Of more terms, those with the highest weights count.
_TASK_CHARACTERS = 20_000
_WORD_CHARACTERS = 80
_MOST_TERMS = 600
# More hits in one file say nothing more.
_MOST_HITS = 20_000


class Hit(NamedTuple):
    """A term at an offset in bytes."""

    term: int
    offset: int


class Terms:
    """The terms of a task, their weights, and a search for all of them.

    ``names`` are in lower case: words without their endings, and identifiers as a whole. Terms from ``len(names)`` on
    are pairs of neighbouring words, which count where they stand side by side, as in ``ConnectionPool``.
    """

    def __init__(self, task: str) -> None:
        task = _UUID.sub(" ", task[:_TASK_CHARACTERS])
        weights, compounds = _weights(task)
        self.names = sorted(sorted(weights, key=lambda name: (-weights[name], name))[:_MOST_TERMS])
        self._index = index = {name: number for number, name in enumerate(self.names)}
        self.weights = [weights[name] for name in self.names]
        self._parts = [
            sorted({index[part] for part in compounds.get(name, ()) if part in index and part != name})
            for name in self.names
        ]
        self._lengths = [len(name.encode()) for name in self.names]
        self._unspaced = [_UNSPACED.match(name) is not None for name in self.names]
        forms = [(form, number) for number, name in enumerate(self.names) for form in _forms(name)]
        self._term_of_form = [number for _, number in forms]
        self._pairs: dict[tuple[int, int], int] = {}
        for pair in _pairs(task, index):
            if pair not in self._pairs:
                self._pairs[pair] = len(self.weights)
                self.weights.append(_PAIR * min(self.weights[pair[0]], self.weights[pair[1]]))
        self._automaton = (
            BytesAhoCorasick(
                [form for form, _ in forms],
                matchkind=MatchKind.LeftmostLongest,
                implementation=Implementation.DFA,
            )
            if self.names
            else None
        )

    def find(self, data: bytes, most: int | None = _MOST_HITS) -> list[Hit]:
        """Returns the first ``most`` hits in a text, by offset."""
        if self._automaton is None:
            return []
        found = []
        size = len(data)
        for form, start, end in self._automaton.find_matches_as_indexes(data.lower())[:most]:
            if self._unspaced[self._term_of_form[form]]:
                found.append(Hit(self._term_of_form[form], start))
                continue
            if start:
                before = data[start - 1]
                # A word begins after anything but a letter, or with a capital after a small letter.
                letter = 97 <= before <= 122 or 65 <= before <= 90 or before >= 128
                if letter and not (65 <= data[start] <= 90 and 97 <= before <= 122):
                    continue
            last = end
            while last < size and last - end <= _MAX_ENDING and 97 <= data[last] <= 122:
                last += 1
            if last - end <= _MAX_ENDING:
                found.append(Hit(self._term_of_form[form], start))
        return found

    def expanded(self, hits: list[Hit]) -> list[Hit]:
        """Adds the hits of pairs, and of the parts of compounds."""
        more = [Hit(part, hit.offset) for hit in hits for part in self._parts[hit.term]]
        if self._pairs:
            for first, second in itertools.pairwise(hits):
                pair = self._pairs.get((first.term, second.term))
                if pair is not None and second.offset - first.offset - self._lengths[first.term] <= _PAIR_GAP:
                    more.append(Hit(pair, first.offset))
        return [*hits, *more]

    def of_text(self, text: str) -> set[int]:
        """Returns the terms that occur in a text, such as a commit message."""
        return {self._index[stem] for stem in _stems(text) if stem in self._index}


@lru_cache(maxsize=8)
def terms_of(task: str) -> Terms:
    """Returns the terms of a task: the same object for the same task, as long as it is remembered."""
    return Terms(task)


@lru_cache(maxsize=20_000)
def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(part) for word in _WORD.findall(text) for part in _split(word))


def _forms(name: str) -> list[bytes]:
    """Returns how a term may be written in a text of which only ASCII was made lower case."""
    if name.isascii():
        return [name.encode()]
    return sorted({form.encode().lower() for form in (name, name.capitalize(), name.upper())})


def _weights(task: str) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Returns the terms with their weights, and the terms in each compound."""
    title = min(len(task.partition("\n")[0]), _TITLE_CHARACTERS)
    weights: dict[str, float] = {}
    compounds: dict[str, list[str]] = {}
    for match in _WORD.finditer(task):
        word = match.group().strip("_-.:")
        if len(word) > _WORD_CHARACTERS:
            continue
        weight = _TITLE if match.start() < title else 1.0
        quoted = task[max(0, match.start() - 1) : match.start()] == "`"
        parts = _split(word)
        compound = len(parts) > 1
        if compound and len(word) > 1 and not word.isdigit():
            whole = weight * _COMPOUND * (_QUOTED if quoted else 1.0)
            weights[word.lower()] = max(weights.get(word.lower(), 0.0), whole)
            compounds[word.lower()] = [_stem(part) for part in parts]
        for part in parts:
            alone = quoted and not compound
            if (part in _COMMON and not alone) or len(part) < 2 or (part.isdigit() and len(part) < 3):
                continue
            term = _stem(part)
            weights[term] = max(weights.get(term, 0.0), weight * (_QUOTED if alone else 1.0))
    return {term: weight for term, weight in weights.items() if len(term) > 1}, compounds


def _split(word: str) -> list[str]:
    parts = []
    for part in _PART.findall(word):
        if _UNSPACED.match(part):
            # Chinese and Japanese have no blanks between words: neighbouring characters stand for them.
            parts += [part[at : at + 2] for at in range(max(1, len(part) - 1))]
        else:
            parts.append(part.lower())
    return parts


def _pairs(task: str, index: dict[str, int]) -> list[tuple[int, int]]:
    """Returns the terms that follow each other in the task; words that say nothing may stand between them."""
    pairs = []
    previous: int | None = None
    for match in _WORD.finditer(task):
        for part in _split(match.group()):
            term = index.get(_stem(part))
            if term is not None and previous is not None and term != previous:
                pairs.append((previous, term))
            if term is not None or part not in _COMMON:
                previous = term
    return pairs


def _stem(word: str) -> str:
    """Removes the English endings that programs add and drop: `caches`, `cached` and `caching` are one word."""
    if len(word) <= 3:
        return word
    if len(word) > 5 and word.endswith("ing"):
        return word[:-3]
    if len(word) > 4 and word.endswith(("ies", "ed")):
        return word[: -3 if word.endswith("ies") else -2]
    if word.endswith("es"):
        return word[:-2] if word[-3] in "sxz" or word[-4:-2] in ("ch", "sh") else word[:-1]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
