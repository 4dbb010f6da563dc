"""Scans of past events yield to other work, and to each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

from cco_sidecar.bus.scans import Scans


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_one_scan_per_loop_iteration_whoever_asks() -> None:
    scans, order = Scans(), list[str]()

    def search(name: str) -> Generator[None, None, str]:
        for _ in range(3):
            order.append(name)
            busy(0.001)
            yield
        return name

    async def other_work() -> None:
        for _ in range(30):
            order.append("-")
            await asyncio.sleep(0)

    found = await asyncio.gather(scans.run("a", search("a")), scans.run("b", search("b")), other_work())
    assert found[:2] == ["a", "b"]
    searched = "".join(order)
    assert searched.replace("-", "") == "ababab", searched
    assert "aa" not in searched and "ab" not in searched and "ba" not in searched, searched


async def test_a_cheap_scan_does_not_wait() -> None:
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


async def test_a_failed_or_cancelled_scan_lets_the_next_one_run() -> None:
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


async def test_a_caller_with_many_scans_delays_others_by_at_most_one() -> None:
    scans, order = Scans(), list[str]()

    def search(name: str, slices: int) -> Generator[None, None, None]:
        for _ in range(slices):
            order.append(name)
            busy(0.001)
            yield

    many = [asyncio.create_task(scans.run("many", search("m", 5))) for _ in range(64)]
    await asyncio.sleep(0)
    await scans.run("few", search("f", 3))
    assert order.count("m") <= 5, "one scan between each pair"
    for each in many:
        each.cancel()
