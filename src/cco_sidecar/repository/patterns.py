"""Gitignore-style path patterns, matched all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_MAX_CHARACTERS, _MAX_DOUBLE_STARS = 1000, 2
# In a regular expression of pathspec: a star, what follows it within the part, and another star.
_NOT_LAST_STAR = re.compile(r"\[\^/\]\*((?:\\.|\[\^/\](?!\*)|\[(?!\^/\])[^\]]*\]|[^\\\[(/*])+)(?=\[\^/\]\*)")


class Patterns:
    """``*.py`` matches at any depth, ``docs/`` matches everything below, ``/x`` only at the root, ``!x`` takes back
    what an earlier pattern matched (gitignore(5))."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._runs = _compiled(tuple(patterns))

    def match(self, path: str) -> bool:
        # The last pattern that matches decides.
        return next((matches for matches, regex in self._runs if regex.match(path)), False)


def check_pattern(pattern: str) -> None:
    """Checks a pattern that somebody else wrote. Raises ValueError, whose message follows the pattern's name."""
    if not pattern.strip() or pattern.strip() in ("!", "/") or "\0" in pattern or len(pattern) > _MAX_CHARACTERS:
        raise ValueError("is not a pattern")
    if pattern.count("**") > _MAX_DOUBLE_STARS:
        # Matching takes time to the power of their number.
        raise ValueError(f"has more than {_MAX_DOUBLE_STARS} '**'")
    if GitIgnoreSpecPattern.pattern_to_regex(pattern)[0] is None:
        raise ValueError("matches nothing")


@lru_cache(maxsize=1024)
def _compiled(patterns: tuple[str, ...]) -> list[tuple[bool, re.Pattern[str]]]:
    """Returns what each run of patterns with the same sign says, the last run first."""
    known = [(include, regex) for regex, include in map(GitIgnoreSpecPattern.pattern_to_regex, patterns) if regex]
    runs = [
        # One alternation is about fifty times faster than matching each pattern. Group names would clash in it.
        (bool(include), re.compile("|".join(f"(?:{_prepared(str(part))})" for _, part in run), re.DOTALL))
        for include, run in groupby(known, key=itemgetter(0))
    ]
    return runs[::-1]


def _prepared(regex: str) -> str:
    """Removes the names of groups, and makes all stars of a part but the last take the first place that fits, which is
    always right: otherwise, matching takes time to the power of their number."""
    return _NOT_LAST_STAR.sub(r"(?>[^/]*?\1)", re.sub(r"[?]P<[^>]*>", "?:", regex))
