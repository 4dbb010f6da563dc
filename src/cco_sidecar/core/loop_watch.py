"""Detects work that blocks the event loop. While it is blocked, no other call is answered."""

from __future__ import annotations

import asyncio
import logging
import time

from cco_sidecar.core.metrics import Histogram

log = logging.getLogger(__name__)

HELD_SECONDS = 0.25
BEAT_SECONDS = 0.05


async def watch(lag: Histogram) -> None:
    """Measures how late the loop is, in seconds, and logs when that is because of its own work. Runs until cancelled.

    Compares the delay with the CPU time of this thread, so that a busy machine is not reported.
    """
    loop = asyncio.get_running_loop()
    while True:
        at, worked = loop.time(), time.thread_time()
        await asyncio.sleep(BEAT_SECONDS)
        late = loop.time() - at - BEAT_SECONDS
        lag.observe(max(0.0, late))
        held = min(late, time.thread_time() - worked)
        if held > HELD_SECONDS:
            log.info("the event loop was blocked for %.0f ms", held * 1000)
