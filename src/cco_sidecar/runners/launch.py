"""What an agent starts with: its directory, context, token, environment and command line."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cco_sidecar.core import descriptors
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.environment import MARK, OWN_SETTINGS, is_reserved, without_proxy_for_loopback
from cco_sidecar.core.errors import invalid_request, spawn_failed
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.runners import command_line, logs
from cco_sidecar.runners.presets import PLACEHOLDER, Runner, filled
from cco_sidecar.runners.run import Run
from cco_sidecar.runners.sandbox import Sandbox
from cco_sidecar.runners.worktrees import Worktrees
from cco_sidecar.storage.base import AgentStore
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    ISOLATION_WORKTREE,
    WORKTREE_BASE_ISSUE,
    Agent,
    SpawnAgentRequest,
)

# Of the sidecar's own environment: its settings, the signing secret among them; another agent's identity; and git's,
# for a sidecar that a git hook started has a GIT_DIR, in which every git command of the agent would work.
_NOT_INHERITED = (OWN_SETTINGS, "JWT_", "SIDECAR_", "GIT_")
# An agent is asked to end, and killed after so long.
GRACE_SECONDS = 10.0
_MEGABYTE = 2**20
_PREPARATION_LINES = 20
# Agents of an issue, the newest first, whose branch may be gone on from.
_LOOKED_AT = 50
# Linux gives a program at most 128 KiB in one variable (execve(2)).
_MOST_IN_VARIABLE = 100_000


class ContextSource(Protocol):
    """Implemented by the context service."""

    async def json_for_agent(
        self,
        project: str,
        issue: str,
        agent_type: str,
        task: str,
        requirements: Sequence[str],
        worktree: Path | None,
    ) -> bytes:
        """The context as JSON, of the project's directory or of a worktree of it. Raises SidecarError."""
        ...


class CredentialSource(Protocol):
    """Implemented by the credential service."""

    async def values(self, names: Sequence[str]) -> dict[str, str]:
        """Raises SidecarError (CRD_001)."""
        ...


