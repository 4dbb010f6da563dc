"""Whether Python work holds the event loop: while it does, nobody else is answered."""

from __future__ import annotations

import asyncio
import logging
import time

log = logging.getLogger(__name__)

HELD_SECONDS = 0.25
BEAT_SECONDS = 0.05


async def watch() -> None:
    """Logs each time that the loop's own work made it late. A machine that is busy with something else takes no time of
    the loop's thread, and is not meant."""
    loop = asyncio.get_running_loop()
    while True:
        at, worked = loop.time(), time.thread_time()
        await asyncio.sleep(BEAT_SECONDS)
        late = loop.time() - at - BEAT_SECONDS
        held = min(late, time.thread_time() - worked)
        if held > HELD_SECONDS:
            log.info("the event loop was held for %.0f ms", held * 1000)
