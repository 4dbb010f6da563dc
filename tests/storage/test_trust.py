"""Configuration files of repositories: what they may do before the user trusts them, and after."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.principal import PUBLISH_EVENTS, READ_CONTEXT, SPAWN_AGENTS, WRITE_RESULTS
from cco_sidecar.storage import trust

WORKER = (READ_CONTEXT, WRITE_RESULTS, PUBLISH_EVENTS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project" / "config").mkdir(parents=True)
    return tmp_path / "project"


def entry(agent_type: str, **more: Any) -> dict[str, Any]:
    return {"type": agent_type, "name": agent_type, "role": "does what it does"} | more


def write(root: Path, **document: Any) -> Path:
    path = root / trust.AGENT_TYPES
    path.write_text(json.dumps(document))
    return path


def test_a_new_type_has_at_most_the_rights_of_a_coding_agent(root: Path) -> None:
    write(
        root,
        codingAgents=[
            entry("own-agent", permissions=[*WORKER, SPAWN_AGENTS]),
            entry("narrow", permissions=[READ_CONTEXT]),
        ],
    )
    types = trust.load_agent_types(root)
    assert types["own-agent"].permissions == WORKER and types["narrow"].permissions == (READ_CONTEXT,)
    (problem,) = types.problems
    assert "spawn_agents of 'own-agent' is ignored" in problem and "cco trust" in problem


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"architect": entry("own-architect")}, "own-architect"),
        ({"codingAgents": [entry("python-specialist", permissions=[*WORKER, SPAWN_AGENTS])]}, "python-specialist"),
        ({"documentationAgents": [entry("documentation-expert", permissions=[SPAWN_AGENTS])]}, "documentation-expert"),
        ({"nextAgents": [{"suggest": ["chief-architect"]}]}, "nextAgents"),
        ({"groupDefaults": {"coding": ["*"]}}, "groupDefaults.coding"),
        ({"fileSets": {"python": ["*"]}}, "fileSets.python"),
    ],
)
def test_its_changes_are_ignored_until_it_is_trusted(root: Path, document: dict[str, Any], named: str) -> None:
    path = write(root, **document)
    (root / "empty").mkdir()
    untouched = trust.load_agent_types(root / "empty")
    types = trust.load_agent_types(root)
    assert dict(types) == dict(untouched) and types.file_sets == untouched.file_sets
    assert types.next_agent_rules == untouched.next_agent_rules
    assert [named in problem for problem in types.problems] == [True]
    trust.trust(path, path.read_bytes())
    trusted = trust.load_agent_types(root)
    assert trusted.problems == []
    if "groupDefaults" not in document:
        # These apply to types that name no patterns of their own.
        changed = (dict(trusted), trusted.file_sets, trusted.next_agent_rules)
        assert changed != (dict(untouched), untouched.file_sets, untouched.next_agent_rules)


def test_a_trusted_file_that_changes_is_no_longer_trusted(root: Path) -> None:
    path = write(root, architect=entry("own-architect"))
    trust.trust(path, path.read_bytes())
    assert "own-architect" in trust.load_agent_types(root)
    assert [known.holds for known in trust.trusted()] == [True]
    write(root, architect=entry("other-architect"))
    assert [known.holds for known in trust.trusted()] == [False]
    assert "other-architect" not in trust.load_agent_types(root)
    assert trust.distrust(path) == 1 and not list(trust.trusted())


def test_trust_is_bound_to_a_path_too(root: Path, tmp_path: Path) -> None:
    data = {"architect": entry("own-architect")}
    path = write(root, **data)
    trust.trust(path, path.read_bytes())
    (tmp_path / "other" / "config").mkdir(parents=True)
    write(tmp_path / "other", **data)
    assert "own-architect" not in trust.load_agent_types(tmp_path / "other")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text("{"), "is not JSON"),
        (lambda path: path.write_text("[]"), "JSON object"),
        (lambda path: path.write_text('{"codingAgents": 7}'), "expected an object or an array"),
        (lambda path: path.write_bytes(b"\xff"), "is not JSON"),
        (lambda path: path.write_bytes(b" " * (5 * 2**20)), "larger than"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_text('{"codingAgents": [], "codingAgents": []}'), "'codingAgents' twice"),
        (
            lambda path: path.write_text('{"codingAgents": [{"type": "x", "name": ' + "[" * 990 + "]" * 990 + "}]}"),
            "nested too deeply",
        ),
    ],
)
def test_a_broken_file_is_reported_and_ignored(root: Path, spoil: Any, says: str) -> None:
    spoil(root / trust.AGENT_TYPES)
    types = trust.load_agent_types(root)
    assert len(types) == 119 and len(types.problems) == 1
    assert says in types.problems[0] and str(root) in types.problems[0]


def test_all_119_types_may_follow_the_documented_lifecycle(root: Path) -> None:
    types = trust.load_agent_types(root)
    assert len(types) == 119
    assert {each.type for each in types.values() if not set(WORKER) <= set(each.permissions)} == set()
    assert [each.type for each in types.values() if SPAWN_AGENTS in each.permissions] == ["chief-architect"]


def test_an_unusable_file_is_not_trusted_and_existing_trust_is_kept(root: Path) -> None:
    path = write(root, codingAgents=[entry("own-coder")])
    trust.trust(path, path.read_bytes())
    with pytest.raises(SettingsError):
        trust.trust(path, b'{"codingAgents": [{"type": "not a name"}]}')
    assert [each.path for each in trust.trusted()] == [str(path.resolve())]
