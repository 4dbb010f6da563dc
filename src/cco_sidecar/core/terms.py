"""What people search for: words, phrases and beginnings of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cco_sidecar.core.errors import invalid_request

_MAX_TERMS = 32
# A quoted phrase, or anything else without a blank.
_PARTS = re.compile(r'"([^"]*)"|(\S+)')
# As the indexes split texts: at what is neither a letter nor a digit.
_WORD = re.compile(r"[^\W_]+")


class Term(NamedTuple):
    """Words that stand next to each other. With ``prefix``, the last one may go on."""

    words: tuple[str, ...]
    prefix: bool = False


def term_of(text: str, *, prefix: bool = False) -> Term | None:
    """Returns the words of a text as one term; None if there are none."""
    words = tuple(word.lower() for word in _WORD.findall(text))
    return Term(words, prefix) if words else None


def terms_of(query: str) -> Sequence[Term]:
    """Raises SidecarError (REQ_001) if there are no words, or too many."""
    found = (term_of(phrase or plain, prefix=plain.endswith("*")) for phrase, plain in _PARTS.findall(query))
    terms = [term for term in found if term is not None]
    if not terms:
        raise invalid_request('query: it has no words; expected some such as: "two words" arch*', field="query")
    if len(terms) > _MAX_TERMS:
        raise invalid_request(f"query: it has {len(terms)} words or phrases; at most {_MAX_TERMS}", field="query")
    return terms
