"""A project's rules for its contexts: the file `.cco/context.toml`.

Rules only narrow a context or change its order, so the file needs no trust: an agent that writes it gets no more than
before.
"""

from __future__ import annotations

import errno
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cco_sidecar.core.reasons import Signal
from cco_sidecar.core.suggestions import did_you_mean
from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.patterns import Patterns, check_pattern

RULES_FILE = ".cco/context.toml"
_LISTS = ("include", "exclude", "always", "never")
_TABLES = ("weights", "signals")
_MAX_BYTES = 32 * 1024
_MAX_PATTERNS = 500
_MAX_WEIGHT, _MAX_FACTOR = 100.0, 1e6
# Reading a dotted key takes time and memory to the square of its parts.
_LONG_KEY = re.compile(rb"(?:[\w\"'\-]+\s*\.\s*){20}")


class RulesInvalid(Exception):
    """The file cannot be used. The message names the key, or the line, and what is expected."""


@dataclass(frozen=True)
class Rules:
    """Patterns are those of .gitignore.

    ``include``: if there are any, only these files are chosen; ``exclude``: files that are not chosen; ``always``:
    files that come first in every context; ``never``: files that no agent gets; ``weights``: factors on the scores of
    files, by pattern; ``signals``: weights of the signals, by name.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    weights: Mapping[str, float] | None = None
    signals: Mapping[str, float] | None = None

    @cached_property
    def _patterns(self) -> dict[str, Patterns]:
        return {name: Patterns(getattr(self, name)) for name in _LISTS}

    @cached_property
    def _weights(self) -> list[tuple[Patterns, float]]:
        return [(Patterns((pattern,)), weight) for pattern, weight in (self.weights or {}).items()]

    @property
    def excludes(self) -> bool:
        """Whether ``is_excluded`` can be true of any file."""
        return bool(self.exclude or self.include)

    def is_barred(self, path: str) -> bool:
        """Whether no agent gets the file."""
        return bool(self.never) and self._patterns["never"].match(path)

    def is_excluded(self, path: str) -> bool:
        """Whether the file is never chosen; it can still be requested by name."""
        if self.exclude and self._patterns["exclude"].match(path):
            return True
        return bool(self.include) and not self._patterns["include"].match(path) and not self.is_first(path)

    def is_first(self, path: str) -> bool:
        """Whether the file comes first in every context."""
        return bool(self.always) and self._patterns["always"].match(path)

    def factor(self, path: str) -> float:
        """Returns the product of the weights whose pattern matches the file."""
        factor = 1.0
        for patterns, weight in self._weights:
            if patterns.match(path):
                factor = min(factor * weight, _MAX_FACTOR)
        return factor


NO_RULES = Rules()


def read_rules(root: Path) -> Rules:
    """Returns the rules of a project; none if it has no such file. Raises RulesInvalid."""
    try:
        with open(open_beneath(root, RULES_FILE), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as problem:
        if problem.errno == errno.ENOENT:
            return NO_RULES
        if problem.errno == errno.ENOTDIR:
            raise RulesInvalid("cannot be read: .cco is not a directory") from problem
        if problem.errno == errno.ELOOP:
            raise RulesInvalid("cannot be read: it or its directory is a link; links are not followed") from problem
        raise RulesInvalid(f"cannot be read: {problem.strerror or 'it is not a regular file'}") from problem
    return parse_rules(data)


def parse_rules(data: bytes) -> Rules:
    """Raises RulesInvalid."""
    if len(data) > _MAX_BYTES:
        raise RulesInvalid(f"is larger than {_MAX_BYTES} bytes")
    if _LONG_KEY.search(data):
        raise RulesInvalid("has a key with too many parts")
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError as problem:
        raise RulesInvalid("is nested too deeply") from problem
    except ValueError as problem:
        raise RulesInvalid(f"is not TOML: {problem}") from problem
    known = (*_LISTS, *_TABLES)
    for key in document:
        if key not in known:
            raise RulesInvalid(
                f"unknown key '{key[:80]}'" + (did_you_mean(key, known) or f"; known: {', '.join(known)}")
            )
    lists: dict[str, Any] = {name: _patterns(name, document[name]) for name in _LISTS if name in document}
    tables: dict[str, Any] = {name: _numbers(name, document[name]) for name in _TABLES if name in document}
    for name in tables.get("signals", ()):
        if name not in tuple(Signal):
            hint = did_you_mean(name, tuple(Signal)) or f"; known: {', '.join(Signal)}"
            raise RulesInvalid(f"signals: unknown signal '{name[:80]}'{hint}")
    return Rules(**lists, **tables)


def _patterns(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RulesInvalid(f'{name}: expected a list of patterns such as ["docs/**"]')
    if len(value) > _MAX_PATTERNS:
        raise RulesInvalid(f"{name}: expected at most {_MAX_PATTERNS} patterns")
    for pattern in value:
        _check_pattern(name, pattern)
    return tuple(value)


def _check_pattern(name: str, pattern: str) -> None:
    try:
        check_pattern(pattern)
    except ValueError as problem:
        raise RulesInvalid(f"{name}: {pattern[:80]!r} {problem}") from problem


def _numbers(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise RulesInvalid(f"{name}: expected a table of numbers")
    if len(value) > _MAX_PATTERNS:
        raise RulesInvalid(f"{name}: expected at most {_MAX_PATTERNS} entries")
    numbers = {}
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= _MAX_WEIGHT:
            raise RulesInvalid(f"{name}: '{key[:80]}' must be a number from 0 to {_MAX_WEIGHT:g}")
        if name == "weights":
            _check_pattern(name, key)
        numbers[key] = float(number)
    return numbers
