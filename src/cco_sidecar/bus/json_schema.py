"""JSON Schemas, and what is wrong with a value.

jsonschema-rs decides quickly whether a value is valid. To say why can take it exponential time and memory: the error of
an ``anyOf`` holds the errors of all its alternatives, each with a copy of the value. So a schema without such keywords
is asked why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote

import jsonschema_rs

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Of an error's message, which quotes the value.
_LONGEST = 160
# Subschemas, each counted as often as it is referred to: what a value is compared with.
_MAX_SUBSCHEMAS = 10_000
_MAX_PATTERNS = 100
# Linear in the length of the text, whatever the pattern. A class of Unicode letters, repeated, takes some megabytes.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=16 * 2**20)
# Their errors hold those of others, or mean the opposite. The unevaluated ones depend on them.
_WITH_ALTERNATIVES = frozenset(
    ("anyOf", "oneOf", "not", "if", "then", "else", "contains", "dependentSchemas", "dependencies", "extends")
)
_DEPENDENT = frozenset(("unevaluatedProperties", "unevaluatedItems"))
# Keywords whose value has schemas by name, and those whose value is data.
_BY_NAME = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
_DATA = frozenset(("enum", "const", "default", "examples"))

Path = Sequence[str | int]


class InvalidSchemaError(ValueError):
    """``path`` leads to what is wrong within the schema."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path


class Mismatch(NamedTuple):
    """Where a value does not match, and what follows its name in a message, such as `` is required``."""

    path: Path
    said: str


class JsonSchema:
    """A compiled schema. The draft is the one that ``$schema`` names, 2020-12 by default; formats are checked."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises InvalidSchemaError."""
        whole = {"$schema": _DRAFT} | dict(schema)
        if _expanded(whole, whole, {}) > _MAX_SUBSCHEMAS:
            raise InvalidSchemaError(f"its references expand to more than {_MAX_SUBSCHEMAS:,} subschemas")
        if sum(map(_patterns, _nodes(whole))) > _MAX_PATTERNS:
            raise InvalidSchemaError(f"it has more than {_MAX_PATTERNS} patterns")
        self._whole = _compile(whole)
        has_alternatives = any(_WITH_ALTERNATIVES & node.keys() for node in _nodes(whole))
        self._plain = _compile(_without_alternatives(whole)) if has_alternatives else self._whole
        self._parts = dict(_parts(whole)) if has_alternatives else {}

    def mismatch(self, value: Any) -> Mismatch | None:
        """Returns something that does not match; None for a valid value."""
        if self._whole.is_valid(value):
            return None
        try:
            self._plain.validate(value)
        except jsonschema_rs.ValidationError as problem:
            return _mismatch(problem)
        given = value if isinstance(value, dict) else {}
        bad = [name for name, part in self._parts.items() if name in given and not part.is_valid({name: given[name]})]
        return Mismatch(bad[:1], ": it matches none of the alternatives that are allowed")


def joined(top: str, path: Path) -> str:
    """Returns a path as ``data.files[2].path``."""
    return top + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)


def _compile(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            dict(schema), retriever=_refuse, validate_formats=True, pattern_options=_PATTERNS
        )
    except (jsonschema_rs.ValidationError, ValueError) as problem:
        raise InvalidSchemaError(_wrong(problem), getattr(problem, "instance_path", ())) from problem


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, jsonschema_rs.Validator]]:
    """Yields each property that has alternatives, with a schema for it alone, as far as no other refers to it."""
    properties = schema.get("properties")
    kept = {name: value for name, value in schema.items() if name in ("$schema", "$id", "$defs", "definitions")}
    for name, part in properties.items() if isinstance(properties, dict) else ():
        try:
            yield name, _compile(kept | {"properties": {name: part}})
        except InvalidSchemaError:
            continue


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yields every subschema."""
    if isinstance(node, list):
        for each in node:
            yield from _nodes(each)
    elif isinstance(node, dict):
        yield node
        for name, value in node.items():
            if name in _BY_NAME and isinstance(value, dict):
                for each in value.values():
                    yield from _nodes(each)
            elif name not in _DATA:
                yield from _nodes(value)


def _patterns(node: Mapping[str, Any]) -> int:
    """Counts the regular expressions of a subschema itself."""
    by_pattern = node.get("patternProperties")
    return ("pattern" in node) + (len(by_pattern) if isinstance(by_pattern, dict) else 0)


def _without_alternatives(node: Any) -> Any:
    """Returns a schema that accepts whatever ``node`` accepts, and more."""
    if isinstance(node, list):
        return [_without_alternatives(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for name, value in node.items():
        if name in _WITH_ALTERNATIVES | _DEPENDENT:
            continue
        if name in _BY_NAME and isinstance(value, dict):
            kept[name] = {each: _without_alternatives(below) for each, below in value.items()}
        else:
            kept[name] = value if name in _DATA else _without_alternatives(value)
    return kept


def _refuse(uri: str) -> NoReturn:
    # Never fetched: a schema could make the sidecar call any address, or read any file.
    raise ValueError(f"{uri[:100]} is outside of the schema")


def _wrong(problem: Exception) -> str:
    """Returns what is wrong with a schema."""
    message = str(getattr(problem, "message", problem))
    if message.endswith('is not a "regex"'):
        return "this pattern cannot be used: look-around and very large ones are not supported, or it is no pattern"
    if message.startswith("Resource "):
        return "$ref reaches only the schema itself, not another document"
    if message.startswith("Unknown meta-schema"):
        return f"$schema must name a published draft, such as {_DRAFT}"
    return _short(message)


def _mismatch(problem: jsonschema_rs.ValidationError) -> Mismatch:
    """The path leads to the value that is wrong, or to the one that is missing or not allowed."""
    path = list(problem.instance_path)
    kind = problem.kind.as_dict()
    if problem.kind.name == "required":
        return Mismatch([*path, str(kind["property"])], " is required")
    if problem.kind.name == "additionalProperties":
        return Mismatch([*path, str(kind["unexpected"][0])], " is not allowed")
    if problem.kind.name == "falseSchema" and isinstance(problem.instance, dict) and problem.instance:
        return Mismatch([*path, str(next(iter(problem.instance)))], " is not allowed")
    return Mismatch(path, f": {_short(problem.message)}")


def _short(message: str) -> str:
    line = message.partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


def _expanded(node: Any, root: Any, known: dict[int, int]) -> int:
    """Counts the subschemas below a node, those of a reference at each place that refers to them, up to the limit. A
    recursive reference counts once: the depth of the data ends it."""
    if isinstance(node, list):
        return min(_MAX_SUBSCHEMAS + 1, sum(_expanded(each, root, known) for each in node))
    if not isinstance(node, dict):
        return 0
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 1
    below = (*(value for name, value in node.items() if name not in _DATA), _target(node.get("$ref"), root))
    known[id(node)] = min(_MAX_SUBSCHEMAS + 1, 1 + sum(_expanded(each, root, known) for each in below))
    return known[id(node)]


def _target(reference: Any, root: Any) -> Any:
    """Returns what a JSON Pointer within the schema refers to (RFC 6901); None for anything else."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found = root
    for part in unquote(reference).removeprefix("#/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
