"""Bodies that were refused and are still being sent: read on, slowly, and few."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from cco_sidecar.gateway import requests
from cco_sidecar.gateway.requests import Discards

PART = b"x" * 65536


class Slept:
    """In place of asyncio.sleep: for how long, by whom, and nobody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        self._sleep = asyncio.sleep
        monkeypatch.setattr(requests.asyncio, "sleep", self)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self._sleep(0)


def sender(parts: int) -> Any:
    left = parts

    async def receive() -> Mapping[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": PART, "more_body": left > 0}

    return receive


async def test_they_share_one_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, discards = Slept(monkeypatch), Discards()
    await discards.body(sender(2))
    (alone,) = slept.seconds
    slept.seconds.clear()
    await asyncio.gather(*(discards.body(sender(2)) for _ in range(4)))
    assert slept.seconds[-1] == pytest.approx(4 * alone)


async def test_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, discards = Slept(monkeypatch), Discards()
    await asyncio.gather(*(discards.body(sender(2)) for _ in range(50)))
    assert 0 < len(slept.seconds) < 20
    slept.seconds.clear()
    await discards.body(sender(2))
    assert len(slept.seconds) == 1, "the others gave their places back"


async def test_a_body_without_end_is_left_at_some_point(monkeypatch: pytest.MonkeyPatch) -> None:
    Slept(monkeypatch)
    async with asyncio.timeout(20):
        await Discards().body(sender(10**9))
