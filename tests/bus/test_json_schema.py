"""JSON Schemas: what does not match, without the time and memory that saying so can take."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from cco_sidecar.bus.json_schema import InvalidSchemaError, JsonSchema, joined

EXPRESSION = {
    "properties": {"e": {"$ref": "#/$defs/e"}},
    "$defs": {
        "e": {
            "anyOf": [
                {
                    "type": "object",
                    "required": ["op"],
                    "properties": {"op": {"const": op}, "arg": {"$ref": "#/$defs/e"}},
                }
                for op in ("not", "neg")
            ]
        }
    },
}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"op": "zzz"}
    for _ in range(depth):
        value = {"op": "not", "arg": value}
    return {"e": value}


def found(schema: dict[str, Any], value: Any) -> str:
    mismatch = JsonSchema(schema).mismatch(value)
    return "" if mismatch is None else joined("data", mismatch.path) + mismatch.said


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        # Each needs gigabytes and seconds if all its errors are collected.
        (EXPRESSION, nested(24)),
        ({"propertyNames": {"maxLength": 4}}, {f"key{n:05}": 1 for n in range(8000)}),
        ({"properties": {"i": {"items": {"enum": list(range(1000))}}}}, {"i": ["x"] * 19_000}),
        ({"properties": {"i": {"allOf": [{"items": {"type": "number"}}] * 1000}}}, {"i": ["x"] * 19_000}),
        ({"properties": {"i": {"items": {"anyOf": [{"const": n} for n in range(50)]}}}}, {"i": ["x"] * 1900}),
    ],
    ids=["nested alternatives", "names", "values", "many checks", "alternatives"],
)
def test_a_mismatch_takes_little_memory(schema: dict[str, Any], value: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert found(schema, value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        ({"required": ["a"]}, {}, "data.a is required"),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, "data.b is not allowed"),
        ({"properties": {"a": {"maximum": 5}}}, {"a": 6}, "data.a: 6 is greater than the maximum of 5"),
        (EXPRESSION, nested(1), "data.e: it matches none of the alternatives that are allowed"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, "data: it matches none of the alternatives"),
        # A requirement beside the alternatives is named as such.
        (EXPRESSION | {"required": ["id"]}, {"e": {"op": "not"}}, "data.id is required"),
        # A property may be called like a keyword.
        ({"properties": {"anyOf": {"type": "string"}}}, {"anyOf": 1}, "data.anyOf: 1 is not of type"),
        ({"properties": {"not": {"oneOf": [{"type": "null"}]}}}, {"not": 1}, "data.not: it matches none"),
        ({"const": {"anyOf": 1}}, {"anyOf": 2}, 'data: {"anyOf":1} was expected'),
        ({"not": {"required": ["a"]}, "unevaluatedProperties": False}, {"a": 1}, "data: it matches none"),
    ],
)
def test_what_does_not_match_is_named(schema: dict[str, Any], value: Any, says: str) -> None:
    assert found(schema, value).startswith(says), found(schema, value)


@pytest.mark.parametrize("value", [{}, {"e": {"op": "neg"}}, {"e": {"op": "not", "arg": {"op": "neg"}}}])
def test_what_matches_is_accepted(value: Any) -> None:
    assert found(EXPRESSION, value) == ""


@pytest.mark.parametrize(
    ("schema", "says", "path"),
    [
        ({"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(25)} | {"d25": {}}},
         "expand to more than 10,000 subschemas", []),
        ({"properties": {f"p{n}": {"pattern": "x"} for n in range(101)}}, "more than 100 patterns", []),
        ({"patternProperties": {f"p{n}": {} for n in range(101)}}, "more than 100 patterns", []),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "look-around", ["properties", "a", "pattern"]),
        ({"$ref": "https://x.example/schema"}, "not another document", []),
        ({"$schema": "https://x.example/draft"}, "must name a published draft", []),
    ],
)  # fmt: skip
def test_what_is_no_usable_schema_is_refused(schema: dict[str, Any], says: str, path: list[str]) -> None:
    with pytest.raises(InvalidSchemaError, match=says) as refused:
        JsonSchema(schema)
    assert list(refused.value.path) == path


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"$defs": {"a": {"$ref": "#/$defs/a"}}}])
def test_a_schema_that_refers_to_itself_ends(schema: dict[str, Any]) -> None:
    assert found(schema, {"a": 1}) == ""


def test_letters_of_all_scripts_can_be_required() -> None:
    schema = {"properties": {"a": {"pattern": r"^[\p{L}\p{N} ]{1,200}$"}}}
    assert found(schema, {"a": "żółw 7"}) == "" and found(schema, {"a": "!"})
