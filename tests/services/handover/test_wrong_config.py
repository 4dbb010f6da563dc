"""Invalid rules are reported in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.repositories import OURS
from tests.support.sidecars import start_refused, written

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.sources import load
from cco_sidecar.services.handover.rules import Plan
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.supervision.budget import Budget

TYPES = load_agent_types(OURS)


def rule(**changes: Any) -> dict[str, Any]:
    """A valid rule except for the changes."""
    right = {"when": {"event_type": "x"}, "do": "spawn", "agent_type": "python-specialist"}
    return {key: value for key, value in (right | changes).items() if value is not None}


# What is wrong, and what the line must say.
WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no object": ([], ("agents.handover",)),
    "unknown key": ({"rule": []}, ("agents.handover", "'rule'")),
    "mode": ({"mode": "auto"}, ("agents.handover.mode", "'auto'", "dry_run")),
    "mode of another kind": ({"mode": True}, ("agents.handover.mode",)),
    "rules": ({"rules": {}}, ("agents.handover", "rules")),
    "limits": ({"limits": []}, ("agents.handover", "limits")),
    "unknown limit": ({"limits": {"dept": 1}}, ("limits", "'dept'", "depth")),
    "negative limit": ({"limits": {"agents": -1}}, ("limits.agents", "-1")),
    "limit of another kind": ({"limits": {"tokens": "many"}}, ("limits.tokens", '"many"')),
    "limit that is a truth": ({"limits": {"cost_usd": True}}, ("limits.cost_usd",)),
    "rule that is none": ({"rules": [rule(), "x"]}, ("rules[1]",)),
    "unknown key of a rule": ({"rules": [rule(wen={})]}, ("rules[0]", "'wen'")),
    "no when": ({"rules": [rule(when=None)]}, ("rules[0].when",)),
    "empty when": ({"rules": [rule(when={})]}, ("rules[0].when",)),
    "unknown key of when": (
        {"rules": [rule(when={"event_type": "x", "fliter": "a:b"})]}, ("rules[0].when", "'fliter'", "filter")
    ),
    "event type": ({"rules": [rule(when={"event_type": 5})]}, ("rules[0].when.event_type",)),
    "event types": ({"rules": [rule(when={"event_type": ["a", 5]})]}, ("rules[0].when.event_type",)),
    "no event type": ({"rules": [rule(when={"event_type": []})]}, ("rules[0].when.event_type",)),
    "filter": ({"rules": [rule(), rule(when={"filter": "a=="})]}, ("rules[1].when", "filter")),
    "filter of another kind": ({"rules": [rule(when={"filter": ["a:b"]})]}, ("rules[0].when", "filter")),
    "result": ({"rules": [rule(when={"result": "success"})]}, ("rules[0].when.result",)),
    "unknown key of a result": ({"rules": [rule(when={"result": {"statuss": []}})]}, ("rules[0].when.result", "statuss")),
    "groups of a result": ({"rules": [rule(when={"result": {"groups": 5}})]}, ("rules[0].when.result",)),
    "types of a result": ({"rules": [rule(when={"result": {"types": 5}})]}, ("rules[0].when.result",)),
    "status of a result": ({"rules": [rule(when={"result": {"status": 5}})]}, ("rules[0].when.result",)),
    "touches of a result": ({"rules": [rule(when={"result": {"touches": 5}})]}, ("rules[0].when.result",)),
    "next steps of a result": ({"rules": [rule(when={"result": {"next_steps": [5]}})]}, ("rules[0].when.result",)),
    "group that there is not": ({"rules": [rule(when={"result": {"groups": ["codng"]}})]}, ("groups", "'codng'")),
    "type that there is not": ({"rules": [rule(when={"result": {"types": ["pyton"]}})]}, ("types", "'pyton'")),
    "status that there is not": (
        {"rules": [rule(when={"result": {"status": ["succes"]}})]}, ("status", '"succes"', "success")
    ),
    "nothing to tell": ({"rules": [rule(do="notify")]}, ("rules[0].message",)),
    "no do": ({"rules": [rule(do=None)]}, ("rules[0].do",)),
    "do": ({"rules": [rule(do="run")]}, ("rules[0].do", "'run'", "spawn")),
    "no agent type": ({"rules": [rule(agent_type=None)]}, ("rules[0].agent_type",)),
    "agent type": ({"rules": [rule(name="a"), rule(agent_type="pythonist")]}, ("rules[1].agent_type", "'pythonist'")),
    "agent type of another kind": ({"rules": [rule(agent_type=["python-specialist"])]}, ("rules[0].agent_type",)),
    "priority": ({"rules": [rule(priority="urgent")]}, ("rules[0].priority", "'urgent'")),
    "priority of another kind": ({"rules": [rule(priority=["high"])]}, ("rules[0].priority",)),
    "attempts": ({"rules": [rule(do="retry", attempts=0)]}, ("rules[0].attempts", "0")),
    "attempts of another kind": ({"rules": [rule(do="retry", attempts="2")]}, ("rules[0].attempts",)),
    "name": ({"rules": [rule(name=5)]}, ("rules[0].name",)),
    "task": ({"rules": [rule(task=5)]}, ("rules[0].task",)),
    "message": ({"rules": [rule(message=5)]}, ("rules[0].message",)),
    # Whoever answered what is stored under the rule's name.
    "name used twice": ({"rules": [rule(name="a"), rule(name="a")]}, ("rules[1].name", "'a'")),
}  # fmt: skip


STARTED = ("unknown limit", "agent type", "agent type of another kind")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_config_is_one_clear_line(tmp_path: Path, name: str) -> None:
    config = written(tmp_path / "config.json", agents={"handover": WRONG[name][0]})
    with pytest.raises(SettingsError) as caught:
        Budget.of(Plan.of(load(config, {}, {}).handover, TYPES).limits)
    assert "\n" not in str(caught.value)
    for words in WRONG[name][1]:
        assert words in str(caught.value)


@pytest.mark.parametrize("name", STARTED)
def test_a_wrong_config_stops_the_start(tmp_path: Path, root: Path, name: str) -> None:
    config = written(tmp_path / "config.json", agents={"handover": WRONG[name][0]})
    line = start_refused(tmp_path, root, config)
    for words in WRONG[name][1]:
        assert words in line
