"""How a type of agent is launched: a command template from the configuration, or a preset."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from cco_sidecar.core.agent_types import GROUP_KEYS, AgentType, AgentTypes
from cco_sidecar.core.environment import is_reserved
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.core.suggestions import did_you_mean
from orchestra.v1.agent_service_pb2 import (
    ISOLATION_NONE,
    WORKTREE_BASE_HEAD,
    Isolation,
    WorktreeBase,
)
from orchestra.v1.config_pb2 import RunnerConfig, StringOrList

# A word of a command; a tuple of words is left out when one of its placeholders is empty.
Word = str | tuple[str, ...]

PLACEHOLDERS = frozenset(
    (
        "task",
        "prompt",
        "prompt_file",
        "system_prompt",
        "context_file",
        "context_markdown_file",
        "agent_id",
        "agent_type",
        "issue_id",
        "project_id",
        "model",
        "session_id",
        "mcp_config",
        "workdir",
    )
)
COMMAND = "command"
DEFAULT = "default"
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Limits:
    """0 means no limit."""

    memory_mb: int = 0
    processes: int = 0
    open_files: int = 0
    output_mb: int = 256


@dataclass(frozen=True, slots=True)
class Runner:
    """``prompt_on_stdin``: the program reads its task there. ``reports``: it prints JSON lines about its work.
    ``sessions``: it can resume an earlier session. ``models``: it knows the model names of the agent types."""

    preset: str = COMMAND
    command: tuple[Word, ...] = ()
    resume: tuple[Word, ...] = ()
    prompt_on_stdin: bool = False
    reports: bool = False
    models: bool = False
    model: str = ""
    mcp_config: str = ""
    isolation: Isolation = ISOLATION_NONE
    base: WorktreeBase = WORKTREE_BASE_HEAD
    timeout_seconds: int | None = None
    stuck_after_seconds: int | None = None
    attempts: int = 1
    backoff_seconds: float = 5.0
    limits: Limits = Limits()
    credentials: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    # That a machine must have to run the agent.
    tags: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: dict[str, Any]) -> Runner:
        """The opposite of ``dataclasses.asdict``, from JSON, perhaps of another version: what it knows more is ignored,
        and what it does not know has its default."""
        known = _known(cls, value)
        words = {name: tuple(_word(each) for each in value.get(name, ())) for name in ("command", "resume")}
        texts = {name: tuple(value.get(name, ())) for name in ("credentials", "tags")}
        return cls(**(known | words | texts | {"limits": Limits(**_known(Limits, value.get("limits", {})))}))

    @property
    def sessions(self) -> bool:
        return bool(self.resume)


def _known(kind: type[Any], value: dict[str, Any]) -> dict[str, Any]:
    return {each.name: value[each.name] for each in fields(kind) if each.name in value}


def _word(value: Any) -> Word:
    return value if isinstance(value, str) else tuple(value)


PRESETS: dict[str, Runner] = {
    # Claude Code, print mode (claude --help).
    "claude": Runner(
        preset="claude",
        command=(
            *("claude", "--print", "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", "acceptEdits", "--session-id", "{session_id}"),
            ("--append-system-prompt", "{system_prompt}"),
            ("--model", "{model}"),
            ("--mcp-config", "{mcp_config}"),
        ),
        resume=(
            *("claude", "--print", "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", "acceptEdits", "--resume", "{session_id}"),
            ("--append-system-prompt", "{system_prompt}"),
            ("--model", "{model}"),
            ("--mcp-config", "{mcp_config}"),
        ),
        prompt_on_stdin=True,
        reports=True,
        models=True,
    ),
    # Codex CLI (codex exec --help).
    "codex": Runner(
        preset="codex",
        command=(
            *("codex", "exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write"),
            ("--model", "{model}"),
            "-",
        ),
        resume=(
            "codex",
            "exec",
            "resume",
            "--json",
            "--skip-git-repo-check",
            ("--model", "{model}"),
            "{session_id}",
            "-",
        ),
        prompt_on_stdin=True,
        reports=True,
    ),
    # Gemini CLI (gemini --help): headless when stdin is no terminal.
    "gemini": Runner(
        preset="gemini",
        command=(
            *("gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit", "--skip-trust"),
            *("--session-id", "{session_id}"),
            ("--model", "{model}"),
        ),
        resume=(
            *("gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit", "--skip-trust"),
            *("--resume", "{session_id}"),
            ("--model", "{model}"),
        ),
        prompt_on_stdin=True,
        reports=True,
    ),
    # aider (aider --help).
    "aider": Runner(
        preset="aider",
        command=(
            *("aider", "--yes-always", "--no-check-update", "--no-pretty", "--no-stream"),
            ("--model", "{model}"),
            *("--message-file", "{prompt_file}"),
        ),
    ),
    COMMAND: Runner(),
}
# The fields of an entry that say what is run: an entry that sets `preset` or `command` inherits none of them.
_WHAT = ("preset", "command", "resume", "stdin", "output")


class Runners:
    """``agents.runners``: a type's entry inherits from its group's, and that from ``default``."""

    def __init__(self, settings: Settings, types: AgentTypes) -> None:
        """Raises SettingsError that names the entry."""
        self._entries = settings.runners
        self._timeout = settings.agent_timeout
        self._stuck_after = settings.stuck_after
        known = {DEFAULT, *GROUP_KEYS, *types}
        for name, entry in self._entries.items():
            where = f"agents.runners.{name}"
            if name not in known:
                raise SettingsError(
                    f"agents.runners: unknown name '{name}': expected an agent type, a group or "
                    f"'{DEFAULT}'{did_you_mean(name, known)}"
                )
            runner = _runner(where, entry)
            if entry.HasField("preset") and not runner.command:
                raise SettingsError(f"{where}: the preset '{COMMAND}' needs a 'command'")
            reserved = next((each for each in entry.environment if is_reserved(each)), None)
            if reserved is not None:
                raise SettingsError(f"{where}.environment: {reserved} is set by the sidecar")

    def of(self, agent: AgentType) -> Runner:
        entry = RunnerConfig(preset="claude")
        for name in (DEFAULT, agent.group, agent.type):
            if (own := self._entries.get(name)) is not None:
                entry = _inherited(entry, own)
        return self._completed(_runner(f"agents.runners.{agent.type}", entry))

    def once(self, command: Sequence[str], agent: AgentType) -> Runner:
        """What the operator wrote after ``--``, as it is, on a machine for that type of agent."""
        return self._completed(Runner(command=tuple(command), isolation=ISOLATION_NONE, tags=self.of(agent).tags))

    def _completed(self, runner: Runner) -> Runner:
        return replace(
            runner,
            timeout_seconds=self._timeout if runner.timeout_seconds is None else runner.timeout_seconds,
            stuck_after_seconds=self._stuck_after if runner.stuck_after_seconds is None else runner.stuck_after_seconds,
        )

    def programs(self) -> dict[str, str]:
        """The programs that the configuration uses, by preset, or by the entry with a command of its own."""
        named = {entry.preset for entry in self._entries.values() if entry.HasField("preset")}
        default = self._entries.get(DEFAULT, RunnerConfig())
        if not (default.HasField("preset") or default.HasField("command")):
            named.add("claude")
        found = {preset: str(PRESETS[preset].command[0]) for preset in sorted(named - {COMMAND})}
        for name, entry in self._entries.items():
            program = next(iter(_words(entry.command)), "") if entry.HasField("command") else ""
            if program and not PLACEHOLDER.search(program):
                found[name] = program
        return found


def filled(command: Sequence[Word], values: Mapping[str, str]) -> list[str]:
    """The command line: placeholders replaced, words whose value is empty left out."""
    line: list[str] = []
    for word in command:
        group = (word,) if isinstance(word, str) else word
        names = [name for part in group for name in PLACEHOLDER.findall(part)]
        if not isinstance(word, str) and not all(values.get(name, "") for name in names):
            continue
        line += [PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), part) for part in group]
    return line


def takes(command: Sequence[Word], name: str) -> bool:
    """Whether a command has the placeholder."""
    words = (word if isinstance(word, tuple) else (word,) for word in command)
    return any(name in PLACEHOLDER.findall(part) for group in words for part in group)


def _inherited(base: RunnerConfig, own: RunnerConfig) -> RunnerConfig:
    """Field by field: what ``own`` sets replaces the whole of it."""
    entry = RunnerConfig()
    entry.CopyFrom(base)
    replaced = [field.name for field, _ in own.ListFields()]
    if own.HasField("preset") or own.HasField("command"):
        replaced += _WHAT
    for name in replaced:
        entry.ClearField(name)
    entry.MergeFrom(own)
    return entry


def _runner(where: str, entry: RunnerConfig) -> Runner:
    """Raises SettingsError."""
    changes: dict[str, Any] = {
        name: getattr(entry, name)
        for name in ("model", "mcp_config", "isolation", "base", "timeout_seconds", "stuck_after_seconds")
        if entry.HasField(name)
    }
    for name in ("command", "resume"):
        if entry.HasField(name):
            changes[name] = _command(f"{where}.{name}", getattr(entry, name))
    if entry.HasField("stdin"):
        changes["prompt_on_stdin"] = entry.stdin == "prompt"
    if entry.HasField("output"):
        changes["reports"] = entry.output == "stream-json"
    if entry.HasField("retry"):
        changes["attempts"] = entry.retry.attempts if entry.retry.HasField("attempts") else 1
        if entry.retry.HasField("backoff_seconds"):
            changes["backoff_seconds"] = entry.retry.backoff_seconds
    if entry.HasField("limits"):
        changes["limits"] = Limits(**{field.name: value for field, value in entry.limits.ListFields()})
    if entry.credentials:
        changes["credentials"] = tuple(entry.credentials)
    if entry.tags:
        changes["tags"] = tuple(entry.tags)
    if entry.environment:
        changes["environment"] = dict(entry.environment)
    return replace(PRESETS[entry.preset or COMMAND], **changes)


def _command(where: str, given: StringOrList) -> tuple[str, ...]:
    """Raises SettingsError."""
    try:
        words = _words(given)
    except ValueError as problem:
        raise SettingsError(f"{where}: {given.one!r} cannot be split into words: {problem}") from problem
    if not words:
        raise SettingsError(f'{where}: expected words such as ["python", "agent.py", "{{task}}"]')
    unknown = {name for word in words for name in PLACEHOLDER.findall(word)} - PLACEHOLDERS
    if unknown:
        known = ", ".join(sorted(PLACEHOLDERS))
        raise SettingsError(f"{where}: there is no placeholder {{{min(unknown)}}}; known: {known}")
    return tuple(words)


def _words(given: StringOrList) -> list[str]:
    return shlex.split(given.one) if given.WhichOneof("value") == "one" else list(given.many.values)
