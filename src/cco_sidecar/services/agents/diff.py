"""What an agent changed in its worktree."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import groupby

from cco_sidecar.core.principal import Principal
from cco_sidecar.repository import masking
from cco_sidecar.runners.worktrees import Worktrees
from cco_sidecar.services.agents.read import AgentReader, require_own_logs
from orchestra.v1.agent_service_pb2 import GetAgentDiffResponse

# Agents decide what is in it, and all of it is searched for secrets, which takes a second for the worst.
MAX_DIFF_BYTES = 128 * 1024
MAX_UNTRACKED = 1000
# Lines of a PEM file (RFC 7468) whose beginning is not in the hunk.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{60,76}={0,2}\n?){2,}")


class Diffs:
    """Makes one diff at a time, so that threads are left for others."""

    def __init__(self, reader: AgentReader, worktrees: Worktrees) -> None:
        self._reader = reader
        self._worktrees = worktrees
        self._one = asyncio.Semaphore(1)

    async def of(self, agent_id: str, principal: Principal) -> GetAgentDiffResponse:
        """Returns the diff of an agent's worktree; empty without one. Raises SidecarError: AGT_001 if git cannot be
        run, AGT_004, AUTH_003."""
        agent = (await self._reader.get(agent_id, principal)).agent
        require_own_logs(principal, agent)
        async with self._one:
            diff, untracked = await self._worktrees.diff(agent, MAX_DIFF_BYTES)
            return await asyncio.to_thread(self._response, agent.agent_id, diff, untracked)

    @staticmethod
    def _response(agent_id: str, diff: bytes, untracked: list[str]) -> GetAgentDiffResponse:
        cut = len(diff) == MAX_DIFF_BYTES
        if cut:
            diff = diff[: diff.rfind(b"\n") + 1]
        return GetAgentDiffResponse(
            agent_id=agent_id,
            diff=masked(diff.decode(errors="replace")),
            truncated=cut,
            untracked_files=untracked[:MAX_UNTRACKED],
        )


def masked(diff: str) -> str:
    """Masks the secrets of a unified diff: in what stood before a change, in what stands after it, and in the lines of
    the change alone; without the signs of the lines, which no rule knows."""
    lines = _lines(diff)
    for signs in ("- ", "+ ", "-", "+"):
        lines = list(_masked_lines(lines, frozenset(signs)))
    return "".join(lines)


def _masked_lines(lines: list[str], signs: frozenset[str]) -> Iterator[str]:
    for searched, group in groupby(lines, lambda line: line[0] in signs):
        run = list(group)
        text = "".join(line[1:] for line in run)
        clean = _BASE64.sub(f"{masking.MASK}\n", masking.mask(text)) if searched else text
        after = _lines(clean)
        if clean == text:
            yield from run
        elif len(after) == len(run):
            yield from (line[0] + changed for line, changed in zip(run, after, strict=True))
        else:
            # A secret of several lines became one.
            sign = next((line[0] for line in run if line[0] != " "), " ")
            yield from (sign + changed for changed in after)


def _lines(text: str) -> list[str]:
    """Splits at line feeds only, as git does; str.splitlines splits at other characters too."""
    return [line + "\n" for line in text.split("\n")[:-1]] + [line for line in text.split("\n")[-1:] if line]
