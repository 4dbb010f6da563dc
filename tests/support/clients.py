"""Both clients of the Python SDK, used in the same way."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cco_sidecar.client import AsyncClient, Client
from cco_sidecar.testing.process import Agent, SidecarProcess, agent_environment

both = pytest.mark.parametrize("kind", [Client, AsyncClient])
_END = object()


async def settled(answer: Any) -> Any:
    """The result of a call with either client."""
    return await answer if inspect.isawaitable(answer) else answer


async def each(stream: Any) -> AsyncIterator[Any]:
    """The items of either client's stream."""
    if isinstance(stream, AsyncIterator):
        async for item in stream:
            yield item
    else:
        while (item := await asyncio.to_thread(next, stream, _END)) is not _END:
            yield item


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(happened):
            pass


def adopt_environment(monkeypatch: pytest.MonkeyPatch, sidecar: SidecarProcess, agent: Agent) -> None:
    """Puts an agent's variables into this process's environment."""
    monkeypatch.delenv("JWT_TOKEN_FILE", raising=False)
    for name, value in agent_environment(sidecar, agent).items():
        monkeypatch.setenv(name, value)
