"""The queue of agents that wait for a free slot."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from cco_sidecar.supervision.active import ActiveAgent


class StartQueue:
    """Orders agents by priority, then by age."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int], str]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, active: ActiveAgent) -> None:
        heapq.heappush(self._heap, (active.rank, active.agent_id))

    def in_order(self) -> Iterator[str]:
        """Yields the ids of the agents, the next first."""
        if self._heap:
            # Mostly nobody asks for more, so they need not be sorted.
            yield self._heap[0][1]
            yield from [agent_id for _, agent_id in sorted(self._heap)[1:]]

    def remove(self, agent_id: str) -> None:
        if self._heap and self._heap[0][1] == agent_id:
            heapq.heappop(self._heap)
            return
        self._heap = [each for each in self._heap if each[1] != agent_id]
        heapq.heapify(self._heap)

    def position(self, agent_id: str) -> int:
        """Returns the position in the queue, from 1; 0 if the agent is not queued."""
        return next((place for place, (_, each) in enumerate(sorted(self._heap), 1) if each == agent_id), 0)
