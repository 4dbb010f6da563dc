"""The rules of hand-over, read from ``agents.handover`` of the configuration.

A rule::

    {"name": "tests-after-code",
     "when": {"event_type": "agent_completed", "filter": "status:success", "result": {"groups": ["coding"]}},
     "do": "spawn", "agent_type": "test-engineer", "task": "Test what {agent_id} made for {issue_id}"}

``do`` is ``spawn`` (``agent_type`` may be ``next_agents``: those that the result suggests), ``retry`` (the agent that
failed), ``notify`` or ``ask`` (a person; ``agent_type`` is spawned when they approve).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cco_sidecar.bus import filters
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SettingsError, SidecarError
from orchestra.v1.event_service_pb2 import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL
from orchestra.v1.result_service_pb2 import ResultStatus

MODES = ("off", "dry_run", "automatic")
NEXT_AGENTS = "next_agents"
# Events that tell of a result.
OF_RESULTS = frozenset({"agent_completed", "agent_failed"})
PRIORITIES = {"low": PRIORITY_LOW, "normal": PRIORITY_NORMAL, "high": PRIORITY_HIGH}
_KEYS = frozenset({"name", "when", "do", "agent_type", "task", "priority", "message", "attempts"})
_OF_RESULT = ("groups", "types", "status", "touches", "next_steps")
_OF_WHEN = ("event_type", "filter", "result")
_ACTIONS = ("spawn", "retry", "notify", "ask")


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    do: str
    event_types: frozenset[str]
    filter: filters.Filter | None
    result: Mapping[str, Any] | None
    agent_type: str = ""
    task: str = ""
    priority: str = "normal"
    message: str = ""
    attempts: int = 2


@dataclass(frozen=True, slots=True)
class Plan:
    mode: str = "dry_run"
    rules: Sequence[Rule] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Mapping[str, Any], types: Mapping[str, Any]) -> Plan:
        """Raises SettingsError that names the rule."""
        unknown = sorted(set(value) - {"mode", "rules", "limits"})
        if unknown:
            raise SettingsError(f"agents.handover: unknown key '{unknown[0]}'; known: limits, mode, rules")
        mode = value.get("mode", "dry_run")
        if mode not in MODES:
            raise SettingsError(f"agents.handover.mode: {mode!r} is none of {', '.join(MODES)}")
        rules, limits = value.get("rules", []), value.get("limits", {})
        if not isinstance(rules, list) or not isinstance(limits, Mapping):
            raise SettingsError("agents.handover: 'rules' is a list and 'limits' an object")
        made = [_rule(index, rule, types) for index, rule in enumerate(rules)]
        for index, rule in enumerate(made):
            # The name is part of what says that an event has been answered.
            if rule.name in [each.name for each in made[:index]]:
                raise SettingsError(f"agents.handover.rules[{index}].name: '{rule.name}' is used twice")
        return cls(mode, made, limits)


def _rule(index: int, rule: Any, types: Mapping[str, Any]) -> Rule:
    where = f"agents.handover.rules[{index}]"
    if not isinstance(rule, Mapping):
        raise SettingsError(f"{where} must be an object with 'when' and 'do'")
    unknown = sorted(set(rule) - _KEYS)
    if unknown:
        raise SettingsError(f"{where}: unknown key '{unknown[0]}'; known: {', '.join(sorted(_KEYS))}")
    when, do = rule.get("when"), rule.get("do")
    if not isinstance(when, Mapping) or not when:
        raise SettingsError(f"{where}.when needs some of {', '.join(_OF_WHEN)}")
    unknown = sorted(set(when) - set(_OF_WHEN))
    if unknown:
        raise SettingsError(f"{where}.when: unknown key '{unknown[0]}'; known: {', '.join(_OF_WHEN)}")
    if do not in _ACTIONS:
        raise SettingsError(f"{where}.do: {do!r} is none of {', '.join(_ACTIONS)}")
    agent_type = rule.get("agent_type", "")
    for key in ("name", "agent_type", "task", "priority", "message"):
        if not isinstance(rule.get(key, ""), str):
            raise SettingsError(f"{where}.{key} must be a text")
    if do in ("spawn", "ask") and agent_type != NEXT_AGENTS and agent_type not in types:
        raise SettingsError(f"{where}.agent_type: {agent_type!r} is no agent type, and not '{NEXT_AGENTS}'")
    if rule.get("priority", "normal") not in PRIORITIES:
        raise SettingsError(f"{where}.priority: {rule['priority']!r} is none of {', '.join(PRIORITIES)}")
    attempts = rule.get("attempts", 2)
    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
        raise SettingsError(f"{where}.attempts: {attempts!r} is not a whole number from 1 on")
    named = when.get("event_type", [])
    event_types = [named] if isinstance(named, str) else named
    if "event_type" in when and not _are_texts(event_types):
        raise SettingsError(f"{where}.when.event_type must be an event type or a list of them")
    _check_result(f"{where}.when.result", when.get("result", {}), types)
    if do == "notify" and not rule.get("message"):
        raise SettingsError(f"{where}.message is needed: what is the person told?")
    return Rule(
        name=rule.get("name", f"rule-{index + 1}"),
        do=do,
        event_types=frozenset(event_types or (OF_RESULTS if "result" in when else ())),
        filter=_filter(where, when.get("filter")),
        result=when.get("result"),
        agent_type=agent_type,
        task=rule.get("task", ""),
        priority=rule.get("priority", "normal"),
        message=rule.get("message", ""),
        attempts=attempts,
    )


def _check_result(where: str, value: Any, types: Mapping[str, Any]) -> None:
    """What a result never is, no rule waits for. Raises SettingsError."""
    if not isinstance(value, Mapping):
        raise SettingsError(f'{where} must be an object such as {{"status": ["success"]}}')
    known = {
        "types": set(types),
        "groups": {each.group for each in types.values()},
        "status": {codec.enum_name(ResultStatus.DESCRIPTOR, number) for number in ResultStatus.values() if number},
    }
    for key, texts in value.items():
        if key not in _OF_RESULT or not _are_texts(texts):
            raise SettingsError(f"{where}.{key}: a list of texts under one of {', '.join(_OF_RESULT)}")
        wrong = sorted(set(texts) - known[key]) if key in known else []
        if wrong:
            raise SettingsError(f"{where}.{key}: there is no '{wrong[0]}'; known: {_few(known[key])}")


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)) if len(names) < 20 else "what 'cco agent types' lists"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _filter(where: str, text: Any) -> filters.Filter | None:
    if text is None:
        return None
    try:
        return filters.parse(str(text))
    except SidecarError as problem:
        raise SettingsError(f"{where}.when.{problem.message}") from problem