class Launcher:
    def __init__(
        self,
        types: AgentTypes,
        projects: Projects,
        context: ContextSource,
        credentials: CredentialSource,
        store: AgentStore,
        settings: Settings,
    ) -> None:
        """``settings``: with the ports that are open. Raises SettingsError for a sandbox that cannot be made."""
        self._types = types
        self._projects = projects
        self._context = context
        self._credentials = credentials
        self._store = store
        self._storage = settings.storage
        self._worktree_seconds = settings.worktree_timeout
        # Agents are on this machine.
        self._url = f"{settings.url}/api"
        self._grpc = settings.grpc_target
        self.sandbox = Sandbox(settings)
        self.worktrees = Worktrees(settings.storage, projects, settings.branch_prefix)

    def run_of(self, agent: Agent) -> Run:
        """The run of the agent's present attempt."""
        return self.run_at(agent, agent.attempt)

    def run_at(self, agent: Agent, attempt: int) -> Run:
        user = self.sandbox.user
        return Run(self._storage / "agents" / agent.agent_id / str(attempt), (user.uid, user.gid) if user else None)

    def clean_up(self, living: set[str]) -> None:
        """Removes what runs left that nobody cleaned up after."""
        for directory in (self._storage / "agents").glob("*/*"):
            if directory.parent.name not in living and directory.is_dir():
                Run(directory).clean()

    async def check(self, request: SpawnAgentRequest, runner: Runner, credentials: Sequence[str]) -> None:
        """Raises SidecarError: REQ_001 for an environment that may not be, CRD_001 for an unknown credential, AGT_001
        for a program that is not there."""
        self.sandbox.require()
        await self._credentials.values(credentials)
        for name, value in request.environment.items():
            if is_reserved(name):
                raise invalid_request(f"environment.{name} is set by the sidecar", field="environment")
            if not name or "=" in name or "\0" in name + value:
                raise invalid_request(f"environment: {name[:80]!r} cannot be set", field="environment")
        program = (request.command or runner.command or [""])[0]
        if not isinstance(program, str) or not program:
            raise invalid_request("command: a program is needed", field="command")
        if PLACEHOLDER.search(program):
            # Known when it is started.
            return
        root = self._projects.root(request.project_id or self._projects.default)
        (program,) = command_line.resolved([program], request.directory, root, root)
        problem = command_line.missing(program, self._environment_base(runner, request).get("PATH", os.defpath), root)
        if problem and request.command:
            raise invalid_request(f"command: {problem}", field="command")
        if problem:
            fix = "install it, name another with agents.runners in the config, or give the spawn a command"
            raise spawn_failed(f"{problem}; {fix}")

    async def spawn(self, agent: Agent, request: SpawnAgentRequest, runner: Runner, run: Run, token: str) -> int:
        """Starts the agent's process; returns its pid. Raises SidecarError, OSError."""
        known = self._types.known(agent.agent_type)
        secrets = await self._credentials.values(agent.credentials)
        root = workdir = self._projects.root(agent.project_id)
        environment = self._environment_base(runner, request) | secrets
        if agent.isolation == ISOLATION_WORKTREE:
            # Its hooks know whose it is; they have no token.
            named = environment | self._identity(agent, run, "", agent.message or agent.task)
            workdir = await self._make_worktree(agent, request, runner, run, named, list(secrets.values()))
            # Before the agent can call: its context and its results are of this worktree, by the record.
            await self._store.save(agent)
        context = await self._context.json_for_agent(
            agent.project_id,
            agent.issue_id,
            agent.agent_type,
            agent.task,
            request.context_requirements,
            workdir if workdir != root else None,
        )
        resuming = resumes(runner, agent)
        values = self._values(agent, known, runner, run, workdir, resuming=resuming)
        run.write(run.context_file, context)
        run.write(run.prompt_file, values["prompt"].encode())
        run.write(run.task_file, values["task"].encode())
        run.write_token(token)
        environment |= self._identity(agent, run, token, values["task"])
        specification = {
            # What the operator wrote runs as it is.
            "argv": command_line.resolved(request.command, request.directory, root, workdir)
            or filled(runner.resume if resuming else runner.command, values),
            "env": environment,
            "cwd": str(workdir),
            "stdin": str(run.prompt_file) if runner.prompt_on_stdin else "",
            "limits": self._limits(runner) | {"wall_seconds": timeout_of(request, runner)},
            "redact": list(secrets.values()),
            "grace": GRACE_SECONDS,
            "sandbox": self.sandbox.specification(root, [run.shared, workdir]),
        }
        return await run.spawn(specification)

    async def _make_worktree(
        self,
        agent: Agent,
        request: SpawnAgentRequest,
        runner: Runner,
        run: Run,
        environment: Mapping[str, str],
        redact: Sequence[str],
    ) -> Path:
        """As the agent, for hooks and filters of the repository may run. Raises SidecarError (AGT_001)."""
        root = self._projects.root(agent.project_id)
        preparation = run.preparation()

        async def prepare(command: list[str], path: Path) -> str:
            await asyncio.to_thread(preparation.prepare)
            await asyncio.to_thread(preparation.give, path)
            specification = {
                "argv": command,
                "env": dict(environment) | {MARK: str(preparation.shared)},
                "cwd": str(root),
                "limits": self._limits(runner) | {"wall_seconds": self._worktree_seconds},
                "redact": list(redact),
                "grace": 0.0,
                "sandbox": self.sandbox.specification(root, [preparation.shared, path]),
            }
            await preparation.spawn(specification)
            end = await preparation.ended()
            lines = await asyncio.to_thread(logs.last_lines, preparation.output, _PREPARATION_LINES)
            await asyncio.to_thread(preparation.remove)
            if end.exit_code == 0:
                return ""
            why = f"{end.limit} (agents.worktree_timeout_seconds)" if end.limit else f"exit {end.exit_code}"
            return "; ".join(lines) or why if end.exit_code else f"{why}; it had printed: {'; '.join(lines)}"

        return await self.worktrees.make(agent, await self._base(agent, request, runner), prepare)

    async def _base(self, agent: Agent, request: SpawnAgentRequest, runner: Runner) -> str:
        """The branch or commit that a new worktree starts from."""
        if (request.base or runner.base) == WORKTREE_BASE_ISSUE:
            done = await self._store.page(
                agent.project_id, status=AGENT_STATUS_COMPLETED, issue=agent.issue_id, limit=_LOOKED_AT
            )
            for branch in [stored.agent.branch for stored in done if stored.agent.branch]:
                if await asyncio.to_thread(self.worktrees.has_branch, agent.project_id, branch):
                    return branch
        return "HEAD"

    @staticmethod
    def _limits(runner: Runner) -> dict[str, int]:
        return {
            "memory_bytes": runner.limits.memory_mb * _MEGABYTE,
            "processes": runner.limits.processes,
            "open_files": runner.limits.open_files,
            "soft_open_files": descriptors.original_soft_limit(),
            "output_bytes": runner.limits.output_mb * _MEGABYTE,
        }

    def _environment_base(self, runner: Runner, request: SpawnAgentRequest) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_NOT_INHERITED) and not is_reserved(name)
        }
        if self.sandbox.active:
            inherited.pop("DBUS_SESSION_BUS_ADDRESS", None)
        if self.sandbox.user is not None:
            inherited |= self.sandbox.user.environment()
        return without_proxy_for_loopback(inherited | dict(runner.environment) | dict(request.environment))

    def _identity(self, agent: Agent, run: Run, token: str, task: str) -> dict[str, str]:
        return {
            "AGENT_ID": agent.agent_id,
            "AGENT_TYPE": agent.agent_type,
            "ISSUE_ID": agent.issue_id,
            "PROJECT_ID": agent.project_id,
            "SIDECAR_URL": self._url,
            "SIDECAR_GRPC": self._grpc,
            "JWT_TOKEN": token,
            "JWT_TOKEN_FILE": str(run.token_file),
            "CONTEXT_FILE": str(run.context_file),
            "AGENT_TASK": _fitting(task),
            "AGENT_TASK_FILE": str(run.task_file),
            "AGENT_ATTEMPT": str(agent.attempt),
            MARK: str(run.shared),
        }

    def _values(
        self, agent: Agent, known: AgentType, runner: Runner, run: Run, workdir: Path, *, resuming: bool
    ) -> Mapping[str, str]:
        if not resuming:
            agent.usage.session_id = str(uuid.uuid4()) if runner.sessions else ""
        task = agent.message or agent.task
        return {
            "task": task,
            "prompt": task if resuming else prompt(agent, task, run),
            "prompt_file": str(run.prompt_file),
            "system_prompt": system_prompt(known),
            "context_file": str(run.context_file),
            "agent_id": agent.agent_id,
            "agent_type": agent.agent_type,
            "issue_id": agent.issue_id,
            "project_id": agent.project_id,
            "model": agent.model,
            "session_id": agent.usage.session_id,
            "mcp_config": runner.mcp_config,
            "workdir": str(workdir),
        }


