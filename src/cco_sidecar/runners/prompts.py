"""What an agent's program is told."""

from __future__ import annotations

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.runners.presets import Runner, takes
from cco_sidecar.runners.run import Run
from orchestra.v1.agent_service_pb2 import Agent

# Bytes. Linux limits one variable to 128 KiB (execve(2)).
_MAX_IN_VARIABLE = 100_000


def prompt(agent: Agent, task: str, run: Run) -> str:
    """Returns the agent's first prompt."""
    return (
        f"{task or 'Work on the issue.'}\n\n"
        f"You are working on issue {agent.issue_id} of project {agent.project_id}. Read {run.context_markdown_file} "
        "first: what other agents found, the parts of the code that matter for the task, recent commits, and what was "
        f"left out. {run.context_file} has the same as JSON.\n"
    )


def instructions(known: AgentType, runner: Runner) -> str:
    """Returns a blueprint's system prompt for a program that takes none."""
    if known.blueprint is None or not known.blueprint.system_prompt or takes(runner.command, "system_prompt"):
        return ""
    return f"{known.blueprint.system_prompt}\n\n---\n\n"


def system_prompt(known: AgentType) -> str:
    """Returns the agent's role and how it reports its work, after what its blueprint says."""
    own = f"{known.blueprint.system_prompt}\n\n" if known.blueprint and known.blueprint.system_prompt else ""
    skills = f" You are good at: {', '.join(known.capabilities)}." if known.capabilities else ""
    return own + (
        f"You are {known.name}: {known.role}.{skills} You belong to a team of agents that is coordinated by the "
        "orchestration sidecar at $SIDECAR_URL. Send your token as 'Authorization: Bearer '$(cat $JWT_TOKEN_FILE). "
        "When your work is done, store the result: POST $SIDECAR_URL/results with JSON {agent_type, issue_id, result: "
        "{status, files_created, files_modified, decisions, next_steps}}; $AGENT_TYPE and $ISSUE_ID are set. Notify "
        "other agents with POST $SIDECAR_URL/events/<event_type> and JSON {topic, data}. Never print the token."
    )


def fitting(text: str) -> str:
    """Cuts a text to what fits in one variable; the file contains all of it."""
    return text.encode()[:_MAX_IN_VARIABLE].decode(errors="ignore")
