"""How many agents, tokens and money may be taken before a person is needed."""

from __future__ import annotations

from dataclasses import dataclass

from cco_sidecar.core.errors import SidecarError, permission_denied
from cco_sidecar.storage.base import AgentStore, Spent
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.config_pb2 import HandoverLimits

_DAY_MICROS = 86_400 * 10**6


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may have been used when an agent or a hand-over rule wants more; a person is never held back, but what
    a person spawned counts. 0 is without limit.

    ``depth``: agents between a new agent and a person. ``agents``, ``tokens`` and ``cost_usd`` hold for an issue, and
    for everything that one agent and those below it asked for, on whatever issues; so often, too, other agents have
    one agent run. ``project_agents``: what all agents and rules of a project asked for within 24 hours.
    """

    depth: int = 3
    agents: int = 20
    tokens: int = 0
    cost_usd: float = 0.0
    project_agents: int = 500

    @classmethod
    def of(cls, limits: HandoverLimits) -> Budget:
        """With the defaults for what is not set."""
        return cls(**{field.name: value for field, value in limits.ListFields()})

    async def check(self, store: AgentStore, wanted: Agent, now: int, *, again: bool = False) -> None:
        """``wanted``: its project, issue, tree, depth and attempts so far; ``now``: microseconds since 1970 UTC;
        ``again``: a rule, which says itself how often, has one that there is run once more. Raises SidecarError
        (AGT_003) that says which limit is reached."""
        if self.depth and wanted.depth > self.depth:
            raise _reached("depth", wanted.depth - 1, self.depth, f"issue '{wanted.issue_id}'")
        if not again and self.agents and wanted.attempt >= self.agents:
            raise _reached("agents", wanted.attempt, self.agents, f"runs of '{wanted.agent_id}'")
        project = wanted.project_id
        spent = [(await store.spent(project, issue=wanted.issue_id), f"issue '{wanted.issue_id}'")]
        if wanted.tree:
            spent.append((await store.spent(project, tree=wanted.tree), f"what '{wanted.tree}' asked for"))
        for used, whose in spent:
            self._compare(used, whose, again=again)
        used = await store.spent(project, since=now - _DAY_MICROS)
        if self.project_agents and used.agents >= self.project_agents and not again:
            raise _reached("project_agents", used.agents, self.project_agents, f"project '{project}' in 24 hours")

    def _compare(self, spent: Spent, whose: str, *, again: bool) -> None:
        for name in ("agents", "tokens", "cost_usd"):
            used, most = getattr(spent, name), getattr(self, name)
            if most and used >= most and not (again and name == "agents"):
                raise _reached(name, used, most, whose)


def _reached(name: str, used: float, most: float, whose: str) -> SidecarError:
    error = permission_denied(
        f"the limit '{name}' of {whose} is reached ({used:g} of {most:g}); a person can spawn more, or raise "
        "agents.handover.limits in the config",
        limit=name,
        used=used,
        most=most,
    )
    error.code = "AGT_003"
    return error
