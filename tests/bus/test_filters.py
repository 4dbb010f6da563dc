"""The filter language: compared with a slow, obvious evaluation; it never raises anything but a SidecarError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.bus.filters import ENVELOPE, MAX_TERMS, MAX_WILDCARDS, Filter, index_keys, look_up, parse
from cco_sidecar.core.errors import SidecarError

NAMES = st.sampled_from(["status", "issue_id", "coverage", "meta.owner"])
WORDS = st.sampled_from(["success", "failed", "issue-1", "90", "true", "kim"])
VALUES = st.one_of(WORDS, st.integers(-5, 100), st.booleans(), st.none(), st.lists(WORDS, max_size=3))


def event(data: dict[str, Any]) -> dict[str, Any]:
    envelope = dict.fromkeys(("event_id", "event_type", "publisher", "topic", "timestamp", "correlation_id"), "")
    return envelope | {"event_type": "done", "data": data}


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    data = draw(st.dictionaries(st.sampled_from(["status", "issue_id", "coverage"]), VALUES))
    if draw(st.booleans()):
        data["meta"] = {"owner": draw(VALUES)}
    return event(data)


def text_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@given(
    events(), st.lists(st.lists(st.tuples(st.booleans(), NAMES, WORDS), min_size=1, max_size=3), min_size=1, max_size=3)
)
def test_an_and_of_ors(sample: dict[str, Any], clauses: list[list[tuple[bool, str, str]]]) -> None:
    text = ",".join("|".join(f"{'!' * negated}{name}:{word}" for negated, name, word in clause) for clause in clauses)

    def holds(negated: bool, name: str, word: str) -> bool:
        value: Any = sample["data"]
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return negated
            value = value[part]
        found = word in map(text_of, value) if isinstance(value, list) else text_of(value) == word
        return found is not negated

    expected = all(any(holds(*term) for term in clause) for clause in clauses)
    assert parse(text).matches(sample) is expected


@given(events(), NAMES, WORDS)
def test_the_index_finds_every_match(sample: dict[str, Any], name: str, word: str) -> None:
    wanted = parse(f"{name}:{word}")
    assert wanted.key is not None
    field, keys = wanted.key
    if wanted.matches(sample):
        assert set(keys) & set(index_keys(look_up(sample, field)))


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_clear_error(text: str) -> None:
    try:
        assert isinstance(parse(text), Filter)
    except SidecarError as error:
        assert error.code == "EVT_002"
        assert 1 <= error.details["position"] <= len(text) + 1


@pytest.mark.parametrize(
    ("text", "data", "matches"),
    [
        ("coverage:>90", {"coverage": 90.5}, True),
        ("coverage:>90", {"coverage": 90}, False),
        ("coverage:>=90", {"coverage": "90"}, True),
        ("coverage:<90", {"coverage": "many"}, False),
        ("coverage:>90", {}, False),
        ("!coverage:>90", {}, True),
        ("coverage:90.0", {"coverage": 90}, True),
        ("version:1.10", {"version": "1.1"}, False),
        ("version:1.10", {"version": "1.10"}, True),
        ('coverage:"90"', {"coverage": 90}, False),
        ("issue_id:7", {"issue_id": "007"}, False),
        ("flag:true", {"flag": "true"}, True),
        ("flag:true", {"flag": True}, True),
        ("flag:1", {"flag": True}, False),
        ("at:>2026-01-01T00:00:00Z", {"at": "2026-06-01T00:00:00+02:00"}, True),
        ("issue_id:issue-?", {"issue_id": "issue-1"}, True),
        ("issue_id:issue-?", {"issue_id": "issue-12"}, False),
        ("issue_id:[ab]*", {"issue_id": "[ab]c"}, True),
        ('name:"a,b|c"', {"name": "a,b|c"}, True),
        ('name:"say \\"hi\\""', {"name": 'say "hi"'}, True),
        ('name:"*"', {"name": "anything"}, False),
        ("a.b:x", {"a.b": "x"}, True),
        ("data.n:1", {"n": 1}, True),
        ("data.a.b:x", {"a": {"b": "x"}}, True),
        ("data.n:1", {"data": {"n": 2}, "n": 1}, False),
        ("title:salt and pepper", {"title": "salt and pepper"}, True),
        ('title:"a:b AND c:d"', {"title": "a:b AND c:d"}, True),
        ("event_type:done", {"event_type": "other"}, True),
        (" status : success , issue_id : x ", {"status": "success", "issue_id": "x"}, True),
    ],
)
def test_documented_cases(text: str, data: dict[str, Any], matches: bool) -> None:
    assert parse(text).matches(event(data)) is matches


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("issue_id==x", 9, "write issue_id:x"),
        ("status!=x", 7, "write !status:x"),
        ("coverage>90", 9, "write coverage:>90"),
        ("a:>x", 3, "compares numbers"),
        ("status:", 8, "expected a value"),
        ("a:b,,c:d", 5, "expected a field name"),
        ('a:"x', 3, "unterminated quote"),
        ("a:b|c", 6, "expected ':'"),
        ("a:b AND c:d", 5, "write ',' instead of 'AND'"),
        ("a:b or !c:d", 5, "write '|' instead of 'or'"),
        ("a:b && c>1", 5, "write ',' instead of '&&'"),
    ],
)
def test_errors_point_at_the_character(text: str, position: int, says: str) -> None:
    with pytest.raises(SidecarError) as caught:
        parse(text)
    assert caught.value.details["position"] == position
    assert says in caught.value.message


def test_the_cost_of_a_filter_is_bounded() -> None:
    with pytest.raises(SidecarError) as caught:
        parse("|".join(f"a:{number}" for number in range(MAX_TERMS + 1)))
    assert f"at most {MAX_TERMS} terms" in caught.value.message
    with pytest.raises(SidecarError) as caught:
        parse("|".join(f"a:{number}*" for number in range(MAX_WILDCARDS + 1)))
    assert f"at most {MAX_WILDCARDS} terms with wildcards" in caught.value.message
    event = dict.fromkeys(ENVELOPE, "")
    few, many = ["x"] * 63 + ["y"], ["x"] * 64 + ["y"]
    for text in ("a:y", "a:y*"):
        assert parse(text).matches(event | {"data": {"a": few}})
        assert not parse(text).matches(event | {"data": {"a": many}})
