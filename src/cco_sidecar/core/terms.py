"""What people search for: words, phrases and beginnings of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from cco_sidecar.core.errors import invalid_request

# Of a query: terms, and words in all.
_MAX_TERMS, _MAX_WORDS = 32, 64
# A quoted phrase, or anything else without a blank.
_PARTS = re.compile(r'"([^"]*)"|(\S+)')
# Han, Hiragana, Katakana, Hangul (Unicode blocks).
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_UNSPACED = re.compile(f"[{_SIGNS}]")
# As the indexes split texts: at what is neither a letter nor a digit.
_WORD = re.compile(rf"[{_SIGNS}]|[^\W_{_SIGNS}]+")


# Characters that are remembered, and that are folded at a time.
_MAX_FOLDED, _PART = 20_000, 65_536


class _Folding(dict[int, str]):
    """What each character becomes, filled in as they occur."""

    def __missing__(self, code: int) -> str:
        small = chr(code).lower()
        apart = unicodedata.normalize("NFD", small)
        accented = len(apart) > 1 and all(map(unicodedata.combining, apart[1:]))
        found = apart[0] if accented else small[:1]
        if len(self) < _MAX_FOLDED:
            self[code] = found
        return found


_FOLDING = _Folding()


def folded(text: str) -> str:
    """Returns a text in lower case and without accents, character by character: offsets stay."""
    if text.isascii():
        return text.lower()
    # In parts, between which other threads run.
    return "".join(text[at : at + _PART].translate(_FOLDING) for at in range(0, len(text), _PART))


def words_of(text: str) -> list[str]:
    """Returns the words of a text; where words have no blanks between them, its characters."""
    return _WORD.findall(text)


def spaced(text: str) -> str:
    """Puts blanks around the characters of writings without them, so that each is a word of the index."""
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def is_unspaced(word: str) -> bool:
    return _UNSPACED.match(word) is not None


class Term(NamedTuple):
    """Words that stand next to each other. With ``prefix``, the last one may go on."""

    words: tuple[str, ...]
    prefix: bool = False


def term_of(text: str, *, prefix: bool = False) -> Term | None:
    """Returns the words of a text as one term; None if there are none."""
    # An accent may be a character of its own.
    words = tuple(folded(word) for word in words_of(unicodedata.normalize("NFC", text)))
    return Term(words, prefix) if words else None


def terms_of(query: str) -> Sequence[Term]:
    """Raises SidecarError (REQ_001) if there are no words, or too many."""
    found = (term_of(phrase or plain, prefix=plain.endswith("*")) for phrase, plain in _PARTS.findall(query))
    terms = list(dict.fromkeys(term for term in found if term is not None))
    if not terms:
        raise invalid_request('query: it has no words; expected some such as: "two words" arch*', field="query")
    if len(terms) > _MAX_TERMS:
        raise invalid_request(f"query: it has {len(terms)} words or phrases; at most {_MAX_TERMS}", field="query")
    count = sum(len(term.words) for term in terms)
    if count > _MAX_WORDS:
        raise invalid_request(f"query: it has {count} words; at most {_MAX_WORDS}", field="query")
    return terms
