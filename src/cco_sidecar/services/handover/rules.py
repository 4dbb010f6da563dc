"""The rules of hand-over, from ``agents.handover`` of the configuration.

A rule::

    {"name": "tests-after-code",
     "when": {"event_type": "agent_completed", "filter": "status:success", "result": {"groups": ["coding"]}},
     "do": "spawn", "agent_type": "test-engineer", "task": "Test what {agent_id} made for {issue_id}"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cco_sidecar.bus import filters
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.suggestions import did_you_mean
from orchestra.v1.config_pb2 import HandoverConfig, HandoverLimits, HandoverRule, ResultCondition
from orchestra.v1.event_service_pb2 import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL, Priority

NEXT_AGENTS = "next_agents"
# Events that announce a result.
OF_RESULTS = frozenset({"agent_completed", "agent_failed"})
_PRIORITIES = {"low": PRIORITY_LOW, "normal": PRIORITY_NORMAL, "high": PRIORITY_HIGH}
_WHERE = "agents.handover.rules[{}]"


@dataclass(frozen=True, slots=True)
class Rule:
    """A configured rule. ``result``: conditions on the result of the event, None for no condition; ``event_types``: an
    empty set matches every event."""

    name: str
    do: str
    event_types: frozenset[str]
    filter: filters.Filter | None
    result: ResultCondition | None
    agent_type: str
    task: str
    priority: Priority
    message: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``mode``: off, dry_run or automatic."""

    mode: str
    rules: Sequence[Rule]
    limits: HandoverLimits

    @classmethod
    def of(cls, config: HandoverConfig, types: Mapping[str, Any]) -> Plan:
        """Raises SettingsError that names the rule."""
        rules = [_rule(index, rule, types) for index, rule in enumerate(config.rules)]
        for index, rule in enumerate(rules):
            # The name identifies the reaction to an event, so that none is repeated.
            if rule.name in [each.name for each in rules[:index]]:
                raise SettingsError(f"{_WHERE.format(index)}.name: '{rule.name}' is used twice")
        return cls(config.mode or "dry_run", rules, config.limits)


def _rule(index: int, rule: HandoverRule, types: Mapping[str, Any]) -> Rule:
    where = _WHERE.format(index)
    when = rule.when
    if not when.ByteSize():
        raise SettingsError(f"{where}.when: expected at least one of event_type, filter, result")
    event_types = [when.event_type.one] if when.event_type.one else list(when.event_type.many.values)
    if when.HasField("event_type") and not all(event_types or [""]):
        raise SettingsError(f"{where}.when.event_type: expected an event type or a list of them")
    if rule.do in ("spawn", "ask") and rule.agent_type != NEXT_AGENTS and rule.agent_type not in types:
        raise SettingsError(
            f"{where}.agent_type: unknown agent type '{rule.agent_type}': expected a configured type or "
            f"'{NEXT_AGENTS}'{did_you_mean(rule.agent_type, {*types, NEXT_AGENTS})}"
        )
    if rule.do == "notify" and not rule.message:
        raise SettingsError(f"{where}.message is required for do: notify")
    result = when.result if when.HasField("result") else None
    if result is not None:
        _check_result(f"{where}.when.result", result, types)
    return Rule(
        name=rule.name or f"rule-{index + 1}",
        do=rule.do,
        event_types=frozenset(event_types or (OF_RESULTS if result is not None else ())),
        filter=_filter(where, when.filter) if when.filter else None,
        result=result,
        agent_type=rule.agent_type,
        task=rule.task,
        priority=_PRIORITIES[rule.priority or "normal"],
        message=rule.message,
        attempts=rule.attempts if rule.HasField("attempts") else 2,
    )


def _check_result(where: str, condition: ResultCondition, types: Mapping[str, Any]) -> None:
    """Rejects unknown types and groups, which no result could ever match. Raises SettingsError."""
    groups = sorted({each.group for each in types.values()})
    for key, given, known in (("groups", condition.groups, groups), ("types", condition.types, types)):
        wrong = next((each for each in given if each not in known), None)
        if wrong is not None:
            listed = ", ".join(groups) if key == "groups" else "what 'cco agent types' lists"
            raise SettingsError(f"{where}.{key}: '{wrong}' not found; expected one of {listed}")


def _filter(where: str, text: str) -> filters.Filter:
    try:
        return filters.parse(text)
    except SidecarError as problem:
        raise SettingsError(f"{where}.when.{problem.message}") from problem
