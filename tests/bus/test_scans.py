"""Searches of the past let others run, and each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

from cco_sidecar.bus.scans import Scans


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_one_search_in_an_iteration_of_the_loop_whoever_asks() -> None:
    scans, order = Scans(), list[str]()

    def search(name: str) -> Generator[None, None, str]:
        for _ in range(3):
            order.append(name)
            busy(0.001)
            yield
        return name

    async def somebody_else() -> None:
        for _ in range(30):
            order.append("-")
            await asyncio.sleep(0)

    found = await asyncio.gather(scans.run("a", search("a")), scans.run("b", search("b")), somebody_else())
    assert found[:2] == ["a", "b"]
    searched = "".join(order)
    assert searched.replace("-", "") == "ababab", searched
    assert "aa" not in searched and "ab" not in searched and "ba" not in searched, searched


async def test_what_costs_next_to_nothing_is_not_made_to_wait() -> None:
    scans, turns = Scans(), 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())

    def search() -> Generator[None, None, None]:
        return
        yield

    for _ in range(3):
        await scans.run("a", search())
    assert turns == 0
    counting.cancel()


async def test_a_search_that_fails_or_is_cancelled_lets_the_next_one_in() -> None:
    scans = Scans()

    def broken() -> Generator[None, None, None]:
        raise ValueError
        yield

    def endless() -> Generator[None, None, None]:
        while True:
            busy(0.001)
            yield

    (failed,) = await asyncio.gather(scans.run("a", broken()), return_exceptions=True)
    assert isinstance(failed, ValueError)
    running = asyncio.create_task(scans.run("a", endless()))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with asyncio.timeout(5), scans.slice("a"):
        pass


async def test_who_has_many_searches_holds_up_nobody_else_for_more_than_one() -> None:
    scans, order = Scans(), list[str]()

    def search(name: str, slices: int) -> Generator[None, None, None]:
        for _ in range(slices):
            order.append(name)
            busy(0.001)
            yield

    many = [asyncio.create_task(scans.run("many", search("m", 5))) for _ in range(64)]
    await asyncio.sleep(0)
    await scans.run("few", search("f", 3))
    assert order.count("m") <= 5, "one in between each"
    for each in many:
        each.cancel()
