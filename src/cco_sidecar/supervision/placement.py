"""Where an agent runs: on this machine, or at a runner that has the tags it needs, and the most free slots."""

from __future__ import annotations

from collections.abc import Iterable

from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.remote_runner import RemoteRunner
from cco_sidecar.supervision.active import ActiveAgent

HERE = ""


class Placement:
    """``max_concurrent``: agents on this machine; 0 means no limit."""

    def __init__(self, hub: Hub, max_concurrent: int) -> None:
        self._hub = hub
        self.max_concurrent = max_concurrent

    def next(self, waiting: Iterable[ActiveAgent], here: int) -> tuple[ActiveAgent, str] | None:
        """Returns the first agent that can start, and where; None if none can. ``here``: how many agents run on this
        machine."""
        for active in waiting:
            place = self._choose(active, here)
            if place is not None:
                return active, place
            if not self._can_start(HERE, here) and not any(each.can_start for each in self._hub.runners.values()):
                # Nobody can start, whatever it needs.
                break
        return None

    def _choose(self, active: ActiveAgent, here: int) -> str | None:
        """Returns the ID of a runner, HERE, or None while no place has a free slot."""
        agent = active.record
        if agent.worktree and not (agent.runner_id and self._hub.is_gone(agent.runner_id)):
            # Its work is there, and nowhere else.
            places = {agent.runner_id: 0.0} if self._can_start(agent.runner_id, here) else {}
        else:
            remote = [each for each in self._hub.runners.values() if self._suits(each, active)]
            places = {each.runner_id: each.load for each in remote}
            if not wanted(active) and self._can_start(HERE, here):
                places[HERE] = here / (self.max_concurrent or 1000)
        # In case of doubt on this machine, then in the order of IDs.
        return min(places, key=lambda place: (places[place], place), default=None)

    def _can_start(self, place: str, here: int) -> bool:
        if place == HERE:
            return not self.max_concurrent or here < self.max_concurrent
        remote = self._hub.runners.get(place)
        return remote is not None and remote.can_start

    def _suits(self, remote: RemoteRunner, active: ActiveAgent) -> bool:
        offer, agent = remote.offer, active.record
        return (
            remote.can_start
            # The ID of another runner is no tag.
            and wanted(active) <= (remote.tags - self._hub.runners.keys()) | {remote.runner_id}
            and (not offer.agent_types or agent.agent_type in offer.agent_types)
            and (not offer.project_ids or agent.project_id in offer.project_ids)
        )


def wanted(active: ActiveAgent) -> set[str]:
    """Returns the tags that an agent's machine must have."""
    return {*active.request.runner_tags, *active.runner.tags}
