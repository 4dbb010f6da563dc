"""Who should come next: rules from the configuration, held against a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cco_sidecar.core import codec
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.patterns import Patterns
from orchestra.v1.result_service_pb2 import NextAgent, Result, ResultStatus

_RANK = {"high": 0, "medium": 1, "low": 2}


def next_agents(rules: Sequence[Mapping[str, Any]], types: AgentTypes, result: Result) -> list[NextAgent]:
    """Suggestions of every rule that holds, most urgent first, each type once and never the author's own.

    A rule: ``{"when": {"groups", "types", "status", "touches", "next_steps"}, "suggest": [types],
    "priority", "reason"}``. What ``when`` does not name always holds; lists mean any of them.
    """
    found: dict[str, NextAgent] = {}
    for rule in rules:
        if not holds(rule.get("when", {}), types, result):
            continue
        priority = str(rule.get("priority", "medium"))
        for agent_type in rule.get("suggest", ()):
            if agent_type == result.agent_type or agent_type not in types:
                continue
            known = found.get(agent_type)
            if known is None or _RANK.get(priority, 1) < _RANK.get(known.priority, 1):
                reason = str(rule.get("reason", ""))
                found[agent_type] = NextAgent(agent_type=agent_type, priority=priority, reason=reason)
    return sorted(found.values(), key=lambda agent: _RANK.get(agent.priority, 1))


def holds(when: Mapping[str, Any], types: AgentTypes, result: Result) -> bool:
    """Every condition that ``when`` names is true of the result."""
    agent = types.get(result.agent_type)
    status = codec.enum_name(ResultStatus.DESCRIPTOR, result.result.status)
    if "groups" in when and (agent is None or agent.group not in when["groups"]):
        return False
    if "types" in when and result.agent_type not in when["types"]:
        return False
    if "status" in when and status not in when["status"]:
        return False
    if "touches" in when:
        touched = Patterns(when["touches"])
        if not any(touched.match(path) for path in paths(result)):
            return False
    if "next_steps" in when:
        said = " ".join((*result.result.next_steps, *result.result.warnings)).lower()
        return any(word.lower() in said for word in when["next_steps"])
    return True


def paths(result: Result) -> Iterator[str]:
    """Every file that the result names."""
    for entry in (*result.result.files_created, *result.result.files_modified):
        yield entry.path if entry.WhichOneof("entry") == "path" else entry.file.path
    yield from result.result.files_deleted
