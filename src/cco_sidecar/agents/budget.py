"""How many agents, tokens and money an issue may take before a person is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cco_sidecar.core.errors import SettingsError, SidecarError, permission_denied
from cco_sidecar.storage.base import AgentStore


@dataclass(frozen=True, slots=True)
class Budget:
    """How much an issue may have used when an agent or a hand-over rule wants more; a person is never held back, but
    what a person spawned counts. 0 is without limit. ``depth``: agents between a new agent and a person."""

    depth: int = 3
    agents: int = 20
    tokens: int = 0
    cost_usd: float = 0.0

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Budget:
        """Raises SettingsError."""
        known = [each.name for each in fields(cls)]
        for key, number in value.items():
            if key not in known:
                raise SettingsError(f"agents.handover.limits: unknown key '{key}'; known: {', '.join(known)}")
            if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
                raise SettingsError(f"agents.handover.limits.{key}: {number!r} is not a number from 0 on")
        return cls(**value)

    async def check(self, store: AgentStore, project: str, issue: str, depth: int, *, again: bool = False) -> None:
        """``again``: no agent is added, one that there is runs once more. Raises SidecarError (AGT_003) that says which
        limit is reached."""
        if self.depth and depth > self.depth:
            raise _reached("depth", depth - 1, self.depth, issue)
        spent = await store.spent(project, issue)
        for name in ("agents", "tokens", "cost_usd"):
            used, most = getattr(spent, name), getattr(self, name)
            if most and used >= most and not (again and name == "agents"):
                raise _reached(name, used, most, issue)


def _reached(name: str, used: float, most: float, issue: str) -> SidecarError:
    error = permission_denied(
        f"the limit '{name}' of issue '{issue}' is reached ({used:g} of {most:g}); a person can spawn more, or raise "
        "agents.handover.limits in the config",
        limit=name,
        used=used,
        most=most,
    )
    error.code = "AGT_003"
    return error
