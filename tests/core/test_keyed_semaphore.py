"""Semaphores by key: in order, a limited number at a time, and no state is kept for unused keys."""

from __future__ import annotations

import asyncio

import pytest

from cco_sidecar.core.keyed_semaphore import KeyedSemaphore, NotInTime


async def test_each_key_has_its_own_slots_and_order() -> None:
    semaphore, seen, go = KeyedSemaphore[str](2), list[str](), asyncio.Event()

    async def take(key: str, name: str) -> None:
        async with semaphore.hold(key):
            seen.append(name)
            await go.wait()

    tasks = [asyncio.create_task(take(key, name)) for key, name in (("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"))]
    await asyncio.sleep(0)
    assert seen == ["1", "2", "4"]
    go.set()
    await asyncio.gather(*tasks)
    assert seen == ["1", "2", "4", "3"]


async def test_a_waiter_that_times_out_is_refused_and_takes_no_slot() -> None:
    semaphore = KeyedSemaphore[str]()
    async with semaphore.hold("a"):
        with pytest.raises(NotInTime):
            async with semaphore.hold("a", 0.01):
                raise AssertionError("not its turn")
    async with semaphore.hold("a", 0.01):
        pass


async def test_a_timeout_of_the_work_itself_is_not_a_timeout_of_the_wait() -> None:
    with pytest.raises(TimeoutError):
        async with KeyedSemaphore[str]().hold("a", 0.01):
            raise TimeoutError


async def test_no_state_is_kept_for_unused_keys() -> None:
    semaphore = KeyedSemaphore[int]()
    for key in range(100):
        async with semaphore.hold(key):
            assert len(semaphore) == 1
    assert len(semaphore) == 0
    async with semaphore.hold(1):
        waiting = asyncio.create_task(semaphore.hold(1).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(semaphore) == 0
