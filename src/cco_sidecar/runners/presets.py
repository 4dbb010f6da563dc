"""How a type of agent is launched: a command template from the configuration, or a preset."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cco_sidecar.core.agent_types import GROUP_KEYS, AgentType, AgentTypes
from cco_sidecar.core.environment import is_reserved
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from orchestra.v1.agent_service_pb2 import (
    ISOLATION_NONE,
    ISOLATION_WORKTREE,
    WORKTREE_BASE_HEAD,
    WORKTREE_BASE_ISSUE,
    Isolation,
    WorktreeBase,
)

# A word of a command; a tuple of words is left out when one of its placeholders is empty.
Word = str | tuple[str, ...]

PLACEHOLDERS = frozenset(
    (
        "task",
        "prompt",
        "prompt_file",
        "system_prompt",
        "context_file",
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
    """0 is without limit."""

    memory_mb: int = 0
    processes: int = 0
    open_files: int = 0
    output_mb: int = 256


@dataclass(frozen=True, slots=True)
class Runner:
    """``prompt_on_stdin``: the program reads its task there. ``reports``: it prints JSON lines about its work.
    ``sessions``: it can go on with an earlier session. ``models``: it knows the model names of the agent types."""

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

    @property
    def sessions(self) -> bool:
        return bool(self.resume)


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
# The keys of an entry that say what is run: naming one anew drops those that were inherited.
_WHAT = ("preset", "command", "resume", "stdin", "output")


class Runners:
    """``agents.runners``: an entry for a type stands on that of its group, and on ``default``."""

    def __init__(self, settings: Settings, types: AgentTypes) -> None:
        """Raises SettingsError that names the entry."""
        entries = self._entries = settings.runners
        self._timeout = settings.agent_timeout
        self._stuck_after = settings.stuck_after
        known = {DEFAULT, *GROUP_KEYS.values(), *types}
        for name, entry in entries.items():
            if name not in known:
                raise SettingsError(f"agents.runners: '{name}' is no agent type, no group and not '{DEFAULT}'")
            if not isinstance(entry, Mapping):
                raise SettingsError(f'agents.runners.{name} must be an object such as {{"preset": "claude"}}')
            runner = _runner(f"agents.runners.{name}", entry)
            if "preset" in entry and not runner.command:
                raise SettingsError(f"agents.runners.{name}: the preset '{COMMAND}' needs a 'command'")
            reserved = next((each for each in runner.environment if is_reserved(each)), None)
            if reserved is not None:
                raise SettingsError(f"agents.runners.{name}.environment: {reserved} is set by the sidecar")

    def of(self, agent: AgentType) -> Runner:
        entry: dict[str, Any] = {"preset": "claude"}
        for name in (DEFAULT, agent.group, agent.type):
            own = self._entries.get(name, {})
            if "preset" in own or "command" in own:
                entry = {key: value for key, value in entry.items() if key not in _WHAT}
            entry |= own
        return self._completed(_runner(f"agents.runners.{agent.type}", entry))

    def once(self, command: Sequence[str]) -> Runner:
        """What the operator wrote after ``--``, as it is."""
        return self._completed(Runner(command=tuple(command), isolation=ISOLATION_NONE))

    def _completed(self, runner: Runner) -> Runner:
        return replace(
            runner,
            timeout_seconds=self._timeout if runner.timeout_seconds is None else runner.timeout_seconds,
            stuck_after_seconds=self._stuck_after if runner.stuck_after_seconds is None else runner.stuck_after_seconds,
        )

    def programs(self) -> dict[str, str]:
        """The programs that the configuration uses, by preset, or by the entry with a command of its own."""
        named = {entry["preset"] for entry in self._entries.values() if "preset" in entry}
        if not {"preset", "command"} & self._entries.get(DEFAULT, {}).keys():
            named.add("claude")
        found = {preset: str(PRESETS[preset].command[0]) for preset in sorted(named - {COMMAND})}
        for name, entry in self._entries.items():
            program = str(next(iter(entry.get("command", ())), ""))
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


def _runner(where: str, entry: Mapping[str, Any]) -> Runner:
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise SettingsError(f"{where}: unknown key '{unknown[0]}'; known: {', '.join(_KEYS)}")
    preset = entry.get("preset", COMMAND)
    if preset not in PRESETS:
        raise SettingsError(f"{where}.preset: {preset!r} is none of {', '.join(PRESETS)}")
    runner = PRESETS[preset]
    for key, value in entry.items():
        try:
            runner = _KEYS[key](runner, value)
        except (TypeError, ValueError) as problem:
            raise SettingsError(f"{where}.{key}: {value!r} is not right: {problem}") from problem
    return runner


def _command(value: Any) -> tuple[str, ...]:
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError('a list of words such as ["python", "agent.py", "{task}"] is needed')
    unknown = {name for word in words for name in PLACEHOLDER.findall(word)} - PLACEHOLDERS
    if unknown:
        raise ValueError(f"there is no placeholder {{{min(unknown)}}}; known: {', '.join(sorted(PLACEHOLDERS))}")
    return tuple(words)


def _choice(value: Any, choices: Mapping[str, Any]) -> Any:
    if value not in choices:
        raise ValueError(f"one of {', '.join(choices)} is needed")
    return choices[value]


def _whole(value: Any, low: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"a whole number from {low} on is needed")
    return value


def _limits(value: Any) -> Limits:
    known = Limits.__slots__
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise ValueError(f"an object with some of {', '.join(known)} is needed")
    return Limits(**{key: _whole(number) for key, number in value.items()})


def _retry(runner: Runner, value: Any) -> Runner:
    if not isinstance(value, Mapping) or not set(value) <= {"attempts", "backoff_seconds"}:
        raise ValueError("an object with attempts and backoff_seconds is needed")
    backoff = value.get("backoff_seconds", runner.backoff_seconds)
    if not isinstance(backoff, int | float) or isinstance(backoff, bool) or backoff < 0:
        raise ValueError("backoff_seconds is a number of seconds")
    return replace(runner, attempts=_whole(value.get("attempts", 1), 1), backoff_seconds=float(backoff))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts is needed")
    return tuple(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is needed")
    return value


def _mapping(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("an object of names and texts is needed")
    return value


_KEYS: dict[str, Any] = {
    "preset": lambda runner, value: runner,
    "command": lambda runner, value: replace(runner, command=_command(value)),
    "resume": lambda runner, value: replace(runner, resume=_command(value)),
    "stdin": lambda runner, value: replace(runner, prompt_on_stdin=_choice(value, {"prompt": True, "none": False})),
    "output": lambda runner, value: replace(runner, reports=_choice(value, {"stream-json": True, "text": False})),
    "model": lambda runner, value: replace(runner, model=_text(value)),
    "mcp_config": lambda runner, value: replace(runner, mcp_config=_text(value)),
    "isolation": lambda runner, value: replace(
        runner, isolation=_choice(value, {"none": ISOLATION_NONE, "worktree": ISOLATION_WORKTREE})
    ),
    "base": lambda runner, value: replace(
        runner, base=_choice(value, {"head": WORKTREE_BASE_HEAD, "issue": WORKTREE_BASE_ISSUE})
    ),
    "timeout_seconds": lambda runner, value: replace(runner, timeout_seconds=_whole(value)),
    "stuck_after_seconds": lambda runner, value: replace(runner, stuck_after_seconds=_whole(value)),
    "retry": _retry,
    "limits": lambda runner, value: replace(runner, limits=_limits(value)),
    "credentials": lambda runner, value: replace(runner, credentials=_texts(value)),
    "environment": lambda runner, value: replace(runner, environment=_mapping(value)),
}
