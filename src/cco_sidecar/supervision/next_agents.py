"""Suggests the next agents: rules from the configuration, matched against a result and the issue's history."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache

from cco_sidecar.core.agent_types import CODING, AgentType, AgentTypes
from cco_sidecar.core.languages import language_of
from cco_sidecar.repository.patterns import Patterns
from cco_sidecar.storage.base import Outcome
from orchestra.v1.config_pb2 import NextAgentRule, ResultCondition
from orchestra.v1.result_service_pb2 import (
    RESULT_STATUS_PARTIAL,
    RESULT_STATUS_SUCCESS,
    NextAgent,
    Result,
)

AUTHOR, LANGUAGE, CAPABILITY = "@author", "@language", "@capability"
_RANK = {"high": 0, "medium": 1, "low": 2}
# Independent of the rules: after so many results of a type for one issue, a person has to decide.
_MAX_TURNS = 3
# A word that more types than this share is not a speciality.
_COMMON = 4
_MAX_SPECIALISTS = 2
_SMALL_WORD = 3
# The order of work. A success suggests only later stages, so rules cannot form a cycle.
_STAGES = {
    "architecture": 0,
    "research": 0,
    "business": 0,
    "quality": 2,
    "security": 3,
    "documentation": 4,
    "support": 4,
}
_CODING_STAGE = 1
_DEPLOYMENT_STAGE = 4
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def next_agents(
    rules: Sequence[NextAgentRule], types: AgentTypes, result: Result, before: Sequence[Outcome]
) -> list[NextAgent]:
    """Returns the suggestions of all matching rules: most urgent first, each type once, never the author's own type.

    ``before``: the issue's results before this one, newest first.
    """
    found: dict[str, NextAgent] = {}
    for rule in rules:
        if not holds(rule.when, types, result):
            continue
        priority, asked = rule.priority or "medium", bool(rule.when.next_steps)
        for agent_type in _suggested(rule.suggest, types, result, before):
            if agent_type == result.agent_type or not _is_due(agent_type, types, result, before, asked=asked):
                continue
            known = found.get(agent_type)
            if known is None or _RANK.get(priority, 1) < _RANK.get(known.priority, 1):
                found[agent_type] = NextAgent(agent_type=agent_type, priority=priority, reason=rule.reason)
    return sorted(found.values(), key=lambda agent: _RANK.get(agent.priority, 1))


def _suggested(names: Iterable[str], types: AgentTypes, result: Result, before: Sequence[Outcome]) -> Iterator[str]:
    for name in names:
        if name == AUTHOR:
            author = next((each.agent_type for each in before if _stage(types, each.agent_type) == _CODING_STAGE), None)
            yield author or "debugger"
        elif name == LANGUAGE:
            yield from _of_languages(types, {language_of(path) for path in paths(result)})
        elif name == CAPABILITY:
            yield from _specialists(types, " ".join(result.result.next_steps))
        elif name in types:
            yield name


def _is_due(agent_type: str, types: AgentTypes, result: Result, before: Sequence[Outcome], *, asked: bool) -> bool:
    """Whether the type's work is still to be done, and a success would not go back to an earlier stage. ``asked``: the
    agent itself asks for it."""
    if Counter(each.agent_type for each in before)[agent_type] >= _MAX_TURNS:
        return False
    succeeded = result.result.status == RESULT_STATUS_SUCCESS
    stage, own = _stage(types, agent_type), _stage(types, result.agent_type)
    if succeeded and not asked and stage < own:
        return False
    if own == _CODING_STAGE and stage == _CODING_STAGE and not asked:
        # A coding agent does not suggest another one that already has a result.
        return all(each.agent_type != agent_type for each in before)
    if own == _CODING_STAGE and any(paths(result)):
        # The code has just changed: tests and audits are due again.
        return True
    for each in before:
        if _stage(types, each.agent_type) == _CODING_STAGE:
            return True
        if each.agent_type == agent_type and each.status in (RESULT_STATUS_SUCCESS, RESULT_STATUS_PARTIAL):
            return False
    return True


def _stage(types: AgentTypes, agent_type: str) -> int:
    agent = types.get(agent_type)
    if agent is None:
        return _CODING_STAGE
    if agent.group == "infrastructure":
        return _DEPLOYMENT_STAGE
    return _CODING_STAGE if agent.group in CODING else _STAGES.get(agent.group, _CODING_STAGE)


def holds(when: ResultCondition, types: AgentTypes, result: Result) -> bool:
    """Whether every condition of ``when`` is true for the result; ``touches`` and ``words`` are alternatives."""
    agent = types.get(result.agent_type)
    if when.groups and (agent is None or agent.group not in when.groups):
        return False
    if when.types and result.agent_type not in when.types:
        return False
    if when.status and result.result.status not in when.status:
        return False
    if when.touches or when.words:
        touched, wanted = Patterns(when.touches), frozenset(when.words)
        if not any(touched.match(path) or wanted & _words_of(path) for path in paths(result)):
            return False
    if when.next_steps:
        said = " ".join((*result.result.next_steps, *result.result.warnings)).lower()
        return any(_phrase(word).search(said) is not None for word in when.next_steps)
    return True


def paths(result: Result) -> Iterator[str]:
    """Yields every file that the result names."""
    for entry in (*result.result.files_created, *result.result.files_modified):
        yield entry.path if entry.WhichOneof("entry") == "path" else entry.file.path
    yield from result.result.files_deleted


@lru_cache(maxsize=4096)
def _words_of(text: str) -> frozenset[str]:
    """Splits text into lower-case words, including joined names: ``userSession`` is "user" and "session"."""
    return frozenset(word.lower() for word in _CAMEL.findall(text))


@cache
def _phrase(word: str) -> re.Pattern[str]:
    end = r"\w*" if word.endswith("*") else r"s?\b"
    return re.compile(rf"\b{re.escape(word.rstrip('*').lower())}{end}")


def _of_languages(types: AgentTypes, languages: set[str]) -> Iterator[str]:
    """Yields the first coding specialist of each language."""
    for language in sorted(languages):
        known = [
            (name, agent) for name, agent in types.items() if language in agent.languages and agent.group in CODING
        ]
        # Prefer a type with fewer languages.
        known.sort(key=lambda each: (len(each[1].languages), each[1].group != "coding"))
        yield from (name for name, _ in known[:1])


def _specialists(types: AgentTypes, text: str) -> Iterator[str]:
    """Yields the types whose speciality, shared with few others, the text mentions."""
    words = {word for word in _words_of(text) if len(word) > _SMALL_WORD}
    own = {name: _speciality(agent) for name, agent in types.items()}
    common = Counter(word for each in own.values() for word in each)
    scores = {
        name: sum(1 / common[word] for word in words & each if common[word] <= _COMMON) for name, each in own.items()
    }
    best = sorted((name for name, score in scores.items() if score), key=lambda name: (-scores[name], name))
    yield from best[:_MAX_SPECIALISTS]


def _speciality(agent: AgentType) -> frozenset[str]:
    return frozenset(
        word
        for text in (agent.type, *agent.capabilities, *agent.languages)
        for word in _words_of(text)
        if len(word) > _SMALL_WORD
    )
