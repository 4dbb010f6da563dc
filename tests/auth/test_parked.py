"""How many calls of one agent may wait at the same time."""

from __future__ import annotations

import asyncio

import pytest

from cco_sidecar.auth.parked import Parked
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import Principal


def agent(name: str, *, operator: bool = False) -> Principal:
    return Principal(subject=name, operator=operator)


async def test_an_excess_call_waits_for_a_slot_and_is_then_refused() -> None:
    parked = Parked(1, "streams", wait_seconds=0.02)
    async with parked.one(agent("a")):
        with pytest.raises(SidecarError, match="'a' has 1 streams open") as refusal:
            async with parked.one(agent("a")):
                raise AssertionError("an excess call got a slot")
        assert (refusal.value.code, refusal.value.kind.http_status) == ("RATE_002", 429)
        async with parked.one(agent("b")), parked.one(agent("o", operator=True)), parked.one(agent("o", operator=True)):
            pass


async def test_a_waiting_call_gets_a_slot_that_is_freed() -> None:
    parked = Parked(1, "streams", wait_seconds=60)
    entered = asyncio.Event()

    async def second() -> None:
        async with parked.one(agent("a")):
            entered.set()

    async with parked.one(agent("a")):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        assert not entered.is_set()
    async with asyncio.timeout(5):
        await waiting
    assert entered.is_set()


async def test_a_timeout_of_the_call_itself_is_not_a_refusal() -> None:
    with pytest.raises(TimeoutError):
        async with Parked(1, "streams").one(agent("a")):
            raise TimeoutError
