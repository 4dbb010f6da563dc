"""The agent types of ``orchestra-config.json``: their permissions and the files in their contexts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cco_sidecar.core import codec, documents
from cco_sidecar.core.budget import NO_BUDGET, Budget
from cco_sidecar.core.errors import SettingsError, SidecarError, conflict, invalid_request, not_found
from cco_sidecar.core.principal import OPERATOR, PUBLISH_EVENTS, READ_CONTEXT, SPAWN_AGENTS, WRITE_RESULTS
from cco_sidecar.core.suggestions import did_you_mean, nearest
from orchestra.v1.blueprint_service_pb2 import BLUEPRINT_STATUS_INACTIVE, Blueprint
from orchestra.v1.config_pb2 import AgentTypeEntry, AgentTypesDocument, NextAgentRule

# Fields of an AgentTypesDocument and the group that each holds.
GROUPS = {
    "architect": "architecture",
    "coding_agents": "coding",
    "integration_agents": "integration",
    "development_agents": "development",
    "data_agents": "data",
    "infrastructure_agents": "infrastructure",
    "security_agents": "security",
    "ai_ml_agents": "ai-ml",
    "mcp_agents": "mcp",
    "documentation_agents": "documentation",
    "research_agents": "research",
    "quality_agents": "quality",
    "support_agents": "support",
    "business_agents": "business",
}
# Groups to their keys in the document.
GROUP_KEYS = {
    GROUPS[field.name]: codec.json_name(field)  # type: ignore[arg-type]
    for field in AgentTypesDocument.DESCRIPTOR.fields
    if field.name in GROUPS
}
# The groups that the documents call coding specialists: same permissions, limits and subscriptions.
CODING = frozenset({"coding", "integration", "development", "data", "infrastructure", "ai-ml", "mcp"})
COMMENTS = "@comments"
# The file set that every type gets.
EVERYONE = "everyone"

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
# The group of a blueprint that names none.
_GROUP_OF_BLUEPRINTS = "development"
_GROUP_PERMISSIONS = {"architecture": (*_WORKER, SPAWN_AGENTS)}
PERMISSIONS = (*_WORKER, SPAWN_AGENTS)


@dataclass(frozen=True, slots=True)
class AgentType:
    """One entry, completed. ``file_patterns`` are gitignore-style, with the file sets filled in; ``comments``: it also
    gets the comments of source files; ``budget``: that of its contexts; ``required``: patterns of files that a spawn
    asks for; ``blueprint``: the one that it comes from."""

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
    budget: Budget = NO_BUDGET
    required: tuple[str, ...] = ()
    blueprint: Blueprint | None = field(default=None, compare=False)

    @property
    def architect(self) -> bool:
        """Whether its agents may see every agent type and issue of their project."""
        return SPAWN_AGENTS in self.permissions

    @property
    def active(self) -> bool:
        """Whether its agents can be started."""
        return self.blueprint is None or self.blueprint.status != BLUEPRINT_STATUS_INACTIVE


class Source(NamedTuple):
    """A document and where it comes from. One that is not ``trusted`` may add types with a coding agent's rights, and
    changes nothing that exists."""

    name: str
    document: AgentTypesDocument
    trusted: bool

    @classmethod
    def of(cls, name: str, value: Any, *, trusted: bool) -> Source:
        """Raises SettingsError that names the entry."""
        return cls(name, documents.read(AgentTypesDocument, value, name), trusted)


class AgentTypes(Mapping[str, AgentType]):
    """The catalogue: every known type. Later documents add to and override earlier ones; blueprints come and go.

    ``problems``: what was ignored in the documents, and why.
    """

    def __init__(self, sources: Iterable[Source], problems: Iterable[str] = ()) -> None:
        """Raises SettingsError that names the entry."""
        self._types: dict[str, AgentType] = {}
        self._configured: dict[str, AgentType] = {}
        self.next_agent_rules: list[NextAgentRule] = []
        self.file_sets: dict[str, tuple[str, ...]] = {}
        self._defaults: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = list(problems)
        for source in sources:
            self._add_lists(source)
            for name, group in GROUPS.items():
                self._add_group(source, name, group)
        self._configured = dict(self._types)

    def set_blueprints(self, blueprints: Iterable[Blueprint]) -> list[str]:
        """Replaces the blueprints of the catalogue. Returns why some are not in it."""
        types, problems = dict(self._configured), []
        for blueprint in blueprints:
            if blueprint.name in types:
                problems.append(f"{blueprint.name}: the configuration defines this agent type")
                continue
            try:
                types[blueprint.name] = self.of_blueprint(blueprint)
            except SettingsError as problem:
                problems.append(str(problem))
        # Replaced as a whole: a reader sees the earlier catalogue or this one.
        self._types = types
        return problems

    def of_blueprint(self, blueprint: Blueprint) -> AgentType:
        """Raises SettingsError."""
        entry = AgentTypeEntry(
            type=blueprint.name,
            role=blueprint.description,
            model=blueprint.model,
            capabilities=blueprint.capabilities,
            languages=blueprint.languages,
            file_patterns=blueprint.file_patterns,
            permissions=blueprint.permissions,
        )
        agent = self._entry(blueprint.name, entry, blueprint.group or _GROUP_OF_BLUEPRINTS)
        return replace(agent, blueprint=blueprint)

    def _add_lists(self, source: Source) -> None:
        document = source.document
        sets = {name: tuple(patterns.values) for name, patterns in document.file_sets.items()}
        defaults = {name: tuple(patterns.values) for name, patterns in document.group_defaults.items()}
        rules = list(document.next_agents)
        unknown = next((name for name in defaults if name not in GROUP_KEYS), None)
        if unknown is not None:
            raise SettingsError(
                f"{source.name}.groupDefaults: group '{unknown}' not found; expected one of {', '.join(GROUP_KEYS)}"
            )
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

    def _add_group(self, source: Source, field: str, group: str) -> None:
        given = getattr(source.document, field)
        key = GROUP_KEYS[group]
        entries = [given.one] if given.WhichOneof("value") == "one" else given.many.types
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
            f"{source.name} is not trusted: {each} is ignored; 'cco trust' accepts the file" for each in sorted(what)
        ]

    def __getitem__(self, agent_type: str) -> AgentType:
        return self._types[agent_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def _entry(self, where: str, entry: AgentTypeEntry, group: str) -> AgentType:
        if entry.type == OPERATOR:
            raise SettingsError(f"{where}.type: '{OPERATOR}' is reserved for the operator")
        languages = tuple(entry.languages)
        patterns = tuple(entry.file_patterns) or self._defaults.get(group, ())
        return AgentType(
            type=entry.type,
            name=entry.name or entry.type,
            group=group,
            model=entry.model,
            role=entry.role,
            capabilities=tuple(entry.capabilities),
            languages=languages,
            file_patterns=(*self._expanded(where, patterns, languages), *self.file_sets.get(EVERYONE, ())),
            subscriptions=tuple(entry.subscriptions),
            permissions=tuple(entry.permissions) or _GROUP_PERMISSIONS.get(group, _WORKER),
            comments=COMMENTS in patterns,
            budget=Budget.of(entry, "context_"),
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
                    raise SettingsError(f"{where}: file set '{pattern[1:]}' not found in fileSets")
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
                    "context_requirements: a pattern must not contain a NUL character", field="context_requirements"
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

    def require(self, agent_type: str) -> AgentType:
        """Raises SidecarError (AGT_002) for an unknown type."""
        agent = self._types.get(agent_type)
        if agent is None:
            raise unknown_type(agent_type, self._types)
        return agent

    def require_active(self, agent_type: str) -> AgentType:
        """Raises SidecarError: AGT_002 for an unknown type, BLP_003 for one whose agents cannot be started."""
        agent = self.require(agent_type)
        if not agent.active:
            raise conflict("BLP_003", f"blueprint '{agent_type}' is inactive; 'cco blueprints activate' changes that")
        return agent


def unknown_blueprint(name: str, known: Iterable[str]) -> SidecarError:
    return not_found(
        "AGT_002",
        f"blueprint '{name}' not found{did_you_mean(name, known)}; 'cco blueprints list' and GET /api/blueprints list "
        "them",
        agent_type=name,
    )


def unknown_type(agent_type: str, known: Iterable[str]) -> SidecarError:
    near = nearest(agent_type, known)
    hint = f"did you mean '{near}'? " if near else ""
    return not_found(
        "AGT_002",
        f"unknown agent type '{agent_type}'; {hint}'cco agent types' and GET /api/agent-types list them, and "
        "config/orchestra-config.json of the project can define new ones",
        agent_type=agent_type,
    )
