"""Bodies that were refused while still being sent: the sidecar reads on slowly, and few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from cco_sidecar.gateway import requests
from cco_sidecar.gateway.requests import Discards

PART = b"x" * 65536


class Slept:
    """Replaces asyncio.sleep: records the seconds and the tasks, and does not wait."""

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


async def test_discarded_bodies_share_one_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, discards = Slept(monkeypatch), Discards()
    await discards.body(sender(2))
    (alone,) = slept.seconds
    slept.seconds.clear()
    await asyncio.gather(*(discards.body(sender(2)) for _ in range(4)))
    assert slept.seconds[-1] == pytest.approx(4 * alone)


async def test_the_number_of_discarded_bodies_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, discards = Slept(monkeypatch), Discards()
    await asyncio.gather(*(discards.body(sender(2)) for _ in range(50)))
    assert 0 < len(slept.seconds) < 20
    slept.seconds.clear()
    await discards.body(sender(2))
    assert len(slept.seconds) == 1, "the finished bodies freed their slots"


async def test_an_endless_body_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    Slept(monkeypatch)
    async with asyncio.timeout(20):
        await Discards().body(sender(10**9))
