"""The filter language of subscriptions.

    filter      = clause *( "," clause )           ; AND
    clause      = term *( "|" term )               ; OR, binds tighter than ","
    term        = [ "!" ] field ":" [ operator ] value
    operator    = ">" / ">=" / "<" / "<="          ; numbers and RFC 3339 times
    value       = *char / DQUOTE *char DQUOTE      ; unquoted, "*" and "?" are wildcards

A field is looked up in the envelope first, then in ``data``, with dots for nested objects; ``data.n`` is the field
``n`` of ``data`` too. A list matches if any of its first 64 items does. A missing field matches nothing, so its
negation matches. To bound the cost of a filter, a string longer than 1,024 characters matches no wildcard, and a filter
has at most 16 terms, 4 of them with wildcards.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cco_sidecar.core.errors import SidecarError, invalid_event

ENVELOPE = (
    "event_id", "event_type", "publisher", "topic", "timestamp", "correlation_id", "causation_id", "state_key",
)  # fmt: skip
_NAME = r"[A-Za-z_][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*"
_FIELD = re.compile(_NAME)
# Another term after a word, as in other languages.
_CONJUNCTION = re.compile(rf"\s(and|or|&&)\s+!?{_NAME}\s*[:=<>]", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_MISSING = object()
_MAX_TEXT = 1024
MAX_TERMS = 16
MAX_WILDCARDS = 4
_MAX_ITEMS = 64

_VALUE = (
    r"((>=|<=|>|<) *[+\-]?[0-9]+(\.[0-9]*)?([eE][+\-]?[0-9]{1,2})?"
    r'|"([^"\\]|\\.)*"'
    r'|[^,|"<> \t\r\n\u000b\u000c][^,|]*)'
)
_TERM = rf"!?{_NAME}:{_VALUE}"
# Published in the API description. Stricter than the parser: no times after an operator, no spaces between tokens.
PATTERN = rf"^$|^{_TERM}([,|]{_TERM}){{0,{MAX_TERMS - 1}}}$"


@dataclass(frozen=True)
class Term:
    """One comparison. ``test`` is called with a JSON value, never for a missing field."""

    field: str
    negated: bool
    test: Callable[[Any], bool]
    # For a plain equality, the `index_key`s of all values that match; otherwise empty.
    equals: tuple[str, ...] = ()

    def matches(self, event: Mapping[str, Any]) -> bool:
        value = look_up(event, self.field)
        if value is _MISSING:
            return self.negated
        found = any(map(self.test, value[:_MAX_ITEMS])) if isinstance(value, list) else self.test(value)
        return found is not self.negated


@dataclass(frozen=True)
class Filter:
    """A parsed filter. Every clause must match; a clause matches if one of its terms does."""

    text: str
    clauses: tuple[tuple[Term, ...], ...]

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Reports whether an event matches. ``event`` holds the envelope and ``data`` as JSON values."""
        return all(any(term.matches(event) for term in clause) for clause in self.clauses)

    @property
    def key(self) -> tuple[str, tuple[str, ...]] | None:
        """A field and its index keys: every matching event has one of these keys. None if no clause requires that."""
        for clause in self.clauses:
            if len(clause) == 1 and clause[0].equals and not clause[0].negated:
                return clause[0].field, clause[0].equals
        return None


def look_up(event: Mapping[str, Any], field: str) -> Any:
    """Returns the value of a field, or the marker for a missing one."""
    if field in ENVELOPE:
        return event.get(field, "")
    value = _look_up_in(event["data"], field)
    return _look_up_in(event["data"], field[5:]) if value is _MISSING and field.startswith("data.") else value


def _look_up_in(value: Any, field: str) -> Any:
    if field in value:
        return value[field]
    for part in field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def index_keys(value: Any) -> list[str]:
    """Returns the index keys of a value; a filter's ``key`` is compared with them."""
    if value is _MISSING:
        return []
    return [index_key(item) for item in value[:_MAX_ITEMS]] if isinstance(value, list) else [index_key(value)]