def timeout_of(request: SpawnAgentRequest, runner: Runner) -> int:
    """Wall time in seconds; 0 means no limit."""
    if request.HasField("timeout_seconds"):
        return request.timeout_seconds
    return runner.timeout_seconds or 0


def resumes(runner: Runner, agent: Agent) -> bool:
    """The present attempt goes on with the session of an earlier one."""
    return bool(runner.sessions and agent.usage.session_id and agent.attempt > 1)


def model_of(request: SpawnAgentRequest, runner: Runner, known: AgentType) -> str:
    """The spawn's, the runner's, or the type's where the runner knows such names."""
    return request.model or runner.model or (known.model if runner.models else "")


def prompt(agent: Agent, task: str, run: Run) -> str:
    """What the agent is told first."""
    return (
        f"{task or 'Work on the issue.'}\n\n"
        f"You work on issue {agent.issue_id} of project {agent.project_id}. What is known of it is in the JSON file "
        f"{run.context_file}: `context.relevant_files` are the files that matter, `context.previous_agent_outputs` "
        "what other agents decided, `context.git_context` the history.\n"
    )


def system_prompt(known: AgentType) -> str:
    """Who the agent is, and how it hands its work on."""
    skills = f" You are good at: {', '.join(known.capabilities)}." if known.capabilities else ""
    return (
        f"You are {known.name}: {known.role}.{skills} You are one of a team that works through the orchestration "
        "sidecar at $SIDECAR_URL; send your token as 'Authorization: Bearer '$(cat $JWT_TOKEN_FILE). When your work is "
        "done, store what you did: POST $SIDECAR_URL/results with JSON {agent_type, issue_id, result: {status, "
        "files_created, files_modified, decisions, next_steps}}; $AGENT_TYPE and $ISSUE_ID are set. Tell others with "
        "POST $SIDECAR_URL/events/<event_type> and JSON {topic, data}. Never print the token."
    )


def _fitting(text: str) -> str:
    """As much as a variable can hold; the whole is in the file."""
    return text.encode()[:_MOST_IN_VARIABLE].decode(errors="ignore")
