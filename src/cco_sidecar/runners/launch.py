"""What an agent starts with: directory, context, token, environment and command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cco_sidecar.cluster import lease_file
from cco_sidecar.core import descriptors
from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.environment import MARK, OWN_SETTINGS, is_reserved, without_proxy_for_loopback
from cco_sidecar.core.errors import invalid_request, spawn_failed
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.runners import command_line, logs, mcp_servers, prompts
from cco_sidecar.runners.needs import AgentContext, ContextSource, CredentialSource, Places, Types
from cco_sidecar.runners.presets import PLACEHOLDER, Runner, filled
from cco_sidecar.runners.run import Run
from cco_sidecar.runners.sandbox import Sandbox
from cco_sidecar.runners.worktrees import Worktrees
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    ISOLATION_WORKTREE,
    WORKTREE_BASE_ISSUE,
    Agent,
    SpawnAgentRequest,
)

# Prefixes of variables that an agent does not inherit: the sidecar's settings (the signing secret among them), another
# agent's identity, and git's. A sidecar that was started by a git hook has a GIT_DIR, which would redirect every git
# command of the agent.
_NOT_INHERITED = (OWN_SETTINGS, "JWT_", "SIDECAR_", "GIT_")
# Seconds between the request to end and the kill.
GRACE_SECONDS = 10.0
_MEGABYTE = 2**20
_PREPARATION_LINES = 20
# How many completed agents of an issue are checked, newest first, for a branch to start from.
_LOOKED_AT = 50


class Launcher:
    """Prepares and starts the runs of agents on this machine."""

    def __init__(
        self,
        types: Types,
        projects: Projects,
        context: ContextSource,
        credentials: CredentialSource,
        store: Places,
        settings: Settings,
        worktrees: Worktrees,
        *,
        lease: Path | None = None,
    ) -> None:
        """``settings`` must contain the ports in use; ``lease``: the file that says until when agents may run. Raises
        SettingsError if agents cannot run as the configured user."""
        self._types = types
        self._projects = projects
        self._context = context
        self._credentials = credentials
        self._store = store
        self._storage = settings.storage
        # Variables that hold tokens of projects, on a runner.
        self._secrets = {each.credential for each in projects.remotes.values()}
        # Until when agents may run, if others take them over.
        shared = settings.storage / lease_file.FILE if settings.shares else None
        self._lease = str(lease or shared or "")
        # How long one lasts.
        self.lease_seconds = settings.cluster_lost_after
        self._worktree_seconds = settings.worktree_timeout
        # Agents run on this machine, so they use its loopback addresses.
        self._url = f"{settings.url}/api"
        self._grpc = settings.grpc_target
        self.sandbox = Sandbox(settings)
        self.worktrees = worktrees

    def run_of(self, agent: Agent) -> Run:
        """Returns the run of the agent's current attempt."""
        return self.run_at(agent, agent.attempt)

    def run_at(self, agent: Agent, attempt: int) -> Run:
        """Returns the run of an attempt, counted from 1."""
        user = self.sandbox.user
        return Run(self._directory(agent, attempt), (user.uid, user.gid) if user else None)

    def _directory(self, agent: Agent, attempt: int) -> Path:
        return self._storage / "agents" / agent.agent_id / str(attempt)

    def clean_attempts(self, agent: Agent) -> None:
        """Cleans the run directories of an agent's attempts, all of which have ended. Blocks on files."""
        for run in (self.run_at(agent, attempt) for attempt in range(1, agent.attempt + 1)):
            if run.directory.is_dir():
                run.clean()

    def clean_up(self, living: set[str]) -> None:
        """Cleans the run directories of all agents except those in ``living``. Blocks on files."""
        for directory in (self._storage / "agents").glob("*/*"):
            if directory.parent.name not in living and directory.is_dir():
                Run(directory).clean()

    async def check(self, request: SpawnAgentRequest, runner: Runner, credentials: Sequence[str]) -> None:
        """Validates a spawn before it is accepted.

        Raises SidecarError: REQ_001 for an invalid environment or command, CRD_001 for an unknown credential, CRD_002
        for an unusable credentials key, AGT_001 for a missing program or a required sandbox that is not available,
        PRJ_001 for an unknown project, AGT_001 for MCP servers that the runner does not take.
        """
        tagged = bool(request.runner_tags or runner.tags)
        if not tagged:
            self.sandbox.require()
        await self._credentials.values(credentials)
        for name, value in request.environment.items():
            if is_reserved(name):
                raise invalid_request(f"environment.{name} is set by the sidecar", field="environment")
            if not name or "=" in name or "\0" in name + value:
                raise invalid_request(f"environment: {name[:80]!r} cannot be set", field="environment")
        if not request.command:
            mcp_servers.check(self._types.require(request.agent_type), runner)
        program = (request.command or runner.command or [""])[0]
        if not isinstance(program, str) or not program:
            raise invalid_request("command: a program is required", field="command")
        if tagged or PLACEHOLDER.search(program):
            # A runner has programs of its own, and the placeholder is filled when the agent starts.
            return
        root = self._projects.root(request.project_id or self._projects.default)
        (program,) = command_line.resolved([program], request.directory, root, root)
        problem = command_line.missing(program, self._environment_base(runner, request).get("PATH", os.defpath), root)
        if problem and request.command:
            raise invalid_request(f"command: {problem}", field="command")
        if problem:
            fix = "install it, set another command in agents.runners of the config, or pass a command to the spawn"
            raise spawn_failed(f"{problem}; {fix}")

    async def spawn(
        self,
        agent: Agent,
        request: SpawnAgentRequest,
        runner: Runner,
        run: Run,
        token: str,
        *,
        resuming: bool,
        base: str = "",
    ) -> int:
        """Starts the agent's process and returns its pid. Sets the agent's worktree and branch. ``resuming``: the
        program continues its earlier session; ``base``: what a new worktree starts from, if that is known. Raises
        SidecarError, OSError."""
        known = self._types.require(agent.agent_type)
        secrets = await self._credentials.values(agent.credentials)
        root = workdir = self._projects.root(agent.project_id)
        environment = self._environment_base(runner, request) | secrets
        if agent.isolation == ISOLATION_WORKTREE:
            # The repository's hooks get the agent's identity, but no token.
            named = environment | self._identity(agent, run, "", agent.message or agent.task)
            base = base or await self._base(agent, request, runner)
            workdir = await self._make_worktree(agent, base, runner, run, named, list(secrets.values()))
            # Save the worktree before the agent can make calls: the record decides which worktree its context is read
            # from.
            await self._save_place(agent)
        context = await self._context.for_agent(
            agent.project_id,
            agent.issue_id,
            agent.agent_type,
            agent.task,
            request.context_requirements,
            workdir if workdir != root else None,
        )
        values = self._values(agent, known, runner, run, workdir, resuming=resuming)
        _write_files(run, values, context, mcp_servers.of_run(known, runner))
        run.write_token(token)
        environment |= self._identity(agent, run, token, values["task"])
        specification = {
            # An explicit command runs as given; its placeholders are not filled.
            "argv": command_line.resolved(request.command, request.directory, root, workdir)
            or filled(runner.resume if resuming else runner.command, values),
            "env": environment,
            "cwd": str(workdir),
            "stdin": str(run.prompt_file) if runner.prompt_on_stdin else "",
            "limits": self._limits(runner) | {"wall_seconds": timeout_of(request, runner)},
            "redact": list(secrets.values()),
            "grace": GRACE_SECONDS,
            "lease": self._lease,
            "lease_seconds": self.lease_seconds,
            "sandbox": self.sandbox.specification(root, [run.shared, workdir]),
        }
        return await run.spawn(specification)

    async def _save_place(self, agent: Agent) -> None:
        """Saves where the attempt will run. The record names the attempt once it has begun. Raises SidecarError."""
        saved = Agent()
        saved.CopyFrom(agent)
        saved.attempt -= 1
        await self._store.save(saved)

    async def _make_worktree(
        self,
        agent: Agent,
        base: str,
        runner: Runner,
        run: Run,
        environment: Mapping[str, str],
        redact: Sequence[str],
    ) -> Path:
        """Creates the worktree as the agent, because the repository's hooks and filters may run. Raises SidecarError
        (AGT_001)."""
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
                "lease": self._lease,
                "lease_seconds": self.lease_seconds,
                "sandbox": self.sandbox.specification(root, [preparation.shared, path]),
            }
            await preparation.spawn(specification)
            end = await preparation.ended()
            lines = await asyncio.to_thread(logs.last_lines, preparation.output, _PREPARATION_LINES)
            await asyncio.to_thread(preparation.remove)
            if end.exit_code == 0:
                return ""
            why = f"{end.limit} (agents.worktree_timeout_seconds)" if end.limit else f"exit {end.exit_code}"
            return "; ".join(lines) or why if end.exit_code else f"{why}; output: {'; '.join(lines)}"

        return await self.worktrees.make(agent, base, prepare)

    async def _base(self, agent: Agent, request: SpawnAgentRequest, runner: Runner) -> str:
        """Returns the branch or commit that a new worktree starts from."""
        if (request.base or runner.base) == WORKTREE_BASE_ISSUE:
            done = await self._store.page(
                agent.project_id, status=AGENT_STATUS_COMPLETED, issue=agent.issue_id, limit=_LOOKED_AT
            )
            for former in [stored.agent for stored in done if stored.agent.branch]:
                if await asyncio.to_thread(self.worktrees.has_branch, agent.project_id, former.branch):
                    return former.branch
                if former.worktree and not self.worktrees.owns(former):
                    # With a worktree, its work is not merged.
                    at = former.runner_id or former.sidecar_id
                    raise spawn_failed(
                        f"the work of {former.agent_id} on issue {former.issue_id} is at {at}, and not here; start "
                        f"there, or bring branch {former.branch} into the repository"
                    )
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
            if not name.startswith(_NOT_INHERITED) and not is_reserved(name) and name not in self._secrets
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
            "CONTEXT_MARKDOWN_FILE": str(run.context_markdown_file),
            "AGENT_TASK": prompts.fitting(task),
            "AGENT_TASK_FILE": str(run.task_file),
            "AGENT_ATTEMPT": str(agent.attempt),
            MARK: str(run.shared),
            # As OpenTelemetry passes contexts to child processes.
            **({"TRACEPARENT": agent.span.traceparent} if agent.span.traceparent else {}),
            **({"TRACESTATE": agent.span.tracestate} if agent.span.tracestate else {}),
        }

    def _values(
        self, agent: Agent, known: AgentType, runner: Runner, run: Run, workdir: Path, *, resuming: bool
    ) -> dict[str, str]:
        task = agent.message or agent.task
        return {
            "task": task,
            "prompt": task if resuming else prompts.instructions(known, runner) + prompts.prompt(agent, task, run),
            "prompt_file": str(run.prompt_file),
            "system_prompt": prompts.system_prompt(known),
            "context_file": str(run.context_file),
            "context_markdown_file": str(run.context_markdown_file),
            "agent_id": agent.agent_id,
            "agent_type": agent.agent_type,
            "issue_id": agent.issue_id,
            "project_id": agent.project_id,
            "model": agent.model,
            "session_id": agent.usage.session_id,
            "mcp_config": runner.mcp_config,
            "workdir": str(workdir),
        }


def _write_files(run: Run, values: dict[str, str], context: AgentContext, servers: bytes | None) -> None:
    """Writes what the agent reads. ``servers``: its MCP servers; their file becomes one of the ``values``."""
    if servers is not None:
        run.write(run.mcp_file, servers)
        values["mcp_config"] = str(run.mcp_file)
    run.write(run.context_file, context.json)
    run.write(run.context_markdown_file, context.markdown)
    run.write(run.prompt_file, values["prompt"].encode())
    run.write(run.task_file, values["task"].encode())


def timeout_of(request: SpawnAgentRequest, runner: Runner) -> int:
    """Returns the wall-time limit in seconds; 0 means no limit."""
    if request.HasField("timeout_seconds"):
        return request.timeout_seconds
    return runner.timeout_seconds or 0


def resumes(runner: Runner, agent: Agent) -> bool:
    """Whether the current attempt resumes the session of an earlier one."""
    return bool(runner.sessions and agent.usage.session_id and agent.attempt > 1)


def model_of(request: SpawnAgentRequest, runner: Runner, known: AgentType) -> str:
    """Returns the spawn's model, else the runner's, else the type's if the runner accepts such names."""
    return request.model or runner.model or (known.model if runner.models else "")