def index_key(value: Any) -> str:
    """Returns strings unchanged and true, false and null as in JSON. Equal numbers share a key that no string has."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number_key(float(value)) if isinstance(value, int | float) else ""


def _number_key(number: float) -> str:
    return f"\0{number!r}"


@lru_cache(maxsize=4096)
def parse(text: str) -> Filter:
    """Parses a filter. Raises SidecarError (EVT_002) with the position of the error."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.terms = self.wildcards = 0

    def parse(self) -> Filter:
        clauses = [self.clause()]
        while self.take(","):
            clauses.append(self.clause())
        return Filter(self.text, tuple(clauses))

    def clause(self) -> tuple[Term, ...]:
        terms = [self.term()]
        while self.take("|"):
            terms.append(self.term())
        return tuple(terms)

    def term(self) -> Term:
        self.spaces()
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise self.error(f"a filter has at most {MAX_TERMS} terms")
        negated = self.take("!")
        self.spaces()
        match = _FIELD.match(self.text, self.at)
        if match is None:
            raise self.error("expected a field name")
        field = match.group()
        self.at = match.end()
        self.spaces()
        if not self.take(":"):
            raise self.not_a_colon(field)
        test, equals = self.comparison()
        return Term(field, negated, test, equals)

    def comparison(self) -> tuple[Callable[[Any], bool], tuple[str, ...]]:
        self.spaces()
        for symbol, compare in _COMPARE.items():
            if self.text.startswith(symbol, self.at):
                start = self.at
                self.at += len(symbol)
                return self.ordered(compare, symbol, start), ()
        start = self.at
        if self.take('"'):
            exact = self.quoted(start)
            return (lambda value: value == exact), (exact,)
        value = self.plain()
        if not value:
            raise self.error("expected a value", start)
        if word := _CONJUNCTION.search(value):
            sign = "," if word[1].lower() in ("and", "&&") else "|"
            raise self.error(
                f"write '{sign}' instead of '{word[1]}', or put the value in quotes", start + word.start(1)
            )
        if "*" in value or "?" in value:
            self.wildcards += 1
            if self.wildcards > MAX_WILDCARDS:
                raise self.error(f"a filter has at most {MAX_WILDCARDS} terms with wildcards", start)
            return _wildcard(value), ()
        wanted = (value, _number_key(float(value))) if _NUMBER.fullmatch(value) else (value,)
        return (lambda item: index_key(item) in wanted), wanted

    def ordered(self, compare: Callable[[Any, Any], bool], symbol: str, start: int) -> Callable[[Any], bool]:
        self.spaces()
        text = self.quoted(self.at) if self.take('"') else self.plain()
        if _NUMBER.fullmatch(text):
            bound = float(text)
            return lambda value: (number := _as_number(value)) is not None and compare(number, bound)
        moment = _as_time(text)
        if moment is None:
            raise self.error(f"'{symbol}' compares numbers and RFC 3339 times; {text[:60]!r} is neither", start)
        return lambda value: (time := _as_time(value)) is not None and compare(time, moment)

    def plain(self) -> str:
        end = self.at
        while end < len(self.text) and self.text[end] not in ",|":
            end += 1
        value = self.text[self.at : end].strip()
        self.at = end
        return value

    def quoted(self, start: int) -> str:
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == '"':
                self.spaces()
                if self.at < len(self.text) and self.text[self.at] not in ",|":
                    raise self.error("expected ',' or '|' after the quoted value")
                return "".join(out)
            if char == "\\" and self.at < len(self.text):
                char = self.text[self.at]
                self.at += 1
            out.append(char)
        raise self.error("unterminated quote", start)

    def take(self, symbol: str) -> bool:
        if self.text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False

    def spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def not_a_colon(self, field: str) -> SidecarError:
        rest = self.text[self.at :]
        wrong = re.match(r"[=<>~!]+", rest)
        if wrong:
            value = re.split(r"[,|]", rest[wrong.end() :])[0].strip()[:60]
            symbol = wrong.group() if wrong.group() in _COMPARE else ""
            right = f"!{field}:{value}" if "!" in wrong.group() else f"{field}:{symbol}{value}"
            return self.error(f"unexpected operator '{wrong.group()}'; write {right}")
        return self.error(f"expected ':' and a value after '{field[:60]}'")

    def error(self, problem: str, at: int | None = None) -> SidecarError:
        position = self.at if at is None else at
        return invalid_event(
            f"filter: {problem} (character {position + 1}: {self.text[max(0, position - 30) : position + 30]!r})",
            field="filter",
            position=position + 1,
        )


def _wildcard(text: str) -> Callable[[Any], bool]:
    """Compiles a wildcard pattern: ``*`` matches any characters, ``?`` exactly one.

    Each part between two stars matches at its first occurrence, without backtracking (an atomic group).
    """
    first, *rest = (_literal(part) for part in re.sub(r"\*[*?]*", _stars_last, text).split("*"))
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    pattern = re.compile(f"{first}{middle}{last}", re.DOTALL)

    def matches(item: Any) -> bool:
        return isinstance(item, str) and len(item) <= _MAX_TEXT and pattern.fullmatch(item) is not None

    return matches


def _stars_last(run: re.Match[str]) -> str:
    """Rewrites ``*?*?`` to ``??*``: at least that many characters, then any."""
    return "?" * run[0].count("?") + "*"


def _literal(part: str) -> str:
    return "".join("." if char == "?" else re.escape(char) for char in part)


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None


def _as_time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
