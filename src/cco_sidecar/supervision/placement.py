"""Where an agent runs: on this machine, or at a runner that has the tags it needs, and the most free slots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.remote_runner import RemoteRunner
from cco_sidecar.supervision.active import ActiveAgent
from orchestra.v1.agent_service_pb2 import Agent

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
            places = {each.runner_id: each.load for each in self._hub.runners.values() if self._suits(each, active)}
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
        return remote.can_start and self._has_tags(remote, active) and _takes(remote, active.record)

    def _has_tags(self, remote: RemoteRunner, active: ActiveAgent) -> bool:
        # The ID of another runner is no tag.
        return wanted(active) <= (remote.tags - self._hub.runners.keys()) | {remote.runner_id}

    def waits_for(self, active: ActiveAgent) -> str:
        """Says why a queued agent has not been started."""
        tags, agent = sorted(wanted(active)), active.record
        if agent.worktree and agent.runner_id and not self._hub.is_gone(agent.runner_id):
            return f"waiting for runner {agent.runner_id}, which has its worktree"
        if not tags:
            return waiting(tags)
        there = [each for _, each in sorted(self._hub.runners.items()) if each.usable]
        tagged = [each for each in there if self._has_tags(each, active)]
        suited = [each.runner_id for each in tagged if _takes(each, agent)]
        if not there:
            why = "none is connected"
        elif not tagged:
            why = f"none of the connected ones has them: {', '.join(map(_shown, there))}"
        elif not suited:
            of = f"agents of type {agent.agent_type} and project {agent.project_id}"
            why = f"{', '.join(each.runner_id for each in tagged)} does not take {of}"
        else:
            why = f"all slots of {', '.join(suited)} are taken"
        return f"{waiting(tags)}: {why}"


def _takes(remote: RemoteRunner, agent: Agent) -> bool:
    """Whether a runner runs agents of that type and project."""
    offer = remote.offer
    right_type = not offer.agent_types or agent.agent_type in offer.agent_types
    return right_type and (not offer.project_ids or agent.project_id in offer.project_ids)


def _shown(remote: RemoteRunner) -> str:
    return f"{remote.runner_id} ({', '.join(sorted(remote.tags)) or 'no tags'})"


def waiting(tags: Sequence[str]) -> str:
    """Returns the reason of an agent in the queue that needs a machine with these tags."""
    return f"waiting for a runner with {', '.join(tags)}" if tags else "waiting for a free slot"


def wanted(active: ActiveAgent) -> set[str]:
    """Returns the tags that an agent's machine must have."""
    return {*active.request.runner_tags, *active.runner.tags}
