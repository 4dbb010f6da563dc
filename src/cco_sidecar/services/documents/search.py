"""Finds the parts of a text that have the words which are searched for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cco_sidecar.core.terms import Term, folded, is_unspaced
from cco_sidecar.storage.documents import Found
from orchestra.v1.document_service_pb2 import DocumentFound, DocumentSection

_SECTION_CHARS = 1000
_MAX_SECTIONS = 3
# Of each term, so many places are looked at; the words of a phrase stand at most so many characters apart.
_MAX_PLACES, _MAX_GAP = 2_000, 20


def shown(found: Sequence[Found], terms: Sequence[Term]) -> list[DocumentFound]:
    best = max((each.rank for each in found), default=0.0)
    return [
        DocumentFound(
            document=each.document,
            score=round(each.rank / best, 4) if best > 0 else 1.0,
            sections=sections(each.data.decode(), terms) if each.data is not None else (),
        )
        for each in found
    ]


class _Place(NamedTuple):
    start: int
    end: int
    term: int


def sections(text: str, terms: Sequence[Term]) -> list[DocumentSection]:
    """Returns the parts of at most 1,000 characters with the most of the terms, none of which overlap."""
    places = _places(text, terms)
    found: list[DocumentSection] = []
    while places and len(found) < _MAX_SECTIONS:
        start, terms_there = _best(places)
        # Begin a little before, at the start of a line if one is near.
        begin = max(0, start - 100)
        line = text.rfind("\n", begin, start) + 1
        begin = line or begin
        end = min(len(text), begin + _SECTION_CHARS)
        found.append(
            DocumentSection(
                score=round(terms_there / len(terms), 4), offset=begin, limit=end - begin, text=text[begin:end]
            )
        )
        places = [place for place in places if place.end <= begin or place.start >= end]
    return found


def _best(places: Sequence[_Place]) -> tuple[int, int]:
    """Returns where the part begins that has the most different terms, and how many it has."""
    best, counts = (places[0].start, 1), dict[int, int]()
    last = 0
    for place in places:
        while last < len(places) and places[last].end <= place.start + _SECTION_CHARS - 200:
            counts[places[last].term] = counts.get(places[last].term, 0) + 1
            last += 1
        if len(counts) > best[1]:
            best = (place.start, len(counts))
        counts[place.term] = counts.get(place.term, 1) - 1
        if counts[place.term] <= 0:
            del counts[place.term]
    return best


def _places(text: str, terms: Sequence[Term]) -> list[_Place]:
    """Returns where the terms are, in the order of the text; the first of very many. Upper case and accents do not
    count, as in the index."""
    plain = folded(text)
    found: list[_Place] = []
    for number, term in enumerate(terms):
        found += _each_place(plain, term, number)
    return sorted(found)


def _each_place(text: str, term: Term, number: int) -> Iterator[_Place]:
    # Not a regular expression: searching for a string is twenty times as fast.
    first = term.words[0]
    start = text.find(first)
    for _ in range(_MAX_PLACES):
        if start < 0:
            return
        if is_unspaced(first) or not _joins(text[start - 1 : start]):
            end = _end(text, start, term)
            if end:
                yield _Place(start, end, number)
        start = text.find(first, start + 1)


def _end(text: str, start: int, term: Term) -> int:
    """Returns where the term ends that begins at ``start``; 0 if it does not."""
    at = start
    for number, word in enumerate(term.words):
        before = at
        while number and at < len(text) and at - before < _MAX_GAP and not text[at].isalnum():
            at += 1
        apart = not number or at > before or is_unspaced(word) or is_unspaced(term.words[number - 1])
        if not apart or not text.startswith(word, at):
            return 0
        at += len(word)
    return at if term.prefix or is_unspaced(term.words[-1]) or not _joins(text[at : at + 1]) else 0


def _joins(sign: str) -> bool:
    """Whether a character next to a word makes it a part of a longer one."""
    return sign.isalnum() and not is_unspaced(sign)
