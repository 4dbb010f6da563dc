"""Limits on what agents and rules may spawn and spend without a person."""

from __future__ import annotations

from dataclasses import dataclass

from cco_sidecar.core.errors import SidecarError, permission_denied
from cco_sidecar.storage.base import AgentStore, Spent
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.config_pb2 import HandoverLimits

_DAY_MICROS = 86_400 * 10**6


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits for agents and hand-over rules that start further agents; 0 means no limit. The operator is not limited,
    but the agents that the operator spawned count.

    ``depth``: agents between a new agent and the operator. ``agents``, ``tokens`` (sum of all kinds) and ``cost_usd``:
    per issue, and per tree, which is an agent with everything that it and its descendants spawned on any issue;
    ``agents`` also limits how often one agent may be resumed. ``project_agents``: agents that agents and rules of a
    project started within 24 hours.
    """

    depth: int = 3
    agents: int = 20
    tokens: int = 0
    cost_usd: float = 0.0
    project_agents: int = 500

    @classmethod
    def of(cls, limits: HandoverLimits) -> Budget:
        """Returns the configured limits, with defaults for those that are not set."""
        return cls(**{field.name: value for field, value in limits.ListFields()})

    async def check(self, store: AgentStore, wanted: Agent, now: int, *, again: bool = False) -> None:
        """Checks whether an agent may be started. Raises SidecarError (AGT_003) that names the limit.

        ``wanted`` has the project, issue, tree, depth and earlier attempts; ``now`` is in Unix microseconds. ``again``:
        a rule retries an existing agent, so the limits on the number of agents do not apply; the rule has its own.
        """
        if self.depth and wanted.depth > self.depth:
            raise _reached("depth", wanted.depth - 1, self.depth, f"issue '{wanted.issue_id}'")
        if not again and self.agents and wanted.attempt >= self.agents:
            raise _reached("agents", wanted.attempt, self.agents, f"runs of '{wanted.agent_id}'")
        project = wanted.project_id
        spent = [(await store.spent(project, issue=wanted.issue_id), f"issue '{wanted.issue_id}'")]
        if wanted.tree:
            spent.append((await store.spent(project, tree=wanted.tree), f"the tree of '{wanted.tree}'"))
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
