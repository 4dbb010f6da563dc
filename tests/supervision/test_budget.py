"""Who may resume an agent, and how often."""

from __future__ import annotations

import pytest

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import Spent
from cco_sidecar.supervision.budget import Budget
from orchestra.v1.agent_service_pb2 import Agent


class Nothing:
    """A store in which nobody has spent anything."""

    async def spent(self, project: str, **whose: object) -> Spent:
        return Spent(0, 0.0, 0.0)


def agent(attempt: int) -> Agent:
    return Agent(agent_id="a-1", project_id="p", issue_id="i", tree="architect", depth=1, attempt=attempt)


async def test_agents_may_resume_an_agent_only_so_often() -> None:
    budget = Budget(agents=3)
    await budget.check(Nothing(), agent(2), 0)  # type: ignore[arg-type]
    with pytest.raises(SidecarError) as caught:
        await budget.check(Nothing(), agent(3), 0)  # type: ignore[arg-type]
    assert caught.value.code == "AGT_003" and "runs of 'a-1'" in caught.value.message
    # A rule has its own number of attempts.
    await budget.check(Nothing(), agent(3), 0, again=True)  # type: ignore[arg-type]
