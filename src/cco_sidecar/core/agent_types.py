"""The agent types of ``orchestra-config.json``: who there is, what each may do and wants to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cco_sidecar.core.errors import SettingsError, SidecarError, invalid_request, not_found
from cco_sidecar.core.ids import is_id
from cco_sidecar.core.principal import OPERATOR, PUBLISH_EVENTS, READ_CONTEXT, SPAWN_AGENTS, WRITE_RESULTS

# Top-level keys of the configuration and the group that each holds.
GROUP_KEYS = {
    "architect": "architecture",
    "codingAgents": "coding",
    "integrationAgents": "integration",
    "developmentAgents": "development",
    "dataAgents": "data",
    "infrastructureAgents": "infrastructure",
    "securityAgents": "security",
    "aiMlAgents": "ai-ml",
    "mcpAgents": "mcp",
    "documentationAgents": "documentation",
    "researchAgents": "research",
    "qualityAgents": "quality",
    "supportAgents": "support",
    "businessAgents": "business",
}
_KEYS = (*GROUP_KEYS, "fileSets", "groupDefaults", "nextAgents")
_OF_ENTRY = (
    "type",
    "name",
    "role",
    "model",
    "capabilities",
    "languages",
    "file_patterns",
    "subscriptions",
    "permissions",
)
# The groups that the documents call coding specialists: same permissions, limits and subscriptions.
CODING = frozenset({"coding", "integration", "development", "data", "infrastructure", "ai-ml", "mcp"})
COMMENTS = "@comments"

# What a spawn may ask of a context by name: parts that are always there, and the file set that a name stands for.
ALWAYS_IN_CONTEXT = frozenset({"project_structure", "previous_decisions", "git_history", "git_context", "metadata"})
REQUIREMENTS = {
    "security_policies": "security",
    "test_coverage_reports": "reports",
    "test_files": "tests",
    "dependency_manifests": "dependencies",
    "ci_configuration": "ci",
    "api_specifications": "api",
}

_WORKER = (READ_CONTEXT, WRITE_RESULTS, PUBLISH_EVENTS)
_GROUP_PERMISSIONS = {"architecture": (*_WORKER, SPAWN_AGENTS)}
PERMISSIONS = (*_WORKER, SPAWN_AGENTS)


@dataclass(frozen=True, slots=True)
class AgentType:
    """One entry. ``file_patterns`` are gitignore-style, with the file sets already put in their place;
    ``comments`` says that it also gets the comments of source files."""

    type: str
    name: str
    group: str
    model: str
    role: str
    capabilities: tuple[str, ...]
    languages: tuple[str, ...]
    file_patterns: tuple[str, ...]
    subscriptions: tuple[str, ...]
    permissions: tuple[str, ...]
    comments: bool = False


class Source(NamedTuple):
    """A document and where it comes from. What is not ``trusted`` may add types with a coding agent's rights, and
    change nothing that is there."""

    name: str
    document: Mapping[str, Any]
    trusted: bool


class AgentTypes(Mapping[str, AgentType]):
    """Every known type; later documents add to and override earlier ones. ``problems``: what was ignored, and why."""

    def __init__(self, sources: Iterable[Source], problems: Iterable[str] = ()) -> None:
        """Raises SettingsError that names the entry."""
        self._types: dict[str, AgentType] = {}
        self.next_agent_rules: list[Mapping[str, Any]] = []
        self.file_sets: dict[str, tuple[str, ...]] = {}
        self._defaults: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = list(problems)
        for source in sources:
            _refuse_mistyped(source.name, source.document, _KEYS)
            self._add_lists(source)
            for key, group in GROUP_KEYS.items():
                self._add_group(source, key, group)

    def _add_lists(self, source: Source) -> None:
        name, document = source.name, source.document
        sets, defaults = _lists(name, document, "fileSets"), _lists(name, document, "groupDefaults")
        _refuse_mistyped(f"{name}: groupDefaults", defaults, list(GROUP_KEYS.values()))
        rules = _rules(name, document)
        if not source.trusted:
            known = self.file_sets.keys()
            self._ignore(source, [f"fileSets.{each}" for each in sets if each in known])
            self._ignore(source, [f"groupDefaults.{each}" for each in defaults])
            self._ignore(source, ["nextAgents"] if rules else [])
            sets = {each: patterns for each, patterns in sets.items() if each not in known}
            defaults, rules = {}, []
        self.file_sets |= sets
        self._defaults |= defaults
        self.next_agent_rules = [*rules, *self.next_agent_rules]

    def _add_group(self, source: Source, key: str, group: str) -> None:
        value = source.document.get(key, [])
        entries = [value] if isinstance(value, Mapping) else value
        if not isinstance(entries, list):
            raise SettingsError(f"{source.name}: '{key}' must be a list of agent types")
        for index, entry in enumerate(entries):
            agent = self._entry(f"{source.name}: {key}[{index}]", entry, group)
            if source.trusted:
                self._types[agent.type] = agent
            elif group == "architecture" or agent.type in self._types:
                self._ignore(source, [f"{key}[{index}] ('{agent.type}')"])
            else:
                rights = tuple(each for each in agent.permissions if each in _WORKER)
                if rights != agent.permissions:
                    self._ignore(
                        source, [f"{each} of '{agent.type}'" for each in agent.permissions if each not in rights]
                    )
                self._types[agent.type] = replace(agent, permissions=rights)

    def _ignore(self, source: Source, what: Iterable[str]) -> None:
        self.problems += [
            f"{source.name} is not trusted: {each} is ignored; 'cco trust' accepts the file" for each in what
        ]

    def __getitem__(self, agent_type: str) -> AgentType:
        return self._types[agent_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def _entry(self, where: str, entry: Any, group: str) -> AgentType:
        if not isinstance(entry, Mapping):
            raise SettingsError(f"{where} must be an object with 'type', 'name' and 'role'")
        _refuse_mistyped(where, entry, _OF_ENTRY)
        agent_type = entry.get("type")
        if not isinstance(agent_type, str) or not is_id(agent_type) or agent_type == OPERATOR:
            raise SettingsError(f"{where}: 'type' must be a name such as 'my-custom-agent', got {agent_type!r}")
        permissions = _texts(where, entry, "permissions", _GROUP_PERMISSIONS.get(group, _WORKER))
        unknown = sorted(set(permissions) - set(PERMISSIONS))
        if unknown:
            raise SettingsError(f"{where}: unknown permission '{unknown[0]}'; known: {', '.join(PERMISSIONS)}")
        languages = _texts(where, entry, "languages")
        patterns = _texts(where, entry, "file_patterns", self._defaults.get(group, ()))
        return AgentType(
            type=agent_type,
            name=str(entry.get("name", agent_type)),
            group=group,
            model=str(entry.get("model", "")),
            role=str(entry.get("role", "")),
            capabilities=_texts(where, entry, "capabilities"),
            languages=languages,
            file_patterns=tuple(self._expanded(where, patterns, languages)),
            subscriptions=_texts(where, entry, "subscriptions"),
            permissions=permissions,
            comments=COMMENTS in patterns,
        )

    def _expanded(self, where: str, patterns: Iterable[str], languages: tuple[str, ...]) -> Iterator[str]:
        for pattern in patterns:
            if pattern == COMMENTS:
                continue
            if pattern == "@languages":
                names = [f"@{name}" for name in languages if name in self.file_sets] or ["@source"]
                yield from self._expanded(where, names, ())
            elif pattern.startswith("@"):
                if pattern[1:] not in self.file_sets:
                    raise SettingsError(f"{where}: there is no file set '{pattern[1:]}' in fileSets")
                yield from self.file_sets[pattern[1:]]
            else:
                yield pattern

    def patterns_of(self, requirements: Iterable[str]) -> tuple[str, ...]:
        """File patterns of a spawn's ``context_requirements``: names of file sets, of parts that every context has,
        or gitignore-style patterns. Raises SidecarError (REQ_001)."""
        found: list[str] = []
        for name in requirements:
            if "\0" in name:
                raise invalid_request(
                    "context_requirements: a pattern holds a NUL, which no path does", field="context_requirements"
                )
            if name in ALWAYS_IN_CONTEXT:
                continue
            if name in REQUIREMENTS or name in self.file_sets:
                found += self.file_sets.get(REQUIREMENTS.get(name, name), ())
            elif any(sign in name for sign in "*./"):
                found.append(name)
            else:
                known = ", ".join(sorted({*ALWAYS_IN_CONTEXT, *REQUIREMENTS, *self.file_sets}))
                raise invalid_request(
                    f"context_requirements: '{name[:80]}' is neither a pattern such as 'docs/*.md' nor one of {known}",
                    field="context_requirements",
                )
        return tuple(found)

    def known(self, agent_type: str) -> AgentType:
        """Raises SidecarError (AGT_002) for an unknown type."""
        agent = self._types.get(agent_type)
        if agent is None:
            raise unknown_type(agent_type, self._types)
        return agent


def unknown_type(agent_type: str, known: Iterable[str]) -> SidecarError:
    near = difflib.get_close_matches(agent_type.lower(), known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return not_found(
        "AGT_002",
        f"unknown agent type '{agent_type}'; {hint}'cco agent types' and GET /api/agent-types list them, and "
        "config/orchestra-config.json takes new ones",
        agent_type=agent_type,
    )


def _texts(where: str, entry: Mapping[str, Any], key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    value = entry.get(key, list(default))
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{where}: '{key}' must be a list of strings")
    return tuple(value)


def _refuse_mistyped(where: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Keys of other programs are let be; one that is nearly one of ours was meant to be it."""
    for key in given:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.85)
        if near and key not in known:
            raise SettingsError(f"{where}: unknown key '{key}'; did you mean '{near[0]}'?")


def _lists(source: str, document: Mapping[str, Any], key: str) -> dict[str, tuple[str, ...]]:
    value = document.get(key, {})
    if not isinstance(value, Mapping):
        raise SettingsError(f"{source}: '{key}' must be an object of lists")
    return {name: _texts(f"{source}: {key}", value, name) for name in value}


def _rules(source: str, document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rules = document.get("nextAgents", [])
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise SettingsError(f"{source}: 'nextAgents' must be a list of rules")
    return list(rules)
